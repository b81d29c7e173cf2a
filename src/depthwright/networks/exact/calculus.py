"""A small calculus for exact networks: constructions read like their proofs.

`Linear` is an affine expression over the values of the newest layer; `Builder.relu` appends the
layer σ(expression_1), σ(expression_2), … and returns its values as new expressions. Expressions
of older layers are gone: what is needed later is carried through, and using an older one is
an error. Scaling by powers of two is `<<` and `>>`.

    builder = Builder(input_dim=1)
    (x,) = builder.values
    a, b = builder.relu([2 * x, 4 * x - 2])
    network = builder.output([a - b])  # Telgarsky's triangle on [0, 1]

A *program* is a generator that yields the expressions of its next layer, receives that layer's
values and returns its result. `yield from` composes programs; `builder.run(program)` appends its
layers.

    def triangle(x):
        a, b = yield [2 * x, 4 * x - 2]
        return a - b

    def twice(x):
        x = yield from triangle(x)
        return (yield from triangle(x))

    y = builder.run(twice(x))
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeAlias

from depthwright.networks.arithmetic import Arithmetic
from depthwright.networks.exact.dyadic import Dyadic, Number
from depthwright.networks.exact.layer import BIAS, Layer, Patterns
from depthwright.networks.exact.network import ExactNetwork
from depthwright.networks.inputs import Inputs

CONSTANT = -1
"""The layer of an expression without values, which can be used in any layer."""


class Linear:
    """Σ coefficient × value + constant, over the values of layer number `layer`. Immutable."""

    __slots__ = ("coefficients", "layer")

    def __init__(self, coefficients: dict[int, Dyadic], layer: int = CONSTANT) -> None:
        self.coefficients = coefficients
        """Column → coefficient, none of them zero; the constant under BIAS."""
        self.layer = layer

    @classmethod
    def of(cls, value: Linear | Number) -> Linear:
        """A number as the constant expression."""
        if isinstance(value, Linear):
            return value
        number = Dyadic.of(value)
        return cls({BIAS: number} if number else {})

    def __add__(self, other: Linear | Number) -> Linear:
        other = Linear.of(other)
        layer = max(self.layer, other.layer)
        if self.layer != other.layer and CONSTANT not in (self.layer, other.layer):
            raise ValueError(
                f"values of layer {min(self.layer, other.layer)} are gone in layer {layer}; "
                "carry them through"
            )
        total = dict(self.coefficients)
        for column, value in other.coefficients.items():
            if column in total:
                value = total[column] + value
                if not value:
                    del total[column]
                    continue
            total[column] = value
        return Linear(total, layer)

    def __neg__(self) -> Linear:
        return Linear({c: -v for c, v in self.coefficients.items()}, self.layer)

    def __sub__(self, other: Linear | Number) -> Linear:
        return self + -Linear.of(other)

    def __mul__(self, factor: Number) -> Linear:
        factor = Dyadic.of(factor)
        if not factor:
            return Linear({})
        return Linear({c: v * factor for c, v in self.coefficients.items()}, self.layer)

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: Number) -> Linear:
        return Linear.of(other) - self

    def __lshift__(self, power: int) -> Linear:
        """Times 2^power (a negative power divides)."""
        return Linear({c: v << power for c, v in self.coefficients.items()}, self.layer)

    def __rshift__(self, power: int) -> Linear:
        return self << -power

    def __repr__(self) -> str:
        terms = (f"({v})" + ("" if c == BIAS else f"·v{c}") for c, v in self.coefficients.items())
        return " + ".join(terms) or "0"


Program: TypeAlias = Generator[list[Linear], list[Linear], Any]


class Builder:
    """Appends layers; `values` are the expressions of the newest layer's values."""

    def __init__(self, input_dim: int) -> None:
        self.input_dim = input_dim
        self.layers: list[Layer] = []
        self._patterns = Patterns()
        self._fan = input_dim
        self._one = Dyadic(1)
        self.values = self._new(input_dim)

    def _new(self, count: int) -> list[Linear]:
        depth = len(self.layers)
        return [Linear({i: self._one}, depth) for i in range(count)]

    def _append(self, expressions: Sequence[Linear]) -> None:
        depth = len(self.layers)
        for expression in expressions:
            if expression.layer not in (depth, CONSTANT):
                raise ValueError(
                    f"values of layer {expression.layer} are gone in layer {depth}; "
                    "carry them through"
                )
        layer = self._patterns.layer(self._fan, (e.coefficients for e in expressions))
        self.layers.append(layer)
        self._fan = layer.fan_out

    def relu(self, expressions: Sequence[Linear]) -> list[Linear]:
        """Append the hidden layer σ(expressions) and return its values."""
        self._append(expressions)
        self.values = self._new(self._fan)
        return self.values

    def run(self, program: Program) -> Any:
        """Append a program's layers; returns its result, expressions over the newest layer."""
        try:
            wanted = next(program)
            while True:
                wanted = program.send(self.relu(wanted))
        except StopIteration as stop:
            return stop.value

    def output(
        self,
        expressions: Sequence[Linear],
        arithmetic: Arithmetic = "exact",
        inputs: Inputs | None = None,
        value_bits: int | None = None,
    ) -> ExactNetwork:
        """Append the last affine map (no σ) and close the network."""
        self._append(expressions)
        return ExactNetwork(tuple(self.layers), arithmetic, inputs, value_bits)
