"""Values of exact networks: exactly, or in float64 and float32 with every loss reported.

Exact evaluation holds each value as an integer times a power of two. The power belongs to the
slot (one neuron of one layer), is the same for the whole batch, and follows from the powers of
the weights, so it is never stored as leading zero bits: a network whose values shrink to 2^−100000
costs no more than one whose values are near 1. The result is rounded once, ties to even.
This file holds the reference, Python's or gmpy2's integers; limb_engine.py computes the same
numbers from compiled programs, and is used where it is faster.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np

from depthwright.networks.dyadic import round_to_float
from depthwright.networks.exact import BIAS, ExactNetwork, Layer
from depthwright.networks.network import Arithmetic
from depthwright.progress import Bar
from depthwright.refusal import Refusal

Engine = Literal["auto", "integers", "limbs"]
"""How exact values are computed; the numbers are the same."""
ENGINES: tuple[Engine, ...] = get_args(Engine)
Slot = tuple[Any, int]
"""Integers (batch,) as an object array, and their common power of two."""

MANTISSA = {"float64": 53, "float32": 24}
STRIP = 64
"""Zero bits at the end of all values of a slot that are worth dropping."""
DENSE_LIMIT = 1 << 16
"""Layers with more entries than this are multiplied as sparse matrices."""


class PrecisionLoss(UserWarning):
    """Values were rounded because rounding was asked for."""


@lru_cache(maxsize=1)
def _big() -> type:
    """gmpy2's integers, four times faster than Python's at a thousand bits; else Python's."""
    try:
        from gmpy2 import mpz
    except ImportError:
        return int
    return mpz


def evaluate(
    network: ExactNetwork,
    x: np.ndarray,
    arithmetic: Arithmetic,
    *,
    rounding: bool = False,
    anywhere: bool = False,
    engine: Engine = "auto",
    device: Any = None,
) -> np.ndarray:
    """Float64 values (batch, output_dim) at `x` (batch, input_dim); see ExactNetwork.evaluate."""
    x = np.asarray(x)
    check_inputs(network, x, anywhere=anywhere)
    if arithmetic == "exact":
        return _exact(network, x, engine, device)
    if arithmetic not in MANTISSA:
        raise Refusal(f"arithmetic={arithmetic!r} is unknown; choose float32, float64 or exact")
    return _float_values(network, x, arithmetic, rounding)


def check_inputs(network: ExactNetwork, x: np.ndarray, *, anywhere: bool = False) -> None:
    """Kind, shape, finiteness, that float64 holds them, and that it was built for them."""
    if x.dtype.kind not in "fiub":
        raise Refusal(f"inputs of dtype {x.dtype} are not real numbers; give float64")
    d = network.layers[0].fan_in
    if x.ndim != 2 or x.shape[1] != d:
        raise Refusal(f"inputs of shape {x.shape} do not fit; this network reads (batch, {d})")
    bad = ~np.isfinite(x).all(axis=1)
    if bad.any():
        raise Refusal(f"row {int(bad.argmax())} of the inputs is not finite")
    bad = _rounded_by_float64(x).any(axis=1)
    if bad.any():
        raise Refusal(
            f"row {int(bad.argmax())} of the inputs, dtype {x.dtype}, holds a number that float64 "
            "does not; round it first"
        )
    if network.inputs is None or anywhere:
        return
    exact, inputs = x.astype(np.float64), network.inputs
    for bad in (inputs.outside(exact), inputs.others(exact)):
        if bad.any():
            row = int(bad.argmax())
            raise Refusal(
                f"{int(bad.sum())} of {len(x)} inputs are not among {inputs}, of which alone "
                f"something is claimed; the first is row {row} of the inputs, "
                f"{np.array2string(x[row], threshold=6)}; pass anywhere=True to evaluate them "
                "all the same"
            )


def _rounded_by_float64(x: np.ndarray) -> np.ndarray:
    """Where float64 is another number (same shape)."""
    changed = np.zeros(x.shape, dtype=bool)
    if x.dtype.kind == "f" and x.dtype.itemsize > 8:
        with np.errstate(over="ignore", under="ignore"):
            changed = x.astype(np.float64) != x
    elif x.dtype.kind in "iu" and x.dtype.itemsize == 8:
        large = (x > 1 << 53) | (x < -(1 << 53) if x.dtype.kind == "i" else False)
        changed[large] = [int(float(v)) != v for v in x[large].tolist()]
    return changed


# --- exact


