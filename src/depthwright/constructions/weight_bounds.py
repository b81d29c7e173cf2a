"""How large the weights of the narrow constructions are, by formulas, no network built.

`weight_exponent`: no entry exceeds 2^e. `gain_exponent`: NarrowBounded's scales of the outputs.
With a scale 2^s per neuron, an expression Σ w_j·v_j + b needs the exponent
E = max(s_j + log2 abs(w_j), log2 abs(b)), and the neuron that holds it s = max(0, E − 1). A carried
value loses 1 per layer, a triangle (slope 4) gains 1, a bit test of slope M gains log2 M − 1.
Both are upper bounds, checked against every network that is built.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from depthwright.constructions.bits.budget import integers
from depthwright.constructions.bits.cells import Cells
from depthwright.constructions.construction import Construction
from depthwright.constructions.narrow_bits import NarrowBits
from depthwright.constructions.narrow_exact import NarrowExact
from depthwright.constructions.narrow_exact_slim import NarrowExactSlim, offsets
from depthwright.constructions.narrow_minimal import NarrowMinimal
from depthwright.constructions.narrow_packed import NarrowPacked
from depthwright.constructions.packed.layers import output_powers
from depthwright.constructions.packed.measured_builder import top_of
from depthwright.constructions.packed.numbers import leads, partial_sums
from depthwright.constructions.packed.widths import groups
from depthwright.networks.upper import Upper, product
from depthwright.refusal import Refusal
from depthwright.targets.network import ReLUNetwork

Runs = Iterator[tuple[int, int]]
"""(layers, e) in the order of a network: no entry of these layers exceeds 2^e."""


def weight_exponent(construction: Construction) -> int:
    """An e such that no entry of the network that `construction` builds exceeds 2^e."""
    return _by_kind(construction, _bits_weight, _packed_weight, _exact_weight)


def gain_exponent(construction: Construction) -> int:
    """An s such that scales per neuron leave the outputs divided by at most 2^s."""
    return _by_kind(construction, _bits_gain, _packed_gain, _exact_gain)


def _by_kind(
    construction: Construction,
    bits: Callable[[NarrowBits], int],
    packed: Callable[[NarrowPacked], int],
    exact: Callable[[NarrowExact | NarrowExactSlim], int],
) -> int:
    if isinstance(construction, NarrowBits):
        return bits(construction)
    if isinstance(construction, NarrowPacked):
        return packed(construction)
    if isinstance(construction, (NarrowExact, NarrowExactSlim)):
        return exact(construction)
    raise Refusal(f"the weights of {type(construction).__name__} are not bounded by a formula")


def _log(value: Any) -> int:
    """The smallest e ≥ 0 with abs(value) ≤ 2^e."""
    if isinstance(value, Upper):
        return max(int(value.exponent - (value.mantissa == 0.5)), 0) if value.mantissa else 0
    return max(math.ceil(abs(Fraction(value))) - 1, 0).bit_length()


# --- Theorems 2 and 5


@dataclass(frozen=True)
class _Sizes:
    weight: int
    bias: int


def _bits_sizes(construction: NarrowBits) -> Iterator[_Sizes]:
    """Bits of w̃ and b̃, map by map."""
    for numbers in integers(construction.target, construction.reading, construction.budget.c0):
        yield _Sizes(
            max(abs(w).bit_length() for row in numbers.weights for w in row),
            max(abs(b).bit_length() for b in numbers.biases),
        )


def _bits_weight(construction: NarrowBits) -> int:
    """Readers 2^{m+1} and w̃·2^{m+2−c}; biases b̃; fields 2^c; the encoder's own."""
    c0, c = construction.budget.c0, construction.budget.c
    m = max(construction.target.widths[:-1]) * c
    sizes = list(_bits_sizes(construction))
    weight, bias = max(s.weight for s in sizes), max(s.bias for s in sizes)
    rest = max(m + 1, weight + m + 2 - c, weight + 2, bias, c + 1)
    scale = max(_log(digits.entry) for digits in construction.digits)
    if isinstance(construction, NarrowMinimal):
        slope = max(_log(slope.fraction) for slope in construction.slopes)
        return max(rest, slope + scale + 3, c0 + 3)
    gap, d = construction.gap, construction.target.input_dim
    return max(rest, gap + c0, (d - 1) * c + max(gap - c0, 0), scale + 3)


