"""Exact values at points that lie on a GPU: checked, grouped and evaluated there, and left there.

The same choices as `engine` makes on the processor. What few points are left to the integers, and
inputs whose check fails or needs more than comparisons, go through the processor.
"""

from __future__ import annotations

import torch

from depthwright.networks.exact.limbs.engine import GRIDS, Programs
from depthwright.networks.inputs import Inputs

FRACTION = (1 << 52) - 1
"""The stored bits of a float64's fraction."""


def plainly_fit(x: torch.Tensor, input_dim: int, inputs: Inputs | None) -> bool:
    """Whether a look on the device is enough to know that `check_inputs` accepts `x`."""
    if not x.is_floating_point() or x.ndim != 2 or x.shape[1] != input_dim or not len(x):
        return False
    fit = torch.isfinite(x).all()
    if inputs is not None:
        if inputs.grid is not None or (inputs.numbers == "float32" and x.dtype != torch.float32):
            return False
        exact = x.double()
        low, high = (exact.new_tensor(side) for side in (inputs.lower, inputs.upper))
        fit = fit & ((exact >= low) & (exact <= high)).all()
    return bool(fit)


def lowest_bits(x: torch.Tensor) -> torch.Tensor:
    """(points,): 2 to this power divides all entries of a row of `x`, float64; at most 0."""
    bits = x.view(torch.int64)
    exponent, fraction = (bits >> 52) & 0x7FF, bits & FRACTION
    whole = torch.where(exponent > 0, fraction | (FRACTION + 1), fraction)
    zeros = torch.frexp((whole & -whole).double())[1] - 1
    power = exponent.clamp(min=1) - 1075 + zeros
    return torch.where(whole != 0, power, 0).amin(1).clamp(max=0)


def groups(x: torch.Tensor) -> list[tuple[int, slice | torch.Tensor]]:
    """As engine.groups; all rows are a slice."""
    lowest = lowest_bits(x)
    if int(lowest.amin()) >= GRIDS[0]:
        return [(GRIDS[0], slice(None))]
    found: list[tuple[int, slice | torch.Tensor]] = []
    above = torch.zeros_like(lowest, dtype=torch.bool)
    for grid in GRIDS:
        fitting = lowest >= grid
        rows = (fitting & ~above).nonzero()[:, 0]
        above = fitting
        if len(rows):
            found.append((grid, rows))
    return found


def evaluate(
    programs: Programs, x: torch.Tensor, *, forced: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """As Programs.evaluate: values (points, output_dim) at `x` (points, input_dim), at least one
    point, float64, and which rows are left to the integers (points,), both where `x` is.
    """
    from depthwright.networks.exact.limbs import triton

    programs.begin()
    out = x.new_empty((len(x), programs.layers[-1].fan_out))
    for grid, rows in groups(x):
        part = x[rows]
        place = grid, programs.reach_of(float(part.abs().amax()))
        program = programs.chosen(place, len(part), forced)
        out[rows] = torch.nan if program is None else triton.run(program, part)
    return out, torch.isnan(out).any(dim=1)
