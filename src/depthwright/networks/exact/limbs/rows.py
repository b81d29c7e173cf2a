"""Rows of a layer on their way to instructions: their terms, and which two are one bit test."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from depthwright.networks.exact.layer import BIAS, Layer
from depthwright.networks.exact.limbs import bounds
from depthwright.networks.exact.limbs.bounds import Bound, Form, Interval
from depthwright.networks.exact.limbs.program import CLAMP, RELU, Slot

Term = tuple[int, int, int]
"""Column, integer, power."""


@dataclass(slots=True)
class Row:
    """A row of a layer with its bounds, before it has a place."""

    terms: list[Term]
    """On slots that may be nonzero; the bias apart."""
    constant: list[tuple[int, int]]
    """(integer, power) of the bias."""
    form: Form | None
    scale: Bound
    bias: Bound
    sum: Interval
    ceiling: Bound | None = None
    kind: int = RELU
    period: int = 0
    """Of triangles: the power of two that is twice their height."""
    floor: float = -math.inf
    """Digits below this power of two may be left out."""


def rows_of(
    layer: Layer, patterns: dict[tuple[int, int, int], list[list[int]]]
) -> list[list[Term]]:
    """The terms of every row; the positions of terms are computed once per pattern."""
    key = (id(layer.rows), id(layer.columns), layer.fan_out)  # rows at the end may have no term
    if key not in patterns:
        found: list[list[int]] = [[] for _ in range(layer.fan_out)]
        for term, row in enumerate(layer.rows):
            found[row].append(term)
        patterns[key] = found
    columns, integers, powers = layer.columns, layer.integers, layer.powers
    return [[(columns[t], integers[t], powers[t]) for t in terms] for terms in patterns[key]]


def pairs(rows: Sequence[Row], readers: Sequence[Sequence[Term]]) -> Iterator[tuple[int, int]]:
    """(i, j) with row i = row j + δ, δ > 0, that all `readers` read only as i − j."""
    seen: dict[tuple[int, Bound], list[int]] = {}
    for index, row in enumerate(rows):
        if row.form is not None:
            seen.setdefault((id(row.form), row.scale), []).append(index)

    def steps(i: int, j: int) -> bool:
        return bounds.total([rows[i].bias, negated(rows[j].bias)])[0] > 0

    yield from _differences(list(seen.values()), steps, readers)


def triangles(
    rows: Sequence[Row], readers: Sequence[Sequence[Term]], taken: set[int]
) -> Iterator[tuple[int, int]]:
    """(i, j) with row i = u ≤ β, row j = 2u − β, β a power of two, that all `readers` read only
    as i − j; none of them `taken`.
    """
    seen: dict[int, list[int]] = {}
    for index, row in enumerate(rows):
        if row.form is not None and row.kind == RELU and index not in taken:
            seen.setdefault(id(row.form), []).append(index)

    def fold(i: int, j: int) -> bool:
        up, down = rows[i], rows[j]
        (m, e), (size, power) = up.scale, down.scale
        beta = negated(down.bias)
        return (
            not up.bias[0]
            and (size, power) == (m, e + 1)
            and beta[0] > 0
            and beta[0] & beta[0] - 1 == 0
            and fits(up, beta)
        )

    yield from _differences(list(seen.values()), fold, readers)


def _differences(
    groups: Sequence[list[int]],
    wanted: Callable[[int, int], bool],
    readers: Sequence[Sequence[Term]],
) -> Iterator[tuple[int, int]]:
    """Disjoint wanted pairs of a group that all `readers` read only as i − j."""
    groups = [group for group in groups if len(group) > 1]
    if not groups:
        return
    uses: dict[int, list[tuple[int, int, int]]] = {}
    for number, reader in enumerate(readers):
        for column, integer, power in reader:
            uses.setdefault(column, []).append((number, integer, power))
    for group in groups:
        free = set(group)
        for i in group:
            for j in group:
                if i == j or i not in free or j not in free:
                    continue
                minus = [(number, -integer, power) for number, integer, power in uses.get(j, [])]
                if uses.get(i, []) == minus and wanted(i, j):
                    free -= {i, j}
                    yield i, j


def written_over(
    fresh: Sequence[tuple[int, Row, int]], slots: Sequence[Slot], kept: set[int]
) -> list[tuple[int, Row, int, int]]:
    """(number, row, main term, place) of the rows that are written over their main term's buffer,
    in the order in which they run: after all that read the buffer, else in the order given.

    `fresh` are (number, row, main term), `kept` the buffers that must stay. Of rows that wait for
    each other in a circle the first is left out: it is written elsewhere, before all of these.
    Linear in the terms.
    """
    over: list[tuple[int, Row, int, int]] = []
    writer: dict[int, int] = {}
    for index, row, main in fresh:
        if main < 0 or row.kind == CLAMP:
            continue
        place = slots[row.terms[main][0]].place
        if place in kept or place in writer:
            continue
        if sum(slots[column].place == place for column, _, _ in row.terms) == 1:
            writer[place] = len(over)
            over.append((index, row, main, place))
    reads = [{slots[column].place for column, _, _ in row.terms} for _, row, _, _ in over]
    readers = Counter(place for places in reads for place in places)
    # a candidate reads its own buffer: it is free if no other row does
    free = [number for number, candidate in enumerate(over) if readers[candidate[3]] == 1]
    waiting = [True] * len(over)
    order, first = [], 0
    for _ in over:
        while not waiting[first]:
            first += 1
        chosen = first
        if free:
            chosen = heapq.heappop(free)
            order.append(over[chosen])
        waiting[chosen] = False
        for place in reads[chosen]:
            readers[place] -= 1
            if readers[place] == 1 and place in writer and waiting[writer[place]]:
                heapq.heappush(free, writer[place])
    return order


def fits(row: Row, beta: Bound) -> bool:
    """Whether the row is at most β."""
    return not bounds.is_negative(bounds.total([beta, negated(row.sum.high)]))


def log2(number: Bound) -> int:
    """k of the number 2^k."""
    return number[0].bit_length() - 1 + number[1]


def negated(number: Bound) -> Bound:
    return -number[0], number[1]


def split(rows: Sequence[Sequence[Term]]) -> list[list[Term]]:
    """x = x₊ − x₋: column j becomes columns 2j and 2j + 1."""
    return [
        [
            part
            for column, integer, power in row
            for part in (
                [(BIAS, integer, power)]
                if column == BIAS
                else [(2 * column, integer, power), (2 * column + 1, -integer, power)]
            )
        ]
        for row in rows
    ]