def _bits_gain(construction: NarrowBits) -> int:
    """A pass over m bits turns the exponent E of its input into max(m + 1, E + 2) + bits of w̃."""
    c0, c = construction.budget.c0, construction.budget.c
    d = construction.target.input_dim
    scale = max(_log(digits.entry) for digits in construction.digits) + 1
    if isinstance(construction, NarrowMinimal):
        slopes = sum(_log(slope.fraction) for slope in construction.slopes)
        integer_part = slopes + c0 * (c0 + 3) // 2 if construction.shared else 0
        exponent = scale + slopes + integer_part + (d - 1) * c
    else:
        exponent = scale + construction.gap + c0 + (d - 1) * c
    widths = construction.target.widths
    for level, sizes in enumerate(_bits_sizes(construction)):
        m, n = widths[level] * c, widths[level + 1]
        if level:  # the truncation
            exponent = max(m + 1, exponent + 2)
        if level == len(widths) - 2:
            n = 1  # one pass for all outputs
        # x loses m + 2 per neuron, what stands in y m + 2 − c; the first or the last one is worst
        first = max(m + 1, exponent + 2) + sizes.weight - (n - 1) * (m + 2 - c)
        last = max(m + 1, exponent + 2 - (n - 1) * (m + 2)) + sizes.weight
        exponent = max(first, last, sizes.bias, c)
    return max(exponent - 2 * c0 - 1, 0)


# --- the packed network


def _packed_weight(construction: NarrowPacked) -> int:
    return max(exponent for _, exponent in _packed_entries(construction))


def _packed_gain(construction: NarrowPacked) -> int:
    """A layer of entries up to 2^e makes the largest scale at most e − 1 larger, if anything."""
    return sum(count * max(exponent - 1, 0) for count, exponent in _packed_entries(construction))


# --- the exact networks


def _exact_weight(construction: NarrowExact | NarrowExactSlim) -> int:
    """The target's own entries; row sums and offsets where the sums share one carrier."""
    target = construction.target
    entries = [_log(float(np.abs(array).max())) for array in (*target.weights, *target.biases)]
    if isinstance(construction, NarrowExactSlim):
        entries += [_log(_row_sum(target.weights[0])), *_offsets(target).values()]
    return max(1, *entries)


def _exact_gain(construction: NarrowExact | NarrowExactSlim) -> int:
    """The entries, map after map; a carried sum adds nothing."""
    target = construction.target
    slim = isinstance(construction, NarrowExactSlim)
    above = _offsets(target) if slim else {}
    exponent = 0
    for level, (matrix, bias) in enumerate(zip(target.weights, target.biases, strict=True), 1):
        size = _row_sum(matrix) if slim and level == 1 else float(np.abs(matrix).max())
        biases = max(_log(float(np.abs(bias).max())), above.get(level, 0))
        exponent = max(max(exponent - 1, 0) + _log(size), biases)
    return max(exponent - 1, 0)


def _row_sum(matrix: np.ndarray) -> Upper:
    """The largest sum of a row's sizes."""
    return product(np.abs(matrix), Upper.of(np.ones(matrix.shape[1]))).max()


def _offsets(target: ReLUNetwork) -> dict[int, int]:
    """e ≥ 0 with C_l ≤ 2^e."""
    return {k: max(v.top - 1, 0) for k, v in offsets(target.weights, target.biases).items()}


# --- NarrowPacked, run of layers by run of layers


def _packed_entries(construction: NarrowPacked) -> Runs:
    """(layers, e) in the order of the network: no entry of these layers exceeds 2^e."""
    if construction.long_gaps:
        raise Refusal(
            "the weights of a packed network with long gaps are not bounded by a formula; give it "
            "long_gaps=False"
        )
    if construction.scaled.constant is not None:
        yield 1, max(0, *map(top_of, construction.scaled.constant))
        return
    yield from _packed_inputs(construction)
    yield from _packed_direct(construction)
    yield from _packed_fields(construction)
    yield 1, _packed_output(construction)