def _exact(network: ExactNetwork, x: np.ndarray, engine: Engine, device: Any) -> np.ndarray:
    """By limbs where that is faster, or asked for; by integers elsewhere."""
    if engine not in ENGINES:
        raise Refusal(f"engine={engine!r} is unknown; choose one of {', '.join(ENGINES)}")
    if engine == "integers":
        return to_float64(exact_values(network, x))
    from depthwright.networks import balls, limb_engine

    out, left = limb_engine.evaluate(network, x, forced=engine == "limbs", device=device)
    refuse_overflow(out[~left], np.flatnonzero(~left))
    if left.any():
        rows = np.flatnonzero(left)
        if balls.worthwhile(network):
            out[left] = balls.rounded(network, x[left])
            refuse_overflow(out[left], rows)
        else:
            out[left] = to_float64(exact_values(network, x[left]), rows)
    return out


def input_slots(x: np.ndarray) -> list[Slot]:
    """Each column as integers times one power of two."""
    big = _big()
    slots: list[Slot] = []
    for column in np.asarray(x, dtype=np.float64).T:
        fraction, power = np.frexp(column)
        integers = np.ldexp(fraction, 53).astype(np.int64)
        zeros = np.array([((i & -i).bit_length() - 1) if i else 0 for i in integers.tolist()])
        lowest = power.astype(np.int64) - 53 + zeros
        common = int(lowest[integers != 0].min()) if (integers != 0).any() else 0
        shifts = power.astype(np.int64) - 53 - common
        values = np.empty(len(column), dtype=object)
        values[:] = [
            big(i << s if s >= 0 else i >> -s)
            for i, s in zip(integers.tolist(), shifts.tolist(), strict=True)
        ]
        slots.append((values, common))
    return slots


def affine(layer: Layer, slots: list[Slot], batch: int, relu: bool) -> list[Slot]:
    """One layer; `relu` wants σ after it."""
    rows: list[list[tuple[int, int, int]]] = [[] for _ in range(layer.fan_out)]
    for row, column, integer, power in layer.terms:
        rows[row].append((column, integer, power if column == BIAS else power + slots[column][1]))
    return [_row(terms, slots, batch, relu) for terms in rows]


def _row(terms: list[tuple[int, int, int]], slots: list[Slot], batch: int, relu: bool) -> Slot:
    """Σ integer × 2^power × slot: the sums of equal factors first, as bits are differences."""
    big = _big()
    zero = big(0)
    if not terms:
        return np.full(batch, zero, dtype=object), 0
    if len(terms) == 1 and terms[0][1] == 1 and terms[0][0] != BIAS:
        values, power = slots[terms[0][0]][0], terms[0][2]
        return (np.maximum(values, zero) if relu else values), power
    lowest = min(power for _, _, power in terms)
    constant, groups = 0, {}
    for column, integer, power in terms:
        if column == BIAS:
            constant += big(integer) << (power - lowest)
            continue
        values, factor = slots[column][0], (abs(integer), power)
        if factor not in groups:
            groups[factor] = values if integer > 0 else -values
        elif integer > 0:
            groups[factor] = groups[factor] + values
        else:
            groups[factor] = groups[factor] - values
    total: Any = None
    for (integer, power), values in groups.items():
        shift = power - lowest
        if integer != 1:
            values = values * big(integer)
        if shift:
            values = values << shift
        total = values if total is None else total + values
    if total is None:
        total = np.full(batch, big(constant), dtype=object)
    elif constant:
        total = total + constant
    return _stripped(np.maximum(total, zero) if relu else total, lowest)


def _stripped(values: np.ndarray, power: int) -> Slot:
    """Drop the zero bits that all values end in, if they are many."""
    fewest = None
    for value in values:
        if value:
            zeros = _zeros(value)
            if zeros <= STRIP:
                return values, power
            fewest = zeros if fewest is None else min(fewest, zeros)
    return (values, 0) if fewest is None else (values >> fewest, power + fewest)


def _zeros(value: Any) -> int:
    """Zero bits at the end of a nonzero integer."""
    if hasattr(value, "bit_scan1"):
        return value.bit_scan1()
    return (value & -value).bit_length() - 1


def exact_layers(network: ExactNetwork, x: np.ndarray) -> Iterator[list[Slot]]:
    """The values after each layer, σ applied, as integers with a power of two per slot."""
    slots = input_slots(x)
    last = len(network.layers) - 1
    for i, layer in enumerate(network.layers):
        slots = affine(layer, slots, len(x), relu=i < last)
        yield slots


def exact_values(network: ExactNetwork, x: np.ndarray) -> list[Slot]:
    """The outputs, not rounded: per output the integers (batch,) and their power of two."""
    slots: list[Slot] = []
    with Bar("exact values, in integers") as bar:
        for done, values in enumerate(exact_layers(network, x), 1):
            slots = values
            bar(done / len(network.layers))
    return slots


