"""ONNX's operations on arrays of element numbers, with ONNX's names and attributes.

`OPERATIONS[kind](tape, node, *inputs)` gives the elements of the first output; `MOVEMENTS` compute
nothing. Attributes are float32 numbers, and so are those that a node leaves out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from depthwright.networks.reading import operations, windows
from depthwright.networks.reading.expressions import Ids, Tape
from depthwright.networks.reading.tensors import float64
from depthwright.refusal import Refusal

_MOVEMENTS = """
    Concat DepthToSpace Expand Flatten Gather GatherElements GatherND Identity Reshape Resize
    ScatterElements ScatterND Slice SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze
"""
MOVEMENTS = frozenset(_MOVEMENTS.split())
"""Operations that move entries and compute nothing, but for zeros: element 0 is 0."""


@dataclass(frozen=True, eq=False)
class Node:
    """One node: its operation and its attributes."""

    kind: str
    name: str
    attributes: dict[str, Any]

    def get(self, key: str, default: Any = None) -> Any:
        """An attribute, or what ONNX takes where it is left out."""
        if isinstance(default, float):
            default = float(np.float32(default))
        return self.attributes.get(key, default)


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
    "ReduceL1": _reducing(lambda tape, x, *how: operations.total(tape, tape.absolute(x), *how)),
    "ReduceMax": _reducing(operations.amax),
    "ReduceMean": _reducing(operations.mean),
    "ReduceMin": _reducing(operations.amin),
    "ReduceSum": _reducing(operations.total),
    "Relu": lambda tape, _, x: tape.relu(x),
    "Sub": _plain(operations.subtract),
    "Sum": _folded(operations.add),
    "Where": _plain(operations.where),
}
