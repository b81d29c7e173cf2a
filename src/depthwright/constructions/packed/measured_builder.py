"""A builder that counts how many mantissa bits a float evaluation would need to round nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType

from depthwright.constructions.bits.cells import floor_log2
from depthwright.networks.arithmetic import EXPONENTS
from depthwright.networks.exact.calculus import Builder, Linear
from depthwright.networks.exact.dyadic import Dyadic
from depthwright.networks.exact.layer import BIAS
from depthwright.networks.exact.network import ExactNetwork
from depthwright.networks.inputs import Inputs


class MeasuredBuilder(Builder):
    """A neuron's value is a multiple of 2^low below 2^top; a sum of such needs top − low bits.

    low follows from the weights; top is given by the code that builds the layer, from bounds of the
    construction that interval arithmetic would not find. A difference of ramps is an integer, too,
    though neither ramp is.
    """

    def __init__(self, inputs: Inputs) -> None:
        super().__init__(len(inputs.lower))
        self.inputs = inputs
        ends = zip(inputs.lower, inputs.upper, strict=True)
        self.tops = [max(map(top_of, map(Fraction, pair))) for pair in ends]
        self.lows = [-finest(inputs, low) for low in inputs.lower]
        self.bits = max(top - low for top, low in zip(self.tops, self.lows, strict=True))
        self.floor: int | None = None
        """All values of the next layer are multiples of 2^floor."""

    def layer(
        self,
        expressions: Sequence[Linear],
        tops: Sequence[int],
        lows: Mapping[int, int] = MappingProxyType({}),
    ) -> list[Linear]:
        """Append σ(expressions), value i of which is at most 2^{tops_i}, a multiple of 2^{lows_i}.

        Lows that follow from the expressions need not be given.
        """
        found = [self.measured(expression) for expression in expressions]
        if self.floor is not None:
            found = [max(low, self.floor) for low in found]
        self.lows = [max(low, lows.get(i, low)) for i, low in enumerate(found)]
        self.floor = None
        self.tops = list(tops)
        if len(self.tops) != len(self.lows):
            raise AssertionError("a bound for every neuron; this is a bug")
        return self.relu(expressions)

    def closed(self, outputs: Sequence[Linear]) -> ExactNetwork:
        for expression in outputs:
            self.measured(expression)
        return self.output(outputs, "exact", self.inputs, self.bits)

    def measured(self, expression: Linear) -> int:
        """The low of an expression, whose products and partial sums are counted."""
        low, top, terms = 0, None, 0
        for column, weight in expression.coefficients.items():
            bottom, upper = weight.terms[0][1], weight.top
            self.bits = max(self.bits, upper - bottom)
            if column != BIAS:
                bottom, upper = bottom + self.lows[column], upper + self.tops[column]
            low = bottom if top is None else min(low, bottom)
            top = upper if top is None else max(top, upper)
            terms += 1
        if top is not None:
            self.bits = max(self.bits, top + (terms - 1).bit_length() - low)
        return low


def finest(inputs: Inputs, lower: float) -> int:
    """Every input is a multiple of 2 to minus this."""
    if inputs.grid is None:
        return -EXPONENTS["float64" if inputs.numbers == "real" else inputs.numbers][0]
    numbers = [Dyadic.of(lower), Dyadic.of(inputs.grid)]
    return max(-number.terms[0][1] for number in numbers if number)


def top_of(value: Fraction) -> int:
    """The least e with abs(value) < 2^e."""
    return floor_log2(abs(value)) + 1 if value else 0