def to_float64(slots: list[Slot], rows: np.ndarray | None = None) -> np.ndarray:
    """Round once, ties to even; what exceeds the range is refused (by its number in `rows`)."""
    columns = [[round_to_float(int(v), power) for v in values] for values, power in slots]
    out = np.array(columns, dtype=np.float64).T
    refuse_overflow(out, rows)
    return out


def refuse_overflow(values: np.ndarray, rows: np.ndarray | None = None) -> None:
    """Name the first row, or its number in `rows`, that has no finite value."""
    bad = np.isinf(values).any(axis=1)
    if bad.any():
        row = int(bad.argmax())
        row = row if rows is None else int(rows[row])
        raise Refusal(f"the value at row {row} exceeds 1.8e308, the largest float64")


def measured_bits(network: ExactNetwork, x: np.ndarray) -> int:
    """Significant bits of the longest value between the layers, at these inputs."""
    longest = 0
    for slots in exact_layers(network, x):
        for values, _ in slots:
            for value in values:
                size = int(value)
                longest = max(longest, size.bit_length() - ((size & -size).bit_length() - 1))
    return longest


# --- floats


def check_dtype(network: ExactNetwork, name: str, *, rounding: bool) -> str | None:
    """Refuse a float dtype that cannot hold the network; with `rounding`, say so instead."""
    held = MANTISSA[name]
    lowest, highest = (-1074, 1024) if name == "float64" else (-149, 128)
    complaint = None
    weight_bits = 0
    for layer in network.layers:
        for integer, power in zip(layer.integers, layer.powers, strict=True):
            size = integer.bit_length()
            if size > held:
                weight_bits = max(weight_bits, size)
            if power + size > highest or (power < lowest):
                complaint = complaint or (
                    f"a weight near 2^{power + size} is out of range for {name} "
                    f"(2^{lowest} to 2^{highest})"
                )
    if any(len(layer.rows) != layer.nonzeros for layer in network.layers):
        weight_bits = max(weight_bits, network.weight_bits)
    if weight_bits > held:
        complaint = f"its weights need {weight_bits} bits and {name} holds {held}"
    if network.value_bits is not None and network.value_bits > held:
        complaint = f"its values need {network.value_bits} bits and {name} holds {held}"
    if complaint and not rounding:
        raise Refusal(
            f"this network cannot be trusted in {name}: {complaint}; evaluate it with "
            'arithmetic="exact", or ask for the rounded one with rounding=True'
        )
    return complaint


def dense(layer: Layer, dtype: Any) -> tuple[Any, np.ndarray]:
    """Matrix (dense, or scipy sparse where large) and bias, each entry rounded once."""
    bias = np.zeros(layer.fan_out, dtype=np.float64)
    entries = [(row, column, float(value)) for row, column, value in layer.entries()]
    for row, column, value in entries:
        if column == BIAS:
            bias[row] = value
    weights = [entry for entry in entries if entry[1] != BIAS]
    rows, columns, values = (list(z) for z in zip(*weights, strict=True)) if weights else ([],) * 3
    shape = (layer.fan_out, layer.fan_in)
    with np.errstate(over="ignore"):  # an infinite weight shows as a value out of range
        if layer.fan_out * layer.fan_in > DENSE_LIMIT:
            from scipy import sparse

            data = np.array(values, dtype=dtype)
            return sparse.csr_array((data, (rows, columns)), shape=shape), bias.astype(dtype)
        matrix = np.zeros(shape, dtype=dtype)
        matrix[rows, columns] = values
        return matrix, bias.astype(dtype)


def _float_values(network: ExactNetwork, x: np.ndarray, name: str, rounding: bool) -> np.ndarray:
    complaint = check_dtype(network, name, rounding=rounding)
    if complaint:
        warnings.warn(f"rounded in {name} though {complaint}", PrecisionLoss, stacklevel=4)
    values = x.astype(name).T
    last = len(network.layers) - 1
    with np.errstate(over="ignore", invalid="ignore"):
        for i, layer in enumerate(network.layers):
            matrix, bias = dense(layer, name)
            values = matrix @ values + bias[:, None]
            if i < last:
                values = np.maximum(values, 0)
    bad = ~np.isfinite(values).all(axis=0)
    if bad.any():
        raise Refusal(
            f"row {int(bad.argmax())} of the inputs overflows {name} inside the network; "
            'evaluate it with arithmetic="exact"'
        )
    return values.T.astype(np.float64)
