"""Depth-2 networks whose neurons share few directions: f(x) = c + Σ_i A_i ĝ(abs(w_i·x)).

ĝ(s) = Σ_k turns[k]·(s − kinks[k])₊ is piecewise linear with 0 ≤ kinks ≤ 1, so a direction w_i and
a kink b > 0 make two hidden neurons, σ(w_i·x − b) and σ(−w_i·x − b), and a kink at 0 makes one,
since abs(t) = 2σ(t) − t and all the linear parts together are one linear function (two neurons).

*Structured evaluation* projects on the directions and looks ĝ up: it costs directions·(nonzeros
+ 1) per point, the plain network width·d, and it never holds a batch × width array.

*Rounding.* For ‖x‖ ≤ 1, `rounding_bound` and `dense_rounding_bound` bound how far structured and
plain evaluation in floating point lie from the real-number value of the stored parameters.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from depthwright.networks import tensor_files
from depthwright.networks.architecture import Architecture
from depthwright.networks.arithmetic import UNIT_ROUNDOFF, Arithmetic
from depthwright.networks.network import Network
from depthwright.networks.ridge_group import Bundle, RidgeGroup, rounding_bound
from depthwright.refusal import Refusal, clipped, need_one_of

if TYPE_CHECKING:
    import torch

    from depthwright.networks.exact.network import ExactNetwork

CHUNK_ELEMENTS = {"cpu": 1 << 22, "cuda": 1 << 26}
"""Largest points × directions array of the torch form, by device."""
FORMAT = "depthwright-ridge"
"""Written into every such file."""
FIELDS = tuple(field.name for field in fields(RidgeGroup))
UNIT_TOLERANCE = 1e-9
"""Allowed difference of a direction's norm from 1."""


class OutsideTheBall(UserWarning):
    """Inputs of norm above 1, where nothing is claimed of a ridge network."""


