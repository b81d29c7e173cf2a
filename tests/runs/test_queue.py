"""What a sweep makes of Slurm's queue; the texts are those of Slurm 22.05, its node killed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from depthwright.refusal import Refusal
from depthwright.runs import queue, slurm
from depthwright.runs.queue import LOOK, PATIENCE, Queue

NAMES = {f"1_{k}": f"seed={k}" for k in range(6)}
DOWN = "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions"
RUNNING = """\
1_2|PENDING|JobArrayTaskLimit|debug|
1_3|PENDING|JobArrayTaskLimit|debug|
1_4|PENDING|JobArrayTaskLimit|debug|
1_5|PENDING|JobArrayTaskLimit|debug|
1_0|RUNNING|None|debug|localhost
1_1|RUNNING|None|debug|localhost
"""
WAITING = f"""\
1_0|PENDING|Resources|debug|
1_1|PENDING|Resources|debug|
1_2|PENDING|{DOWN}|debug|
1_3|PENDING|{DOWN}|debug|
1_4|PENDING|{DOWN}|debug|
1_5|PENDING|{DOWN}|debug|
"""
UP, GONE = "localhost|debug|mixed|none\n", "localhost|debug|down*|power cut\n"
ANOTHER = "spare|debug|idle|none\n"
HELD = "1_0|PENDING|launch failed requeued held|debug|\n"


class Slurm:
    """Answers with these texts; time passes when told."""

    def __init__(self, jobs: str, nodes: str) -> None:
        self.jobs, self.nodes, self.now = jobs, nodes, 0.0

    def ask(self, command: str, *options: str) -> str:
        if not self.jobs:
            raise OSError("Unable to contact slurm controller (connect failure)")
        return self.jobs if command == "squeue" else self.nodes

    def queue(self) -> Queue:
        return Queue(NAMES, self.ask, lambda: self.now)


def test_jobs_of_a_node_that_vanished_are_named_and_at_last_given_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    slurm = Slurm(RUNNING, UP)
    watched = slurm.queue()
    assert watched.look(NAMES) == {}
    assert capsys.readouterr().err == ""
    slurm.jobs, slurm.nodes = WAITING, GONE
    assert watched.look(NAMES) == {}
    again, stuck = capsys.readouterr().err.splitlines()
    assert again.startswith("slurm has queued jobs 1_0 (seed=0), 1_1 (seed=1) again, for its node")
    assert "localhost (down, power cut) is gone" in again
    assert stuck.startswith("slurm cannot start jobs 1_0 (seed=0), 1_1 (seed=1), 1_2 (seed=2)")
    assert "and 3 more: no node of the partition debug is up: localhost (down, power cut)" in stuck
    slurm.now += PATIENCE - 1
    slurm.nodes = slurm.nodes.replace("*", "")
    assert watched.look(NAMES) == {}
    slurm.now += 1
    lost = watched.look(NAMES)
    assert lost.keys() == NAMES.keys()
    assert "no node of the partition debug is up" in lost["1_5"]
    assert "run the same command again" in lost["1_5"]
    assert capsys.readouterr().err == "", "said once"


def test_patience_begins_anew_when_a_node_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    slurm = Slurm(WAITING, GONE)
    watched = slurm.queue()
    assert watched.look(NAMES) == {}
    slurm.now += PATIENCE - LOOK
    slurm.nodes = UP
    assert watched.look(NAMES) == {}
    slurm.nodes = GONE
    slurm.now += LOOK
    assert watched.look(NAMES) == {}
    assert capsys.readouterr().err.count("slurm cannot start") == 2


def test_a_queue_that_is_only_long_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    slurm = Slurm(WAITING.replace(DOWN, "Priority"), GONE + ANOTHER)
    watched = slurm.queue()
    for _ in range(3):
        assert watched.look(NAMES) == {}
        slurm.now += PATIENCE
    assert capsys.readouterr().err == ""


def test_a_job_for_several_partitions_waits_for_any_of_them() -> None:
    slurm = Slurm("1_0|PENDING|Priority|debug,long|\n", UP)
    watched = slurm.queue()
    assert watched.look(["1_0"]) == {}
    slurm.now = 2 * PATIENCE
    assert watched.look(["1_0"]) == {}


def test_a_job_that_slurm_holds_is_given_up_once_no_other_runs() -> None:
    slurm = Slurm(HELD + "1_1|RUNNING|None|debug|localhost\n", UP)
    watched = slurm.queue()
    both = {"1_0", "1_1"}
    assert watched.look(both) == {}
    slurm.now += PATIENCE
    assert watched.look(both) == {}, "another runs, which may free what it waits for"
    slurm.jobs = HELD
    assert watched.look({"1_0"}) == {}
    slurm.now += PATIENCE
    assert "Slurm's reason is launch failed requeued held" in watched.look({"1_0"})["1_0"]


def test_jobs_that_slurm_has_forgotten_are_given_up_while_others_run() -> None:
    slurm = Slurm("1_1|RUNNING|None|debug|localhost\n", UP)
    watched = slurm.queue()
    assert watched.look({"1_0", "1_1"}) == {}
    slurm.now += PATIENCE
    lost = watched.look({"1_0", "1_1"})
    assert lost.keys() == {"1_0"}
    assert "does not know it any more" in lost["1_0"]


@pytest.mark.parametrize(
    ("jobs", "nodes"),
    [
        (WAITING, "localhost|debug|drained|new disks\n"),
        ("1_0|PENDING|JobHeldUser|debug|\n", UP),
        ("1_0|PENDING|PartitionDown|debug|\n", UP),
        ("1_0|PENDING|Priority|debug|\n", ""),
        ("1_0|SUSPENDED|None|debug|localhost\n", GONE),
        ("1_0|PENDING|Priority|debug|\n", "localhost|debug|idle|first line\nsecond line\n"),
    ],
)
def test_what_may_pass_by_itself_is_waited_for(jobs: str, nodes: str) -> None:
    slurm = Slurm(jobs, nodes)
    watched = slurm.queue()
    for _ in range(3):
        assert watched.look(["1_0"]) == {}
        slurm.now += PATIENCE


def test_a_cluster_that_does_not_answer_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    slurm = Slurm("", "")
    watched = slurm.queue()
    assert watched.look({"1_0"}) == {}
    assert "Slurm does not answer (Unable to contact slurm" in capsys.readouterr().err
    slurm.now += PATIENCE
    assert watched.look({"1_0"}) == {}


@pytest.mark.parametrize(
    ("state", "up"),
    [
        *(("idle", True), ("mixed", True), ("allocated", True), ("completing", True)),
        *(("idle~", True), ("planned", True), ("down", False), ("down*", False)),
        *(("idle*", False), ("drained", False), ("draining", False), ("fail", False)),
    ],
)
def test_states_of_nodes(state: str, up: bool) -> None:
    assert queue.Node("n1", "debug", state, "none").up == up


@pytest.mark.parametrize("key", ["array_parallelism", "timeout_min", "cpus_per_task"])
def test_settings_of_jobs_are_refused_before_any_is_submitted(key: str) -> None:
    launcher = SimpleNamespace(_EXECUTOR="local", params={"submitit_folder": "unused", key: 0})
    with pytest.raises(Refusal, match=f"hydra.launcher.{key}=0"):
        slurm.submit(launcher, [["seed=0"]])


def test_a_suspended_job_has_not_ended() -> None:
    states = {"SUSPENDED": False, "COMPLETED": True}
    for state, ended in states.items():
        assert slurm._done(SimpleNamespace(done=lambda: True, state=state)) == ended
