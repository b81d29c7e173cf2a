"""A safeguard after reading: values of what was given beside those of its layers, at a few points.

Not a proof; the layers are right because each operation is. What this catches are networks whose
values for one input depend on others of the batch, or change from call to call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from depthwright.networks.precision import full_precision
from depthwright.networks.reading.layers import PlainNetwork
from depthwright.refusal import Refusal, clipped

CHECK_POINTS = 8
"""Normal points, seed 0."""
SLACK = 16
"""For roundings of the network that its layers do not have, such as those of a BatchNorm's
division."""


def check_module_values(
    module: nn.Module,
    network: PlainNetwork,
    shape: Sequence[int],
    dtype: torch.dtype,
    device: torch.device | str,
) -> None:
    """Refuse a module whose values at inputs of `dtype` are not those of the layers read from it.

    A module that takes one input at a time is called once for each.
    """
    x = check_points(shape).to(dtype)
    got = _values(module, x, device)
    weights = (*module.parameters(), *module.buffers())
    floats = {t.dtype for t in (x, *weights) if t.is_floating_point()}
    coarsest = max((torch.finfo(kind) for kind in floats), key=lambda info: info.eps)
    if not agree(network, x.double().numpy(), got.double().cpu().numpy(), coarsest):
        raise Refusal(
            f"the module's values at {CHECK_POINTS} points are not those of the layers read from "
            "it: its values for one input depend on the others, change from call to call, or are "
            "rounded to fewer bits than its weights have"
        )


def _values(module: nn.Module, x: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    with torch.no_grad(), full_precision():
        try:
            return module(x.to(device, copy=True))
        except Exception:  # made for one input, as torch.export does by default
            pass
        try:
            return torch.cat([module(p.to(device, copy=True)).reshape(1, -1) for p in x.split(1)])
        except Exception as error:
            raise Refusal(
                f"the module cannot be run on numbers: {type(error).__name__}: "
                f"{clipped(str(error), 200)}"
            ) from error


def check_points(shape: Sequence[int]) -> torch.Tensor:
    """(CHECK_POINTS, *shape) normal numbers in float32."""
    return torch.randn(CHECK_POINTS, *shape, generator=torch.Generator().manual_seed(0))


def agree(network: PlainNetwork, x: np.ndarray, got: np.ndarray, info: Any) -> bool:
    """Whether values computed in the dtype of `info` equal those of the layers up to rounding.

    Two evaluations in floats differ by about 2·Σ(fan_in + 3)·eps·size, where size is the same
    network with all terms taken by absolute value; underflow is covered by tiny in each layer. A
    value that overflows is not compared.
    """
    value, steps = x.reshape(len(x), -1), 0
    size = np.abs(value)
    with np.errstate(over="ignore", invalid="ignore"):
        for k, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
            value = (np.maximum(value, 0) if k else value) @ weight.T + bias
            size = size @ np.abs(weight).T + np.abs(bias) + info.tiny / info.eps
            steps += weight.shape[1] + 3
        if got.size != value.size:
            return False
        within = 2 * SLACK * steps * info.eps * size
        off = np.abs(got.reshape(value.shape) - value)
        return not ((off > within) & (size < info.max)).any()
