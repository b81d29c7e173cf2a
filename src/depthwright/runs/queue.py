"""What Slurm's queue says of a sweep's jobs: which are queued again, and which cannot start.

A node that vanishes takes its jobs with it. Slurm notices after its SlurmdTimeout, five minutes by
default, and queues them again, so that they go on elsewhere. Where every node is down, they wait
without an end; so does a job that Slurm holds, or one that Slurm has lost. The sweep says what it
waits for, and gives such jobs up after a while. What may pass by itself is only said: nodes that
are drained, a user's own hold, a Slurm that does not answer. A long queue is not even said.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from depthwright.runs.store import say

LOOK = 30.0
"""Seconds between two looks at the queue."""
PATIENCE = 1800.0
"""Seconds for which jobs wait that cannot start, while none of the sweep runs."""
SHOWN = 3
"""Cells that are named in one sentence."""
ALIVE = ("RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED")
"""States of jobs that have a node."""
HOPELESS = re.compile("requeued.*held|JobHeldAdmin|BadConstraints|NeverSatisfied|^Invalid")
"""Reasons for waiting that somebody has to mend."""
UNUSABLE = ("down", "drain", "fail", "error", "unknown", "inval")
"""How the states of nodes begin that take no jobs; those that do not answer end in a star."""
FILTERS = ("SQUEUE_", "SINFO_", "SLURM_CLUSTERS")
"""Variables of the user's that would leave jobs out of what Slurm prints."""


class Job(NamedTuple):
    """One of the sweep's, as squeue shows it."""

    state: str
    reason: str
    partition: str
    node: str


class Cause(NamedTuple):
    """Why a job cannot start."""

    words: str
    final: bool
    """Whether waiting will not help."""


class Node(NamedTuple):
    """One of the cluster's, as sinfo shows it."""

    name: str
    partition: str
    state: str
    reason: str

    @property
    def up(self) -> bool:
        return not (self.state.startswith(UNUSABLE) or self.state.endswith("*"))

    def __str__(self) -> str:
        usable = not self.state.startswith(UNUSABLE)
        state = "no answer" if usable and not self.up else self.state.rstrip("*")
        why = f", {self.reason}" if self.reason not in ("", "none") else ""
        return f"{self.name} ({state}{why})"


def asked(*command: str) -> str:
    """What a command of Slurm's prints; raises OSError where Slurm does not answer."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(FILTERS)}
    found = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, env=own
    )
    if found.returncode:
        raise OSError((found.stderr.strip() or command[0]).splitlines()[-1])
    return found.stdout


class Queue:
    """The jobs of one sweep, looked at again and again."""

    def __init__(
        self,
        names: Mapping[str, str],
        ask: Callable[..., str] = asked,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`names`: job → its cell, in words."""
        self.names, self.ask, self.clock = names, ask, clock
        self._ran: dict[str, str] = {}
        """Job → its node, at the last look."""
        self._since: dict[str, float] = {}
        """Job → when it was first found that it cannot start."""
        self._told: set[Cause] = set()

    def look(self, open_: Collection[str]) -> dict[str, str]:
        """The jobs among those without an end that are given up, each with a sentence.

        What has happened since the last look is said.
        """
        try:
            jobs = self._jobs()
            nodes = self._nodes()
        except OSError as error:
            stuck = dict.fromkeys(open_, Cause(f"Slurm does not answer ({error})", False))
        else:
            self._queued_again(jobs, nodes)
            stuck = _stuck(jobs, nodes, open_)
        now = self.clock()
        final = {job: why.words for job, why in stuck.items() if why.final}
        self._since = {job: self._since.get(job, now) for job in final}
        self._say(stuck)
        return {
            job: f"slurm job {job} was given up after {PATIENCE / 60:.0f} minutes: {why}; run the "
            "same command again when that is mended"
            for job, why in final.items()
            if now - self._since[job] >= PATIENCE
        }

    def _jobs(self) -> dict[str, Job]:
        own = f"--user={os.getuid()}"  # squeue fails where it is given a job that it has forgotten
        told = self.ask("squeue", "--noheader", "--all", "--array", own, "--format=%i|%T|%r|%P|%N")
        rows = (line.split("|") for line in told.splitlines())
        return {row[0]: Job(*row[1:]) for row in rows if len(row) == 5 and row[0] in self.names}

    def _nodes(self) -> list[Node]:
        told = self.ask("sinfo", "--noheader", "--all", "--Node", "--format=%N|%R|%T|%E")
        rows = (line.split("|", 3) for line in told.splitlines())
        return [Node(*row) for row in rows if len(row) == 4]  # a reason may have several lines

    def _queued_again(self, jobs: Mapping[str, Job], nodes: Sequence[Node]) -> None:
        """Say which jobs ran at the last look and wait now."""
        lost = {node.name: f", for its node {node} is gone" for node in nodes if not node.up}
        found = defaultdict(list)
        for job, node in self._ran.items():
            if job in jobs and jobs[job].state == "PENDING":
                found[lost.get(node, "")].append(job)
        for why, again in found.items():
            say(f"slurm has queued {self._named(again)} again{why}; what was trained is kept")
        self._ran = {name: job.node for name, job in jobs.items() if job.state in ALIVE}

    def _say(self, stuck: Mapping[str, Cause]) -> None:
        """Each cause once, until it is gone."""
        causes = defaultdict(list)
        for job, why in stuck.items():
            causes[why].append(job)
        for why in causes.keys() - self._told:
            after = (
                f"gives up after {PATIENCE / 60:.0f} minutes of this, and the same command goes on"
            )
            end = after if why.final else "waits"
            say(f"slurm cannot start {self._named(causes[why])}: {why.words}; the sweep {end}")
        self._told = set(causes)

    def _named(self, jobs: Collection[str]) -> str:
        jobs = [job for job in self.names if job in jobs]
        named = ", ".join(f"{job} ({self.names[job]})".removesuffix(" ()") for job in jobs[:SHOWN])
        more = f" and {len(jobs) - SHOWN} more" if len(jobs) > SHOWN else ""
        return f"{'jobs' if len(jobs) > 1 else 'job'} {named}{more}"


def _stuck(
    jobs: Mapping[str, Job], nodes: Sequence[Node], open_: Collection[str]
) -> dict[str, Cause]:
    """Why jobs cannot start: those that Slurm lost, and, while none runs, those that wait."""
    lost = Cause("Slurm does not know it any more, and it left no result", True)
    found = {job: lost for job in open_ if job not in jobs}
    if any(job.state in ALIVE for job in jobs.values()):
        return found
    for name, job in jobs.items():
        if name not in open_:
            continue
        own = [node for node in nodes if node.partition in job.partition.split(",")]
        if own and not any(node.up for node in own):
            gone = ", ".join(map(str, own[:SHOWN]))
            drained = any(node.state.startswith("drain") for node in own)
            words = f"no node of the partition {job.partition} is up: {gone}"
            found[name] = Cause(words, not drained)
        elif HOPELESS.search(job.reason) or job.reason == "JobHeldUser":
            words = f"Slurm's reason is {job.reason}"
            found[name] = Cause(words, job.reason != "JobHeldUser")
    return found
