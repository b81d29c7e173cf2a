"""How large the entries of a packed network are, run of layers by run, no network built."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from depthwright.constructions.bits.cells import Cells
from depthwright.constructions.packed.measured_builder import top_of
from depthwright.constructions.narrow_packed import NarrowPacked
from depthwright.constructions.packed.layers import output_powers
from depthwright.constructions.packed.numbers import leads, partial_sums
from depthwright.constructions.packed.widths import groups
from depthwright.refusal import Refusal

Runs = Iterator[tuple[int, int]]


def entry_exponents(construction: NarrowPacked) -> Runs:
    """(layers, e) in the order of the network: no entry of these layers exceeds 2^e."""
    if construction.long_gaps:
        raise Refusal("the weights of a packed network with long gaps are not bounded by a formula")
    if construction.scaled.constant is not None:
        yield 1, max(0, *map(top_of, construction.scaled.constant))
        return
    yield from _inputs(construction)
    yield from _direct(construction)
    yield from _fields(construction)
    yield 1, _output(construction)


def _inputs(construction: NarrowPacked) -> Runs:
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


def _direct(construction: NarrowPacked) -> Runs:
    """Whole weights of whole numbers, which are 2^c times what was read, or x over the step."""
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


def _fields(construction: NarrowPacked) -> Runs:
    """Field after field, and the fields of packed outputs."""
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


def _output(construction: NarrowPacked) -> int:
    """What lifts the sums, and the biases."""
    scaled, sizing = construction.scaled, construction.sizing
    size = max(float(sizing.high[-1].max()), float(sizing.low[-1].max()))
    tops = [top_of(Fraction(bias)) for bias in construction.target.biases[-1].tolist()]
    lifted = (
        max(output_powers(scaled, sizing)) if sizing.layout.sums else top_of(Fraction(size)) + 4
    )
    return max(lifted - scaled.outputs + 3, *tops, 0) + 1
