"""ONNX files of networks: Gemm and Relu nodes on (batch, input_dim) → (batch, output_dim)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from depthwright.files import whole_file
from depthwright.refusal import Refusal

BYTES_LIMIT = 2**31 - 2**20
"""Limit of one protobuf message, less room for the nodes."""
OPSET = 13
"""Of 2020; Gemm and Relu have not changed since."""


def need_onnx(path: Path) -> Any:
    """The onnx package; Refusal where it is not installed."""
    try:
        import onnx
    except ImportError as error:
        raise Refusal(
            f"{path.name} needs the onnx package; pip install 'depthwright[onnx]'"
        ) from error
    return onnx


def check(path: Path, size: int) -> None:
    """Refuse what cannot be written: without the package, or too many bytes of floats."""
    need_onnx(path)
    if size > BYTES_LIMIT:
        raise Refusal(f"{path.name} would hold {size:,} bytes; ONNX files end at {BYTES_LIMIT:,}")


def save(module: torch.nn.Sequential, path: Path) -> None:
    """Write Linear and ReLU in turn, whole or not at all."""
    import onnx

    with whole_file(path) as partial:
        onnx.save(_model(module), partial)


def _model(module: torch.nn.Sequential) -> Any:
    """Linear and ReLU in turn, as a checked model."""
    from onnx import checker, helper, numpy_helper

    linears = [part for part in module if isinstance(part, torch.nn.Linear)]
    nodes, tensors, value = [], [], "x"
    for i, linear in enumerate(linears):
        arrays = {"weight": linear.weight, "bias": linear.bias}
        for what, array in arrays.items():
            tensors.append(numpy_helper.from_array(array.detach().numpy(), f"{what}_{i}"))
        last = i == len(linears) - 1
        out = "y" if last else f"before_{i}"
        nodes.append(helper.make_node("Gemm", [value, f"weight_{i}", f"bias_{i}"], [out], transB=1))
        if not last:
            value = f"after_{i}"
            nodes.append(helper.make_node("Relu", [out], [value]))
    kind = tensors[0].data_type
    ends = [
        helper.make_tensor_value_info(name, kind, ["batch", size])
        for name, size in (("x", linears[0].in_features), ("y", linears[-1].out_features))
    ]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], tensors)
    model = helper.make_model(
        graph,
        producer_name="depthwright",
        ir_version=7,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    checker.check_model(model)
    return model
