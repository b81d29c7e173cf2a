"""Slurm for real: a sweep of twelve, one job preempted, one killed, run again.

Runs where SLURM_CONF names a cluster that answers and has accounting (without it a killed job is
never reported); skipped elsewhere. The cluster needs one idle node of the local machine.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from command_line import HANGS, multirun, rows, until
from depthwright.comparison import CHECKPOINT
from depthwright.runs import cell

LONG = (30_000, 30_001)
"""Steps of the two cells that are caught while training."""
SHORT = tuple(range(60, 70))
CELLS = (
    f"training.steps={','.join(map(str, LONG + SHORT))}",
    "target.input_dim=2",
    "accuracy=0.3",
    "training=quick",
    "evaluation=quick",
    "training.checkpoint_seconds=0",
    "trainer.accelerator=cpu",
)
SLURM = ("launcher=slurm", "hydra.launcher.timeout_min=10", "hydra.launcher.cpus_per_task=1")


def _cluster() -> str | None:
    """Why there is none; None where there is one."""
    for tool in ("sinfo", "sacct", "sbatch"):
        if shutil.which(tool) is None:
            return f"Slurm is not installed: no {tool}"
    for command in (["sinfo", "-h", "-t", "idle,mixed"], ["sacct", "-n"]):
        try:
            asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        except subprocess.TimeoutExpired:
            return f"no Slurm cluster answers {' '.join(command)} within 20 s"
        if asked.returncode or (command[0] == "sinfo" and not asked.stdout.strip()):
            why = (asked.stderr.splitlines() or ["no idle node"])[0]
            return f"no Slurm cluster answers {' '.join(command)}: {why}"
    return None


ABSENT = _cluster()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(ABSENT is not None, reason=ABSENT or "")]


def sweep(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    return multirun(folder, *CELLS, *overrides)


def running(folder: Path, steps: int) -> tuple[Path, str] | None:
    """The folder of the cell with so many steps and its job, while it is being computed."""
    for config in folder.glob("outputs/*/*/config.yaml"):
        mark = config.parent / cell.RUNNING
        if f"steps: {steps}\n" in config.read_text() and mark.exists():
            return config.parent, json.loads(mark.read_text())["job"]
    return None


def scancel(*arguments: str) -> None:
    subprocess.run(["scancel", *arguments], check=False)  # 228 where the signal requeues the job


def test_preempted_resumes_killed_is_reported_and_made_up_for(tmp_path: Path) -> None:
    first = sweep(tmp_path, *SLURM)
    preempted, job = until(lambda: running(tmp_path, LONG[0]))
    killed, victim = until(lambda: running(tmp_path, LONG[1]))
    for folder in (preempted, killed):
        until(lambda folder=folder: (folder / CHECKPOINT).exists())
    scancel("--signal=KILL", victim)
    scancel("--signal=USR2", job)
    _, told = first.communicate()
    print(told)
    assert first.returncode == 1
    assert "11 of 12 cells finished" in told
    assert f"training.steps={LONG[1]}: slurm job {victim} ended as CANCELLED" in told
    assert (preempted / "results.json").exists()
    log = next(tmp_path.glob(f"outputs/.multirun/.submitit/{job}/*_log.err")).read_text()
    assert "DUE TO JOB REQUEUE" in log, "the signal came while the cell was being computed"
    assert "training goes on at step" in log.split("DUE TO JOB REQUEUE")[-1]
    assert cell.state(killed) == cell.State.FAILED

    again = sweep(tmp_path, *SLURM)
    _, told = again.communicate()
    print(told)
    assert again.returncode == 0
    assert "12 cells, 11 finished before" in told

    quiet = tmp_path / "undisturbed"
    alone = sweep(quiet, "launcher=basic", "logger=none", "trainer.progress=false")
    alone.communicate()
    assert alone.returncode == 0
    assert rows(tmp_path) == rows(quiet)
    assert len(rows(quiet)) == 12


def test_a_sweep_whose_node_goes_and_whose_job_is_held_says_so_and_ends(tmp_path: Path) -> None:
    """Needs the rights of an administrator. A node whose slurmd lives may come back by itself."""
    asked = subprocess.run(["sinfo", "-hNo%N %R"], capture_output=True, text=True, check=True)
    node, partition = asked.stdout.split()[:2]
    update = ["scontrol", "update", f"partitionname={partition}"]
    cells = (f"training.steps={LONG[0]}", *CELLS[1:], *SLURM, "beside=[]")
    impatient = "from depthwright.runs import queue; queue.LOOK, queue.PATIENCE = 1.0, 10.0"
    process = multirun(tmp_path, *cells, before=impatient)
    folder, job = until(lambda: running(tmp_path, LONG[0]))
    until(lambda: (folder / CHECKPOINT).exists())
    if subprocess.run([*update, "state=down"], check=False).returncode:
        process.kill()
        pytest.skip("this user may not take a partition down")
    try:
        down = ["scontrol", "update", f"nodename={node}", "state=down", "reason=power cut"]
        subprocess.run(down, check=True)
        until(lambda: job in queued())  # a partition that is down may be up again: held, it is not
        subprocess.run(["scontrol", "hold", job], check=True)
        _, told = process.communicate(timeout=HANGS)
    finally:
        subprocess.run([*update, "state=up"], check=True)
        subprocess.run(["scontrol", "update", f"nodename={node}", "state=resume"], check=False)
    print(told)
    assert process.returncode == 1
    assert f"slurm has queued job {job} again" in told
    assert f"slurm cannot start job {job}: " in told
    assert f"slurm job {job} was given up" in told
    assert "the same command tries them again" in told
    again = multirun(tmp_path, *cells)
    _, told = again.communicate(timeout=HANGS)
    assert again.returncode == 0, told
    log = "".join(path.read_text() for path in tmp_path.rglob(".submitit/*/*_log.err"))
    assert "training goes on at step" in log


def test_ctrl_c_takes_the_jobs_back(tmp_path: Path) -> None:
    axis = "training.steps=1000000,1000001"
    process = multirun(tmp_path, *CELLS[1:], *SLURM, axis)
    _, job = until(lambda: running(tmp_path, 1_000_000))
    array = job.partition("_")[0]
    assert array in queued()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=HANGS)
    assert process.returncode == 130
    assert "stopped with 0 of 2 cells finished" in told
    until(lambda: array not in queued())
    assert not list(tmp_path.rglob(cell.ERROR)), "an interruption is no failure"


def queued() -> str:
    asked = ["squeue", "--noheader", "--format=%F"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout
