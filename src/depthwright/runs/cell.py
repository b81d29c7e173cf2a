"""A cell: the folder of one run, whose files say how far it is and who works on it.

    results.json   finished, written last
    running.json   a process works on it; touched every few seconds while that process lives
    error.json     the last attempt failed; the next one removes it
    .lock          held by the computing process; the operating system frees it on any exit

So any number of sweeps may share a folder, and a killed one leaves nothing to clean up.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from depthwright import results
from depthwright.files import write_json
from depthwright.machine.provenance import code

RUNNING = "running.json"
ERROR = "error.json"
LOCK = ".lock"
BEAT = 5.0
"""Seconds between two signs of life."""
SILENCE = 12 * BEAT
"""Seconds after which whoever works on another machine is taken for dead."""


def identity(plain: Mapping[str, Any]) -> str:
    """Ten hex digits of what determines a cell's numbers: settings and this package's source."""
    text = json.dumps({**plain, "code": code()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


class State(StrEnum):
    """How far a cell is."""

    FINISHED = "finished"
    RUNNING = "running"
    FAILED = "failed"
    STOPPED = "stopped"
    """Killed half way: no rows, no error, and nobody is at work."""
    WAITING = "waiting"


class Busy(Exception):
    """Another process works on the cell."""


def state(folder: Path) -> State:
    """Read from the folder's files alone, without taking its lock."""
    if results.finished(folder):
        return State.FINISHED
    mark = _read(folder / RUNNING)
    if mark is not None and _alive(mark, folder / RUNNING):
        return State.RUNNING
    if (folder / ERROR).exists():
        return State.FAILED
    return State.WAITING if mark is None else State.STOPPED


def started(folder: Path) -> float | None:
    """When the work that is going on began, in seconds since 1970."""
    mark = _read(folder / RUNNING)
    return None if mark is None else float(mark["started"])


def error(folder: Path) -> str | None:
    """What the last attempt failed with, in a sentence."""
    record = _read(folder / ERROR)
    return None if record is None else str(record["error"])


def write_error(folder: Path, failure: Exception | str) -> None:
    """Record a failure, in one piece."""
    if isinstance(failure, str):
        record = {"error": failure, "type": None, "traceback": None}
    else:
        record = {
            "error": sentence(failure),
            "type": type(failure).__name__,
            "traceback": "".join(traceback.format_exception(failure)),
        }
    write_json(folder / ERROR, record)


def sentence(failure: BaseException) -> str:
    """The first line of an exception's message; its type where it has none."""
    return next((line for line in str(failure).splitlines() if line), type(failure).__name__)


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """The cell is ours until the end of the block, whose failure is recorded.

    Raises Busy where another process has it. An interruption is no failure: it leaves the cell
    as if it had never been begun.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Busy(f"another process works on {folder}") from None
    try:
        for torn in folder.glob(".*.partial"):  # of someone who was killed while writing
            torn.unlink()
        with _marked(folder / RUNNING):
            (folder / ERROR).unlink(missing_ok=True)
            try:
                yield
            except Exception as failure:
                write_error(folder, failure)
                raise
    finally:
        lock.release()


def wait(folder: Path) -> None:
    """Until nobody works on the cell; its lock tells, and so survives deaths of any kind."""
    from filelock import FileLock

    if (folder / LOCK).exists():
        with FileLock(folder / LOCK, poll_interval=0.5):
            pass


@contextmanager
def _marked(path: Path) -> Iterator[None]:
    mark = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "job": _slurm_job(),
        "started": time.time(),
    }
    write_json(path, mark)
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT):
            with suppress(FileNotFoundError):  # it went while we woke up
                os.utime(path)

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    finally:
        over.set()
        path.unlink(missing_ok=True)


def _slurm_job() -> str | None:
    """As squeue and scancel call it."""
    array, alone = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else alone


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    assert isinstance(content, dict)
    return content


def _alive(mark: dict[str, Any], path: Path) -> bool:
    """On this machine the process is asked for; on others the last sign of life counts."""
    if mark["host"] == socket.gethostname():
        try:
            os.kill(int(mark["pid"]), 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True
    try:
        return time.time() - path.stat().st_mtime < SILENCE
    except FileNotFoundError:
        return False
