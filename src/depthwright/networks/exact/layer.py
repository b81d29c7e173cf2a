"""Layers of exact networks: sparse affine maps with dyadic entries (integer × 2^power), as data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from depthwright.networks.exact.dyadic import Dyadic

BIAS = -1
"""The column of the constant 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """An affine map R^fan_in → R^fan_out as a list of terms, four numbers each.

    Term t adds integers[t] × 2^powers[t] to the entry (rows[t], columns[t]), column BIAS being
    the bias. Rows stand in order; terms of one entry stand side by side and do not cancel, so
    an entry with a term is not zero. The tuples `rows` and `columns` are shared between layers
    of one pattern, and equal integers are shared objects: a layer costs a few hundred bytes.
    """

    fan_in: int
    fan_out: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    integers: tuple[int, ...]
    powers: tuple[int, ...]

    @property
    def terms(self) -> Iterator[tuple[int, int, int, int]]:
        """(row, column, integer, power), one after the other."""
        return zip(self.rows, self.columns, self.integers, self.powers, strict=True)

    @property
    def nonzeros(self) -> int:
        """Entries of the matrix and of the bias that are not zero."""
        return len(set(zip(self.rows, self.columns, strict=True)))

    def entries(self) -> Iterator[tuple[int, int, Dyadic]]:
        """(row, column, value) of every entry that is not zero."""
        for (row, column), group in groupby(self.terms, key=lambda term: term[:2]):
            yield row, column, Dyadic.total((integer, power) for _, _, integer, power in group)

    def expressions(self) -> list[dict[int, Dyadic]]:
        """Per row, column → value."""
        out: list[dict[int, Dyadic]] = [{} for _ in range(self.fan_out)]
        for row, column, value in self.entries():
            out[row][column] = value
        return out


class Patterns:
    """Makes layers out of expressions; equal patterns are stored once."""

    def __init__(self) -> None:
        self._shared: dict[tuple[int, ...], tuple[int, ...]] = {}

    def share(self, values: Iterable[int]) -> tuple[int, ...]:
        """One object for equal tuples."""
        key = tuple(values)
        return self._shared.setdefault(key, key)

    def layer(self, fan_in: int, expressions: Iterable[dict[int, Dyadic]]) -> Layer:
        """Row i of the layer is Σ expressions[i][column] × column."""
        rows: list[int] = []
        columns: list[int] = []
        integers: list[int] = []
        powers: list[int] = []
        fan_out = 0
        for row, expression in enumerate(expressions):
            fan_out += 1
            for column, value in expression.items():
                for integer, power in value.terms:
                    rows.append(row)
                    columns.append(column)
                    integers.append(integer)
                    powers.append(power)
        return Layer(
            fan_in,
            fan_out,
            self.share(rows),
            self.share(columns),
            tuple(integers),
            tuple(powers),
        )
