"""What Slurm's queue says of a sweep's jobs: which are queued again, and which cannot start.

A node that vanishes takes its jobs with it. Slurm notices after its SlurmdTimeout, five minutes by
default, and queues them again, so that they go on elsewhere. Where no node is up any more, they
wait without an end; so does a job that Slurm holds, or one that Slurm has lost. The sweep says what
it waits for, and gives such jobs up after a while.
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
ALIVE = ("RUNNING", "CONFIGURING")
"""States of jobs that have a node."""
HOPELESS = re.compile(
    "requeued.*held|JobHeldAdmin|UnavailableNodes|^Partition|BadConstraints|NeverSatisfied|^Invalid"
)
"""Reasons for waiting that somebody has to mend."""
UNUSABLE = ("down", "drain", "fail", "error", "unknown", "inval")
"""How the states of nodes begin that take no jobs; those that do not answer end in a star."""


class Job(NamedTuple):
    """One of the sweep's, as squeue shows it."""

    state: str
    reason: str
    partition: str
    node: str


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
    found = subprocess.run(command, capture_output=True, text=True, check=False)
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
        self._told: set[str] = set()

    def look(self, open_: Collection[str]) -> dict[str, str]:
        """The jobs among those without an end that are given up, each with a sentence.

        What has happened since the last look is said.
        """
        try:
            jobs = self._jobs()
            nodes = self._nodes()
        except OSError as error:
            stuck = dict.fromkeys(open_, f"Slurm does not answer ({error})")
        else:
            self._queued_again(jobs, nodes)
            stuck = _stuck(jobs, nodes, open_)
        now = self.clock()
        self._since = {job: self._since.get(job, now) for job in stuck}
        self._say(stuck)
        return {
            job: f"slurm job {job} was given up after {PATIENCE / 60:.0f} minutes: {why}; run the "
            "same command again when that is mended"
            for job, why in stuck.items()
            if now - self._since[job] >= PATIENCE
        }

    def _jobs(self) -> dict[str, Job]:
        own = f"--user={os.getuid()}"  # squeue fails where it is given a job that it has forgotten
        told = self.ask("squeue", "--noheader", "--array", own, "--format=%i|%T|%r|%P|%N")
        rows = (line.split("|") for line in told.splitlines())
        return {job: Job(*rest) for job, *rest in rows if job in self.names}

    def _nodes(self) -> list[Node]:
        told = self.ask("sinfo", "--noheader", "--Node", "--format=%N|%R|%T|%E")
        return [Node(*line.split("|", 3)) for line in told.splitlines()]

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

    def _say(self, stuck: Mapping[str, str]) -> None:
        """Each cause once, until it is gone."""
        causes = defaultdict(list)
        for job, why in stuck.items():
            causes[why].append(job)
        for why in causes.keys() - self._told:
            say(
                f"slurm cannot start {self._named(causes[why])}: {why}; the sweep gives up after "
                f"{PATIENCE / 60:.0f} minutes of this, and the same command goes on"
            )
        self._told = set(causes)

    def _named(self, jobs: Collection[str]) -> str:
        jobs = [job for job in self.names if job in jobs]
        named = ", ".join(f"{job} ({self.names[job]})".removesuffix(" ()") for job in jobs[:SHOWN])
        more = f" and {len(jobs) - SHOWN} more" if len(jobs) > SHOWN else ""
        return f"{'jobs' if len(jobs) > 1 else 'job'} {named}{more}"


def _stuck(
    jobs: Mapping[str, Job], nodes: Sequence[Node], open_: Collection[str]
) -> dict[str, str]:
    """Why jobs cannot start: those that Slurm lost, and, while none runs, those that wait."""
    found = {
        job: "Slurm does not know it any more, and it left no result"
        for job in open_
        if job not in jobs
    }
    if any(job.state in ALIVE for job in jobs.values()):
        return found
    for name, job in jobs.items():
        if name not in open_:
            continue
        own = [node for node in nodes if node.partition in job.partition.split(",")]
        if not any(node.up for node in own):
            gone = ", ".join(map(str, own[:SHOWN])) or "it has none"
            found[name] = f"no node of the partition {job.partition} is up: {gone}"
        elif HOPELESS.search(job.reason):
            found[name] = f"Slurm's reason is {job.reason}"
    return found
