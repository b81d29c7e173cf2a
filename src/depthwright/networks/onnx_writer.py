"""ONNX files of networks: Gemm and Relu nodes on (batch, input_dim) → (batch, output_dim).

The floats are those of the network's own arithmetic, float32 or float64, whose rounding the claim
counts. A network that needs more bits than float64 holds is refused with their number.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from depthwright.networks.network import Network
from depthwright.refusal import Refusal
from depthwright.files import whole_file

BYTES_LIMIT = 2**31 - 2**20
"""What one protobuf message holds, less room for the nodes."""
OPSET = 13
"""Of 2020; Gemm and Relu have not changed since."""


def save_onnx(network: Network, path: str | Path) -> None:
    """Write `network`, whole or not at all."""
    path = Path(path)
    try:
        import onnx
    except ImportError as error:
        raise Refusal(
            f"{path.name} needs the onnx package; pip install 'depthwright[onnx]'"
        ) from error
    dtype = torch.float32 if network.arithmetic == "float32" else torch.float64
    if complaint := network.unfit(dtype):
        raise Refusal(
            f"{path.name} holds floats, in which this network cannot be trusted: {complaint}; "
            "save it in the open exact format, .jsonl.gz"
        )
    size = network.architecture.parameters * dtype.itemsize
    if size > BYTES_LIMIT:
        raise Refusal(f"{path.name} would hold {size:,} bytes; ONNX files end at {BYTES_LIMIT:,}")
    with whole_file(path) as partial:
        onnx.save(_model(network.to_torch(dtype)), partial)


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
