"""Inputs as users bring them, as torch tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from depthwright.refusal import Refusal

if TYPE_CHECKING:
    import torch


def as_points(x: Any, input_dim: int | None = None) -> torch.Tensor:
    """A torch tensor unchanged; a numpy array or nested lists of real numbers as a tensor.

    With `input_dim`, whole numbers become float64 in tensors too, and any other shape than
    (batch, input_dim) is refused.
    """
    points = _as_tensor(x)
    if input_dim is not None and not points.is_floating_point():
        points = _as_tensor(points.cpu().numpy()).to(points.device)
    if input_dim is not None and (points.ndim != 2 or points.shape[1] != input_dim):
        raise Refusal(
            f"inputs of shape {tuple(points.shape)} do not fit; give (batch, {input_dim})"
        )
    return points


def _as_tensor(x: Any) -> torch.Tensor:
    import torch

    if isinstance(x, torch.Tensor):
        if x.layout != torch.strided or x.is_quantized or x.is_complex() or x.is_meta:
            raise Refusal(f"inputs are a tensor of {x.dtype}, {x.layout}, {x.device}; give floats")
        return x
    if isinstance(x, np.ma.MaskedArray):
        raise Refusal(
            "inputs are a masked array, whose masked entries have no value; give filled(…)"
        )
    try:
        array = np.asarray(x)
    except ValueError as error:  # rows of different lengths
        raise Refusal(f"inputs are no array: {error}") from error
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise Refusal(f"inputs are an array of {array.dtype}; give float64 or float32")
    if array.dtype.kind != "f":
        whole, array = array, array.astype(np.float64)
        large = np.abs(array) >= 2.0**53
        pairs = zip(array[large].tolist(), whole[large].tolist(), strict=True)
        if any(int(rounded) != given for rounded, given in pairs):
            raise Refusal(
                f"inputs are an array of {whole.dtype} with a number that float64 does not hold; "
                "round it first"
            )
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