class RidgeNetwork(Network):
    """c + Σ over groups of Σ_i A_i ĝ(abs(w_i·x)), one output."""

    def __init__(
        self,
        input_dim: int,
        groups: Sequence[RidgeGroup],
        offset: float,
        arithmetic: Arithmetic = "float64",
    ) -> None:
        for group in groups:
            norms = np.linalg.norm(group.values, axis=1)
            off = np.abs(norms - 1)
            if not (off <= UNIT_TOLERANCE).all():
                raise Refusal(
                    f"a direction of norm {norms[off.argmax()]:.12g} is off 1 by more than "
                    f"{UNIT_TOLERANCE:g}; divide directions by their norms and move these into "
                    "kinks and weights"
                )
        self.input_dim = input_dim
        self.groups = tuple(groups)
        self.offset = offset
        self.arithmetic = arithmetic

    @property
    def architecture(self) -> Architecture:
        """Depth 2; nonzeros are those of `to_torch`."""
        width, nonzeros = 0, int(self.offset != 0)
        for group in self.groups:
            neurons = len(group.weights) * group.neurons_per_direction
            biases = 2 * len(group.weights) * int(np.count_nonzero(group.kinks))
            entries = np.count_nonzero(group.values) * group.neurons_per_direction
            width += neurons
            nonzeros += int(entries) + biases + neurons
        linear = int(np.count_nonzero(self.linear_part))
        if linear:
            width += 2
            nonzeros += 2 * linear + 2
        return Architecture.of((self.input_dim, width, 1), nonzeros=nonzeros)

    @cached_property
    def linear_part(self) -> np.ndarray:
        """(input_dim,) the linear function that the kinks at 0 leave, computed by two neurons."""
        total = np.zeros(self.input_dim)
        for group in self.groups:
            for coordinate, value in group.linear_part:
                total[coordinate] += value
        return total

    # ── values ────────────────────────────────────────────────────────────────────────────────

    def evaluate(self, x: torch.Tensor, arithmetic: Arithmetic | None = None) -> torch.Tensor:
        """Structured values (batch, 1); "exact" goes through the plain form.

        Inputs outside the unit ball, of which nothing is claimed, are told by `OutsideTheBall`.
        """
        import torch

        from depthwright.networks.points import as_points
        from depthwright.networks.precision import full_precision

        x = as_points(x)
        arithmetic = arithmetic or self.arithmetic
        if arithmetic == "exact":
            return self.to_exact().evaluate(x, "exact")
        need_one_of("arithmetic", arithmetic, get_args(Arithmetic))
        if x.ndim != 2 or x.shape[1] != self.input_dim:
            raise Refusal(
                f"inputs of shape {tuple(x.shape)} do not fit; expected (batch, {self.input_dim})"
            )
        _tell_outside(x)
        x = x.to(getattr(torch, arithmetic))
        with torch.no_grad(), full_precision():
            if x.device.type == "cpu" and (compiled := self._compiled(x.numpy())) is not None:
                return torch.from_numpy(compiled).to(x.dtype)
            directions = max(len(group.weights) for group in self.groups)
            chunk = max(1, CHUNK_ELEMENTS[x.device.type] // max(directions, 1))
            tensors = self._tensors(x)
            found = [self._values(part, tensors) for part in x.split(chunk)]
            return torch.cat(found or [x[:, :1]])

    def _compiled(self, x: np.ndarray) -> np.ndarray | None:
        """Values by the compiled loop; None where a table would be too large."""
        from depthwright.machine.numba_cache import need_compiler
        from depthwright.machine.threads import shared
        from depthwright.networks.ridge_kernel import BLOCK, accumulate, table

        need_compiler()
        x = np.ascontiguousarray(x)
        tables = [table(g.kinks, g.turns, x.dtype.type) for g in self.groups]
        out = np.zeros(len(x))
        for group, rows in zip(self.groups, tables, strict=True):
            if rows is None:
                return None
            directions = group.indices.astype(np.uint32), group.values.astype(x.dtype)
            weights = group.weights.astype(x.dtype)

            def add(
                part: slice, told: tuple[np.ndarray, ...] = (*directions, weights, rows)
            ) -> None:
                accumulate(x[part], *told, out[part])

            shared(add, len(x), BLOCK)
        return (out + self.offset)[:, None]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Structured values by torch operations: any device, differentiable in `x`."""
        from depthwright.networks.points import as_points

        x = as_points(x, self.input_dim)
        return self._values(x, self._tensors(x))

    def _tensors(self, x: torch.Tensor) -> list[list[torch.Tensor]]:
        """Per group: directions, weights; starts of the ridge function's pieces, the values and
        slopes there. In the dtype and on the device of `x`.
        """
        import torch

        found = []
        for group in self.groups:
            slopes = np.concatenate([[0.0], np.cumsum(group.turns)])
            values = np.concatenate([[0.0, 0.0], np.cumsum(slopes[1:-1] * np.diff(group.kinks))])
            starts = np.concatenate([[0.0], group.kinks])
            arrays = (group.dense(self.input_dim), group.weights, starts, values, slopes)
            found.append([torch.as_tensor(a, dtype=x.dtype, device=x.device) for a in arrays])
        return found

    def _values(self, x: torch.Tensor, tensors: list[list[torch.Tensor]]) -> torch.Tensor:
        import torch

        total = torch.zeros((len(x), 1), dtype=x.dtype, device=x.device)
        for directions, weights, starts, values, slopes in tensors:
            s = (x @ directions.T).abs()
            piece = torch.bucketize(s.detach(), starts[1:], right=True)
            ridge = values[piece] + slopes[piece] * (s - starts[piece])
            total = total + ridge @ weights[:, None]
        return total + self.offset

    # ── rounding ──────────────────────────────────────────────────────────────────────────────

    def rounding_bound(self, arithmetic: Arithmetic = "float64") -> float:
        """Bound for `evaluate` on ‖x‖ ≤ 1."""
        bundles = [
            Bundle(
                len(group.weights),
                group.indices.shape[1],
                float(np.abs(group.weights).sum()),
                group.kinks,
                group.turns,
            )
            for group in self.groups
        ]
        return rounding_bound(bundles, self.offset, arithmetic)

    def dense_rounding_bound(self, arithmetic: Arithmetic = "float64") -> float:
        """Bound for the module of `to_torch` on ‖x‖ ≤ 1, summing its neurons in any order.

        The worst case over all orders grows with the width, and says little in float32.
        """
        u, width = UNIT_ROUNDOFF[arithmetic], self.architecture.width
        each = summed = 0.0
        for group in self.groups:
            weights, turns = float(np.abs(group.weights).sum()), np.abs(group.turns)
            each += 2 * weights * float(turns.sum())
            # Of the two neurons of a kink one is 0, the other at most 1 − kink (twice that at 0).
            summed += weights * float(turns @ (1 - group.kinks)) * (1 + group.turns_at_zero)
        linear = float(np.abs(self.linear_part).sum())
        each = (each + 2 * linear) * (self.input_dim + 16)
        return 1.01 * u * (each + (summed + linear + abs(self.offset)) * (width + 4))

    # ── other forms ───────────────────────────────────────────────────────────────────────────

    def to_exact(self) -> ExactNetwork:
        from depthwright.networks.reading import exact_network

        return exact_network(self.to_torch())

    def to_torch(self, dtype: torch.dtype | None = None) -> torch.nn.Sequential:
        """`Linear(input_dim, width) → ReLU → Linear(width, 1)`, the same function."""
        import torch

        rows, biases, outs = [], [], []
        for group in self.groups:
            w = group.dense(self.input_dim)
            for kink, turn in zip(group.kinks, group.turns, strict=True):
                if kink == 0:
                    rows.append(w)
                    biases.append(np.zeros(len(w)))
                    outs.append(2 * turn * group.weights)
                else:
                    rows += [w, -w]
                    biases += [np.full(len(w), -kink)] * 2
                    outs += [turn * group.weights] * 2
        if self.linear_part.any():
            rows.append(np.stack([self.linear_part, -self.linear_part]))
            biases.append(np.zeros(2))
            outs.append(np.array([-1.0, 1.0]))
        weight, bias, out = np.concatenate(rows), np.concatenate(biases), np.concatenate(outs)
        dtype = dtype or torch.float64
        module = torch.nn.Sequential(
            torch.nn.utils.skip_init(torch.nn.Linear, *weight.shape[::-1], dtype=dtype),
            torch.nn.ReLU(),
            torch.nn.utils.skip_init(torch.nn.Linear, len(weight), 1, dtype=dtype),
        )
        with torch.no_grad():
            for parameter, array in zip(
                module.parameters(), (weight, bias, out[None], np.array([self.offset])), strict=True
            ):
                parameter.copy_(torch.from_numpy(array))
        return module

    def _save(self, path: str | Path) -> None:
        """Write the arrays `0.indices`, `0.values`, … of each group, whole or not at all."""
        from safetensors.numpy import save_file

        arrays = {
            f"{number}.{field}": np.ascontiguousarray(getattr(group, field))
            for number, group in enumerate(self.groups)
            for field in FIELDS
        }
        metadata = {
            "format": FORMAT,
            "input_dim": str(self.input_dim),
            "groups": str(len(self.groups)),
            "offset": float(self.offset).hex(),
            "arithmetic": self.arithmetic,
        }
        tensor_files.save(path, arrays, metadata, save_file)

    def kink_points(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Half points kink·w_i, where a hyperplane of kinks comes nearest to the origin; half sums.

        Sums are ±w_i ± … of neighbours in a group's list, of norm 1. Where directions come as
        orthonormal frames these are the points that depend on all of one frame: Σ_i abs(w_i·x) is
        √d there, its maximum, and in high dimension neither samples nor single directions come
        near them.
        """
        import torch

        def pick(limit: int, size: int) -> np.ndarray:
            return torch.randint(limit, (size,), generator=generator).numpy()

        summed = count // 2
        points = [self._signed_sum(pick) for _ in range(summed)]
        share = -(-(count - summed) // len(self.groups))
        kinks = []
        for group in self.groups:
            i, k = pick(len(group.weights), share), pick(len(group.kinks), share)
            block = np.zeros((share, self.input_dim))
            np.put_along_axis(block, group.indices[i], group.values[i], axis=1)
            kinks.append(block * group.kinks[k][:, None])
        rows = np.concatenate(kinks)[: count - summed]
        return torch.from_numpy(np.concatenate([rows, *(p[None] for p in points)]))

    def _signed_sum(self, pick: Callable[[int, int], np.ndarray]) -> np.ndarray:
        """(input_dim,) Σ ±w_i over up to input_dim neighbours in one group, of norm 1."""
        group = self.groups[int(pick(len(self.groups), 1)[0])]
        frames = -(-len(group.weights) // self.input_dim)
        start = self.input_dim * int(pick(frames, 1)[0])
        indices = group.indices[start : start + self.input_dim]
        signs = 2.0 * pick(2, len(indices)) - 1
        total = np.zeros(self.input_dim)
        np.add.at(total, indices, group.values[start : start + self.input_dim] * signs[:, None])
        norm = float(np.linalg.norm(total))
        # Directions that are no frame may cancel; then the start is the origin.
        return total / norm if norm > 0 else total


def _tell_outside(x: torch.Tensor) -> None:
    """A norm is rounded by less than the allowance."""
    import torch

    with torch.no_grad():
        norms = torch.linalg.vector_norm(x.double(), dim=1)
        rounding = torch.finfo(x.dtype if x.is_floating_point() else torch.float64).eps
        outside = norms > 1 + (x.shape[1] + 8) * rounding
    if outside.any():
        row = int(outside.byte().argmax())
        warnings.warn(
            f"{int(outside.sum())} of {len(x)} inputs lie outside the ball of radius 1, of which "
            f"alone something is claimed; the first is row {row}, of norm {norms[row]:.4g}",
            OutsideTheBall,
            stacklevel=3,
        )


def load_ridge(path: str | Path) -> RidgeNetwork:
    """Read what `RidgeNetwork.save` wrote; a damaged file is refused with what is wrong with it."""
    arrays, metadata = tensor_files.load(path, "numpy")
    if metadata.get("format") != FORMAT:
        raise Refusal(f"{path} is not marked {FORMAT}; save it with Network.save")
    try:
        input_dim, count = int(metadata["input_dim"]), int(metadata["groups"])
        offset = float.fromhex(metadata["offset"])
    except (KeyError, ValueError, OverflowError) as error:
        raise tensor_files.damaged(path, error) from error
    arithmetic: Any = metadata.get("arithmetic", "float64")
    if arithmetic not in UNIT_ROUNDOFF:
        raise Refusal(f"{path} names the arithmetic {clipped(arithmetic)!r}, which is unknown")
    names = [f"{number}.{field}" for number in range(min(count, len(arrays))) for field in FIELDS]
    if count < 1 or set(names) != set(arrays):
        raise Refusal(f"{path} holds other arrays than those of its groups; it is damaged")
    entries = sum(array.size for array in arrays.values())
    if not 1 <= input_dim <= tensor_files.EMPTY + tensor_files.EACH * entries:
        raise Refusal(
            f"{path} says input_dim={clipped(str(input_dim))}, which a network of {entries} "
            "entries does not have"
        )
    if not np.isfinite(offset):
        raise Refusal(f"{path} has an offset that is not finite")
    values = iter(arrays[name] for name in names)
    groups = [RidgeGroup(*group) for group in zip(*[values] * len(FIELDS), strict=True)]
    for group in groups:
        _check(group, input_dim, path)
    return RidgeNetwork(input_dim, groups, offset, arithmetic)


def _check(group: RidgeGroup, input_dim: int, path: str | Path) -> None:
    """Shapes that fit together, coordinates that exist, numbers that are numbers."""
    arrays = [getattr(group, field) for field in FIELDS]
    shapes, kinds = [array.shape for array in arrays], [array.dtype.kind for array in arrays]
    n, m = len(group.weights.ravel()), len(group.kinks.ravel())
    k = group.indices.shape[-1] if group.indices.ndim else 0
    if shapes != [(n, k), (n, k), (n,), (m,), (m,)] or not n * k * m:
        raise Refusal(f"{path} holds arrays of shapes {shapes}, which do not fit together")
    if kinds[0] not in "iu" or kinds[1:] != ["f"] * 4:
        names = ", ".join(str(array.dtype) for array in arrays)
        raise Refusal(f"{path} holds arrays of {names}, which no ridge network has")
    if not (group.indices.min() >= 0 and group.indices.max() < input_dim):
        raise Refusal(f"{path} names coordinates outside 0…{input_dim - 1}")
    if not all(np.isfinite(array).all() for array in arrays):
        raise Refusal(f"{path} holds a weight that is not finite")
    if not (group.kinks[0] >= 0 and group.kinks[-1] <= 1 and (np.diff(group.kinks) > 0).all()):
        raise Refusal(f"{path} holds kinks that do not increase from 0 to 1; it is damaged")
