"""From recorded expressions to plain layers, x ↦ W_L σ(… σ(W_1 x + b_1) …) + b_L."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from depthwright.networks.architecture import Architecture
from depthwright.networks.reading.balls import Ball, identity
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
    """What was given, with its size, in words."""
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
                bad = np.argwhere(~np.isfinite(array))
                if len(bad):
                    at = tuple(int(k) for k in bad[0])
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
        """Whether these layers are the given network without any rounding."""
        return all(e is None for e in (*self.weight_errors, *self.bias_errors))

    @property
    def sizes(self) -> str:
        """Before and after, in one line."""
        after = Architecture.of(self.widths)
        return (
            f"{self.before} → plain layers of width {after.width}, depth {after.depth}, "
            f"{after.parameters:,} parameters"
        )

    def deviation(self, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
        """(d_out,): the given network differs at most so much from these layers on the box.

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
    """The layers that compute the elements `outputs`, atoms carried as long as they are read."""
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
    check_entries(sum(a * b for a, b in pairwise(widths)), "this network of plain layers")
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
    """Atoms as they are: σ leaves them alone."""
    return Expression({block: identity(size).rows(atoms)})


def _layer(
    rows: Iterable[Expression], cells: dict[int, np.ndarray], fan_in: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Weight, bias and their errors, rows stacked; `cells` says where each atom stands before."""
    layers = []
    for expression in rows:
        middle, error = np.zeros((expression.size, fan_in + 1)), None
        for block, ball in expression.parts.items():
            place = np.array([fan_in]) if block == ONE else cells[block]
            _put(middle, ball.middle, place)
            if ball.error is not None:
                error = np.zeros_like(middle) if error is None else error
                _put(error, ball.error, place)
        layers.append(Ball(middle, error))
    middle = np.concatenate([ball.middle for ball in layers])
    weight, bias = np.ascontiguousarray(middle[:, :-1]), middle[:, -1].copy()
    if all(ball.error is None for ball in layers):
        return weight, bias, None, None
    error = np.concatenate(
        [np.zeros_like(b.middle) if b.error is None else b.error for b in layers]
    )
    weight_error, bias_error = np.ascontiguousarray(error[:, :-1]), error[:, -1].copy()
    return weight, bias, _or_none(weight_error), _or_none(bias_error)


def _put(into: np.ndarray, matrix: object, place: np.ndarray) -> None:
    """Write a part into the columns where its atoms stand; the others are not read."""
    if isinstance(matrix, np.ndarray):
        known = place >= 0
        into[:, place[known]] = matrix[:, known]
    else:
        entries = matrix.tocoo()  # type: ignore[attr-defined]
        known = entries.data != 0
        row, column = entries.coords
        assert (place[column[known]] >= 0).all()
        into[row[known], place[column[known]]] = entries.data[known]


def _or_none(error: np.ndarray) -> np.ndarray | None:
    return error if error.any() else None
