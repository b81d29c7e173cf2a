"""Facts about each row of a limb program: the interval of its exact values, and its error bound.

Where values have far more digits than matter (floors.py), rows omit the digits below their floor.
The omitted part is bounded, and so is its effect on the outputs: the error of a slot is at most its
form's error times its scale, plus `cut`, what its own row omits; σ and the clamp do not enlarge it,
and slots of one form are one function of that form, with one steepest slope. Intervals hold the
exact values; limbs are counted for these and the error. Such a program has every output twice: the
lower and the upper end of an interval that holds the exact value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from depthwright.networks.exact.layer import BIAS
from depthwright.networks.exact.limbs import bounds, floors
from depthwright.networks.exact.limbs.bounds import ZERO, Bound, Form, Interval, Part
from depthwright.networks.exact.limbs.program import LIMB, RELU, SUM, Slot
from depthwright.networks.exact.limbs.rows import Row, Term


@dataclass
class Facts:
    """Of the layer that reads `slots`, the values of the newest one."""

    slots: list[Slot]
    inexact: bool = False
    """Whether digits of any row have been left out."""
    _joint: dict[tuple[tuple[Part, ...], Interval], Interval] = field(default_factory=dict)
    _steepest: dict[tuple[Part, ...], Bound] = field(default_factory=dict)

    def bound(self, terms: Sequence[Term]) -> Form:
        """Of Σ integer·2^power·slot: terms of one form together, forms added."""
        groups: dict[int, list[Term]] = {}
        parts: list[Interval] = []
        errors: list[Bound] = []
        for term in terms:
            slot = self.slots[term[0]]
            if slot.form is None:
                parts.append(bounds.scaled(term[1:], slot.interval))
                errors.append(times(size_of(term[1:]), slot.cut))
            else:
                groups.setdefault(id(slot.form), []).append(term)
        for group in groups.values():
            slots = [self.slots[column] for column, _, _ in group]
            form = slots[0].form
            assert form is not None
            if len(group) == 1:
                parts.append(bounds.scaled(group[0][1:], slots[0].interval))
                if self.inexact:
                    errors.append(times(size_of(group[0][1:]), self.off(slots[0])))
                continue
            wanted = tuple(
                ((integer, power), slot.scale, slot.bias, slot.ceiling)
                for (_, integer, power), slot in zip(group, slots, strict=True)
            )
            key = (wanted, form.interval)
            if key not in self._joint:
                self._joint[key] = bounds.joint(wanted, form.interval)
            parts.append(self._joint[key])
            if self.inexact:
                cuts = [
                    times(size_of(term[1:]), slot.cut)
                    for term, slot in zip(group, slots, strict=True)
                ]
                if wanted not in self._steepest:
                    self._steepest[wanted] = bounds.steepest(wanted)
                errors += [*cuts, times(self._steepest[wanted], form.error)]
        return Form(bounds.added(parts), bounds.above(*bounds.total(errors)))

    def bounded(self, terms: list[Term], forms: dict[tuple[object, ...], Form], relu: bool) -> Row:
        """A row with its form and interval; terms of slots that are always 0 are dropped."""
        constant = [term[1:] for term in terms if term[0] == BIAS]
        bias = bounds.total(constant)
        kind = RELU if relu else SUM
        kept = [term for term in terms if term[0] != BIAS and self.slots[term[0]].place >= 0]
        if not kept:
            exact = Interval(bounds.below(*bias), bounds.above(*bias))
            return Row(kept, constant, None, ZERO, bias, exact, kind=kind)
        first, power = kept[0][1:]
        if len(kept) == 1:  # most rows only carry a value: no forms to share or to add
            column = kept[0][0]
            form = forms.get((column,))
            if form is None:
                slot = self.slots[column]
                form = forms[(column,)] = Form(slot.interval, self.off(slot))
            scale = (first, power)
            interval = bounds.scaled(scale, form.interval)
            if constant or abs(first) != 1:
                interval = bounds.added([interval], bias)
            return Row(kept, constant, form, scale, bias, interval, kind=kind)
        unit = 0
        for _, integer, _ in kept:
            if unit == 1 or integer.bit_length() > LIMB:
                unit = 1
                break
            unit = math.gcd(unit, integer)
        unit = unit if first > 0 else -unit
        normal = [(column, integer // unit, at - power) for column, integer, at in kept]
        key = tuple(normal)
        form = forms.get(key)
        if form is None:
            form = forms[key] = self.bound(normal)
        scale = (unit, power)
        interval = bounds.added([bounds.scaled(scale, form.interval)], bias)
        return Row(kept, constant, form, scale, bias, interval, kind=kind)

    def error(self, form: Form | None, scale: Bound, cut: Bound) -> Bound:
        """Error bound of scale·form + bias; with `cut`, including the digits that are left out."""
        if not self.inexact:
            return ZERO
        parts = [cut] if form is None else [cut, times(size_of(scale), form.error)]
        return bounds.above(*bounds.total(parts))

    def off(self, slot: Slot) -> Bound:
        """Error bound of a slot."""
        return self.error(slot.form, slot.scale, slot.cut)

    def ends(self, row: Row) -> tuple[Row, Row] | None:
        """An output's row less its error and plus it; None where the error is too large."""
        m, e = self.error(row.form, row.scale, ZERO)
        if not m:
            return row, row
        top = (m - 1).bit_length() + e
        if bounds.bits(row.sum) - top < floors.ENOUGH:
            return None
        wide = bounds.widened(row.sum, (1, top))
        low, high = ([*row.constant, (sign, top)] for sign in (-1, 1))
        return replace(row, constant=low, sum=wide), replace(row, constant=high, sum=wide)

    def left_out(self, row: Row, grid: int) -> Bound:
        """A bound of what a row loses below 2^grid: less than a unit of 2^grid with each shift and
        constant. Of a product Σ s_i·2^{64i} · Σ c_j·2^{64j} the products of words below limb 0 are
        left out: for each j their s_i add up to less than a unit of limb 0 over c_j < 2^64, and
        the same with i and j exchanged, so they are less than 2^64 units for each word of the
        factor that has fewer.
        """
        units = sum(power < grid for _, power in row.constant)
        for column, size, power in row.terms:
            slot, size = self.slots[column], abs(size)
            if size & size - 1:
                if slot.grid + power < grid:
                    units += min(-(-size.bit_length() // LIMB) + 1, slot.limbs) << LIMB
            else:
                units += slot.lowest + power < grid
        return bounds.above(units, grid)


def times(a: Bound, b: Bound) -> Bound:
    return a[0] * b[0], a[1] + b[1]


def size_of(number: Bound) -> Bound:
    return abs(number[0]), number[1]
