"""Correctly rounded values of networks whose exact values have far more digits than matter.

A packed network adds more and more digits of noise below those that matter: its exact values have
the square of the digits of its weights. Here an integer of more than `bits` bits is rounded, and
its slot holds a bound on the error: a ball. σ and sums of balls are balls again, since σ is
1-Lipschitz. An output is settled when both ends of its ball round to one float64; points that are
not settled are computed again with twice the bits, in the end exactly. So the values are those of
exact evaluation, rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from depthwright.networks.exact.dyadic import round_to_float
from depthwright.networks.exact.integers import Room, Slot, affine, input_slots
from depthwright.networks.exact.layer import BIAS, Layer
from depthwright.progress import Bar

NOTHING = -math.inf
"""The logarithm of a radius of 0."""
SPARE = 512
"""Bits first added to three times those of the longest weight."""
MANY = 1 << 14
"""Values of fewer bits than this are computed exactly."""


def first_bits(weight_bits: int) -> int:
    """Bits kept at first: a triangle multiplies error bounds by 6 and values by 2."""
    return 3 * weight_bits + SPARE


def rounded(
    layers: Sequence[Layer], x: np.ndarray, bits: int | None, value_bits: int | None
) -> np.ndarray:
    """Exact values at `x` (batch, input_dim), rounded once: (batch, output_dim).

    `bits` are kept at first; none are dropped once `value_bits`, or all, would be kept.
    """
    out = np.full((len(x), layers[-1].fan_out), np.nan)
    left = np.arange(len(x))
    while len(left):
        if bits is not None and bits >= (value_bits or 0):
            bits = None
        found, done = _attempt(layers, x[left], bits)
        out[left[done]] = found[done]
        left, bits = left[~done], None if bits is None else 2 * bits
    return out


def _attempt(
    layers: Sequence[Layer], x: np.ndarray, bits: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Values, and for which points they are settled."""
    slots = input_slots(x)
    radii = [NOTHING] * len(slots)
    last, i = len(layers) - 1, 0
    with Bar("exact values, in balls") as bar:
        room = Room(len(x), lambda part: bar((i + part) / len(layers)))
        for i, layer in enumerate(layers):
            radii = _carried(layer, radii)
            slots = affine(layer, slots, len(x), i < last, room)
            if bits is not None:
                slots, radii = _cut(slots, radii, bits)
            bar((i + 1) / len(layers))
    ends = [_ends(*slot, radius) for slot, radius in zip(slots, radii, strict=True)]
    low, high = (np.array(side, float).T for side in zip(*ends, strict=True))
    return low, (low == high).all(axis=1)


def _carried(layer: Layer, radii: list[float]) -> list[float]:
    """Radii after an affine map: Σ abs(w)·radius, as logarithms rounded up."""
    parts: list[list[float]] = [[] for _ in range(layer.fan_out)]
    for row, column, integer, power in layer.terms:
        if column != BIAS and radii[column] > NOTHING:
            parts[row].append(radii[column] + power + _log2(integer))
    return [_total(part) for part in parts]


def _total(logs: list[float]) -> float:
    """log2 Σ 2^logs, rounded up."""
    if not logs:
        return NOTHING
    top = max(logs)
    return top + math.log2(math.fsum(2.0 ** max(log - top, -200) for log in logs)) + 1e-9


def _log2(integer: int) -> float:
    """log2 abs(integer), rounded up."""
    size = abs(integer)
    excess = max(size.bit_length() - 53, 0)
    return math.log2((size >> excess) + (excess > 0)) + excess + 1e-9


def _cut(slots: list[Slot], radii: list[float], bits: int) -> tuple[list[Slot], list[float]]:
    """Integers with more bits than this are rounded."""
    kept, wider = [], []
    for (values, power), radius in zip(slots, radii, strict=True):
        excess = max((int(v.bit_length()) for v in values), default=0) - bits
        if excess > bits // 16:  # not a few bits in every layer
            kept.append((values >> excess, power + excess))
            wider.append(_total([log for log in (radius, float(power + excess)) if log > NOTHING]))
        else:
            kept.append((values, power))
            wider.append(radius)
    return kept, wider


def _ends(values: np.ndarray, power: int, radius: float) -> tuple[list[float], list[float]]:
    """Both ends of every ball as floats."""
    if radius == NOTHING:
        exact = [round_to_float(int(v), power) for v in values]
        return exact, exact
    wide = 1 << max(math.ceil(radius - power), 0)
    low, high = ([round_to_float(int(v) + side, power) for v in values] for side in (-wide, wide))
    return low, high
