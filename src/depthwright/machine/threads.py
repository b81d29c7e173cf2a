"""Compiled loops shared among threads that live as long as one call.

Numba's own threads (`prange`) keep their cores busy while they wait for the last one, are missing
in a forked process, and take loops that compile twice as long.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def threads() -> int:
    """As many as NUMBA_NUM_THREADS says, or as there are cores."""
    import numba

    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


def shared(work: Callable[[slice], Result], count: int, grain: int) -> list[Result]:
    """Results, in order, of `work`, which lets go of Python's lock, on slices of [0, count).

    One slice a thread, of whole grains.
    """
    each = max(grain, -(-count // (grain * threads())) * grain)
    parts = [slice(at, min(at + each, count)) for at in range(0, max(count, 1), each)]
    if len(parts) == 1:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(work, parts))
