"""What may become of a file that somebody shares: each way to harm one, by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def _bytes(content: bytes) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        path.unlink(missing_ok=True)
        path.write_bytes(content)

    return harm


def _half(path: Path) -> None:
    content = path.read_bytes() if path.exists() else b'[{"a": 1}]'
    path.write_bytes(content[: len(content) // 2])


def _folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()
    (path / "in it").write_text("kept")


def _pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _nowhere(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("nowhere")


def _huge(path: Path) -> None:
    """A sparse file of a terabyte, which takes no place."""
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(2**40)


HARMS: dict[str, Callable[[Path], None]] = {
    "empty": _bytes(b""),
    "truncated": _half,
    "binary": _bytes(bytes(range(256))),
    "empty list": _bytes(b"[]"),
    "empty object": _bytes(b"{}"),
    "null": _bytes(b"null"),
    "number": _bytes(b"7"),
    "list of objects": _bytes(b"[{}]"),
    "digits": _bytes(b'{"started": ' + b"9" * 5000 + b"}"),
    "nested lists": _bytes(b"[" * 100_000 + b"]" * 100_000),
    "nested objects": _bytes(b'{"error": ' * 100_000),
    "UTF-16": _bytes('{"error": "é"}'.encode("utf-16")),
    "Latin-1": _bytes('{"error": "é"}'.encode("latin-1")),
    "folder": _folder,
    "pipe": _pipe,
    "link to nowhere": _nowhere,
    "terabyte": _huge,
}
