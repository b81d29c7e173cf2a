"""Cells as jobs of a cluster: submitted all at once, in arrays, waited for to the last one.

The launcher of hydra-submitit-launcher gives up at the first job that is killed, and waits for
none of the others; its configuration and its job are used here, its waiting is not. A job that is
preempted (signal USR2) or runs out of time is queued again by submitit, as often as
`hydra.launcher.max_num_timeout` allows, and its cell's training goes on at the last checkpoint.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from typing import Any

from hydra.core.singleton import Singleton

from depthwright.refusal import Refusal, need_whole
from depthwright.runs import queue

POLL = 1.0
"""Seconds between two looks at the jobs."""
ARRAY = 500
"""Most jobs of one array; fewer where the cluster's MaxArraySize, 1,001 by default, is smaller."""
MOST = 10**6
"""Of settings that are numbers."""
AT_ONCE = 1000
"""Jobs that one call cancels."""
INIT_ONLY = ("submitit_folder", "max_num_timeout")
"""Settings of submitit's executor, not of its jobs."""
SHARED = (
    "timeout_min",
    "cpus_per_task",
    "gpus_per_node",
    "tasks_per_node",
    "mem_gb",
    "nodes",
    "name",
    "stderr_to_stdout",
)
"""Settings of jobs that every kind of cluster has; the others carry its name."""


def need_cluster(launcher: Any) -> None:
    """Raises Refusal where the launcher's jobs would be Slurm's, and Slurm is not there."""
    if getattr(launcher, "_EXECUTOR", None) == "slurm" and not shutil.which("srun"):
        raise Refusal(
            "launcher=slurm needs Slurm, and this machine has no srun; start it on a node of the "
            "cluster, or choose launcher=joblib"
        )


def submit(launcher: Any, cells: Sequence[Sequence[str]]) -> list[str | None]:
    """What became of each cell's job: None where it came to its end, else a sentence.

    An interruption takes back the jobs that are not done.
    """
    import submitit
    from submitit.core.utils import FailedJobError

    need_cluster(launcher)
    cluster = launcher._EXECUTOR
    given = launcher.params
    for key in ("array_parallelism", "timeout_min", "cpus_per_task"):
        if given.get(key) is not None:
            need_whole(f"hydra.launcher.{key}", given[key], 1, MOST)
    limits = {f"{cluster}_{k}": given[k] for k in INIT_ONLY[1:] if k in given}
    executor = submitit.AutoExecutor(folder=given["submitit_folder"], cluster=cluster, **limits)
    executor.update_parameters(
        **{
            key if key in SHARED else f"{cluster}_{key}": value
            for key, value in given.items()
            if key not in INIT_ONLY
        }
    )
    state = Singleton.get_state()
    shares = _shares(len(cells), _most_here() if cluster == "slurm" else ARRAY)
    at_once = given.get("array_parallelism")  # of all arrays together
    jobs: list[Any] = [None] * len(cells)
    try:
        for number, share in enumerate(shares):
            if at_once:
                limits = {"array_parallelism": max(1, at_once // len(shares))}
                if number >= at_once:
                    limits["dependency"] = f"afterany:{_array(jobs[number - at_once])}"
                executor.update_parameters(**{f"{cluster}_{k}": v for k, v in limits.items()})
            jobs[share] = executor.map_array(
                launcher,
                [list(overrides) for overrides in cells[share]],
                ["hydra.sweep.dir"] * len(cells[share]),
                numbers := range(len(cells))[share],
                [f"cell_{k}" for k in numbers],
                [state] * len(cells[share]),
            )
        given_up = _ended(jobs, cells) if cluster == "slurm" else _all_done(jobs)
    except BaseException as error:
        take_back([job for job in jobs if job], cluster)
        if isinstance(error, FailedJobError):
            why = str(error).strip().splitlines()[-1]
            taken = sum(job is not None for job in jobs)
            told = f"{cluster} takes no jobs here ({why}); choose launcher=joblib"
            if taken:
                told = (
                    f"{cluster} took {taken} of {len(cells)} jobs and no more ({why}), which are "
                    "taken back; give fewer cells to one command"
                )
            raise Refusal(told) from error
        raise
    return [given_up.get(job.job_id) or _fate(job, cluster) for job in jobs]


def _all_done(jobs: Sequence[Any]) -> dict[str, str]:
    """Wait for all jobs."""
    while not all(job.done() for job in jobs):
        time.sleep(POLL)
    return {}


def _ended(jobs: Sequence[Any], cells: Sequence[Sequence[str]]) -> dict[str, str]:
    """Wait for all jobs but those that Slurm cannot start; these, each with a sentence."""
    alike = set(cells[0]).intersection(*cells)
    words = [" ".join(word for word in cell if word not in alike) for cell in cells]
    names = {job.job_id: name for job, name in zip(jobs, words, strict=True)}
    given_up: dict[str, str] = {}
    watched, looked = queue.Queue(names), time.monotonic()
    while any(job.job_id not in given_up and not _done(job) for job in jobs):
        if time.monotonic() >= looked + queue.LOOK:
            open_ = {job.job_id for job in jobs if not _done(job)} - given_up.keys()
            lost = watched.look(open_)
            given_up |= lost
            cancel(lost)
            looked = time.monotonic()
        time.sleep(POLL)
    return given_up


def _done(job: Any) -> bool:
    """submitit takes a suspended job for one that has ended."""
    return bool(job.done()) and job.state not in ("SUSPENDED", "RESIZING")


def take_back(jobs: Sequence[Any], cluster: str) -> None:
    """Cancel those that are not done; an array of Slurm's by one call."""
    if cluster == "slurm":
        cancel(dict.fromkeys(map(_array, jobs)))
        return
    for job in jobs:
        job.cancel(check=False)


def cancel(names: Iterable[str]) -> None:
    """Jobs or whole arrays of Slurm's."""
    given = list(names)
    for begin in range(0, len(given), AT_ONCE):
        subprocess.run(["scancel", *given[begin : begin + AT_ONCE]], check=False)


def _array(job: Any) -> str:
    """The number of a job's array, or of the job where it is alone."""
    return str(job.job_id).partition("_")[0]


def _most_here() -> int:
    try:
        return _most(queue.asked("scontrol", "show", "config"))
    except OSError as error:
        raise Refusal(f"Slurm does not answer ({error}); choose launcher=joblib") from error


def _most(config: str) -> int:
    """Jobs of one array, from what `scontrol show config` prints."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", config, re.MULTILINE)
    return max(1, min(ARRAY, int(found[1]))) if found else ARRAY


def _shares(count: int, most: int) -> list[slice]:
    """Which cells go into which array: neighbours into different ones, so that all end together."""
    arrays = -(-count // most)
    return [slice(k, None, arrays) for k in range(arrays)]


def _fate(job: Any, cluster: str) -> str | None:
    from submitit.core.utils import UncompletedJobError

    failure = job.exception()
    if failure is None:
        return None
    if isinstance(failure, UncompletedJobError):
        return f"{cluster} job {job.job_id} ended as {job.state}; its log is {job.paths.stderr}"
    last = (str(failure).strip() or type(failure).__name__).splitlines()[-1]
    return f"{cluster} job {job.job_id} failed: {last}; its log is {job.paths.stderr}"
