"""torch's operations, as torch's dispatcher names them, on arrays of element numbers.

`OPERATIONS[name](tape, *arguments)` gives the elements of the result. Arguments that depend on the
network's input are arrays of element numbers (`Ids`), all others are what torch was called with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from depthwright.networks.arithmetic import FLOAT64_ROUNDOFF
from depthwright.networks.reading import windows
from depthwright.networks.reading.balls import TINY, Ball, exact, reciprocal
from depthwright.networks.reading.expressions import Ids, Tape
from depthwright.networks.reading.tensors import float64
from depthwright.refusal import Refusal


def addmm(tape: Tape, bias: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Ids:
    """beta · bias + alpha · a @ b."""
    if beta == alpha == 1 and not _depends(bias) and _depends(a) and not _depends(b):
        return product(tape, a, b, bias)
    return add(tape, mul(tape, bias, beta), mul(tape, product(tape, a, b), alpha))


def product(tape: Tape, a: Any, b: Any, bias: Any = None) -> Ids:
    """a @ b for matrices or stacks of them; one of the two is constant."""
    if _depends(a) and _depends(b):
        raise Refusal(PRODUCT)
    if not _depends(a):
        return _swapped(product(tape, _swapped(b), _swapped(_constant(a))))
    if b.ndim == 1:
        return product(tape, a, b[:, None])[..., 0]
    if a.ndim == 1:
        return product(tape, a[None], b, bias)[0]
    weight = float64(b)
    lead = np.broadcast_shapes(a.shape[:-2], weight.shape[:-2])
    stacks = np.broadcast_to(a, (*lead, *a.shape[-2:])).reshape(-1, *a.shape[-2:])
    matrices = np.broadcast_to(weight, (*lead, *weight.shape[-2:])).reshape(-1, *weight.shape[-2:])
    shift = None
    if bias is not None:
        column = np.broadcast_to(float64(bias), (weight.shape[-1],)) if bias.ndim < 2 else None
        if column is None:
            return add(tape, product(tape, a, b), bias)
        shift = exact(np.array(column)[:, None])
    out = [
        [tape.affine(exact(matrix.T), row, shift) for row in stack]
        for stack, matrix in zip(stacks, matrices, strict=True)
    ]
    return np.array(out).reshape(*lead, a.shape[-2], weight.shape[-1])


def _swapped(a: Any) -> Any:
    return a if a.ndim == 1 else np.swapaxes(a, -1, -2)


def convolution(
    tape: Tape, x: Any, weight: Any, bias: Any, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], transposed: bool, extra: Sequence[int], groups: int,
) -> Ids:  # fmt: skip
    """torch.nn.functional.conv1d, conv2d and conv3d, transposed ones included."""
    if _depends(weight) or _depends(bias):
        raise Refusal("convolves with weights that depend on the input")
    rank = weight.ndim - 2
    borders = [(p, p) for p in _each(padding, rank)]
    common = (_each(stride, rank), borders, _each(dilation, rank), groups)
    shift = None if bias is None else float64(bias)
    if transposed:
        return windows.transposed_convolution(
            tape, x, float64(weight), shift, *common, _each(extra, rank)
        )
    return windows.convolution(tape, x, float64(weight), shift, *common)


def batch_norm(
    tape: Tape, x: Any, weight: Any, bias: Any, mean: Any, variance: Any, training: bool,
    momentum: float, eps: float,
) -> tuple[Ids, ...]:  # fmt: skip
    """(x − mean)/√(variance + eps) · weight + bias, per channel; also returns unused statistics."""
    if training or mean is None:
        raise Refusal(
            "normalises with the statistics of its own batch; call eval() on a module that has "
            "running statistics"
        )
    weight, bias = (None if p is None else float64(p) for p in (weight, bias))
    out = normalise(tape, x, weight, bias, float64(mean), float64(variance), float(eps))
    return out, NOTHING, NOTHING


def normalise(
    tape: Tape, x: Ids, weight: Any, bias: Any, mean: np.ndarray, variance: np.ndarray, eps: float
) -> Ids:
    """As `batch_norm`; the factor is rarely a float, so its rounding is bounded.

    √, +, · and / in floats are each off by at most one unit: 4 of them by less than 6 units. Among
    subnormal numbers a unit is TINY.
    """
    weight = np.ones_like(mean) if weight is None else weight
    bias = np.zeros_like(mean) if bias is None else bias
    if not (variance + eps > 0).all():
        raise Refusal("normalises by a variance that is not positive")
    factor = weight / np.sqrt(variance + eps)
    error = 6 * FLOAT64_ROUNDOFF * np.abs(factor) + TINY
    shift = bias - mean * factor
    shift_error = np.abs(mean) * error + 2 * TINY
    shift_error += 3 * FLOAT64_ROUNDOFF * (np.abs(mean * factor) + np.abs(bias))
    places = math.prod(x.shape[2:])

    def spread(values: np.ndarray) -> np.ndarray:
        return np.repeat(values, places)

    column = Ball(spread(shift)[:, None], spread(shift_error)[:, None])
    return tape.scale(x, spread(factor).reshape(x.shape), spread(error), column)


def add(tape: Tape, a: Any, b: Any, *, alpha: float = 1) -> Ids:
    """a + alpha · b."""
    return tape.add(_ids(tape, a), _ids(tape, b), alpha)


def subtract(tape: Tape, a: Any, b: Any, *, alpha: float = 1) -> Ids:
    """a − alpha · b."""
    return tape.add(_ids(tape, a), _ids(tape, b), -alpha)


def rsub(tape: Tape, a: Any, b: Any, alpha: float = 1) -> Ids:
    """b − alpha · a."""
    return subtract(tape, b, a, alpha=alpha)


def mul(tape: Tape, a: Any, b: Any) -> Ids:
    """a · b, one of them constant."""
    if _depends(a) and _depends(b):
        raise Refusal(PRODUCT)
    x, factor = (a, b) if _depends(a) else (b, a)
    if not _depends(x):
        x = tape.constant(float64(x))  # the product is rounded, which scale() bounds
    x, factors = np.broadcast_arrays(x, float64(factor))
    return tape.scale(x, factors)


def div(tape: Tape, a: Any, b: Any, *, rounding_mode: str | None = None) -> Ids:
    """a / b for constant b."""
    if _depends(b) or rounding_mode is not None:
        raise Refusal("divides by a value of the network, or rounds a quotient")
    x, divisors = np.broadcast_arrays(a, float64(b))
    values, kinds = np.unique(divisors, return_inverse=True)
    balls = [reciprocal(float(v)) for v in values]
    factors = np.array([ball.middle[0, 0] for ball in balls])[kinds]
    errors = np.array([0.0 if b.error is None else b.error[0, 0] for b in balls])[kinds]
    return tape.scale(x, factors.reshape(x.shape), errors.reshape(-1) if errors.any() else None)


def mean(tape: Tape, x: Any, dim: Any = None, keepdim: bool = False, **_: Any) -> Ids:
    return _reduced(x, dim, keepdim, lambda seen: windows.average(tape, seen))


def total(tape: Tape, x: Any, dim: Any = None, keepdim: bool = False, **_: Any) -> Ids:
    return _reduced(x, dim, keepdim, lambda seen: windows.average(tape, seen, 1.0))


def amax(tape: Tape, x: Any, dim: Any = None, keepdim: bool = False) -> Ids:
    return _reduced(x, dim, keepdim, lambda seen: windows.maximum(tape, seen))


def amin(tape: Tape, x: Any, dim: Any = None, keepdim: bool = False) -> Ids:
    return tape.scale(amax(tape, tape.scale(x, -1), dim, keepdim), -1)


def _reduced(x: Ids, dim: Any, keepdim: bool, reduce: Callable[[Ids], Ids]) -> Ids:
    given = range(x.ndim) if dim is None or dim == [] else np.atleast_1d(dim).tolist()
    axes = sorted(a % x.ndim for a in given)
    kept = [a for a in range(x.ndim) if a not in axes]
    shape = [x.shape[a] for a in kept]
    out = reduce(x.transpose([*kept, *axes]).reshape(*shape, -1))
    return np.expand_dims(out, axes) if keepdim else out


def max_pool(
    tape: Tape, x: Any, kernel: Sequence[int], stride: Sequence[int] = (),
    padding: Sequence[int] = (0,), dilation: Sequence[int] = (1,), ceil_mode: bool = False,
) -> tuple[Ids, Ids]:  # fmt: skip
    """Values, and positions that may not be used."""
    rank = len(kernel)
    borders = [(p, p) for p in _each(padding, rank)]
    out = windows.max_pool(
        tape, x, kernel, _each(stride or kernel, rank), borders, _each(dilation, rank), ceil_mode
    )
    return out, np.full_like(out, UNKNOWN)


def adaptive_max_pool(tape: Tape, x: Any, sizes: Sequence[int]) -> tuple[Ids, Ids]:
    """As `max_pool`."""
    out = windows.maximum(tape, windows.adaptive(x, sizes))
    return out, np.full_like(out, UNKNOWN)


def average_pool(
    tape: Tape, x: Any, kernel: Sequence[int], stride: Sequence[int] = (),
    padding: Sequence[int] = (0,), ceil_mode: bool = False, count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Ids:  # fmt: skip
    """torch.nn.functional.avg_pool1d, avg_pool2d and avg_pool3d."""
    rank = len(kernel)
    borders = [(p, p) for p in _each(padding, rank)]
    stride = _each(stride or kernel, rank)
    return windows.average_pool(
        tape, x, kernel, stride, borders, ceil_mode, count_include_pad, divisor_override
    )


def adaptive_average_pool(tape: Tape, x: Any, sizes: Sequence[int]) -> Ids:
    """torch.nn.functional.adaptive_avg_pool1d, 2d and 3d."""
    return windows.average(tape, windows.adaptive(x, sizes))


def constant_pad(tape: Tape, x: Any, pad: Sequence[int], value: float = 0) -> Ids:
    """Padding with one number; negative widths crop."""
    fill = int(tape.constant([value])[0])
    padded = torch.constant_pad_nd(torch.from_numpy(np.ascontiguousarray(x)), list(pad), fill)
    return padded.numpy()


def clamp(tape: Tape, x: Any, low: Any = None, high: Any = None) -> Ids:
    """min(max(x, low), high); tensors as limits apply entry by entry."""
    if all(v is None or isinstance(v, (int, float)) for v in (low, high)):
        return tape.clamp(x, low, high)
    out = x if low is None else tape.maximum(x, _ids(tape, low))
    return out if high is None else tape.minimum(out, _ids(tape, high))


def hardtanh(tape: Tape, x: Any, low: float = -1.0, high: float = 1.0) -> Ids:
    """min(max(x, low), high)."""
    return tape.clamp(x, low, high)


def hardsigmoid(tape: Tape, x: Any) -> Ids:
    """min(max(x + 3, 0), 6)/6."""
    return div(tape, tape.clamp(tape.add(x, tape.constant(3.0)), 0.0, 6.0), 6.0)


def leaky_relu(tape: Tape, x: Any, slope: float = 0.01) -> Ids:
    """σ(x) − slope · σ(−x)."""
    return tape.leaky(x, slope)


def prelu(tape: Tape, x: Any, slope: Any) -> Ids:
    """One slope per channel."""
    return tape.leaky(x, float64(slope))


def rrelu(
    tape: Tape, x: Any, noise: Any, low: float = 1 / 8, high: float = 1 / 3, training: bool = False,
    generator: Any = None,
) -> Ids:  # fmt: skip
    """In eval mode a leaky ReLU whose slope is the mean."""
    if training:
        raise Refusal("draws random slopes; call eval() first")
    return tape.leaky(x, (low + high) / 2)


def threshold(tape: Tape, x: Any, at: float, value: float) -> Ids:
    """x above `at`, else `value`: continuous only where both are equal."""
    if at != value:
        raise Refusal(f"jumps from {value} to {at}, which no continuous function does")
    return tape.clamp(x, at, None)


def maximum(tape: Tape, a: Any, b: Any) -> Ids:
    return tape.maximum(*np.broadcast_arrays(_ids(tape, a), _ids(tape, b)))


def minimum(tape: Tape, a: Any, b: Any) -> Ids:
    return tape.minimum(*np.broadcast_arrays(_ids(tape, a), _ids(tape, b)))


def where(tape: Tape, condition: Any, a: Any, b: Any) -> Ids:
    """a or b, entry by entry, as constants choose."""
    return np.where(np.asarray(condition), _ids(tape, a), _ids(tape, b))


def softshrink(tape: Tape, x: Any, size: float = 0.5) -> Ids:
    """x − min(max(x, −size), size)."""
    return tape.add(x, tape.clamp(x, -size, size), -1)


def largest(
    tape: Tape, x: Any, dim: int | None = None, keepdim: bool = False, reduce: Any = amax
) -> Any:
    """torch.max in its three forms."""
    if dim is None:
        return reduce(tape, x)
    out = reduce(tape, x, dim, keepdim)
    return out, np.full_like(out, UNKNOWN)


def smallest(tape: Tape, x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """torch.min in its three forms."""
    return largest(tape, x, dim, keepdim, amin)


PRODUCT = (
    "multiplies two values of the network with each other, as gates and attention do; "
    "give the part without it"
)
UNKNOWN = -1
"""The element number of values that are not piecewise linear, such as the position of a maximum."""
NOTHING = np.zeros(0, dtype=np.int64)
"""A result that is not used in eval mode."""


def _depends(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def _constant(value: Any) -> torch.Tensor:
    return value if isinstance(value, torch.Tensor) else torch.as_tensor(value)


def _ids(tape: Tape, value: Any) -> Ids:
    return value if _depends(value) else tape.constant(float64(value))


def _each(values: Sequence[int] | int, rank: int) -> list[int]:
    values = [values] if isinstance(values, int) else list(values)
    return values * rank if len(values) == 1 else values


OPERATIONS: dict[str, Callable[..., Any]] = {
    "addmm": addmm,
    "addmv": addmm,
    "baddbmm": addmm,
    "mm": product,
    "bmm": product,
    "mv": product,
    "matmul": product,
    "dot": product,
    "convolution": convolution,
    "native_batch_norm": batch_norm,
    "cudnn_batch_norm": lambda *given: (*batch_norm(*given), NOTHING),
    "add": add,
    "sub": subtract,
    "rsub": rsub,
    "mul": mul,
    "div": div,
    "neg": lambda tape, x: tape.scale(x, -1),
    "mean": mean,
    "sum": total,
    "amax": amax,
    "amin": amin,
    "max": largest,
    "min": smallest,
    "maximum": maximum,
    "minimum": minimum,
    "max_pool2d_with_indices": max_pool,
    "max_pool3d_with_indices": max_pool,
    "adaptive_max_pool2d": adaptive_max_pool,
    "adaptive_max_pool3d": adaptive_max_pool,
    "avg_pool2d": average_pool,
    "avg_pool3d": average_pool,
    "_adaptive_avg_pool2d": adaptive_average_pool,
    "_adaptive_avg_pool3d": adaptive_average_pool,
    "constant_pad_nd": constant_pad,
    "relu": lambda tape, x: tape.relu(x),
    "clamp": clamp,
    "clamp_min": lambda tape, x, low: clamp(tape, x, low),
    "clamp_max": lambda tape, x, high: clamp(tape, x, None, high),
    "hardtanh": hardtanh,
    "hardsigmoid": hardsigmoid,
    "leaky_relu": leaky_relu,
    "_prelu_kernel": prelu,
    "rrelu_with_noise": rrelu,
    "threshold": threshold,
    "where": where,
    "masked_fill": lambda tape, x, mask, value: where(tape, mask, value, x),
    "softshrink": softshrink,
    "abs": lambda tape, x: tape.absolute(x),
}
