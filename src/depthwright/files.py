"""Files that are there whole or not at all, and readers that nothing in a file can stop."""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from depthwright.refusal import Refusal


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A neighbour to write to; it takes the place of `path` on success and is removed otherwise.

    Its bytes are on the disk before it has the name, so that a power cut leaves the old file or the
    new one; who may read it is what the process's umask says, whoever wrote it. A failure of the
    disk is an OSError, also where a library raises something of its own.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.chmod(0o666 & ~_umask())
        os.replace(partial, path)
    except Exception as error:
        if not isinstance(error, OSError) and (told := _RUST.search(str(error))):
            number = int(told[1])
            raise OSError(number, os.strerror(number), str(path)) from error
        raise
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


_RUST = re.compile(r"\(os error (\d+)\)")
"""How the libraries that are written in Rust (safetensors) name a failure of the system."""


def _umask() -> int:
    """The process's, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write a file in one piece, in UTF-8; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one piece."""
    write_text(path, json.dumps(content, indent=1, allow_nan=True) + "\n")


LIMIT = 2**24
"""Bytes of a file that is read; what we write ourselves is far smaller."""
DAMAGED = ".damaged"
"""Ends the name of what stood where a file of ours belongs and was none."""


def read_text(path: Path, limit: int = LIMIT) -> str | None:
    """A text file's content; None where there is none, or nothing that can be read.

    So for a folder, a pipe (which is never waited for), more than `limit` bytes, and what is not
    UTF-8.
    """
    try:
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(number, "rb") as file:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                return None
            content = file.read(limit + 1)
        return content.decode("utf-8") if len(content) <= limit else None
    except (OSError, ValueError):  # not there, not ours to read; no UTF-8, a null in the path
        return None


def read_json(path: Path, limit: int = LIMIT) -> Any:
    """What a JSON file holds; None where `read_text` gives None, and for what is no JSON."""
    text = read_text(path, limit)
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):  # also integers of 4,301 digits
        return None


def damaged(path: Path) -> bool:
    """Whether something is there that cannot be read as JSON."""
    return os.path.lexists(path) and read_json(path) is None


def set_aside(path: Path) -> None:
    """Give a folder, a pipe or the like, where a file of ours belongs, the name PATH.damaged."""
    if os.path.lexists(path) and not path.is_file():
        path.replace(path.with_name(path.name + DAMAGED))


@contextmanager
def lesser(what: str) -> Iterator[None]:
    """Around the writing of what is worth less than the rows: a failure becomes a warning.

    Files are written at the end of long work, and the disk may have been filled since its start.
    """
    try:
        yield
    except OSError as error:
        warnings.warn(f"{what} is not kept: {error.strerror or error}", stacklevel=3)


PROBE = 4096
"""Bytes, a block of most disks: an empty file can still be made on a full one."""


def need_writable(folder: Path) -> None:
    """Make the folder; raises Refusal where nothing can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(PROBE))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise Refusal(
            f"{folder} cannot be written to ({error.strerror}); choose another output"
        ) from error
