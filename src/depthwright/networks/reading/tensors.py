"""Numbers that users give: torch tensors and numpy arrays, checked by name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from depthwright.refusal import Refusal

COMPLEX = "computes with complex numbers; the networks of these theorems are real"


def float64(values: Any) -> np.ndarray:
    """A float64 copy of an array or tensor of floats or small integers, without loss."""
    if hasattr(values, "detach"):
        import torch

        if values.is_complex():
            raise Refusal(COMPLEX)
        return values.detach().cpu().to(torch.float64, copy=True).numpy()
    if np.iscomplexobj(values):
        raise Refusal(COMPLEX)
    return np.array(values, dtype=np.float64)


def weight(name: str, values: Any) -> np.ndarray:
    """The weights of a tensor or array as float64; refused unless a dense array of floats."""
    if fault := fault_of(values):
        raise Refusal(f"{name} {fault}")
    return float64(values)


def fault_of(values: Any) -> str | None:
    """Why a tensor or array cannot be weights, and the cure; None if it can."""
    if hasattr(values, "detach"):
        return _fault_of_tensor(values)
    if not isinstance(values, np.ndarray):
        return f"is a {type(values).__name__}; weights are arrays or tensors of floats"
    if isinstance(values, np.ma.MaskedArray):
        return "is a masked array, whose masked entries have no value; give its filled(…)"
    if values.dtype.kind != "f" or values.dtype.itemsize > 8:
        return _not_floats(str(values.dtype))
    return _empty(values.shape)


def _fault_of_tensor(tensor: Any) -> str | None:
    import torch

    if torch.nn.parameter.is_lazy(tensor):
        return "has no shape yet; run one batch through the module first"
    if tensor.is_nested:
        return "is a nested tensor; give one of rows of equal length"
    if tensor.layout != torch.strided:
        return f"is sparse ({str(tensor.layout).removeprefix('torch.')}); give its to_dense()"
    if tensor.is_quantized:
        return "is quantised; give the floats it stands for, its dequantize()"
    if tensor.device.type == "meta":
        return "lies on the meta device and holds no values; load the weights first"
    if not tensor.is_floating_point():
        return _not_floats(str(tensor.dtype).removeprefix("torch."))
    return _empty(tuple(tensor.shape))


def _not_floats(dtype: str) -> str:
    if "complex" in dtype:
        return f"is {dtype}; the networks of these theorems are real"
    return f"is {dtype}, which weights are not; give float16, bfloat16, float32 or float64"


def _empty(shape: tuple[int, ...]) -> str | None:
    if math.prod(shape) == 0:
        return f"has shape {shape} and so no entries; leave the layer out"
    return None
