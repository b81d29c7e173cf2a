"""ONNX files as plain layers: each node acts on the numbers of elements.

Nodes without the network's input, and nodes that only move entries, are run by onnx's own
reference implementation. The others are the operations that torch modules have, under ONNX's
names. Where onnxruntime is installed, its values at random points are compared with those of the
layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from depthwright.networks.onnx_writer import need_onnx
from depthwright.networks.reading import operations, windows
from depthwright.networks.reading.expressions import Ids, Tape, check_entries
from depthwright.networks.reading.layers import PlainNetwork, plain_network
from depthwright.networks.reading.modules import CHECK_POINTS, agree, check_points
from depthwright.networks.reading.onnx_reference import check_growth, reference
from depthwright.networks.reading.tensors import float64
from depthwright.refusal import Refusal, clipped

_MOVEMENTS = """
    Concat DepthToSpace Expand Flatten Gather GatherElements GatherND Identity Reshape Slice
    SpaceToDepth Split Squeeze Tile Transpose Unsqueeze
"""
MOVEMENTS = frozenset(_MOVEMENTS.split())
"""Operations that move entries and compute nothing."""
CURES = {
    "Softmax": "give the part before the softmax",
    "LogSoftmax": "give the part before the softmax",
    "LayerNormalization": "its factor depends on the input",
}


@dataclass(frozen=True, eq=False)
class Node:
    """One node: its operation and its attributes."""

    kind: str
    name: str
    attributes: dict[str, Any]

    def get(self, key: str, default: Any = None) -> Any:
        return self.attributes.get(key, default)


def read_onnx(path: Path, input_shape: Sequence[int] | None = None) -> PlainNetwork:
    """A file as plain layers. Its first axis is the batch if it has more than one."""
    model = _load(path)
    graph = model.graph
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)
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
    _check_values(path, inputs[0], shape, network)
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
    if array.dtype.kind == "c" or array.dtype.kind not in "fiub":
        raise Refusal(f"{tensor.name} in {path.name} is {array.dtype}; give floats")
    return array


def _shape(value: Any, path: Path, given: Sequence[int] | None) -> tuple[int, ...]:
    """Of one input, the batch axis 1 included where there is one."""
    dims = [d.dim_value for d in value.type.tensor_type.shape.dim]  # 0 where it is not fixed
    if given is not None:
        return (1, *given) if len(dims) != len(given) else tuple(given)
    if len(dims) > 1 and dims[0] > 1:
        raise Refusal(
            f"{path.name} computes batches of {dims[0]} inputs; export it for a batch of 1"
        )
    dims = [max(dims[0], 1), *dims[1:]] if len(dims) > 1 else dims
    if not dims or 0 in dims:
        raise Refusal(
            f"{path.name} leaves the shape of its input {value.name} open; "
            "give input_shape=(…), the shape of one input"
        )
    return tuple(dims)


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
    given = [None if not n else values[n] if n in values else constants.get(n) for n in proto.input]
    depends = [n in values for n in proto.input]
    try:
        check_growth(proto, opset, given, depends)
        if node.kind == "Shape" and depends[0]:
            outs: Any = [np.array(given[0].shape, dtype=np.int64)]  # type: ignore[union-attr]
            constants.update(zip(proto.output, outs, strict=True))
            return
        if not any(depends):
            constants.update(zip(proto.output, reference(proto, opset, given), strict=True))
            return
        if node.kind in MOVEMENTS:
            if not depends[0] and node.kind != "Concat":
                raise Refusal("picks entries at places that depend on the input")
            moved = [
                tape.constant(g) if node.kind == "Concat" and not d and g is not None else g
                for g, d in zip(given, depends, strict=True)
            ]
            outs = reference(proto, opset, moved)
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


def _check_values(path: Path, value: Any, shape: Sequence[int], network: PlainNetwork) -> None:
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
    dtypes = {"tensor(float)": torch.float32, "tensor(double)": torch.float64}
    dtype = dtypes.get(session.get_inputs()[0].type, torch.float16)
    x = check_points(shape).to(dtype)
    got = np.concatenate(
        [session.run(None, {value.name: point.numpy()})[0].reshape(1, -1) for point in x]
    )
    if not agree(network, x.double().numpy(), got.astype(np.float64), torch.finfo(dtype)):
        raise Refusal(
            f"onnxruntime's values of {path.name} at {CHECK_POINTS} points are not those of the "
            "layers read from it; please report this file"
        )


# operations


def _gemm(tape: Tape, node: Node, a: Any, b: Any, c: Any = None) -> Ids:
    a = a.swapaxes(0, 1) if node.get("transA", 0) else a
    b = b.swapaxes(0, 1) if node.get("transB", 0) else b
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    if c is None:
        return operations.mul(tape, operations.product(tape, a, b), alpha)
    return operations.addmm(tape, c, a, b, beta=beta, alpha=alpha)


def _geometry(node: Node, ids: Ids, kernel: Sequence[int]) -> tuple[Any, Any, Any]:
    """Stride, padding, dilation."""
    rank = len(kernel)
    stride = node.get("strides", [1] * rank)
    dilation = node.get("dilations", [1] * rank)
    auto = node.get("auto_pad", b"NOTSET").decode()
    if auto.startswith("SAME"):
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        sizes = ids.shape[-rank:]
        return stride, windows.same_padding(sizes, spans, stride, auto == "SAME_LOWER"), dilation
    pads = node.get("pads", [0] * 2 * rank)
    return stride, list(zip(pads[:rank], pads[rank:], strict=True)), dilation


def _conv(tape: Tape, node: Node, x: Any, weight: Any, bias: Any = None) -> Ids:
    kernel, shift = float64(weight), None if bias is None else float64(bias)
    geometry = _geometry(node, x, kernel.shape[2:])
    return windows.convolution(tape, x, kernel, shift, *geometry, node.get("group", 1))


def _conv_transpose(tape: Tape, node: Node, x: Any, weight: Any, bias: Any = None) -> Ids:
    kernel, shift = float64(weight), None if bias is None else float64(bias)
    if "output_shape" in node.attributes or node.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise Refusal("has output_shape or auto_pad; give pads")
    extra = node.get("output_padding")
    geometry = _geometry(node, x, kernel.shape[2:])
    return windows.transposed_convolution(
        tape, x, kernel, shift, *geometry, node.get("group", 1), extra
    )


def _batch_norm(
    tape: Tape, node: Node, x: Any, scale: Any, bias: Any, mean: Any, variance: Any
) -> Ids:
    if node.get("training_mode", 0):
        raise Refusal("is in training mode; export the model after eval()")
    weight, shift, mean, variance = (float64(t) for t in (scale, bias, mean, variance))
    return operations.normalise(tape, x, weight, shift, mean, variance, node.get("epsilon", 1e-5))


def _max_pool(tape: Tape, node: Node, x: Any) -> Ids:
    kernel = node.get("kernel_shape")
    stride, borders, dilation = _geometry(node, x, kernel)
    return windows.max_pool(
        tape, x, kernel, stride, borders, dilation, bool(node.get("ceil_mode", 0))
    )


def _average_pool(tape: Tape, node: Node, x: Any) -> Ids:
    kernel = node.get("kernel_shape")
    stride, borders, dilation = _geometry(node, x, kernel)
    if any(d != 1 for d in dilation):
        raise Refusal("has dilations, which are not read here; give dilations of 1")
    return windows.average_pool(
        tape, x, kernel, stride, borders, bool(node.get("ceil_mode", 0)),
        bool(node.get("count_include_pad", 0)),
    )  # fmt: skip


def _globally(reduce: Callable[[Tape, Ids], Ids]) -> Callable[..., Ids]:
    def operation(tape: Tape, _: Node, x: Any) -> Ids:
        out = reduce(tape, x.reshape(*x.shape[:2], -1))
        return out.reshape(*out.shape, *[1] * (x.ndim - 2))

    return operation


def _reducing(reduce: Callable[..., Ids]) -> Callable[..., Ids]:
    def operation(tape: Tape, node: Node, x: Any, axes: Any = None) -> Ids:
        axes = node.get("axes") if axes is None else axes.tolist()
        if not axes and node.get("noop_with_empty_axes", 0):
            return x
        return reduce(tape, x, axes or None, bool(node.get("keepdims", 1)))

    return operation


def _clip(tape: Tape, node: Node, x: Any, low: Any = None, high: Any = None) -> Ids:
    low = node.get("min") if low is None else float(low)
    high = node.get("max") if high is None else float(high)
    return tape.clamp(x, low, high)


def _hard_sigmoid(tape: Tape, node: Node, x: Any) -> Ids:
    x = tape.scale(x, node.get("alpha", 0.2))
    return tape.clamp(tape.add(x, tape.constant(node.get("beta", 0.5))), 0.0, 1.0)


def _pad(
    tape: Tape, node: Node, x: Any, pads: Any = None, value: Any = None, axes: Any = None
) -> Ids:
    widths = node.get("pads") if pads is None else pads.tolist()
    mode = node.get("mode", b"constant").decode()
    at = range(x.ndim) if axes is None else [int(a) % x.ndim for a in axes]
    borders = [(0, 0)] * x.ndim
    for i, axis in enumerate(at):
        borders[axis] = (widths[i], widths[len(widths) // 2 + i])
    x = x[
        tuple(slice(max(-a, 0), n + min(b, 0)) for (a, b), n in zip(borders, x.shape, strict=True))
    ]
    grown = [(max(a, 0), max(b, 0)) for a, b in borders]
    if mode == "constant":
        fill = node.get("value", 0.0) if value is None else float(value)
        return np.pad(x, grown, constant_values=int(tape.constant([fill])[0]))
    modes: dict[str, Any] = {"edge": "edge", "reflect": "reflect", "wrap": "wrap"}
    return np.pad(x, grown, mode=modes[mode])


def _folded(pairwise: Callable[..., Ids]) -> Callable[..., Ids]:
    def operation(tape: Tape, _: Node, first: Any, *others: Any) -> Ids:
        for other in others:
            first = pairwise(tape, first, other)
        return first

    return operation


def _average_of(tape: Tape, node: Node, *given: Any) -> Ids:
    return operations.div(tape, _folded(operations.add)(tape, node, *given), float(len(given)))


def _plain(operation: Callable[..., Ids]) -> Callable[..., Ids]:
    """An operation without attributes."""
    return lambda tape, _, *given: operation(tape, *given)


def _dropout(_: Tape, node: Node, x: Any, ratio: Any = None, training: Any = None) -> Ids:
    if training is not None and bool(training):
        raise Refusal("is in training mode; export the model after eval()")
    return x


def _cast(_: Tape, node: Node, x: Any) -> Ids:
    from onnx import TensorProto

    floats = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
    if node.get("to") not in floats:
        raise Refusal("turns values into something else than floats")
    return x


OPERATIONS: dict[str, Callable[..., Ids]] = {
    "Abs": lambda tape, _, x: tape.absolute(x),
    "Add": _plain(operations.add),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Div": _plain(operations.div),
    "Dropout": _dropout,
    "Gemm": _gemm,
    "GlobalAveragePool": _globally(windows.average),
    "GlobalMaxPool": _globally(windows.maximum),
    "HardSigmoid": _hard_sigmoid,
    "LeakyRelu": lambda tape, node, x: tape.leaky(x, node.get("alpha", 0.01)),
    "MatMul": _plain(operations.product),
    "Max": _folded(operations.maximum),
    "MaxPool": _max_pool,
    "Mean": _average_of,
    "Min": _folded(operations.minimum),
    "Mul": _plain(operations.mul),
    "Neg": lambda tape, _, x: tape.scale(x, -1),
    "Pad": _pad,
    "PRelu": _plain(operations.prelu),
    "ReduceMax": _reducing(operations.amax),
    "ReduceMean": _reducing(operations.mean),
    "ReduceMin": _reducing(operations.amin),
    "ReduceSum": _reducing(operations.total),
    "Relu": lambda tape, _, x: tape.relu(x),
    "Sub": _plain(operations.subtract),
    "Sum": _folded(operations.add),
}
