"""From recorded expressions to plain layers, x ↦ W_L σ(… σ(W_1 x + b_1) …) + b_L."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from depthwright.networks.architecture import Architecture
from depthwright.networks.reading.balls import identity
from depthwright.networks.reading.expressions import (
    INPUT,
    ONE,
    Expression,
    Ids,
    Tape,
    check_entries,
    columns_used,
)
from depthwright.networks.upper import Upper, product
from depthwright.refusal import Refusal

Matrices = tuple[np.ndarray, ...]
Errors = tuple[np.ndarray | None, ...]


@dataclass(frozen=True, eq=False)
class PlainNetwork:
    """A network that was read, as plain layers with σ(z) = max(0, z) between them.

    The network that was given is exactly such a network with weights within `weight_errors` and
    biases within `bias_errors` of these, entry by entry; None where a layer is exact.
    """

    weights: Matrices
    """(n_l, n_{l−1}) float64, layer by layer."""
    biases: Matrices
    """(n_l,) float64, layer by layer."""
    weight_errors: Errors
    bias_errors: Errors
    before: str = ""
    """The given network with its size, in words."""
    lower: np.ndarray | None = None
    """(d,): the box of inputs that a file declares."""
    upper: np.ndarray | None = None

    def __post_init__(self) -> None:
        for i, (a, b) in enumerate(pairwise(self.weights), 2):
            if len(a) != b.shape[1]:
                raise Refusal(
                    f"Linear layer {i} reads {b.shape[1]} values but the one before gives {len(a)}"
                )
        for i, layer in enumerate(zip(self.weights, self.biases, strict=True), 1):
            for name, array in zip(("weight", "bias"), layer, strict=True):
                finite = np.isfinite(array)
                if not finite.all():
                    at = tuple(int(k) for k in np.argwhere(~finite)[0])
                    raise Refusal(
                        f"the {name} of affine map {i} is {array[at]} at {at}; "
                        "a network needs finite weights"
                    )

    @property
    def widths(self) -> tuple[int, ...]:
        """(d, n_1, …, n_{L−1}, d_out)."""
        return (self.weights[0].shape[1], *(len(bias) for bias in self.biases))

    @property
    def exact(self) -> bool:
        """Whether these layers equal the given network without any rounding."""
        return all(e is None for e in (*self.weight_errors, *self.bias_errors))

    @property
    def sizes(self) -> str:
        """Sizes before and after, in one line."""
        after = Architecture.of(self.widths)
        return (
            f"{self.before} → plain layers of width {after.width}, depth {after.depth}, "
            f"{after.parameters:,} parameters"
        )

    def deviation(self, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
        """(d_out,): bound on the distance between the given network and these layers on the box.

        Let h be the values of a layer, h* the true ones, |h* − h| ≤ δ. With the true weights W*
        within E of W and b* within e of b, the next layer differs by at most
        |W*h* + b* − Wh − b| ≤ |W|δ + E(|h| + δ) + e, and σ makes it no larger. |h| is bounded by
        |W||h| + |b|, layer by layer.
        """
        size = Upper.of(np.maximum(np.abs(lower), np.abs(upper)))
        off = Upper.of(np.zeros(len(lower)))
        layers = zip(self.weights, self.biases, self.weight_errors, self.bias_errors, strict=True)
        for weight, bias, weight_error, bias_error in layers:
            new = product(np.abs(weight), off)
            if weight_error is not None:
                new = new + product(weight_error, size + off)
            if bias_error is not None:
                new = new + Upper.of(bias_error)
            size, off = product(np.abs(weight), size) + Upper.of(np.abs(bias)), new
        return off.floats()


def plain_network(
    tape: Tape,
    outputs: Ids,
    before: str,
    box: tuple[np.ndarray, np.ndarray] | tuple[None, None] = (None, None),
) -> PlainNetwork:
    """The layers that compute the elements `outputs`; atoms are carried while still read."""
    final = tape.expression(outputs.reshape(-1))
    depth = 1 + max((tape.blocks[k].level for k in final.parts if k in tape.blocks), default=0)
    last = _last_uses(tape, final, depth)
    before_cells: dict[int, np.ndarray] = {INPUT: np.arange(tape.input_dim)}
    plans = []
    for level in range(1, depth):
        cells, rows, count = {}, [], 0
        for block, uses in sorted(last.items(), key=lambda item: _own_first(tape, item[0], level)):
            own = tape.blocks[block].level == level
            if not own and (tape.blocks[block].level > level or uses.max() <= level):
                continue
            atoms = np.arange(len(uses)) if own else np.flatnonzero(uses > level)
            place = np.full(len(uses), -1)
            place[atoms] = np.arange(count, count + len(atoms))
            cells[block] = place
            rows.append(tape.blocks[block].before if own else _kept(block, atoms, len(uses)))
            count += len(atoms)
        plans.append((rows, before_cells, count))
        before_cells = cells
    plans.append(([final], before_cells, final.size))
    widths = [tape.input_dim, *(count for *_, count in plans)]
    check_entries(
        sum(a * b for a, b in pairwise(widths)), "the plain layers of this network need matrices"
    )
    layers = [
        _layer(rows, cells, fan_in)
        for (rows, cells, _), fan_in in zip(plans, widths[:-1], strict=True)
    ]
    weights, biases, weight_errors, bias_errors = zip(*layers, strict=True)
    return PlainNetwork(weights, biases, weight_errors, bias_errors, before, *box)


def _own_first(tape: Tape, block: int, level: int) -> tuple[bool, int]:
    return tape.blocks[block].level != level, block


def _last_uses(tape: Tape, final: Expression, depth: int) -> dict[int, np.ndarray]:
    """Per block that is needed, and atom: the last layer that reads it."""
    last: dict[int, np.ndarray] = {}
    waiting: list[tuple[Expression, int]] = [(final, depth)]
    while waiting:
        expression, level = waiting.pop()
        for block, ball in expression.parts.items():
            if block in (ONE, INPUT):
                continue
            if block not in last:
                last[block] = np.zeros(ball.shape[1], dtype=np.int64)
                waiting.append((tape.blocks[block].before, tape.blocks[block].level))
            used = columns_used(ball)
            last[block][used] = np.maximum(last[block][used], level)
    return last


def _kept(block: int, atoms: np.ndarray, size: int) -> Expression:
    """Atoms carried unchanged: σ leaves them alone."""
    return Expression({block: identity(size).rows(atoms)})


def _layer(
    rows: Sequence[Expression], cells: dict[int, np.ndarray], fan_in: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Weight, bias and their errors, rows stacked; `cells` says where each atom stands before."""
    fan_out = sum(expression.size for expression in rows)
    weight, bias = np.zeros((fan_out, fan_in)), np.zeros((fan_out, 1))
    inexact = any(b.error is not None for expression in rows for b in expression.parts.values())
    errors = (np.zeros_like(weight), np.zeros_like(bias)) if inexact else (weight[:0], bias[:0])
    start = 0
    for expression in rows:
        at = slice(start, start + expression.size)
        for block, ball in expression.parts.items():
            constant = block == ONE
            place = np.zeros(1, dtype=np.int64) if constant else cells[block]
            _put((bias if constant else weight)[at], ball.middle, place)
            if ball.error is not None:
                _put(errors[constant][at], ball.error, place)
        start = at.stop
    return weight, bias[:, 0], _or_none(errors[0]), _or_none(errors[1][:, 0])


def _put(into: np.ndarray, matrix: object, place: np.ndarray) -> None:
    """Write a part into the columns of its atoms."""
    if isinstance(matrix, np.ndarray):
        if np.array_equal(place, np.arange(into.shape[1])):
            into[:] = matrix
        else:
            known = place >= 0
            into[:, place[known]] = matrix[:, known]
    else:
        entries = matrix.tocoo()  # type: ignore[attr-defined]
        known = entries.data != 0
        row, column = (index[known] for index in entries.coords)
        if (place[column] < 0).any():
            raise AssertionError("a layer reads what the one before does not keep; this is a bug")
        into[row, place[column]] = entries.data[known]


def _or_none(error: np.ndarray) -> np.ndarray | None:
    return error if error.any() else None
