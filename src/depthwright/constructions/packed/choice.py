"""Which layout and which bits NarrowPacked takes: the fewest parameters found under the error.

A layout says how every hidden layer is decoded (packed/bounds.py). Under a layout a point
is a list of whole numbers: c bits a coordinate (unless the inputs are whole already); per map
f_l = p_l − q_{l−1}, bits after the point of its weights, where it is rounded (f_1 is p_1, or
p_1 − c where the first layer is direct, whose inputs have c bits); q_l for a layer that is
truncated. The certified error is, but for a switch between two bounds, a sum with one part per
entry of the point, and one bit more halves that part. So the search fits such a sum to the exact
neighbours of a point, ranks all exchanges by it, and evaluates the best few exactly: the model
proposes, the certified bound decides.

Source. Ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, permutations

import numpy as np

from depthwright.constructions.packed.bounds import Bits, Bounds, Layout, Sizing
from depthwright.refusal import Refusal

Point = tuple[int, ...]

BITS_LIMIT = 2048
"""An accuracy that needs more bits than this is refused."""
STEPS = 2
"""A move changes an entry by at most this many bits."""
DOUBT = 0.02, 0.1
"""Shares by which the modelled error of an exchange may exceed the limit, the likelier first."""
TRIES = 20
"""Certified evaluations in a step, per entry of the point, before the search ends."""


def choose(
    bounds: Bounds, error: float, cost: Callable[[Sizing], int], layouts: Iterator[Layout]
) -> Sizing:
    """The cheapest choice found with a certified error of at most `error`.

    A layout is tried unchanged; then layers between the first and the last that pass on every bit
    are truncated, one by one, as long as that saves parameters.
    """
    found = [search(bounds, error, cost, layout) for layout in layouts]
    best = min(found, key=cost)
    while True:
        tried = [search(bounds, error, cost, layout) for layout in shortened(best.layout)]
        better = min(tried, key=cost, default=best)
        if cost(better) >= cost(best):
            return best
        best = better


def shortened(layout: Layout) -> Iterator[Layout]:
    """The layouts that truncate one layer more."""
    last = len(layout.ways) - 1
    for level, way in enumerate(layout.ways):
        if way == "exact" or (way == "tent" and level < last):
            ways = (*layout.ways[:level], "read", *layout.ways[level + 1 :])
            yield replace(layout, ways=ways)


def search(bounds: Bounds, error: float, cost: Callable[[Sizing], int], layout: Layout) -> Sizing:
    """The cheapest bits found under one layout.

    Start where the parts of the error are proportional to the costs of their bits, the minimum for
    a sum of powers of two under a linear cost; then exchange: one bit more somewhere, fewer
    elsewhere.
    """
    found = Search(bounds, error, cost, layout)
    if not entries(layout):  # nothing is rounded
        return found.sizing(found.ample())
    point = found.balanced(found.ample())
    moves = Moves.of(len(point))
    while True:
        there = found.better(point, moves)
        if there is None:
            return found.sizing(point)
        point = there


@dataclass(frozen=True)
class Known:
    """Error and cost of a point; it holds no arrays, since there are thousands."""

    error: float
    cost: int


@dataclass(frozen=True)
class Moves:
    """Every exchange tried: entries (moves, 3) of the point and their changes (moves, 3)."""

    entries: np.ndarray
    changes: np.ndarray

    @classmethod
    def of(cls, n: int) -> Moves:
        """One bit less; one or two more for one or two less; one more for two others."""
        ones = [((i, 0, 0), (-1, 0, 0)) for i in range(n)]
        twos = [
            ((up, down, 0), (more, less, 0))
            for up, down in permutations(range(n), 2)
            for more, less in ((1, -1), (1, -2), (2, -1))
        ]
        first, second = np.array([*combinations(range(n), 2)], int).reshape(-1, 2).T
        up = np.arange(n)[:, None]
        triples = np.stack(np.broadcast_arrays(up, first, second), axis=-1).reshape(-1, 3)
        triples = triples[(triples[:, :1] != triples[:, 1:]).all(axis=1)]
        entries, changes = zip(*ones, *twos, strict=True)
        return cls(
            np.concatenate([np.array(entries), triples]).astype(np.int32),
            np.concatenate([np.array(changes), np.tile([1, -1, -1], (len(triples), 1))]),
        )

    def __getitem__(self, at: int) -> Mapping[int, int]:
        """Move number `at`: entry → change."""
        pairs = zip(self.entries[at].tolist(), self.changes[at].tolist(), strict=True)
        return {entry: change for entry, change in pairs if change}


class Search:
    """The points evaluated so far, for one wanted error."""

    def __init__(
        self, bounds: Bounds, error: float, cost: Callable[[Sizing], int], layout: Layout
    ) -> None:
        self.bounds, self.error, self.cost, self.layout = bounds, error, cost, layout
        self.known: dict[Point, Known | None] = {}

    def evaluated(self, point: Point) -> Known | None:
        """The certified error and cost; None where the point is no valid choice of bits."""
        if point not in self.known:
            bits = self.bits(point)
            sizing = self.bounds.sizing(self.layout, bits) if bits else None
            sane = sizing is not None and math.isfinite(sizing.error)
            self.known[point] = Known(sizing.error, self.cost(sizing)) if sizing and sane else None
        return self.known[point]

    def sizing(self, point: Point) -> Sizing:
        """Everything that follows from a point that has been evaluated."""
        bits = self.bits(point)
        assert bits is not None
        return self.bounds.sizing(self.layout, bits)

    def exact(self, point: Point) -> Known:
        """The certified facts of a point from which the search goes on."""
        found = self.evaluated(point)
        assert found is not None
        return found

    def good(self, point: Point) -> bool:
        """Whether the certified error is within the wanted one."""
        found = self.evaluated(point)
        return found is not None and found.error <= self.error

    def bits(self, point: Point) -> Bits | None:
        """The bits of a point; None where they are not valid."""
        layout = self.layout
        given = dict(zip(entries(layout), point, strict=True))
        c = given.get(("c", 0), 1)
        if min(point, default=1) < 1:
            return None
        below = c if layout.cells and layout.ways[0] == "direct" else 0
        p: list[int] = []
        q: list[int] = []
        for level, way in enumerate(layout.ways):
            p.append(below + given.get(("f", level), 0))
            q.append(given["q", level] if way == "read" else p[-1])
            if way == "read" and q[-1] >= p[-1]:
                return None
            below = q[-1]
        p.append(below + given.get(("f", len(layout.ways)), 0))
        return Bits(c, tuple(p), tuple(q))

    def ample(self) -> Point:
        """Equal bits everywhere, enough for the wanted error."""
        for start in range(8, BITS_LIMIT, 8):
            doubled = {("f", 0)} if self.layout.ways[0] == "read" else set()
            point = tuple(start << (entry in doubled) for entry in entries(self.layout))
            if self.good(point):
                return point
        raise Refusal(
            f"an error of {self.error:.3g} would need more than {BITS_LIMIT} bits; "
            "give a larger accuracy"
        )

    def neighbours(self, point: Point) -> tuple[np.ndarray, np.ndarray]:
        """Modelled changes of error and cost (entries, 2·STEPS + 1), a column per change.

        From one certified evaluation on either side of every entry. An invalid change costs inf.
        """
        here = self.exact(point)
        changes = np.arange(-STEPS, STEPS + 1)
        errors, costs = np.zeros((2, len(point), len(changes)))
        for i in range(len(point)):
            more, less = self.evaluated(moved(point, {i: 1})), self.evaluated(moved(point, {i: -1}))
            if more:
                part = 2 * (here.error - more.error)
            else:
                part = less.error - here.error if less else 0.0
            errors[i] = max(part, 0.0) * (2.0**-changes - 1)
            up = more.cost - here.cost if more else math.inf
            down = less.cost - here.cost if less else math.inf
            costs[i, :STEPS] = down * -changes[:STEPS]
            costs[i, STEPS + 1 :] = up * changes[STEPS + 1 :]
        return errors, costs

    def balanced(self, point: Point) -> Point:
        """Bits that make each part of the error proportional to its cost, rounded up."""
        _, costs = self.neighbours(point)
        parts = np.array([self.part(point, i) for i in range(len(point))])
        prices = np.where(np.isfinite(costs[:, STEPS + 1]), costs[:, STEPS + 1], 1.0)
        prices = np.maximum(prices, 1.0)
        change = np.ceil(np.log2(parts / (self.error * prices / prices.sum())))
        wanted = np.maximum(np.array(point) + change, 1).astype(int).tolist()
        for extra in range(max(point)):
            tried = self.mended([w + extra for w in wanted])
            if self.good(tried):
                return tried
        return point

    def part(self, point: Point, i: int) -> float:
        """The error that one bit less of entry i adds, from the fewest bits that show it."""
        here, found, fewer = self.exact(point).error, 1e-300, 1
        while fewer < point[i]:
            less = self.evaluated(moved(point, {i: -fewer}))
            if less is None:
                break
            found = max((less.error - here) / (2.0**fewer - 1), 1e-300)
            if less.error > 1.001 * here:
                break
            fewer *= 2
        return found

    def mended(self, point: list[int]) -> Point:
        """Raise the weight bits of a truncated layer until there are bits to truncate."""
        named = entries(self.layout)
        given = dict(zip(named, point, strict=True))
        below = given.get(("c", 0), 0) if self.layout.ways[0] == "direct" else 0
        for level, way in enumerate(self.layout.ways):
            if way == "read":
                given["f", level] = max(given["f", level], given["q", level] - below + 1)
            below = given["q", level] if way == "read" else below + given.get(("f", level), 0)
        return tuple(given[entry] for entry in named)

    def better(self, point: Point, moves: Moves) -> Point | None:
        """A cheaper point one move away, cheapest first, that keeps the error."""
        errors, costs = self.neighbours(point)
        here = self.exact(point)
        at = moves.entries, moves.changes + STEPS
        cost = costs[at].sum(axis=1)
        error = here.error + errors[at].sum(axis=1)
        # A field that grows or shrinks by a bit at a power of two is beyond the model.
        near = costs[:, STEPS - 1 : STEPS + 2]
        hidden_gain = np.ptp(near[np.isfinite(near)])
        (worth,) = np.nonzero((cost < hidden_gain) & (error <= self.error * (1 + DOUBT[1])))
        doubtful = error[worth] > self.error * (1 + DOUBT[0])
        order = np.lexsort((error[worth], cost[worth], doubtful))
        for move in worth[order][: TRIES * len(point)]:
            there = moved(point, moves[move])
            if self.good(there) and self.exact(there).cost < here.cost:
                return there
        return None


def entries(layout: Layout) -> list[tuple[str, int]]:
    """The meaning of a point's entries: c, f_l, q_l, levels counted from 0."""
    named = [("c", 0)] if layout.cells else []
    for level, way in enumerate(layout.ways):
        if level or not layout.exact_first:
            named.append(("f", level))
        if way == "read":
            named.append(("q", level))
    return named if layout.sums else [*named, ("f", len(layout.ways))]


def moved(point: Point, move: Mapping[int, int]) -> Point:
    return tuple(v + move.get(i, 0) for i, v in enumerate(point))
