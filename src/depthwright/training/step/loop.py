"""Training steps of one network, compiled: all of a chunk's batches in one call.

`kernel` has values and gradients of a tile; here are the loss, the optimisers and the loop. The
compiled code is kept on disk between processes, as long as neither this file nor those it is made
of change.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np

from depthwright.machine.numba_cache import digest, stored
from depthwright.networks import styles as _styles
from depthwright.training import losses as _losses
from depthwright.training.losses import L2, L8, LOSSES, SHARPNESS
from depthwright.training.step import kernel as _kernel
from depthwright.training.step import layout as _layout
from depthwright.training.step import product as _product
from depthwright.training.step import simd as _simd
from depthwright.training.step.kernel import (
    Gradients,
    Hidden,
    backward,
    forward,
)
from depthwright.training.step.product import INNER, dense
from depthwright.training.step.simd import number, pointer

SQUARED, EIGHTH = LOSSES.index(L2), LOSSES.index(L8)
"""Losses are passed by their number in `LOSSES`; any other is the smooth maximum."""


FAST = {"contract", "nsz"}
"""Without `nnan`: divergence has to stay visible as not-a-number."""


class Batches(NamedTuple):
    """The batches of all steps, flat; batch and inputs padded with zeros to multiples of 4."""

    x: np.ndarray
    """(steps, padded batch, padded inputs)."""
    y: np.ndarray
    """(steps, padded batch, outputs)."""
    size: int
    """Points of a batch, without padding."""


class State(NamedTuple):
    """One network and Adam's memory, (size,) each, overwritten by `train`."""

    weights: np.ndarray
    mean: np.ndarray
    square: np.ndarray


class Room(NamedTuple):
    """Memory that `train` and `values` work in, flat; made by Python, which keeps it alive.

    Zeros at first: what is padding stays 0.
    """

    preactivations: np.ndarray
    activations: np.ndarray
    """As `kernel.Hidden`."""
    gradient: np.ndarray
    transposed: np.ndarray
    delta: np.ndarray
    next_delta: np.ndarray
    """As `kernel.Gradients`."""
    values: np.ndarray
    """Outputs of a whole batch."""
    by_value: np.ndarray
    """The loss's gradient with respect to these; 0 for padding."""


class Adam(NamedTuple):
    """Numbers of Adam, AdamW or momentum; the first three have one entry per step."""

    rates: np.ndarray
    """The learning rate over the correction of the mean."""
    corrections: np.ndarray
    """The root of the correction of the mean square."""
    decays: np.ndarray
    """The share of itself that every weight loses first: AdamW's."""
    beta1: float
    """Without squares: the momentum."""
    beta2: float
    eps: float
    squares: bool
    """Whether the running mean is divided by the root of that of squares: Adam's."""


@numba.njit(**INNER)
def _transpose_all(maps, weights, transposed):  # type: ignore[no-untyped-def]
    """Transposed copies of all hidden matrices but the first."""
    for k in range(1, len(maps)):
        m = maps[k]
        weight, to, rows, columns = m.weight, m.transposed, m.rows, m.columns
        for i in range(rows):
            for j in range(columns):
                transposed[to + j * rows + i] = weights[weight + i * columns + j]


@numba.njit(**INNER, fastmath=FAST)
def _adam_step(state, gradient, adam, step):  # type: ignore[no-untyped-def]
    """Adam's formula for every entry; the gradient is 0 afterwards."""
    weights, mean, square = state
    dtype = weights.dtype.type
    rate, correction = dtype(adam.rates[step]), dtype(adam.corrections[step])
    beta1, beta2, eps, one = dtype(adam.beta1), dtype(adam.beta2), dtype(adam.eps), dtype(1)
    for i in range(len(weights)):
        m = mean[i] + (gradient[i] - mean[i]) * (one - beta1)
        s = square[i] * beta2 + gradient[i] * gradient[i] * (one - beta2)
        mean[i], square[i] = m, s
        weights[i] -= rate * m / (math.sqrt(s) / correction + eps)
        gradient[i] = 0


@numba.njit(**INNER, fastmath=FAST)
def _decay(weights, share):  # type: ignore[no-untyped-def]
    """Every weight loses that share of itself."""
    lost = weights.dtype.type(share)
    for i in range(len(weights)):
        weights[i] -= lost * weights[i]


@numba.njit(**INNER, fastmath=FAST)
def _momentum_step(state, gradient, adam, step):  # type: ignore[no-untyped-def]
    """Along the running sum of gradients, in the place of Adam's mean; the gradient is 0 then."""
    weights, total, _ = state
    rate, momentum = weights.dtype.type(adam.rates[step]), weights.dtype.type(adam.beta1)
    for i in range(len(weights)):
        m = total[i] * momentum + gradient[i]
        total[i] = m
        weights[i] -= rate * m
        gradient[i] = 0


