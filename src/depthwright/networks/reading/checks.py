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
from torch.nn.modules.module import register_module_forward_hook

from depthwright.networks.precision import full_precision
from depthwright.networks.reading.layers import PlainNetwork
from depthwright.refusal import Refusal, clipped

CHECK_POINTS = 8
"""Normal points, seed 0."""
SLACK = 16
"""For roundings of the network that its layers do not have, such as those of a BatchNorm's
division."""
UNKNOWN = (
    "its values for one input depend on the others, change from call to call, or are rounded to "
    "fewer bits than its weights have; call eval(), and give it without noise, autocast and casts"
)
"""What can be said where no single layer is at fault."""


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
            f"it: {_cause(module, x, device, coarsest.eps)}"
        )


def _cause(module: nn.Module, x: torch.Tensor, device: torch.device | str, eps: float) -> str:
    """Why values differ, the first layer where it shows, and the cure."""
    try:
        first, again, alone = (_outputs(module, p, device) for p in (x, x, x[:1]))
    except Exception:  # made for one input
        return UNKNOWN
    if name := _first_to_differ(first, again, 0.0):
        return f"the values of {name} change from call to call; call eval() or take the noise out"
    if name := _first_to_differ(first, alone, eps**0.5):
        return (
            f"the values of {name} for one input depend on the others of the batch; give a "
            "module that treats each input alone"
        )
    for name, _, a in first:
        if torch.finfo(a.dtype).eps > eps:
            kind = str(a.dtype).removeprefix("torch.")
            return (
                f"the values of {name} are in {kind}, rounded to fewer bits than its weights have; "
                "give it without autocast and casts"
            )
    return UNKNOWN


Course = list[tuple[str, torch.Tensor, torch.Tensor]]
"""Layer by layer in the order of their ends: name, input and output, where both are floats."""


def _first_to_differ(course: Course, other: Course, slack: float) -> str | None:
    """The first layer that gives another output for the same input, at the first point."""
    for (name, *one), (_, *two) in zip(course, other, strict=False):
        same = [
            a[:1].shape == b[:1].shape
            and torch.allclose(a[:1].double(), b[:1].double(), rtol=slack, atol=slack)
            for a, b in zip(one, two, strict=True)
        ]
        if same == [True, False]:
            return name
    return None


def _outputs(module: nn.Module, x: torch.Tensor, device: torch.device | str) -> Course:
    found: Course = []
    names = {part: name for name, part in module.named_modules()}

    def keep(part: nn.Module, given: Any, out: Any) -> None:
        tensors = [t for t in (*given[:1], out) if isinstance(t, torch.Tensor)]
        if (
            part in names
            and len(tensors) == 2
            and all(t.is_floating_point() and t.ndim for t in tensors)
        ):
            words = f"layer {names[part]}" if names[part] else "the module"
            read, gave = (t.detach().clone() for t in tensors)
            found.append((f"{words} ({type(part).__name__})", read, gave))

    with torch.no_grad(), full_precision():
        hook = register_module_forward_hook(keep)
        try:
            module(x.to(device, copy=True))
        finally:
            hook.remove()
    return found


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
