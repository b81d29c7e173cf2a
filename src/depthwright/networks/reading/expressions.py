"""A network's intermediate values, as affine expressions of its ReLUs' values.

Every number that occurs is an *element*, a row of some affine map of *atoms*; an atom is an input
or the value of one ReLU. Readers speak of elements by number: an array of element numbers stands
for a tensor, so that reshaping, slicing or concatenating tensors is the same operation on numbers.
Element 0 is the constant 0.

Atoms stand in blocks, one for the inputs and one for each group of ReLUs that are computed
together, in hidden layer `level`. An expression that meets others of a later level must be carried
there: a value x as relu(x) − relu(−x), a value that is not negative as relu(x).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from depthwright.networks.reading.balls import Ball, diagonal, exact, identity
from depthwright.refusal import Refusal

ONE, INPUT = 0, 1
"""The blocks of the constant 1 and of the inputs."""
ENTRIES_LIMIT = 1 << 27
"""Matrices of more entries than this (1 GiB) are not made."""

Ids = np.ndarray
"""Numbers of elements, any shape."""


def check_entries(count: int, needs: str = "needs a matrix") -> None:
    """Refuse matrices that do not fit into memory, before they are made."""
    if count > ENTRIES_LIMIT:
        raise Refusal(
            f"{needs} of {count:,} entries, more than {ENTRIES_LIMIT:,} (1 GiB); "
            "give a smaller input or fewer channels"
        )


@dataclass(frozen=True, eq=False)
class Expression:
    """Rows Σ_block parts[block] · atoms of the block."""

    parts: dict[int, Ball]

    @cached_property
    def size(self) -> int:
        """Number of rows."""
        return next(iter(self.parts.values())).shape[0]

    @cached_property
    def nonnegative(self) -> bool:
        """Whether no row can be negative, since no coefficient is."""
        return INPUT not in self.parts and all(
            ball.middle.min(initial=0) >= 0
            if isinstance(ball.middle, np.ndarray)
            else ball.middle.data.min(initial=0) >= 0
            for ball in self.parts.values()
        )

    @cached_property
    def plain(self) -> bool:
        """Whether every row is a sum of ReLU values, which ReLU leaves unchanged."""
        if INPUT in self.parts or any(ball.error is not None for ball in self.parts.values()):
            return False
        return all(
            not ball.middle.any()
            if isinstance(ball.middle, np.ndarray)
            else bool((ball.middle.data == 1).all()) and block != ONE
            for block, ball in self.parts.items()
        )

    def rows(self, chosen: np.ndarray) -> Expression:
        return Expression({k: ball.rows(chosen) for k, ball in self.parts.items()}).needed()

    def needed(self) -> Expression:
        """Without the parts that are zero, as in x − x: nothing is carried for them."""
        parts = {k: ball for k, ball in self.parts.items() if columns_used(ball).any()}
        if len(parts) == len(self.parts):
            return self
        return Expression(parts or {ONE: exact(np.zeros((self.size, 1)))})

    def mapped(self, matrix: Ball) -> Expression:
        return Expression(
            {
                block: matrix if _is_identity(ball) else matrix @ ball
                for block, ball in self.parts.items()
            }
        )

    def __add__(self, other: Expression) -> Expression:
        parts = dict(self.parts)
        for block, ball in other.parts.items():
            parts[block] = parts[block] + ball if block in parts else ball
        return Expression(parts)


@dataclass(frozen=True, eq=False)
class Block:
    """The ReLUs σ(before), all in hidden layer `level`."""

    level: int
    before: Expression


def columns_used(ball: Ball) -> np.ndarray:
    """Which atoms of its block a part reads, as booleans."""
    used = np.zeros(ball.shape[1], dtype=bool)
    for matrix in (ball.middle, ball.error):
        if isinstance(matrix, np.ndarray):
            used |= matrix.any(axis=0)
        elif matrix is not None:
            used[matrix.indices[matrix.data != 0]] = True
    return used


def _is_identity(ball: Ball) -> bool:
    n, m = ball.shape
    matrix = ball.middle
    if n != m or isinstance(matrix, np.ndarray) or matrix.nnz != n:
        return False
    return bool((matrix.data == 1).all() and (matrix.indices == np.arange(n)).all())


class Tape:
    """Records the elements of one network; readers call its operations."""

    def __init__(self, input_dim: int) -> None:
        self.input_dim = input_dim
        self.blocks: dict[int, Block] = {}
        self._expressions: list[Expression] = []
        self._levels: list[int] = []
        self._starts: list[int] = []
        self._count = 0
        self._relus: dict[tuple[int, int], int] = {}
        self._carried: dict[int, Ids] = {}
        self._record(Expression({ONE: exact(np.zeros((1, 1)))}))
        self.inputs: Ids = self._record(Expression({INPUT: identity(input_dim)}))

    # elements and their expressions

    def _record(self, expression: Expression) -> Ids:
        expression = expression.needed()
        level = max((self._level_of(block) for block in expression.parts), default=0)
        self._expressions.append(expression)
        self._levels.append(level)
        self._starts.append(self._count)
        self._count += expression.size
        return np.arange(self._count - expression.size, self._count)

    def _level_of(self, block: int) -> int:
        return self.blocks[block].level if block in self.blocks else 0

    def _groups(self, ids: Ids) -> np.ndarray:
        """In which expression each element is a row."""
        return np.searchsorted(self._starts, ids, side="right") - 1

    def level(self, ids: Ids) -> int:
        """The hidden layer after which all these elements are available."""
        return max(self._levels[group] for group in np.unique(self._groups(ids)))

    def expression(self, ids: Ids) -> Expression:
        """The elements (n,) as rows over atoms, all available in one layer."""
        ids = self._aligned(ids)
        groups = self._groups(ids)
        found = np.unique(groups)
        if len(found) == 1:
            whole = self._expressions[found[0]]
            rows = ids - self._starts[found[0]]
            same = len(rows) == whole.size and bool((rows == np.arange(whole.size)).all())
            return whole if same else whole.rows(rows)
        total: Expression | None = None
        for group in found:
            at = np.flatnonzero(groups == group)
            part = self._expressions[group].rows(ids[at] - self._starts[group])
            place = sparse.csr_array(
                (np.ones(len(at)), (at, np.arange(len(at)))), shape=(len(ids), len(at))
            )
            placed = part.mapped(exact(place))
            total = placed if total is None else total + placed
        assert total is not None
        return total

    def _aligned(self, ids: Ids) -> Ids:
        """The same values over atoms of the last of their layers: earlier ones are carried."""
        groups = self._groups(ids)
        found = np.unique(groups)
        top = max(self._levels[group] for group in found)
        out = ids.copy()
        for group in found:
            if self._levels[group] < top and self._reads_atoms(group):
                at = np.flatnonzero(groups == group)
                out[at] = self._carry(ids[at])
        return out

    def _reads_atoms(self, group: int) -> bool:
        return bool(self._expressions[group].parts.keys() - {ONE})

    def _carry(self, ids: Ids) -> Ids:
        """Carry the elements of one expression to later layers with the fewest neurons."""
        unique, back = np.unique(ids, return_inverse=True)
        new = np.array([i for i in unique.tolist() if i not in self._carried], dtype=np.int64)
        if len(new):
            group = int(self._groups(new[:1])[0])
            expression = self._expressions[group].rows(new - self._starts[group])
            uses = {k: int(columns_used(b).sum()) for k, b in expression.parts.items() if k != ONE}
            atoms = sum((2 if block == INPUT else 1) * used for block, used in uses.items())
            if (1 if expression.nonnegative else 2) * len(new) < atoms:
                carried = self._split(new, expression.nonnegative)
            elif INPUT in uses:
                carried = self._record(self._over_split_inputs(expression))
            else:
                carried = new
            self._carried.update(zip(new.tolist(), carried.tolist(), strict=True))
        return np.array([self._carried[i] for i in unique.tolist()], dtype=np.int64)[back]

    def _split(self, ids: Ids, nonnegative: bool) -> Ids:
        if nonnegative:
            return self._new_relus(ids, 1)
        return self.add(self.relu(ids), self.relu(ids, -1), -1)

    def _over_split_inputs(self, expression: Expression) -> Expression:
        """Inputs x replaced by relu(x) − relu(−x)."""
        part = expression.parts[INPUT]
        used = np.flatnonzero(columns_used(part))
        chosen = Ball(part.middle[:, used], None if part.error is None else part.error[:, used])
        split = self.expression(self._split(self.inputs[used], nonnegative=False))
        rest = Expression({k: b for k, b in expression.parts.items() if k != INPUT})
        return split.mapped(chosen) + rest if rest.parts else split.mapped(chosen)

    # operations

    def constant(self, values: Any) -> Ids:
        """Elements of these values, in their shape."""
        values = np.asarray(values, dtype=np.float64)
        if not values.any():
            return np.zeros(values.shape, dtype=np.int64)
        return self._record(Expression({ONE: exact(values.reshape(-1, 1))})).reshape(values.shape)

    def affine(self, matrix: Ball, ids: Ids, shift: Ball | None = None) -> Ids:
        """matrix · ids + shift, flat; `shift` is one column."""
        flat = ids.reshape(-1)
        if matrix.shape[1] != flat.size:
            raise Refusal(f"multiplies {flat.size} values by a matrix of {matrix.shape[1]} columns")
        check_entries(_count(matrix))
        mapped = self.expression(flat).mapped(matrix)
        return self._record(mapped if shift is None else mapped + Expression({ONE: shift}))

    def scale(
        self, ids: Ids, factors: Any, errors: np.ndarray | None = None, shift: Ball | None = None
    ) -> Ids:
        """Each element times its factor (+ shift), in the shape of `ids`."""
        factors = np.broadcast_to(np.asarray(factors, dtype=np.float64), ids.shape).reshape(-1)
        return self.affine(diagonal(factors, errors), ids, shift).reshape(ids.shape)

    def add(self, a: Ids, b: Ids, sign: float = 1) -> Ids:
        """a + sign · b, broadcast."""
        a, b = np.broadcast_arrays(a, b)
        both = self._aligned(np.concatenate([a.reshape(-1), b.reshape(-1)]))
        first, second = self.expression(both[: a.size]), self.expression(both[a.size :])
        if sign != 1:
            second = second.mapped(diagonal(np.full(b.size, float(sign))))
        return self._record(first + second).reshape(a.shape)

    def relu(self, ids: Ids, sign: int = 1) -> Ids:
        """σ(sign · element); the ReLU of one element is made once."""
        unique, back = np.unique(ids, return_inverse=True)
        new = np.array([i for i in unique.tolist() if (i, sign) not in self._relus], dtype=np.int64)
        if len(new):
            plain = sign == 1 and self.expression(new).plain
            values = new if plain else self._new_relus(new, sign)
            self._relus.update(
                ((i, sign), j) for i, j in zip(new.tolist(), values.tolist(), strict=True)
            )
        found = np.array([self._relus[i, sign] for i in unique.tolist()], dtype=np.int64)
        return found[back].reshape(ids.shape)

    def _new_relus(self, ids: Ids, sign: int) -> Ids:
        expression = self.expression(ids)
        if sign == -1:
            expression = Expression({k: -b for k, b in expression.parts.items()})
        level = 1 + max((self._level_of(block) for block in expression.parts), default=0)
        block = len(self.blocks) + INPUT + 1
        self.blocks[block] = Block(level, expression)
        return self._record(Expression({block: identity(expression.size)}))

    def maximum(self, a: Ids, b: Ids) -> Ids:
        """max(a, b) = b + σ(a − b), broadcast; where both are one element, that one."""
        a, b = np.broadcast_arrays(a, b)
        pairs = np.sort(np.stack([a.reshape(-1), b.reshape(-1)]), axis=0)
        unique, back = np.unique(pairs, axis=1, return_inverse=True)
        out = unique[1].copy()
        differ = np.flatnonzero(unique[0] != unique[1])
        if len(differ):
            low, high = unique[:, differ]
            out[differ] = self.add(high, self.relu(self.add(low, high, -1)))
        return out[back].reshape(a.shape)

    def minimum(self, a: Ids, b: Ids) -> Ids:
        """−max(−a, −b)."""
        return self.scale(self.maximum(self.scale(a, -1), self.scale(b, -1)), -1)

    def clamp(self, ids: Ids, low: float | None, high: float | None) -> Ids:
        """min(max(x, low), high) for numbers low, high."""
        if low is not None and high is not None and low > high:
            low = high  # as torch and ONNX do
        if low is not None and np.isfinite(low):
            above = self.relu(self.add(ids, self.constant(low), -1) if low else ids)
            out = self.add(above, self.constant(low)) if low else above
        else:
            low, out = None, ids
        if high is None or not np.isfinite(high):
            return out
        if low is None:
            return self.add(
                self.constant(high), self.relu(self.add(self.constant(high), ids, -1)), -1
            )
        return self.add(out, self.relu(self.add(ids, self.constant(high), -1) if high else ids), -1)

    def leaky(self, ids: Ids, slope: Any) -> Ids:
        """σ(x) − slope · σ(−x), for any slope; `slope` is broadcast."""
        return self.add(self.relu(ids), self.scale(self.relu(ids, -1), slope), -1)

    def absolute(self, ids: Ids) -> Ids:
        """σ(x) + σ(−x)."""
        return self.add(self.relu(ids), self.relu(ids, -1))


def _count(ball: Ball) -> int:
    return ball.middle.size if isinstance(ball.middle, np.ndarray) else ball.middle.nnz
