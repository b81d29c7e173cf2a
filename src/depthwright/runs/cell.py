"""A cell: the folder of one run, whose files say how far it is and who works on it.

    results.json   finished, written last
    running.json   a process works on it; touched every few seconds while that process lives
    error.json     the last attempt failed; the next one removes it
    .lock          held by the computing process; the operating system frees it on any exit

So any number of sweeps may share a folder, and a killed one leaves nothing to clean up. A mark that
cannot be read, whatever happened to it, counts as none. Whether somebody is at work the lock says,
not the mark; only where the mark is another machine's, which might not share locks with this one,
does its last sign of life count as well.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import socket
import threading
import time
import traceback
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from depthwright import results
from depthwright.files import DAMAGED, read_json, set_aside, write_json
from depthwright.machine.provenance import code

RUNNING = "running.json"
ERROR = "error.json"
LOCK = ".lock"
FOLDERS = ("wandb",)
"""What a cell's folder holds beside files."""
BEAT = 5.0
"""Seconds between two signs of life."""
SILENCE = 12 * BEAT
"""Seconds without a sign of life after which a process on another machine counts as ended."""
ASKED = 0.2
"""Seconds for which those who only ask may have the lock, all together."""
LONGEST = 1000
"""Characters of an error that are shown."""


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


def state(folder: Path, columns: Collection[str] = ()) -> State:
    """Read from the folder's files and its lock; `columns` are those that its rows need."""
    if results.finished(folder, columns):
        return State.FINISHED
    if os.path.lexists(folder / RUNNING) and _at_work(folder):
        return State.RUNNING
    if error(folder) is not None:
        return State.FAILED
    return State.WAITING if _mark(folder) is None else State.STOPPED


def started(folder: Path) -> float | None:
    """When the work that is going on began, in seconds since 1970."""
    mark = _mark(folder)
    return None if mark is None else mark.started


def error(folder: Path) -> str | None:
    """What the last attempt failed with, in a sentence."""
    record = read_json(folder / ERROR)
    told = record.get("error") if isinstance(record, dict) else None
    return _line(told) if isinstance(told, str) else None


def write_error(folder: Path, failure: Exception | str) -> None:
    """Record a failure, in one piece, unless the folder cannot be written to."""
    if isinstance(failure, str):
        record = {"error": failure, "type": None, "traceback": None}
    else:
        record = {
            "error": sentence(failure),
            "type": type(failure).__name__,
            "traceback": "".join(traceback.format_exception(failure)),
        }
    with suppress(OSError):
        set_aside(folder / ERROR)
        write_json(folder / ERROR, record)


def sentence(failure: BaseException) -> str:
    """The first line of an exception's message; its type where it has none."""
    if isinstance(failure, OSError) and failure.strerror:
        return f"{failure.filename or 'a file'} cannot be written or read ({failure.strerror})"
    return _line(str(failure)) or type(failure).__name__


def _line(text: str) -> str:
    """The first that holds anything, as far as it can be shown."""
    line = next((line for line in text.splitlines() if line), "")[:LONGEST]
    return "".join(letter for letter in line if letter.isprintable())


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """The cell is ours until the end of the block, whose failure is recorded.

    Raises Busy where another process has it. An interruption is no failure: it leaves the cell
    as if it had never been begun.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    set_aside(folder / LOCK)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=ASKED, poll_interval=ASKED / 10)
    except Timeout:
        raise Busy(f"another process works on {folder}") from None
    try:
        _tidy(folder)
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

    if (folder / LOCK).is_file():
        with suppress(OSError), FileLock(folder / LOCK, poll_interval=0.5):
            pass


def _tidy(folder: Path) -> None:
    """Remove what someone left who was killed while writing; name what is no file `.damaged`."""
    for path in folder.iterdir():
        if path.name not in FOLDERS and path.suffix != DAMAGED:
            set_aside(path)
    for torn in folder.glob(".*.partial"):
        torn.unlink()


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
            with suppress(OSError):  # it went while we woke up
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


@dataclass(frozen=True)
class _Mark:
    """What of a running.json is read again."""

    host: str
    started: float


def _mark(folder: Path) -> _Mark | None:
    content = read_json(folder / RUNNING)
    if not isinstance(content, dict):
        return None
    host, began = content.get("host"), content.get("started")
    if not (isinstance(host, str) and isinstance(began, int | float) and 0 <= began < math.inf):
        return None
    try:
        return _Mark(host, float(began))
    except OverflowError:
        return None


def _at_work(folder: Path) -> bool:
    mark = _mark(folder)
    if _held(folder / LOCK):
        return True
    if mark is None or mark.host == socket.gethostname():
        return False
    try:  # clocks may differ, by little
        return abs(time.time() - (folder / RUNNING).stat().st_mtime) < SILENCE
    except OSError:
        return False


def _held(path: Path) -> bool:
    """Whether a process has the lock; asked without waiting, and given back at once."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no locks here
        return False
    finally:
        os.close(number)
    return False
