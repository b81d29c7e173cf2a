"""Exact networks: sparse affine layers with dyadic entries (integer × 2^k), held as data.

They can be counted, saved, checked and evaluated exactly by anyone in any language; a torch
module is one rendering of them, refused where the dtype cannot hold what they need.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from depthwright.networks.architecture import Architecture, Block
from depthwright.networks.exact.dyadic import Dyadic
from depthwright.networks.inputs import Inputs
from depthwright.networks.arithmetic import Arithmetic
from depthwright.networks.network import Network
from depthwright.refusal import Refusal

if TYPE_CHECKING:
    import torch

    from depthwright.networks.exact.network import Engine

BIAS = -1
"""The column of the constant 1."""

TORCH_DEPTH_LIMIT = 100_000
"""More torch modules than this are not made."""


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
            value = Dyadic()
            for _, _, integer, power in group:
                value = value + Dyadic(integer, power)
            yield row, column, value

    def expressions(self) -> list[dict[int, Dyadic]]:
        """Per row, column → value."""
        out: list[dict[int, Dyadic]] = [{} for _ in range(self.fan_out)]
        for row, column, value in self.entries():
            out[row][column] = value
        return out


class Patterns:
    """Makes layers out of expressions, sharing what they have in common."""

    def __init__(self) -> None:
        self._shared: dict[tuple[int, ...], tuple[int, ...]] = {}

    def share(self, values: list[int]) -> tuple[int, ...]:
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


@dataclass(frozen=True, eq=False)
class ExactNetwork(Network):
    """A ReLU network whose layers are data. Immutable.

    `inputs`: what it was built for; others are refused by default (None: all are welcome).
    `value_bits`: mantissa bits with which evaluation goes right (networks.mantissa); a float dtype
    with fewer is refused unless rounding is asked for. None where rounding errors stay small,
    as in a network with arithmetic "float64".
    """

    layers: tuple[Layer, ...]
    arithmetic: Arithmetic = "exact"
    inputs: Inputs | None = None
    value_bits: int | None = None
    suffix: ClassVar[str] = ".jsonl.gz"

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise Refusal("a network without layers computes nothing; give at least one")
        for i, (a, b) in enumerate(pairwise(self.layers), 1):
            if a.fan_out != b.fan_in:
                raise Refusal(
                    f"layer {i + 1} reads {b.fan_in} values but layer {i} gives {a.fan_out}"
                )

    @cached_property
    def architecture(self) -> Architecture:
        """Counted on the layers."""
        sizes = (layer.fan_out for layer in self.layers[:-1])
        hidden = [Block((size,), sum(1 for _ in run)) for size, run in groupby(sizes)]
        nonzeros = sum(layer.nonzeros for layer in self.layers)
        return Architecture(self.layers[0].fan_in, hidden, self.layers[-1].fan_out, nonzeros)

    @property
    def differentiable(self) -> bool:
        """Only where float64 follows the values."""
        return self.arithmetic != "exact"

    @cached_property
    def weight_bits(self) -> int:
        """Significant bits of the longest weight."""
        return max((v.bits for layer in self.layers for _, _, v in layer.entries()), default=0)

    def evaluate(
        self,
        x: torch.Tensor,
        arithmetic: Arithmetic | None = None,
        *,
        rounding: bool = False,
        anywhere: bool = False,
        engine: Engine = "auto",
    ) -> torch.Tensor:
        """Values at `x` (batch, input_dim) → (batch, output_dim) in float64.

        "exact" rounds once, at the end; `engine` "integers" or "limbs" says how (the values are
        the same), "auto" takes the faster one, and limbs run where `x` is: on the CPU or on a
        CUDA device. "float64" and "float32" are refused where the network needs more bits than
        they hold, unless `rounding=True` asks for the wrong values by name (a `PrecisionLoss`
        warning then says what they are). Overflow is refused. Inputs that the network was not built
        for (outside its box, off its grid, no float32) are refused unless `anywhere=True`.
        """
        import torch

        from depthwright.networks.exact import integers as evaluation
        from depthwright.networks.points import as_points

        x = as_points(x)
        if x.is_floating_point() and x.element_size() < 4:  # numpy lacks some; exact
            x = x.double()
        values = evaluation.evaluate(
            self,
            x.detach().cpu().numpy(),
            arithmetic or self.arithmetic,
            rounding=rounding,
            anywhere=anywhere,
            engine=engine,
            device=x.device,
        )
        return torch.from_numpy(values).to(x.device)

    def forward(self, x: torch.Tensor, *, rounding: bool = False) -> torch.Tensor:
        """The float rendering by torch operations in the dtype of `x`, if it can hold it."""
        from depthwright.networks.exact import floats as rendering

        return rendering.forward(self, x, rounding=rounding)

    def to_exact(self) -> ExactNetwork:
        """Itself."""
        return self

    def to_torch(
        self, dtype: torch.dtype | None = None, *, rounding: bool = False
    ) -> torch.nn.Sequential:
        """A plain `torch.nn.Sequential`, if the dtype can hold it or `rounding=True`."""
        from depthwright.networks.exact import floats as rendering

        return rendering.to_torch(self, dtype, rounding=rounding)

    def unfit(self, dtype: torch.dtype) -> str | None:
        """Bits or range that weights and values need beyond the dtype."""
        from depthwright.networks.exact.floats import check_dtype

        return check_dtype(self, str(dtype).removeprefix("torch."), rounding=True)

    def _save(self, path: str | Path) -> None:
        """Write the open format (gzipped JSON lines, suffix .jsonl.gz)."""
        from depthwright.networks.exact.file import save_exact

        save_exact(self, path)


def from_arrays(
    weights: Sequence[Any],
    biases: Sequence[Any],
    arithmetic: Arithmetic = "float64",
    inputs: Inputs | None = None,
) -> ExactNetwork:
    """An ordinary dense network, given by its float matrices, as an exact one."""
    patterns = Patterns()
    layers = []
    for matrix, bias in zip(weights, biases, strict=True):
        expressions = []
        for row, constant in zip(matrix, bias, strict=True):
            entries = {j: Dyadic.of(float(w)) for j, w in enumerate(row) if w}
            if constant:
                entries[BIAS] = Dyadic.of(float(constant))
            expressions.append(entries)
        layers.append(patterns.layer(len(matrix[0]), expressions))
    return ExactNetwork(tuple(layers), arithmetic, inputs)
