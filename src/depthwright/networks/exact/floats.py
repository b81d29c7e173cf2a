"""Float renderings of exact layers, where the dtype can hold them: values, and torch modules."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from depthwright.networks.arithmetic import EXPONENTS, SIGNIFICANT_BITS
from depthwright.networks.exact.layer import BIAS, Layer
from depthwright.refusal import Refusal

if TYPE_CHECKING:
    import torch

DENSE_LIMIT = 1 << 16
"""Layers with more entries than this are multiplied as sparse matrices."""
TORCH_DEPTH_LIMIT = 100_000
"""More torch modules than this are not made."""


class PrecisionLoss(UserWarning):
    """Values are rounded because that was asked for, or would be wherever the file is evaluated."""


def check_dtype(
    layers: Sequence[Layer], value_bits: int | None, name: str, *, rounding: bool
) -> str | None:
    """Refuse a float dtype that cannot hold the network; with `rounding`, return the reason."""
    held, (lowest, highest) = SIGNIFICANT_BITS[name], EXPONENTS[name]
    complaint = None
    weight_bits = 0
    for layer in layers:
        for integer, power in zip(layer.integers, layer.powers, strict=True):
            size = integer.bit_length()
            if size > held:
                weight_bits = max(weight_bits, size)
            if power + size > highest or (power < lowest):
                complaint = complaint or (
                    f"a weight near 2^{power + size} is out of range for {name} "
                    f"(2^{lowest} to 2^{highest})"
                )
    if any(len(layer.rows) != layer.nonzeros for layer in layers):
        weight_bits = max(weight_bits, longest_weight(layers))
    if weight_bits > held:
        complaint = f"its weights need {weight_bits} bits and {name} holds {held}"
    if value_bits is not None and value_bits > held:
        complaint = f"its values need {value_bits} bits and {name} holds {held}"
    if complaint and not rounding:
        raise Refusal(
            f"this network cannot be trusted in {name}: {complaint}; evaluate it with "
            'arithmetic="exact", or ask for the rounded one with rounding=True'
        )
    return complaint


def longest_weight(layers: Sequence[Layer]) -> int:
    """Significant bits of the longest weight."""
    return max((value.bits for layer in layers for _, _, value in layer.entries()), default=0)


def dense(layer: Layer, dtype: Any) -> tuple[Any, np.ndarray]:
    """Matrix (dense, or scipy sparse where large) and bias, each entry rounded once."""
    bias = np.zeros(layer.fan_out, dtype=np.float64)
    entries = [(row, column, float(value)) for row, column, value in layer.entries()]
    for row, column, value in entries:
        if column == BIAS:
            bias[row] = value
    weights = [entry for entry in entries if entry[1] != BIAS]
    rows, columns, values = (list(z) for z in zip(*weights, strict=True)) if weights else ([],) * 3
    shape = (layer.fan_out, layer.fan_in)
    with np.errstate(over="ignore"):  # an infinite weight shows as a value out of range
        if layer.fan_out * layer.fan_in > DENSE_LIMIT:
            from scipy import sparse

            data = np.array(values, dtype=dtype)
            return sparse.csr_array((data, (rows, columns)), shape=shape), bias.astype(dtype)
        matrix = np.zeros(shape, dtype=dtype)
        matrix[rows, columns] = values
        return matrix, bias.astype(dtype)


def evaluate(
    layers: Sequence[Layer], value_bits: int | None, x: np.ndarray, name: str, *, rounding: bool
) -> np.ndarray:
    """Float64 values (batch, output_dim) at `x` (batch, input_dim), every step in float `name`."""
    complaint = check_dtype(layers, value_bits, name, rounding=rounding)
    if complaint:
        warnings.warn(f"rounded in {name} though {complaint}", PrecisionLoss, stacklevel=3)
    values = x.astype(name).T
    last = len(layers) - 1
    with np.errstate(over="ignore", invalid="ignore"):
        for i, layer in enumerate(layers):
            matrix, bias = dense(layer, name)
            values = matrix @ values + bias[:, None]
            if i < last:
                values = np.maximum(values, 0)
    bad = ~np.isfinite(values).all(axis=0)
    if bad.any():
        raise Refusal(
            f"row {int(bad.argmax())} of the inputs overflows {name} inside the network; "
            'evaluate it with arithmetic="exact"'
        )
    return values.T.astype(np.float64)


def _name(dtype: torch.dtype) -> str:
    name = str(dtype).removeprefix("torch.")
    if name not in ("float32", "float64"):
        raise Refusal(f"dtype {name} is not supported for exact networks; use float64 or float32")
    return name


def to_torch(
    layers: Sequence[Layer], value_bits: int | None, dtype: torch.dtype | None, *, rounding: bool
) -> torch.nn.Sequential:
    """Linear and ReLU, dense."""
    import torch

    dtype = dtype or torch.float64
    name = _name(dtype)
    if len(layers) > TORCH_DEPTH_LIMIT:
        raise Refusal(
            f"{len(layers)} layers are too many torch modules (limit {TORCH_DEPTH_LIMIT}); use "
            "the network itself"
        )
    check_dtype(layers, value_bits, name, rounding=rounding)
    modules: list[torch.nn.Module] = []
    for layer in layers:
        linear = torch.nn.utils.skip_init(torch.nn.Linear, layer.fan_in, layer.fan_out, dtype=dtype)
        matrix, bias = dense(layer, name)
        with torch.no_grad():
            weight = matrix.toarray() if hasattr(matrix, "toarray") else matrix
            linear.weight.copy_(torch.from_numpy(weight))
            linear.bias.copy_(torch.from_numpy(bias))
        modules += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-1])


def forward(
    layers: Sequence[Layer], value_bits: int | None, x: torch.Tensor, *, rounding: bool
) -> torch.Tensor:
    """The same layers as differentiable torch operations."""
    import torch

    name = _name(x.dtype)
    check_dtype(layers, value_bits, name, rounding=rounding)
    values = x
    for i, layer in enumerate(layers):
        matrix, bias = dense(layer, name)
        matrix = matrix.toarray() if hasattr(matrix, "toarray") else matrix
        weight = torch.from_numpy(matrix).to(x.device)
        values = torch.nn.functional.linear(values, weight, torch.from_numpy(bias).to(x.device))
        if i < len(layers) - 1:
            values = torch.relu(values)
    return values