@numba.njit(**INNER)
def _squared_back(values, truth, entries, by_value):  # type: ignore[no-untyped-def]
    """Gradient of the mean of `entries` squared errors by these values."""
    scale = number(values.entries, 2) / number(values.entries, entries)
    for i in range(truth.rows * truth.columns):
        by_value.entries[by_value.start + i] = _error(values, truth, i) * scale


@numba.njit(**INNER)
def _scaled_back(values, truth, loss, by_value):  # type: ignore[no-untyped-def]
    """Gradient of the other losses (see `losses`) by all values of a batch."""
    entries, one = truth.rows * truth.columns, number(values.entries, 1)
    largest = mass = number(values.entries, 0)
    for i in range(entries):
        largest = max(largest, abs(_error(values, truth, i)))
    for i in range(entries):
        t = _error(values, truth, i) / largest
        if loss == EIGHTH:
            slope = t**7
            mass += slope * t
        else:
            steepness = number(values.entries, SHARPNESS)
            slope = math.copysign(math.exp(steepness * (abs(t) - one)), t)
            mass += abs(slope)
        by_value.entries[by_value.start + i] = slope
    scale = one / mass
    if loss == EIGHTH:
        scale = (mass / entries) ** (one / 8) / mass
    for i in range(by_value.start, by_value.start + entries):
        by_value.entries[i] = by_value.entries[i] * scale if largest > 0 else one * 0


@numba.njit(**INNER)
def _error(values, truth, i):  # type: ignore[no-untyped-def]
    return values.entries[values.start + i] - truth.entries[truth.start + i]


def _entries(made_of: str) -> tuple[Any, Any]:
    """`train` and `values`; of `made_of`, see machine/numba_cache.py."""

    @stored("the training step", nogil=True, error_model="numpy")
    def train(shape, batches, state, room, adam, loss):  # type: ignore[no-untyped-def]
        """All steps of one network: `Shape`, `Batches`, `State`, `Room`, `Adam`, the loss's number.

        The squared error of a tile needs no other tile. For other losses all tiles go forward
        first, and a second time before they go backward, unless the batch is one tile.
        """
        _ = made_of
        inputs, outputs, tile, size = shape.inputs, shape.outputs, shape.tile, batches.size
        rows = size + -size % 4
        weights, x, y = pointer(state.weights), pointer(batches.x), pointer(batches.y)
        hidden = Hidden(pointer(room.preactivations), pointer(room.activations))
        gradients = Gradients(
            pointer(room.gradient),
            pointer(room.transposed),
            pointer(room.delta),
            pointer(room.next_delta),
        )
        values, by_value = pointer(room.values), pointer(room.by_value)
        for step in range(len(adam.rates)):
            first = step * rows
            _transpose_all(shape.maps, weights, gradients.transposed)
            if loss != SQUARED:
                for p in range(0, rows, tile):
                    points = min(tile, rows - p)
                    given = dense(x, (first + p) * inputs, points, inputs)
                    result = dense(values, p * outputs, points, outputs)
                    forward(shape, weights, hidden, given, result)
                truth = dense(y, first * outputs, size, outputs)
                result = dense(values, 0, rows, outputs)
                _scaled_back(result, truth, loss, dense(by_value, 0, rows, outputs))
            for p in range(0, rows, tile):
                points = min(tile, rows - p)
                given = dense(x, (first + p) * inputs, points, inputs)
                result = dense(values, p * outputs, points, outputs)
                slopes = dense(by_value, p * outputs, points, outputs)
                if loss == SQUARED or tile < rows:
                    forward(shape, weights, hidden, given, result)
                if loss == SQUARED:
                    real = min(points, size - p)
                    truth = dense(y, (first + p) * outputs, real, outputs)
                    _squared_back(result, truth, size * outputs, slopes)
                backward(shape, weights, hidden, given, slopes, gradients)
            if adam.decays[step] != 0:
                _decay(state.weights, adam.decays[step])
            if adam.squares:
                _adam_step(state, room.gradient, adam, step)
            else:
                _momentum_step(state, room.gradient, adam, step)

    @stored("the validation", nogil=True, error_model="numpy")
    def values(shape, weights, x, room):  # type: ignore[no-untyped-def]
        """Outputs at x (padded points, padded inputs), flat, into `room.values`."""
        _ = made_of
        inputs, outputs, rows = shape.inputs, shape.outputs, len(x) // shape.inputs
        hidden = Hidden(pointer(room.preactivations), pointer(room.activations))
        for p in range(0, rows, shape.tile):
            points = min(shape.tile, rows - p)
            given = dense(pointer(x), p * inputs, points, inputs)
            result = dense(pointer(room.values), p * outputs, points, outputs)
            forward(shape, pointer(weights), hidden, given, result)

    return train, values


SOURCES = (_simd, _product, _kernel, _layout, _losses, _styles)
"""Files of the functions, types and constants of the compiled code, beside this one."""

train, values = _entries(digest(*SOURCES))
