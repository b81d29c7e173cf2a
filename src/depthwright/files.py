"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from depthwright.refusal import Refusal


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A neighbour to write to; it takes the place of `path` on success and is removed otherwise.

    Its bytes are on the disk before it has the name, so that a power cut leaves the old file or the
    new one; who may read it is what the process's umask says, whoever wrote it.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.chmod(0o666 & ~_umask())
        os.replace(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


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
