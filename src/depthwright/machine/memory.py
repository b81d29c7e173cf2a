"""How much memory this process may still take, asked before work that needs much of it."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterator
from pathlib import Path

from depthwright.refusal import Refusal

SYSTEM = Path("/")
"""Where /proc and /sys are."""


def need_memory(size: float, what: str, cure: str) -> None:
    """Raises Refusal where `what` needs more bytes than are free; elsewhere than on Linux, never.

    The system would end the process half way.
    """
    free = min(_free(), default=size)
    if size > free:
        raise Refusal(
            f"{what} takes about {size / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; "
            f"{cure}"
        )


def _free() -> Iterator[int]:
    """Bytes that the machine has, and that are left of the limits set to groups of processes."""
    if found := re.search(r"^MemAvailable:\s+(\d+) kB", _text("proc/meminfo"), re.MULTILINE):
        yield int(found[1]) * 1024
    if found := re.search(r"^\d+:memory:/(.*)$", _text("proc/self/cgroup"), re.MULTILINE):
        for folder in (Path("sys/fs/cgroup/memory", found[1]), Path("sys/fs/cgroup/memory")):
            yield from _left(folder, "memory.limit_in_bytes", "memory.usage_in_bytes")
    if found := re.search(r"^0::/(.*)$", _text("proc/self/cgroup"), re.MULTILINE):
        place = Path("sys/fs/cgroup", found[1])
        for folder in (place, *place.parents[:-3]):
            yield from _left(folder, "memory.max", "memory.current")
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and (pages := _text("proc/self/statm").split()):
        yield max(0, limit - int(pages[0]) * resource.getpagesize())


def _left(folder: Path, limit: str, used: str) -> Iterator[int]:
    """Of the limit of a group of processes; files that are kept in memory make room."""
    limit, used = _text(folder / limit).strip(), _text(folder / used).strip()
    if limit.isdigit() and used.isdigit():
        stat = _text(folder / "memory.stat")
        cache = re.search(r"^inactive_file (\d+)$", stat, re.MULTILINE)
        yield max(0, int(limit) - int(used) + int(cache[1] if cache else 0))


def _text(path: str | Path) -> str:
    try:
        return (SYSTEM / path).read_text("utf-8")
    except OSError:
        return ""
