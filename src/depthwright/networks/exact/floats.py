"""Exact networks as torch modules and operations, where the dtype can hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthwright.networks.exact.floats import check_dtype, dense
from depthwright.networks.exact.network import TORCH_DEPTH_LIMIT, ExactNetwork
from depthwright.refusal import Refusal

if TYPE_CHECKING:
    import torch


def _name(dtype: torch.dtype) -> str:
    name = str(dtype).removeprefix("torch.")
    if name not in ("float32", "float64"):
        raise Refusal(f"dtype {name} is not supported for exact networks; use float64 or float32")
    return name


def to_torch(
    network: ExactNetwork, dtype: torch.dtype | None = None, *, rounding: bool = False
) -> torch.nn.Sequential:
    """Linear and ReLU, dense."""
    import torch

    dtype = dtype or torch.float64
    name = _name(dtype)
    depth = len(network.layers)
    if depth > TORCH_DEPTH_LIMIT:
        raise Refusal(f"{depth} layers are too many torch modules (limit {TORCH_DEPTH_LIMIT})")
    check_dtype(network, name, rounding=rounding)
    modules: list[torch.nn.Module] = []
    for layer in network.layers:
        linear = torch.nn.utils.skip_init(torch.nn.Linear, layer.fan_in, layer.fan_out, dtype=dtype)
        matrix, bias = dense(layer, name)
        with torch.no_grad():
            weight = matrix.toarray() if hasattr(matrix, "toarray") else matrix
            linear.weight.copy_(torch.from_numpy(weight))
            linear.bias.copy_(torch.from_numpy(bias))
        modules += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-1])


def forward(network: ExactNetwork, x: torch.Tensor, *, rounding: bool = False) -> torch.Tensor:
    """The same layers as differentiable torch operations."""
    import torch

    name = _name(x.dtype)
    check_dtype(network, name, rounding=rounding)
    values = x
    for i, layer in enumerate(network.layers):
        matrix, bias = dense(layer, name)
        matrix = matrix.toarray() if hasattr(matrix, "toarray") else matrix
        weight = torch.from_numpy(matrix).to(x.device)
        values = torch.nn.functional.linear(values, weight, torch.from_numpy(bias).to(x.device))
        if i < len(network.layers) - 1:
            values = torch.relu(values)
    return values
