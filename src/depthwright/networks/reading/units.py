"""Inputs in units of their own: a network that was trained on (x − mean)/scale, as one of x."""

from __future__ import annotations

from typing import Any

import numpy as np

from depthwright.networks.reading.balls import Ball, reciprocal
from depthwright.networks.reading.expressions import Ids, Tape
from depthwright.networks.reading.layers import PlainNetwork, plain_network
from depthwright.refusal import Refusal

SMALLEST = 1e-300
"""Of a scale by absolute value, so that 1/scale is a float."""


def standardised(tape: Tape, mean: np.ndarray, scale: np.ndarray) -> Ids:
    """(x − mean)/scale, entry by entry; 1/scale is rarely a float, so its rounding is bounded."""
    values = tape.add(tape.inputs, tape.constant(mean), -1)
    factors = [reciprocal(float(s)) for s in scale]
    errors = np.array([0.0 if f.error is None else f.error[0, 0] for f in factors])
    return tape.scale(values, [f.middle[0, 0] for f in factors], errors)


def in_units(network: PlainNetwork, mean: Any, scale: Any) -> PlainNetwork:
    """x ↦ network((x − mean)/scale) as plain layers; None is 0 and 1."""
    if network.lower is not None:
        raise Refusal("a .nnet file brings its own means and ranges; leave mean and scale out")
    d = network.widths[0]
    middle = _numbers("mean", 0.0 if mean is None else mean, d)
    sizes = _numbers("scale", 1.0 if scale is None else scale, d)
    if not sizes.all():
        raise Refusal(f"scale={scale!r} holds a 0, by which nothing can be divided")
    if (np.abs(sizes) < SMALLEST).any():
        raise Refusal(
            f"scale={scale!r} holds a number too small to divide by; give at least {SMALLEST}, "
            "or the inputs in another unit"
        )
    with np.errstate(over="ignore"):
        if not np.isfinite(middle / sizes).all():
            raise Refusal(
                f"mean={mean!r} and scale={scale!r} give a mean/scale that no float holds; give "
                "the inputs in another unit"
            )
    tape = Tape(d)
    values = standardised(tape, middle, sizes)
    layers = zip(
        network.weights, network.biases, network.weight_errors, network.bias_errors, strict=True
    )
    for k, (weight, bias, weight_error, bias_error) in enumerate(layers):
        shift = Ball(bias[:, None], None if bias_error is None else bias_error[:, None])
        values = tape.affine(Ball(weight, weight_error), tape.relu(values) if k else values, shift)
    return plain_network(tape, values, f"{network.before}, of (x − mean)/scale")


def _numbers(name: str, given: Any, d: int) -> np.ndarray:
    """(d,) finite float64: one number for all inputs, or one each."""
    try:
        values = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise Refusal(f"{name}={given!r} is no number and no list of numbers") from error
    if values.shape not in ((), (d,)) or not np.isfinite(values).all():
        raise Refusal(f"{name}={given!r} is not one finite number, or one for each of {d} inputs")
    return np.broadcast_to(values, (d,))
