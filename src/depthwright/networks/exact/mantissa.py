"""Values of exact networks in floating point of any number of mantissa bits.

`evaluate_rounded(network, x, bits)` is the value in floats with p mantissa bits and unlimited
range: inputs and weights are rounded to p bits (ties to even), and so is every
product and every sum. A neuron's products are added in the order in which its layer stores them
(often, not always, that of the columns), its bias last, as in a plain loop over
`total = total + weight * value`; at p = 53 and p = 24 the bits are those of that loop in float64
and float32 wherever nothing leaves their range. MPFR does the rounding.

Shapes and arithmetic. x (batch, d) → (batch, d_out), objects (gmpy2's mpfr, each exactly the p-bit
number that came out). `exact_rationals` gives the exact values in the same shape, and `distance`
the gap between the two, exact until it is rounded to float64 at the very end.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from depthwright.networks.exact.dyadic import Dyadic
from depthwright.networks.exact.integers import exact_layers, exact_values, input_slots
from depthwright.networks.exact.layer import BIAS
from depthwright.networks.exact.network import ExactNetwork
from depthwright.networks.inputs import check_inputs
from depthwright.refusal import Refusal

BITS_LIMIT = 1 << 20
"""More mantissa bits than this are refused: exact evaluation is faster."""


def evaluate_rounded(
    network: ExactNetwork, x: np.ndarray, bits: int, *, anywhere: bool = False
) -> np.ndarray:
    """Values (batch, output_dim), mpfr, at `x` (batch, input_dim): `bits` mantissa bits a step."""
    import gmpy2

    try:
        precision = operator.index(bits)
    except TypeError:
        precision = 0
    if not 2 <= precision <= BITS_LIMIT:
        raise Refusal(f"bits={bits} is no number of mantissa bits from 2 to {BITS_LIMIT}")
    x = np.asarray(x)
    check_inputs(x, network.layers[0].fan_in, None if anywhere else network.inputs)
    with gmpy2.context(precision=precision):
        values = [_column(column) for column in x.astype(np.float64).T]
        zero, last = gmpy2.mpfr(0), len(network.layers) - 1
        rounded: dict[tuple[tuple[int, int], ...], Any] = {}
        for i, layer in enumerate(network.layers):
            sums: list[Any] = [zero] * layer.fan_out
            biases: dict[int, Any] = {}
            for row, column, value in layer.entries():
                weight = rounded.get(value.terms)
                if weight is None:
                    weight = rounded[value.terms] = _rounded(value)
                if column == BIAS:
                    biases[row] = weight
                else:
                    sums[row] = sums[row] + weight * values[column]
            for row, bias in biases.items():
                sums[row] = sums[row] + bias
            values = [np.broadcast_to(np.asarray(v, dtype=object), len(x)) for v in sums]
            if i < last:
                values = [np.maximum(v, zero) for v in values]
    return np.stack(values, axis=1)


def _column(column: np.ndarray) -> np.ndarray:
    """Float64 numbers (batch,), each rounded once to the context's precision."""
    from gmpy2 import mpfr

    out = np.empty(len(column), dtype=object)
    out[:] = [mpfr(v) for v in column.tolist()]
    return out


def _rounded(value: Dyadic) -> Any:
    """A weight, rounded once to the context's precision."""
    import gmpy2

    lowest = value.terms[0][1]
    integer = gmpy2.mpfr(gmpy2.mpz(sum(i << power - lowest for i, power in value.terms)))
    return gmpy2.mul_2exp(integer, lowest) if lowest >= 0 else gmpy2.div_2exp(integer, -lowest)


def exact_rationals(network: ExactNetwork, x: np.ndarray) -> np.ndarray:
    """The exact values (batch, output_dim) at `x` (batch, input_dim), as gmpy2's rationals."""
    from gmpy2 import mpq

    out = np.empty((len(x), network.layers[-1].fan_out), dtype=object)
    for k, (integers, power) in enumerate(exact_values(network.layers, x)):
        up, down = (1 << power, 1) if power >= 0 else (1, 1 << -power)
        out[:, k] = [mpq(int(v) * up, down) for v in integers]
    return out


def distance(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """abs(one − two) as float64, the same shape: an exact difference, rounded at the end.

    Takes mpfr, rationals, floats; inf where a number is not finite.
    """
    import gmpy2

    def gap(a: Any, b: Any) -> float:
        if not (gmpy2.is_finite(a) and gmpy2.is_finite(b)):
            return np.inf
        return float(abs(gmpy2.mpq(a) - gmpy2.mpq(b)))

    with np.errstate(invalid="ignore"):
        return np.vectorize(gap, otypes=[np.float64])(one, two)


def operation_bits(network: ExactNetwork, x: np.ndarray) -> int:
    """The fewest mantissa bits with which `evaluate_rounded` rounds nothing at these inputs.

    Measured: the longest input, weight, product or partial sum that occurs, from its highest to
    its lowest set bit. With so many bits the values are the exact ones.
    """
    longest = network.weight_bits
    slots = input_slots(np.asarray(x))
    longest = max(longest, *(_longest(values) for values, _ in slots))
    for layer, after in zip(network.layers, exact_layers(network.layers, x), strict=True):
        for row in layer.expressions():
            terms = [(c, v) for c, v in row.items() if c != BIAS]
            powers = [slots[c][1] + v.terms[0][1] for c, v in terms]
            bias = row.get(BIAS)
            unit = min([*powers, *([bias.terms[0][1]] if bias else [])], default=0)
            total: Any = 0
            for (column, value), power in zip(terms, powers, strict=True):
                product = slots[column][0] * (_whole(value) << power - unit)
                longest = max(longest, _longest(product))
                total = total + product
                longest = max(longest, _longest(total))
            if bias:
                total = total + (_whole(bias) << bias.terms[0][1] - unit)
                longest = max(longest, _longest(total))
        slots = after
    return longest


def _whole(value: Dyadic) -> int:
    """The number over its lowest power of two."""
    lowest = value.terms[0][1]
    return sum(integer << power - lowest for integer, power in value.terms)


def _longest(values: Any) -> int:
    """Bits from the highest to the lowest set one, the most of all values."""
    sizes = (abs(int(v)) for v in np.atleast_1d(np.asarray(values, dtype=object)))
    lengths = (size.bit_length() - (size & -size).bit_length() + 1 for size in sizes if size)
    return max(lengths, default=0)
