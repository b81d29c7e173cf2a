"""Safetensors files, as this package writes and reads them: tensors by name, and a few words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from depthwright.files import whole_file
from depthwright.refusal import Refusal, clipped

EMPTY, EACH = 1 << 20, 64
"""So many inputs a file may declare without any entry, and so many more per entry."""


def save(
    path: str | Path,
    tensors: Mapping[str, Any],
    metadata: Mapping[str, str],
    save_file: Callable[..., Any],
) -> None:
    """Write with the library's `save_file`, whole or not at all; equal contents, equal bytes."""
    with whole_file(path) as partial:
        save_file(dict(tensors), partial, metadata=dict(metadata))
        _sort_metadata(partial)


def _sort_metadata(path: Path) -> None:
    """The library writes the metadata in the order of a hash table that is new each time."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) > size:
            raise RuntimeError(f"{path}: the sorted header takes {len(text)} of {size} bytes")
        file.seek(8)
        file.write(text.ljust(size))


def load(path: str | Path, framework: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Tensors by name, and the metadata; whatever cannot be read is refused."""
    from safetensors import safe_open

    try:
        with safe_open(path, framework=framework) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except Exception as error:  # a dtype that the framework lacks is none of the library's errors
        raise damaged(path, error) from error


def metadata(path: str | Path) -> dict[str, str]:
    """The metadata alone."""
    from safetensors import safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}
    except Exception as error:
        raise damaged(path, error) from error


def damaged(path: str | Path, why: object) -> Refusal:
    """The sentence about a file that is none."""
    return Refusal(f"{path} is damaged and cannot be read: {clipped(str(why), 200)}; save it again")
