"""Exact values in big integers: the reference for every other evaluator.

Each value is an integer times a power of two. The power belongs to the slot (one neuron of one
layer), is the same for the whole batch, and follows from the powers of the weights, so it is never
stored as leading zero bits: a network whose values shrink to 2^−100000 costs no more than one
whose values are near 1. The result is rounded once, ties to even.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from depthwright.networks.exact.dyadic import round_to_float
from depthwright.networks.exact.layer import BIAS, Layer
from depthwright.progress import Bar
from depthwright.refusal import Refusal

Slot = tuple[Any, int]
"""Integers (batch,) as an object array, and their common power of two."""

Row = list[tuple[int, int, int]]
"""Terms of one neuron: column, integer, power of two (the slot's included)."""

MEMORY_LIMIT = 1 << 35
"""Bits of a layer's values for a whole batch, 4 GB."""
LONG = 1 << 26
"""Bits of a layer's values for a whole batch above which its rows are reported one by one."""
STRIP = 64
"""Zero bits at the end of all values of a slot that are worth dropping."""


@lru_cache(maxsize=1)
def _integer() -> type:
    """gmpy2's integers: four times as fast as Python's at a thousand bits."""
    from gmpy2 import mpz

    return mpz


def input_slots(x: np.ndarray) -> list[Slot]:
    """Each column as integers times one power of two."""
    mpz = _integer()
    slots: list[Slot] = []
    for column in np.asarray(x, dtype=np.float64).T:
        fraction, power = np.frexp(column)
        integers = np.ldexp(fraction, 53).astype(np.int64)
        zeros = np.array([((i & -i).bit_length() - 1) if i else 0 for i in integers.tolist()])
        lowest = power.astype(np.int64) - 53 + zeros
        common = int(lowest[integers != 0].min()) if (integers != 0).any() else 0
        shifts = power.astype(np.int64) - 53 - common
        values = np.empty(len(column), dtype=object)
        values[:] = [
            mpz(i << s if s >= 0 else i >> -s)
            for i, s in zip(integers.tolist(), shifts.tolist(), strict=True)
        ]
        slots.append((values, common))
    return slots


class Room:
    """Keeps the values of a batch within MEMORY_LIMIT: GMP ends the process where memory does."""

    def __init__(self, batch: int, bar: Callable[[float], None] = lambda part: None) -> None:
        """`bar` is told the share of a layer that is done, where a layer takes long."""
        self._batch, self._bar = batch, bar
        self._bits = 2098
        """No value has more, as far as is known: at first, that of a float64 beside another."""
        self._long = False

    def check(self, rows: list[Row], slots: list[Slot]) -> None:
        """Refuse a layer whose values might need more; `rows` are its terms, as in `_row`."""
        spreads = [_spread(terms) for terms in rows]
        grown = self._bits + max(spreads, default=0)
        most = self._batch * (self._bits * len(rows) + sum(spreads))
        self._long = most > LONG
        if most > MEMORY_LIMIT:
            lengths = [max((v.bit_length() for v in values), default=0) for values, _ in slots]
            needed = [
                spread + max((lengths[c] for c, _, _ in terms if c != BIAS), default=0)
                for terms, spread in zip(rows, spreads, strict=True)
            ]
            if (bits := self._batch * sum(needed)) > MEMORY_LIMIT:
                cure = "give fewer at once" if self._batch > 1 else "it cannot be evaluated exactly"
                raise Refusal(
                    f"the exact values of a layer need {bits} bits for {self._batch} inputs, more "
                    f"than {MEMORY_LIMIT}; {cure}"
                )
            grown = max(needed)
        self._bits = grown

    def told(self, rows: list[Row]) -> Iterator[Row]:
        """The rows of the layer that was looked at last, one after the other."""
        for done, terms in enumerate(rows):
            if self._long:
                self._bar(done / len(rows))
            yield terms


def _spread(terms: Row) -> int:
    """By how many bits the sum of the terms may be longer than the longest of their values."""
    if not terms:
        return 0
    top = max(power + integer.bit_length() for _, integer, power in terms)
    return top - min(power for _, _, power in terms) + len(terms).bit_length()


def affine(
    layer: Layer, slots: list[Slot], batch: int, relu: bool, room: Room | None = None
) -> list[Slot]:
    """One layer; `relu` wants σ after it, `room` looks at what it will take."""
    rows: list[Row] = [[] for _ in range(layer.fan_out)]
    for row, column, integer, power in layer.terms:
        rows[row].append((column, integer, power if column == BIAS else power + slots[column][1]))
    if room is None:
        return [_row(terms, slots, batch, relu) for terms in rows]
    room.check(rows, slots)
    return [_row(terms, slots, batch, relu) for terms in room.told(rows)]


def _row(terms: Row, slots: list[Slot], batch: int, relu: bool) -> Slot:
    """Σ integer × 2^power × slot: the sums of equal factors first, as bits are differences."""
    mpz = _integer()
    zero = mpz(0)
    if not terms:
        return np.full(batch, zero, dtype=object), 0
    if len(terms) == 1 and terms[0][1] == 1 and terms[0][0] != BIAS:
        values, power = slots[terms[0][0]][0], terms[0][2]
        return (np.maximum(values, zero) if relu else values), power
    lowest = min(power for _, _, power in terms)
    constant, groups = 0, {}
    for column, integer, power in terms:
        if column == BIAS:
            constant += mpz(integer) << (power - lowest)
            continue
        values, factor = slots[column][0], (abs(integer), power)
        if factor not in groups:
            groups[factor] = values if integer > 0 else -values
        elif integer > 0:
            groups[factor] = groups[factor] + values
        else:
            groups[factor] = groups[factor] - values
    total: Any = None
    for (integer, power), values in groups.items():
        shift = power - lowest
        if integer != 1:
            values = values * mpz(integer)
        if shift:
            values = values << shift
        total = values if total is None else total + values
    if total is None:
        total = np.full(batch, mpz(constant), dtype=object)
    elif constant:
        total = total + constant
    return _stripped(np.maximum(total, zero) if relu else total, lowest)


def _stripped(values: np.ndarray, power: int) -> Slot:
    """Divide by the largest power of two common to all values, if it is large."""
    fewest = None
    for value in values:
        if value:
            zeros = int(value & -value).bit_length() - 1
            if zeros <= STRIP:
                return values, power
            fewest = zeros if fewest is None else min(fewest, zeros)
    return (values, 0) if fewest is None else (values >> fewest, power + fewest)


def exact_layers(
    layers: Sequence[Layer], x: np.ndarray, bar: Callable[[float], None] = lambda part: None
) -> Iterator[list[Slot]]:
    """The values after each layer, σ applied, as integers with a power of two per slot."""
    last, i = len(layers) - 1, 0
    slots, room = input_slots(x), Room(len(x), lambda part: bar((i + part) / len(layers)))
    for i, layer in enumerate(layers):
        slots = affine(layer, slots, len(x), i < last, room)
        yield slots


def exact_values(layers: Sequence[Layer], x: np.ndarray) -> list[Slot]:
    """The outputs before rounding: per output the integers (batch,) and their power of two."""
    slots: list[Slot] = []
    with Bar("exact values, in integers") as bar:
        for done, values in enumerate(exact_layers(layers, x, bar), 1):
            slots = values
            bar(done / len(layers))
    return slots


def to_float64(slots: list[Slot], rows: np.ndarray | None = None) -> np.ndarray:
    """Round once, ties to even; values beyond the range are refused (by their number in `rows`)."""
    columns = [[round_to_float(int(v), power) for v in values] for values, power in slots]
    out = np.array(columns, dtype=np.float64).T
    refuse_overflow(out, rows)
    return out


def refuse_overflow(values: np.ndarray, rows: np.ndarray | None = None) -> None:
    """Refuse with the first row, or its number in `rows`, that has no finite value."""
    bad = np.isinf(values).any(axis=1)
    if bad.any():
        row = int(bad.argmax())
        row = row if rows is None else int(rows[row])
        raise Refusal(
            f"the value at row {row} exceeds 1.8e308, the largest float64; give smaller inputs"
        )
