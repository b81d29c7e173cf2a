"""An exact network compiled to fixed-point arithmetic on limbs (64-bit words).

*Number format.* A slot (one neuron of one layer) holds, for every point of a tile, a non-negative
integer in limbs, least first; its value is integer × 2^grid. The grid, the number of limbs and
the slot's place in the arena are fixed here, once for all points of the box. A row of a layer is

    dst = bias + Σ ± (source << shift) + Σ ± (source × coefficient)      then σ, or a clamp,

computed modulo 2^(64·limbs) in two's complement, so partial sums may wrap; the row's interval
(bounds.py) says that the result itself fits, and it alone sizes the slot. Negative values
live only between the sum and σ, in the outputs, and in the inputs, which are split: x = x₊ − x₋.
Hidden slots are stored without a sign, limbs of zeros on top stripped; *an output slot keeps its
sign limb*: it is always a row of its own (never a hidden slot under another name), sized with the
bit for the sign, and nothing is stripped from its top, neither here nor at run time.

*What makes it fast.* (1) The longest term of a row is its *main* term: the row's grid is chosen so
that this term needs no shift inside a limb, only a move of whole limbs; where nobody else reads
the source, the row is written over it, and 2r − bit touches the few limbs that the bit has.
(2) A row that only carries or scales a slot by a power of two is no instruction at all.
(3) Two neurons σ(a + β), σ(a + β') that the next layer reads only as a difference are one slot,
min(σ(a + β), β − β'): a bit test; and triangles upon triangles are one pass over their digits.
(4) At run time each slot remembers the range of limbs in which any point of the tile is not zero,
and nothing outside it is touched: bits are short where they are bits, and have the long fractions
that the interval allows only at points inside a ramp. (5) Digits that no output shows are left out,
and a point is handed back where they could (floors.py).

*Why no overflow is possible.* A slot is stored in limbs [first, last) ⊆ [0, limbs). The sum of
fewer than 2^62 terms, each below 2^(64·h), lies in ±2^(64·h + 62), so h + 1 limbs hold it with
its sign; the row uses min(h + 1, limbs) limbs, and `limbs` suffice by the interval, made wider
by what is left out. Other low limbs that a row lacks are zero: no term has bits below the row's
`lowest` ≥ grid.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from depthwright.networks.exact.limbs.bounds import ZERO, Bound, Form, Interval

LIMB = 64
SUM, RELU, CLAMP, TENTS = 0, 1, 2, 3
"""What follows a row's sum."""
ROW_FIELDS = 13
"""kind, destination slot, its first limb, limbs, main slot (−1: none), its first limb, move of the
main term in limbs, in place, first term, end of terms; of the ceiling: place among the constants,
limbs, move; of triangles: bits of their period."""
TERM_FIELDS = 8
"""0 shift, 1 product, 2 constant; sign; source slot; its first limb; move in limbs; bits; first
limb of the constant; its length."""
SHIFT, PRODUCT, CONSTANT = 0, 1, 2


@dataclass(slots=True)
class Slot:
    """A value of the newest layer."""

    place: int
    """Buffer, and index of the run-time range; −1 for a slot that is always 0."""
    start: int
    """Its first limb in the arena."""
    limbs: int
    grid: int
    lowest: int
    """No bit below 2^lowest is set; lowest ≥ grid."""
    interval: Interval
    form: Form | None = None
    scale: Bound = ZERO
    bias: Bound = ZERO
    ceiling: Bound | None = None
    """value = min(σ(scale·form + bias), ceiling) where a form is known."""
    cut: Bound = ZERO
    """Bound on the error of this slot's own row by the digits that it has left out."""
    tent: tuple[int, int] | None = None
    """Of triangles: the row, and the power of two that is twice their height."""


NOTHING = Slot(-1, 0, 0, 0, 0, Interval(ZERO, ZERO))


@dataclass(frozen=True)
class LimbProgram:
    """Tables for the executors. All integers; limbs of constants are uint64."""

    rows: np.ndarray
    """(rows, ROW_FIELDS) int64."""
    terms: np.ndarray
    """(terms, TERM_FIELDS) int64."""
    constants: np.ndarray
    """(limbs of all constants,) uint64."""
    inputs: np.ndarray
    """(2·input_dim, 3) int64: slot, first limb, limbs of x₊ and x₋ of every coordinate."""
    input_grid: int
    outputs: np.ndarray
    """(output_dim, 3) int64: slot (−1: always 0), first limb, grid. In two's complement: the last
    limb of the run-time range holds the sign."""
    places: int
    arena: int
    """Limbs that a tile of points needs."""
    ends: bool = False
    """Whether digits have been left out: then `outputs` are the lower ends of the values first, and
    then the upper ends."""
    loaded: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)
    """The tables on each device that has run it."""

    def values(self, out: np.ndarray) -> np.ndarray:
        """(points, output_dim) of the executor's (points, len(outputs)); nan where the two ends are
        not the same float64, so that what was left out might change it.
        """
        if not self.ends:
            return out
        low, high = np.split(out, 2, axis=1)
        same = np.ascontiguousarray(low).view(np.int64) == np.ascontiguousarray(high).view(np.int64)
        return np.where(same, low, np.nan)


class Arena:
    """Buffers of limbs, reused when free; limb 0 is always zero."""

    def __init__(self) -> None:
        self.size = 1
        self.starts: list[int] = []
        self.sizes: list[int] = []
        self._free: list[tuple[int, int]] = []

    def take(self, limbs: int) -> int:
        """The smallest free buffer that is large enough, unless it is much too large."""
        at = bisect.bisect_left(self._free, (limbs, 0))
        if at < len(self._free) and self._free[at][0] <= 2 * limbs + 8:
            return self._free.pop(at)[1]
        self.starts.append(self.size)
        self.sizes.append(limbs + limbs // 8 + 2)
        self.size += self.sizes[-1]
        return len(self.starts) - 1

    def release(self, place: int) -> None:
        bisect.insort(self._free, (self.sizes[place], place))
