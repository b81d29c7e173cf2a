"""Training steps of one network, compiled: all of a chunk's batches in one call.

`kernel` has forward and backward on a tile; here are the loss, Adam and the loop. Compiled code is
kept on disk between processes, for as long as neither this file nor the ones it is made of change.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from depthwright.networks import styles as _styles
from depthwright.networks.stored_code import digest, stored
from depthwright.training import kernel as _kernel
from depthwright.training import lanes as _lanes
from depthwright.training import losses as _losses
from depthwright.training.kernel import FAST, INNER, backward, forward
from depthwright.training.lanes import count
from depthwright.training.losses import SHARPNESS

SQUARED, EIGHTH = 0, 1
"""Losses by number, in the order of `losses.LOSSES`; any other is the smooth maximum."""


@numba.njit(**INNER)
def turn(w, turned, maps):  # type: ignore[no-untyped-def]
    """Transposed copies of all matrices but the first."""
    for k in range(1, len(maps)):
        weight, turn, rows, cols = maps[k, 0], maps[k, 2], maps[k, 4], maps[k, 5]
        for i in range(rows):
            for j in range(cols):
                turned[turn + j * rows + i] = w[weight + i * cols + j]


@numba.njit(**INNER, fastmath=FAST)
def adam(w, mean, square, grad, rate, correction, beta1, beta2, eps):  # type: ignore[no-untyped-def]
    """Adam; `rate` is divided by the first moment's correction, `correction` the second's root."""
    one = w.dtype.type(1)
    for i in range(len(w)):
        m = mean[i] + (grad[i] - mean[i]) * (one - beta1)
        s = square[i] * beta2 + grad[i] * grad[i] * (one - beta2)
        mean[i], square[i] = m, s
        w[i] -= rate * m / (math.sqrt(s) / correction + eps)
        grad[i] = 0


@numba.njit(**INNER)
def loss_back(out, y, start, points, batch, outputs, loss, g):  # type: ignore[no-untyped-def]
    """Gradient of the loss by the outputs (see `losses`) at `points` points from `start`.

    The squared loss needs no other point; the others are called on the whole batch.
    """
    first, count_ = start * outputs, points * outputs
    number = g.dtype.type
    if loss == SQUARED:
        for i in range(first, first + count_):
            g[i] = (out[i] - y[i]) * (number(2) / number(batch * outputs))
        return
    top = number(0)
    for i in range(first, first + count_):
        top = max(top, abs(out[i] - y[i]))
    sum_ = number(0)
    for i in range(first, first + count_):
        t = (out[i] - y[i]) / top
        if loss == EIGHTH:
            g[i] = t**7
            sum_ += g[i] * t
        else:
            g[i] = math.copysign(math.exp(number(SHARPNESS) * (abs(t) - number(1))), t)
            sum_ += abs(g[i])
    scale = number(1) / sum_
    if loss == EIGHTH:
        scale = (sum_ / count_) ** number(1 / 8) / sum_
    for i in range(first, first + count_):
        g[i] = g[i] * scale if top > 0 else number(0)


@numba.njit(**INNER)
def zeros(size, like):  # type: ignore[no-untyped-def]
    """Zeros that begin with a whole vector: one that straddles two lines costs twice."""
    n = count(like)
    whole = np.zeros(size + n, like.dtype)
    start = (-whole.ctypes.data % (n * like.itemsize)) // like.itemsize
    return whole[start : start + size]


def _entries(made_of: str) -> tuple[Any, Any]:
    """`steps` and `values`; of `made_of`, see networks/stored_code.py."""

    @stored("the training step", nogil=True, error_model="numpy")
    def steps(  # type: ignore[no-untyped-def]
        x, y, inputs, outputs, batch, tile, maps, last, turned_size, columns,
        w, mean, square, rates, corrections, loss, betas_eps, wild,
    ):  # fmt: skip
        """All steps of one network, on batches x (steps, padded batch, padded inputs), y alike.

        All flat. `w`, `mean`, `square` (size,) are overwritten; `rates`, `corrections` (steps,)
        are the learning rate over the first moment's correction, and the root of the second's.
        """
        _ = made_of
        number = w.dtype.type
        beta1, beta2, eps = number(betas_eps[0]), number(betas_eps[1]), number(betas_eps[2])
        rows = batch + -batch % 4
        widest = 0
        for k in range(len(maps)):
            widest = max(widest, maps[k, 5])
        grad = zeros(len(w), w)
        turned = zeros(turned_size, w)
        act = zeros(columns * tile, w)  # padding behind a layer norm stays 0
        pre = zeros(columns * tile if wild else 1, w)
        delta, other = zeros(widest * tile, w), zeros(widest * tile, w)
        out, g = np.zeros(rows * outputs, w.dtype), np.zeros(rows * outputs, w.dtype)
        for step in range(len(rates)):
            at = step * rows
            truth = y[at * outputs : (at + rows) * outputs]
            turn(w, turned, maps)
            whole = loss != SQUARED
            if whole:
                for p in range(0, rows, tile):
                    points = min(tile, rows - p)
                    x0 = (at + p) * inputs
                    forward(
                        x, x0, inputs, points, tile, w, maps, last, outputs,
                        pre, act, out, p * outputs,
                    )  # fmt: skip
                loss_back(out, truth, 0, batch, batch, outputs, loss, g)
            for p in range(0, rows, tile):
                points = min(tile, rows - p)
                x0 = (at + p) * inputs
                if not whole or tile < rows:
                    forward(
                        x, x0, inputs, points, tile, w, maps, last, outputs,
                        pre, act, out, p * outputs,
                    )  # fmt: skip
                if not whole:
                    loss_back(out, truth, p, min(points, batch - p), batch, outputs, loss, g)
                backward(
                    x, x0, inputs, points, tile, w, turned, maps, last, outputs,
                    pre, act, g, p * outputs, grad, delta, other,
                )  # fmt: skip
            adam(
                w, mean, square, grad, number(rates[step]), number(corrections[step]),
                beta1, beta2, eps,
            )  # fmt: skip

    @stored("the validation", nogil=True, error_model="numpy")
    def values(x, inputs, outputs, tile, maps, last, turned_size, columns, w, wild):  # type: ignore[no-untyped-def]
        """Outputs at x (padded points, padded inputs), flat."""
        _ = made_of
        rows = len(x) // inputs
        act = zeros(columns * tile, w)
        pre = zeros(columns * tile if wild else 1, w)
        out = np.empty(rows * outputs, w.dtype)
        for p in range(0, rows, tile):
            points = min(tile, rows - p)
            forward(
                x, p * inputs, inputs, points, tile, w, maps, last, outputs,
                pre, act, out, p * outputs,
            )  # fmt: skip
        return out

    return steps, values


SOURCES = (_lanes, _kernel, _losses, _styles)
"""Where the compiled code has its functions and constants from, beside this file."""

steps, values = _entries(digest(*SOURCES))
