"""ONNX files as plain layers: each node acts on the numbers of elements.

Nodes without the network's input, and nodes that only move entries, are run by onnx's own
reference implementation. The others are the operations that torch modules have, under ONNX's
names. Where onnxruntime is installed, its values at random points are compared with those of the
layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from depthwright.networks.onnx_writer import need_onnx
from depthwright.networks.reading.checks import CHECK_POINTS, agree, check_points
from depthwright.networks.reading.expressions import Ids, Tape, check_entries
from depthwright.networks.reading.layers import PlainNetwork, plain_network
from depthwright.networks.reading.onnx_operations import MOVEMENTS, OPERATIONS, Node
from depthwright.networks.reading.onnx_reference import check_growth, reference
from depthwright.refusal import Refusal, clipped

OLDEST_OPSET = 7
VALUES = {"ScatterElements": 2, "ScatterND": 2}
"""Which input of a movement, beside the first, is moved as well."""
DTYPES = {
    "tensor(float)": torch.float32,
    "tensor(double)": torch.float64,
    "tensor(float16)": torch.float16,
}
"""Those in which onnxruntime computes, by its names."""
FLOATS = {1: torch.float32, 10: torch.float16, 11: torch.float64, 16: torch.bfloat16}
"""The floats, by ONNX's numbers."""
CURES = {
    "Softmax": "give the part before the softmax",
    "LogSoftmax": "give the part before the softmax",
    "LayerNormalization": "its factor depends on the input",
}


def read_onnx(path: Path, input_shape: Sequence[int] | None = None) -> PlainNetwork:
    """A file as plain layers. Its first axis is the batch if it has more than one."""
    model = _load(path)
    graph = model.graph
    opset = _check_opset(model, path)
    if graph.sparse_initializer:
        name = graph.sparse_initializer[0].values.name
        raise Refusal(f"{name} in {path.name} is sparse; store it as a dense tensor")
    try:
        constants = {t.name: _array(t, path) for t in graph.initializer}
        return _read(path, graph, opset, constants, input_shape)
    except Refusal:
        raise
    except Exception as error:  # attributes of other types, shapes that no operation takes, …
        raise Refusal(
            f"{path.name} is damaged: {type(error).__name__}: {clipped(str(error), 200)}"
        ) from error


def _read(
    path: Path,
    graph: Any,
    opset: int,
    constants: dict[str, np.ndarray],
    input_shape: Sequence[int] | None,
) -> PlainNetwork:
    inputs = [i for i in graph.input if i.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise Refusal(
            f"{path.name} has {len(inputs)} inputs and {len(graph.output)} outputs; "
            "networks here have one of each"
        )
    shape = _shape(inputs[0], path, input_shape)
    check_entries(math.prod(shape), f"{path.name} has an input")
    tape = Tape(math.prod(shape))
    values: dict[str, Ids] = {inputs[0].name: tape.inputs.reshape(shape)}
    for node in graph.node:
        _run(tape, node, opset, values, constants)
    out = graph.output[0].name
    if out not in values:
        raise Refusal(f"the output {out} of {path.name} does not depend on its input")
    count = sum(a.size for a in constants.values() if a.dtype.kind == "f")
    network = plain_network(tape, values[out], f"{path.name} with {count:,} parameters")
    _check_values(path, graph, inputs[0], shape, network)
    return network


def _load(path: Path) -> Any:
    onnx = need_onnx(path)
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf has no common class
        raise Refusal(f"{path} cannot be read as ONNX: {error}") from error


def _array(tensor: Any, path: Path) -> np.ndarray:
    from onnx import numpy_helper

    array = numpy_helper.to_array(tensor)
    if array.dtype.name.startswith(("bfloat", "float8")):  # numpy knows them by onnx alone
        return array.astype(np.float32)
    if array.dtype.kind not in "fiub":
        raise Refusal(f"{tensor.name} in {path.name} is {array.dtype}; give floats")
    return array


def _shape(value: Any, path: Path, given: Sequence[int] | None) -> tuple[int, ...]:
    """Of one input, the batch axis 1 included where there is one."""
    _check_floats(value, path)
    dims = [d.dim_value for d in value.type.tensor_type.shape.dim]  # 0 where it is not fixed
    if len(dims) > 1 and dims[0] > 1:
        raise Refusal(
            f"{path.name} computes batches of {dims[0]} inputs; export it for a batch of 1"
        )
    if given is not None:
        shape = (1, *given) if len(dims) != len(given) else tuple(given)
        fixed = [1, *dims[1:]] if len(dims) > 1 else dims
        if dims and (
            len(shape) != len(dims) or any(n and n != m for n, m in zip(fixed, shape, strict=True))
        ):
            sizes = ", ".join(str(n) if n else "any" for n in fixed)
            raise Refusal(
                f"input_shape={tuple(given)} does not fit {path.name}, whose input {value.name} "
                f"has the shape ({sizes})"
            )
        return shape
    dims = [max(dims[0], 1), *dims[1:]] if len(dims) > 1 else dims
    if not dims or 0 in dims:
        raise Refusal(
            f"{path.name} leaves the shape of its input {value.name} open; "
            "give input_shape=(…), the shape of one input"
        )
    return tuple(dims)


def _check_floats(value: Any, path: Path) -> None:
    from onnx import TensorProto

    kind = value.type.tensor_type.elem_type
    if kind not in FLOATS:
        name = TensorProto.DataType.Name(kind).lower()
        raise Refusal(
            f"the input {value.name} of {path.name} is {name}; a ReLU network reads real numbers"
        )


def _check_opset(model: Any, path: Path) -> int:
    """The version of ONNX's operations, if sums broadcast as they do today."""
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)
    if opset < OLDEST_OPSET:
        raise Refusal(
            f"{path.name} is written in opset {opset}, whose sums broadcast in another way than "
            f"since {OLDEST_OPSET}; convert it with onnx.version_converter.convert_version"
        )
    return opset


