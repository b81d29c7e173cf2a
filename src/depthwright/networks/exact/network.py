"""Exact networks: sparse affine layers with dyadic entries (integer × 2^k), held as data.

They can be counted, saved, checked and evaluated exactly by anyone in any language; a torch
module is one form of them, refused where the dtype cannot hold their weights and values.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from itertools import groupby, pairwise
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np

from depthwright.networks.architecture import Architecture, Block
from depthwright.networks.arithmetic import Arithmetic
from depthwright.networks.exact import balls, file, floats
from depthwright.networks.exact.dyadic import Dyadic
from depthwright.networks.exact.integers import exact_values, refuse_overflow, to_float64
from depthwright.networks.exact.layer import BIAS, Layer, Patterns
from depthwright.networks.exact.limbs.engine import Programs
from depthwright.networks.inputs import Inputs, check_inputs
from depthwright.networks.network import Network
from depthwright.networks.points import as_points
from depthwright.refusal import Refusal, need_one_of

if TYPE_CHECKING:
    import torch

Engine = Literal["auto", "integers", "limbs"]
"""How exact values are computed; the numbers are the same."""
ENGINES: tuple[Engine, ...] = get_args(Engine)


@dataclass(frozen=True, eq=False, repr=False)
class ExactNetwork(Network):
    """A ReLU network whose layers are data. Immutable.

    `inputs`: what it was built for; others are refused by default (None: all are accepted).
    `value_bits`: mantissa bits with which evaluation is exact (exact/mantissa.py); a float dtype
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
                    f"layer {i + 1} reads {b.fan_in} values but layer {i} gives {a.fan_out}; make "
                    "them equal"
                )

    @cached_property
    def architecture(self) -> Architecture:
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
        return floats.longest_weight(self.layers)

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

        "exact" rounds once, at the end; `engine` "integers" or "limbs" says how (the values are the
        same), "auto" takes the faster one, and limbs run where `x` is: on the CPU or, with Triton,
        on a CUDA device. "float64" and "float32" are refused where the network needs more bits than
        they hold, unless `rounding=True` allows rounded values (with a `PrecisionLoss` warning).
        Overflow is refused, and so are exact values whose bits, times the batch, take more than
        4 GB in a layer (integers.MEMORY_LIMIT); time has no limit, but a bar that says how much
        is left. Inputs that the network was not built for (outside its box, off its grid, no
        float32) are refused unless `anywhere=True`.
        """
        import torch

        x = as_points(x)
        if x.is_floating_point() and x.element_size() < 4:  # numpy lacks some; exact
            x = x.double()
        arithmetic, inputs = arithmetic or self.arithmetic, None if anywhere else self.inputs
        need_one_of("arithmetic", arithmetic, get_args(Arithmetic))
        need_one_of("engine", engine, ENGINES)
        there = x.is_cuda and find_spec("triton") is not None
        if there and arithmetic == "exact" and engine in ("auto", "limbs"):
            return self._exact_there(x.detach(), engine, inputs)
        points = x.detach().cpu().numpy()
        check_inputs(points, self.layers[0].fan_in, inputs)
        if arithmetic == "exact":
            values = self._exact(points, engine)
        else:
            values = floats.evaluate(
                self.layers, self.value_bits, points, arithmetic, rounding=rounding
            )
        return torch.from_numpy(values).to(x.device)

    def _exact(self, x: np.ndarray, engine: Engine) -> np.ndarray:
        """By limbs where they are faster or asked for; otherwise by integers."""
        if engine == "integers":
            return to_float64(exact_values(self.layers, x))
        out, left = self.programs.evaluate(x, forced=engine == "limbs")
        refuse_overflow(out[~left], np.flatnonzero(~left))
        if left.any():
            out[left] = self._without_limbs(x[left], np.flatnonzero(left))
        return out

    def _without_limbs(self, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Of points that limbs have left; `rows` are their numbers."""
        started = perf_counter()
        if self._cut is None:
            out = to_float64(exact_values(self.layers, x), rows)
        else:
            out = balls.rounded(self.layers, x, self._cut, self.value_bits)
            refuse_overflow(out, rows)
        self.programs.took(perf_counter() - started)
        return out

    def _exact_there(self, x: torch.Tensor, engine: Engine, inputs: Inputs | None) -> torch.Tensor:
        """`_exact` at points that stay on their device."""
        import torch

        from depthwright.networks.exact.limbs import on_device

        if not on_device.plainly_fit(x, self.layers[0].fan_in, inputs):
            check_inputs(x.cpu().numpy(), self.layers[0].fan_in, inputs)
        x = x.double()
        if not len(x):
            return x.new_empty((0, self.layers[-1].fan_out))
        out, left = on_device.evaluate(self.programs, x, forced=engine == "limbs")
        some_left, overflow = torch.stack([left.any(), out.isinf().any()]).tolist()
        if overflow:
            settled = (~left).nonzero()[:, 0]
            refuse_overflow(out[settled].cpu().numpy(), settled.cpu().numpy())
        if some_left:
            rows = left.nonzero()[:, 0]
            values = self._without_limbs(x[rows].cpu().numpy(), rows.cpu().numpy())
            out[rows] = torch.from_numpy(values).to(x.device)
        return out

    @cached_property
    def _cut(self) -> int | None:
        """Bits kept at first by ball arithmetic, where values are much longer than weights."""
        longest = self.value_bits or 0
        if longest <= balls.MANY:
            return None
        first = balls.first_bits(self.weight_bits)
        return first if longest > 2 * first else None

    @cached_property
    def programs(self) -> Programs:
        """Compiled for the inputs seen so far."""
        integer_bits = self._cut or self.value_bits or 0
        return Programs(self.layers, self.inputs, self.value_bits, integer_bits)

    def forward(self, x: torch.Tensor, *, rounding: bool = False) -> torch.Tensor:
        """The float rendering by torch operations in the dtype of `x`, if it can hold it."""
        x = as_points(x, self.layers[0].fan_in)
        return floats.forward(self.layers, self.value_bits, x, rounding=rounding)

    def to_exact(self) -> ExactNetwork:
        return self

    def to_torch(
        self, dtype: torch.dtype | None = None, *, rounding: bool = False
    ) -> torch.nn.Sequential:
        """A plain `torch.nn.Sequential`, if the dtype can hold it or `rounding=True`."""
        return floats.to_torch(self.layers, self.value_bits, dtype, rounding=rounding)

    def unfit(self, dtype: torch.dtype) -> str | None:
        """Bits or range of weights and values that the dtype does not have."""
        name = str(dtype).removeprefix("torch.")
        return floats.check_dtype(self.layers, self.value_bits, name, rounding=True)

    def _save_onnx(self, path: Path) -> None:
        super()._save_onnx(path)
        if self.arithmetic == "exact" and self.value_bits is None:
            warnings.warn(
                f"{path.name} is this network as a function of real numbers; evaluated in float64 "
                "its values are rounded, which a claim in exact arithmetic does not count",
                floats.PrecisionLoss,
                stacklevel=3,
            )

    def _save(self, path: str | Path) -> None:
        """Write the open format (gzipped JSON lines, suffix .jsonl.gz)."""
        contents = file.Contents(self.layers, self.arithmetic, self.inputs, self.value_bits)
        file.save(contents, path)


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
