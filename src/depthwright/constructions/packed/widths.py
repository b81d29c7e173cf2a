"""The widths of NarrowPacked's layers, by formula: its size, no network built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from depthwright.constructions.packed.bounds import Sizing
from depthwright.networks.architecture import Architecture, Block


def architecture(widths: Sequence[int], sizing: Sizing) -> Architecture:
    """The architecture; where every neuron of a layer has one width, `sizing` may give it once."""
    hidden = zip(widths[2 if sizing.layout.ways[0] == "direct" else 1 :], sizing.s, strict=False)
    s = tuple(np.broadcast_to(bits, count) for count, bits in hidden)
    return Architecture(widths[0], blocks(widths, replace(sizing, s=s)), widths[-1])


def parameters(widths: Sequence[int], sizing: Sizing) -> int:
    """The same network's, with hidden fields in the order of their lengths: fewer runs to count.

    All fields of a hidden layer begin and end with the same widths, so their order changes no
    count. Packed outputs are taken apart at growing widths, so theirs does.
    """
    hidden = len(sizing.s) - (not sizing.layout.sums)
    s = (*map(np.sort, sizing.s[:hidden]), *sizing.s[hidden:])
    return architecture(widths, replace(sizing, s=s)).parameters


def blocks(widths: Sequence[int], sizing: Sizing) -> list[Block]:
    """Hidden widths, run by run, in the order in which `Packer` appends the layers."""
    d, outputs, layout, c = widths[0], widths[-1], sizing.layout, sizing.bits.c
    found: list[Block] = []
    if layout.cells:
        found += [Block((width,), c) for width in reading_widths(d)]
    fields = list(sizing.s)
    if layout.ways[0] == "direct":
        if layout.cells:
            found += [Block((2 + j,), c + 1) for j in range(1, d)]
        sums = outputs if layout.sums and len(layout.ways) == 1 else 1
        n = widths[1]
        found += [Block((d + 1,), n > 1), Block((d + 1 + sums,), max(n - 2, 0))]
        found.append(Block((1 + sums * (n > 1),)))
    for level, way in enumerate(layout.ways):
        if way == "direct":
            continue
        beside = outputs - 1 if layout.sums and level == len(layout.ways) - 1 else 0
        dropped = sizing.bits.p[level] - sizing.bits.q[level]
        found += [Block(field(way, s, dropped, beside), n) for s, n in runs(fields.pop(0))]
    if not layout.sums:
        found += [Block((2 + k,), s + 1) for k, s in enumerate(fields.pop(0).tolist()[:-1], 1)]
    return found


def field(way: str, s: int, dropped: int, beside: int) -> tuple[int, ...]:
    """Hidden widths of one field of s bits, `beside` sums in neurons of their own."""
    if way == "tent":
        return (2 + beside,) * (s + 1)
    if way == "exact":
        return (*(3 + beside,) * (s + 1), 2 + beside)
    return (3 + beside, *(4 + beside,) * (s - dropped - 1), *(2 + beside,) * (dropped + 2))


def runs(s: np.ndarray) -> list[tuple[int, int]]:
    """Run-length encoding."""
    if not s.size:
        return []
    if s.min() == s.max():
        return [(int(s[0]), len(s))]
    return [(value, sum(1 for _ in run)) for value, run in groupby(s.tolist())]


def groups(d: int) -> list[int]:
    """Numbers of coordinates read at once, after the first, within width max(d + 2, 4)."""
    left, found = d - 1, []
    while left:
        found.append(min(max((d + 1 - left) // 2, 1), left))
        left -= found[-1]
    return found


def reading_widths(d: int) -> list[int]:
    """Neurons while each group is read, c layers each."""
    if d == 1:
        return [4]
    found, left = [d + 2, d + 2], d - 1
    for together in groups(d):
        left -= together
        found.append(3 * together + 1 + left)
    return found
