"""The lowest digit that matters in each row of an exact network.

A network that adds noise below its digits has values with far more digits than its outputs show
after rounding to float64. A limb program may omit the last digits: `floors` says which. It is a
proposal, not a proof: the compiler adds up the omitted parts, and the program returns a point
uncomputed where they could change the rounding.

Layer by layer from the last: an error e of a linear form changes a form of the next layer by at
most e times the slope between them, and the terms that share a form count as one function
(2σ(r) − 4σ(r − ½) has slope 2, not 6; over a thousand layers that is a thousand digits).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from depthwright.networks.exact.layer import BIAS, Layer
from depthwright.networks.exact.limbs import bounds
from depthwright.networks.exact.limbs.bounds import Bound, Part
from depthwright.networks.exact.limbs.rows import Term, rows_of

DIGITS = 96
"""Bits kept of the largest term of an output: about 40 more than a float64 has."""
ENOUGH = 64
"""Bits of an output's largest value above its error; with fewer, digits are not left out."""
WORTHWHILE = 512
"""Values of fewer bits than this are computed exactly."""

Key = tuple[Term, ...]


def worthwhile(layers: Sequence[Layer], value_bits: int | None) -> bool:
    """Whether values are much longer than the weights explain."""
    bits = value_bits or 0
    if bits <= WORTHWHILE:
        return False
    longest = max(map(int.bit_length, (w for layer in layers for w in layer.integers)))
    return bits > 2 * longest


def floors(layers: Sequence[Layer]) -> list[list[float]]:
    """Layer → row → power of two below which its digits need not be kept."""
    patterns: dict[tuple[int, int, int], list[list[int]]] = {}
    steepest: dict[tuple[Part, ...], float] = {}
    wanted = [
        max((size.bit_length() + power for _, size, power in row), default=0) - float(DIGITS)
        for row in rows_of(layers[-1], patterns)
    ]
    found = [wanted]
    forms = _forms(rows_of(layers[-1], patterns), wanted)
    for layer in reversed(layers[:-1]):
        rows = rows_of(layer, patterns)
        keys = [_form(row) for row in rows]
        wanted, shared = _below(keys, forms, steepest)
        found.append([floor if floor < math.inf else -math.inf for floor in wanted])
        forms = {}
        for (key, _, _), own in zip(keys, wanted, strict=True):
            if key and own < math.inf:
                forms[key] = shared[key]
    return found[::-1]


def _form(row: Sequence[Term]) -> tuple[Key, int, Bound]:
    """(form, power, bias) of a row: row = 2^power·form + bias."""
    bias = bounds.total(term[1:] for term in row if term[0] == BIAS)
    kept = [term for term in row if term[0] != BIAS]
    power = kept[0][2] if kept else 0
    return tuple((column, size, at - power) for column, size, at in kept), power, bias


def _forms(rows: Sequence[Sequence[Term]], wanted: Sequence[float]) -> dict[Key, float]:
    """Forms of these rows, and the floor of each."""
    forms: dict[Key, float] = {}
    for row, floor in zip(rows, wanted, strict=True):
        key, power, _ = _form(row)
        forms[key] = min(forms.get(key, math.inf), floor - power)
    return forms


def _below(
    keys: Sequence[tuple[Key, int, Bound]],
    forms: dict[Key, float],
    steepest: dict[tuple[Part, ...], float],
) -> tuple[list[float], dict[Key, float]]:
    """Floors of a layer's rows, and of its forms, from the floors of the forms that read it."""
    wanted = [math.inf] * len(keys)
    shared: dict[Key, float] = {}
    for reader, floor in forms.items():
        groups: dict[Key, list[Part]] = {}
        for column, size, power in reader:
            key, scale, bias = keys[column]
            groups.setdefault(key, []).append(((size, power), (1, scale), bias, None))
            wanted[column] = min(wanted[column], floor - math.log2(abs(size)) - power)
        for key, parts in groups.items():
            known = tuple(parts)
            if known not in steepest:
                m, e = bounds.steepest(known)
                steepest[known] = math.log2(m) + e if m else -math.inf
            shared[key] = min(shared.get(key, math.inf), floor - steepest[known])
    return wanted, shared