def _packed_inputs(construction: NarrowPacked) -> Runs:
    """Ramps on numbers of the box; the first coordinate above the second."""
    sizing = construction.sizing
    if not sizing.layout.cells:
        return
    axes = construction.reading(sizing.bits.c).axes
    c, d = sizing.bits.c, len(axes)
    slope = max(axis.slope_bits for axis in axes if isinstance(axis, Cells))
    tops = [max(top_of(a.centre - a.error), top_of((a.top + 1) * a.step)) for a in axes]
    wide = max(0, *tops, *(top_of(a.step * 2**c) for a in axes))
    if d == 1:
        yield c, slope + wide + 2
        return
    unit = top_of((axes[1].top + 1) * axes[1].step) + 1
    yield c, max(slope + wide, unit + c) + 2
    yield c, max(unit + c, c, 1 - unit) + 2
    yield c * len(groups(d)), slope + max(wide, unit) + 2
    if sizing.layout.ways[0] == "direct":
        yield 1, 3
        yield (c + 1) * (d - 1) - 1, 2


def _packed_direct(construction: NarrowPacked) -> Runs:
    """Integer weights of integers, which are 2^c times the number read, or x over the step."""
    scaled, sizing = construction.scaled, construction.sizing
    reading = construction.reading(sizing.bits.c, sizing.layout.cells)
    steps = [top_of(1 / axis.step) + 1 for axis in reading.axes]
    starts = [top_of(axis.centre / axis.step) for axis in reading.axes]
    unit = sizing.bits.c if sizing.layout.cells else max(0, *steps, *starts)
    if sizing.layout.ways[0] != "direct":
        if not sizing.layout.cells:  # the first layer of the fields reads x itself
            yield 1, unit + 4
        return
    factors = scaled.first([axis.step for axis in reading.axes])
    weight = int(np.frexp(np.abs(factors).max())[1]) + sizing.bits.p[0]
    sums = int(np.frexp(partial_sums(scaled, reading, sizing, 0).max())[1]) + sizing.bits.p[0]
    largest = max(weight, sums, 0) + 1
    yield 1, unit + largest + len(steps).bit_length()
    yield scaled.widths[1] - 1, largest + 1


def _packed_fields(construction: NarrowPacked) -> Runs:
    """The fields in order, and the fields of packed outputs."""
    scaled, sizing = construction.scaled, construction.sizing
    layout, bits = sizing.layout, sizing.bits
    reading = construction.reading(bits.c, layout.cells)
    direct = layout.ways[0] == "direct"
    lifts = {
        level: leads(scaled, reading, sizing, level)
        for level in range(direct, len(sizing.s) + direct)
    }
    others = max(output_powers(scaled, sizing)[1:], default=0) if layout.sums else 0
    for level, s in enumerate(sizing.s, int(direct)):
        yield 1, lifts[level] + 3  # on the first layer only
        way = (*layout.ways, "outputs")[level]
        for width in s.tolist():
            if way == "tent":
                yield 1, max(3, width - others - bits.p[level] + 2)
                yield width, 2
            elif way == "read":
                dropped = bits.p[level] - bits.q[level]
                for k in range(width - dropped):
                    yield 1, width - k + 3
                yield 1, width - dropped + 2
                yield dropped + 1, 2
                yield 1, 3
            else:
                yield width + 1, 2
                yield 2, max(3, width + 2)


def _packed_output(construction: NarrowPacked) -> int:
    """The scaling of the sums, and the biases."""
    scaled, sizing = construction.scaled, construction.sizing
    size = max(float(sizing.high[-1].max()), float(sizing.low[-1].max()))
    tops = [top_of(Fraction(bias)) for bias in construction.target.biases[-1].tolist()]
    lifted = (
        max(output_powers(scaled, sizing)) if sizing.layout.sums else top_of(Fraction(size)) + 4
    )
    return max(lifted - scaled.outputs + 3, *tops, 0) + 1