def _run(
    tape: Tape, proto: Any, opset: int, values: dict[str, Ids], constants: dict[str, np.ndarray]
) -> None:
    """Run one node: its outputs join `values` (dependent on the input) or `constants`."""
    from onnx import helper

    attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
    node = Node(proto.op_type, proto.name or proto.output[0], attributes)
    where = f"node {node.name} ({node.kind})"
    if proto.domain not in ("", "ai.onnx"):
        raise Refusal(f"{where} is an operation of {proto.domain}, which is not understood")
    depends = [n in values for n in proto.input]
    try:
        given = [_value(n, values, constants) for n in proto.input]
        check_growth(proto, opset, given, depends)
        outs: Any
        if not any(depends) or node.kind in ("Shape", "Size"):
            constants.update(zip(proto.output, reference(proto, opset, given), strict=True))
            return
        if node.kind in MOVEMENTS:
            outs = _moved(tape, node, proto, opset, given, depends)
        elif node.kind in OPERATIONS:
            ready = [
                g if d or g is None else torch.from_numpy(np.array(g))
                for g, d in zip(given, depends, strict=True)
            ]
            outs = [OPERATIONS[node.kind](tape, node, *ready)]
        else:
            cure = CURES.get(node.kind, "give the part of the network without it")
            raise Refusal(
                f"computes {node.kind}, which is not understood as a ReLU network; {cure}"
            )
    except Refusal as refusal:
        raise Refusal(f"{where} {refusal}") from refusal
    values.update(zip(proto.output, outs, strict=False))  # further outputs are not used in eval


def _moved(
    tape: Tape,
    node: Node,
    proto: Any,
    opset: int,
    given: Sequence[np.ndarray | None],
    depends: Sequence[bool],
) -> list[Ids]:
    """A node that moves entries, run on their numbers; what it moves besides becomes constants."""
    is_value = [node.kind == "Concat" or k in (0, VALUES.get(node.kind)) for k in range(len(given))]
    if any(d and not v for d, v in zip(depends, is_value, strict=True)):
        raise Refusal("picks entries at places that depend on the input")
    if node.kind == "Resize" and node.get("mode", b"nearest") != b"nearest":
        raise Refusal("mixes neighbours with weights, which is not read here; give mode=nearest")
    moved = [
        tape.constant(g) if v and not d and g is not None else g
        for g, d, v in zip(given, depends, is_value, strict=True)
    ]
    if node.kind == "Resize":  # onnx has it for floats; float64 holds element numbers exactly
        moved[0] = np.asarray(moved[0], dtype=np.float64)
    return [out.astype(np.int64) for out in reference(proto, opset, moved)]


def _value(
    name: str, values: dict[str, Ids], constants: dict[str, np.ndarray]
) -> np.ndarray | None:
    """An input of a node; None where the node leaves it out."""
    if not name:
        return None
    if name not in values and name not in constants:
        raise Refusal(
            f"reads {name}, which no node before it gives as a value of a ReLU network; positions "
            "of maxima are none"
        )
    return values[name] if name in values else constants[name]


def _rounding(graph: Any, dtype: torch.dtype) -> str | None:
    """The first Cast to floats of fewer bits than `dtype` has, in words."""
    from onnx import helper

    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Cast" else ():
            kind = FLOATS.get(helper.get_attribute_value(attribute))
            if attribute.name == "to" and kind and torch.finfo(kind).eps > torch.finfo(dtype).eps:
                words = str(kind).removeprefix("torch.")
                return f"node {node.name or node.output[0]} (Cast) rounds to {words}"
    return None


def _check_values(
    path: Path, graph: Any, value: Any, shape: Sequence[int], network: PlainNetwork
) -> None:
    """Compare with onnxruntime, where it is installed and runs the file."""
    try:
        import onnxruntime
    except ImportError:
        return
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception:  # a format newer than onnxruntime's: nothing can be compared
        return
    if session.get_inputs()[0].type not in DTYPES:
        return
    dtype = DTYPES[session.get_inputs()[0].type]
    x = check_points(shape).to(dtype)

    def run(points: torch.Tensor) -> np.ndarray:
        return session.run(None, {value.name: points.numpy()})[0].astype(np.float64)

    def agrees(got: np.ndarray) -> bool:
        return agree(network, x.double().numpy(), got, torch.finfo(dtype))

    try:
        alone = np.concatenate([run(point).reshape(1, -1) for point in x])
    except Exception:  # an operation that onnxruntime does not run
        return
    if not agrees(alone):
        if rounds := _rounding(graph, dtype):
            raise Refusal(
                f"{rounds}, which has fewer bits than the input of {path.name}; export the network "
                "without this node"
            )
        raise Refusal(
            f"onnxruntime's values of {path.name} at {CHECK_POINTS} points are not those of the "
            "layers read from it; please report this file"
        )
    axes = value.type.tensor_type.shape.dim
    if len(axes) < 2 or axes[0].dim_value:
        return
    try:
        batch = run(x.reshape(len(x), *shape[1:]))
    except Exception:  # made for one input after all
        return
    if not agrees(batch):
        raise Refusal(
            f"{path.name} gives other values for a batch of inputs than for one at a time; export "
            "it for a batch of 1 if each is meant alone"
        )
