"""ONNX nodes run by onnx's own implementation, once it is known how large their outputs will be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from depthwright.networks.reading.expressions import check_entries
from depthwright.refusal import Refusal

FEW = 64
"""Constants of no more entries are shapes, repeats and the like, on which sizes may depend."""


def check_growth(
    proto: Any, opset: int, given: Sequence[np.ndarray | None], depends: Sequence[bool]
) -> None:
    """Refuse a node with an output of too many entries, and one that runs other nodes.

    `depends`: which of the inputs `given` depend on the network's input; they stand for floats.
    """
    from onnx import AttributeProto

    if any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in proto.attribute):
        raise Refusal(f"runs nodes of its own ({proto.op_type}); unroll them")
    for shape in _shapes(proto, opset, given, depends):
        check_entries(math.prod(shape), "has an output")


def _shapes(
    proto: Any, opset: int, given: Sequence[np.ndarray | None], depends: Sequence[bool]
) -> list[tuple[int, ...]]:
    """Of the outputs whose shapes onnx can infer."""
    from onnx import TensorProto, ValueInfoProto, helper, numpy_helper, shape_inference

    inputs, constants = {}, {}
    for name, value, symbolic in zip(proto.input, given, depends, strict=True):
        if not name or value is None:
            continue
        array = np.asarray(value)
        kind = TensorProto.FLOAT if symbolic else helper.np_dtype_to_tensor_dtype(array.dtype)
        inputs[name] = helper.make_tensor_value_info(name, kind, array.shape)
        if not symbolic and array.size <= FEW:
            constants[name] = numpy_helper.from_array(array, name)
    outputs = [ValueInfoProto(name=name) for name in proto.output if name]
    graph = helper.make_graph(
        [proto], "one", list(inputs.values()), outputs, list(constants.values())
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        found = shape_inference.infer_shapes(model, data_prop=True).graph.output
    except Exception:  # running it will say what is wrong
        return []
    dims = [[d.dim_value for d in out.type.tensor_type.shape.dim] for out in found]
    return [tuple(shape) for shape in dims if all(n > 0 for n in shape)]


def reference(proto: Any, opset: int, given: Sequence[Any]) -> list[np.ndarray]:
    """onnx's own implementation of one node."""
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    def info(name: str, value: Any = None) -> Any:
        kind = TensorProto.FLOAT if value is None else helper.np_dtype_to_tensor_dtype(value.dtype)
        return helper.make_tensor_value_info(name, kind, None)

    feeds = {n: np.asarray(v) for n, v in zip(proto.input, given, strict=True) if n}
    graph = helper.make_graph(
        [proto], "one", [info(n, v) for n, v in feeds.items()], [info(n) for n in proto.output if n]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        return [np.asarray(v) for v in ReferenceEvaluator(model).run(None, feeds)]
    except Exception as error:
        raise Refusal(f"cannot be run: {type(error).__name__}: {error}") from error
