"""VYS22 Theorem 7, repaired: every ReLU network equals a narrow one, on all of R^d.

Statement. Let N0 : R^d → R^d_out have depth L and hidden widths n_1..n_{L−1}. There is a
network N of width 2(d + L − 2 + d_out) + 1 with N(x) = N0(x) for every x in R^d.

Builds. Write T_1 = 1 and T_l = n_{l−1}·T_{l−1} + 1, the layers that rebuild one neuron of hidden
layer l from scratch. Depth n_{L−1}·T_{L−1} + 1, all hidden layers of width
2(d + L − 2 + d_out) + 1. For d_out = 1 that is 2(d + L − 1) + 1, and (2n)^{L−1} + 2 bounds the
depth.

Proof. Every layer carries σ(x), σ(−x) (2d neurons), a pair of non-negative sums (those with
positive and those with negative weights) for each of the maps 2..L−1 and for each output, and one
scratch neuron. To rebuild neuron i of hidden layer l > 1, rebuild the neurons j = 1..n_{l−1} of
the layer below one after the other in the scratch neuron; each is there for one layer, and the
layer after it adds abs(w_ij) times it to one sum of level l's pair while the scratch neuron
already computes something else. After the last, scratch ← σ(positive sum − negative sum + b_i)
and the pair restarts at 0. Neurons of hidden layer 1 are read off x directly. The output map
reads the pairs of level L.

Claim. Equal for every x in R^d, in exact arithmetic; the one term is the final rounding to
float64 on the target's box.

Shapes and arithmetic. (batch, d) → (batch, d_out). No bit tricks: the weights are the target's
own, so float64 evaluates it with rounding error only.

Not in the paper. Lemma 16, the base case L = 2, is wrong as printed: its matrices compute
σ(acc + u·(w·x) + b) instead of acc + u·σ(w·x + b), and built literally it differs from the target
(tests/constructions/test_narrow_exact.py keeps it as the negative control). The scratch neuron
repairs it: width 2(d + L − 1) + 1 instead of 2(d + L − 1). The sums of the layer that closes a
level need no layer of their own, which saves depth. Several outputs share everything but their
last pair.

Source. VYS22, Theorem 7 and Lemma 16 (arXiv 2202.03841).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from depthwright.constructions.construction import Built, Claim, Construction
from depthwright.constructions.hypotheses import check_depth, check_range, check_target
from depthwright.networks.architecture import Architecture, Block
from depthwright.networks.arithmetic import FLOAT64_ROUNDOFF
from depthwright.networks.exact.calculus import Builder, Linear
from depthwright.networks.exact.network import ExactNetwork
from depthwright.targets.network import ReLUNetwork


@dataclass(frozen=True)
class NarrowExact(Construction):
    """The network of Theorem 7, with the base case repaired."""

    target: ReLUNetwork

    def __post_init__(self) -> None:
        check_target(self.target)

    def architecture(self) -> Architecture:
        return exact_architecture(self.target.widths)

    def build(self) -> Built:
        check_depth(self.architecture())
        return equal(self.target, Pairs(self.target).network())


def exact_architecture(widths: tuple[int, ...]) -> Architecture:
    """Width 2(d + L − 2 + d_out) + 1 in every layer."""
    width = 2 * (widths[0] + len(widths) - 3 + widths[-1]) + 1
    return Architecture(widths[0], [Block((width,), rebuilding(widths))], widths[-1])


def rebuilding(widths: tuple[int, ...]) -> int:
    """n_{L−1}·T_{L−1}: hidden layers that rebuild every neuron the output map reads."""
    layers = 1
    for n in widths[1:-2]:
        layers = n * layers + 1
    return widths[-2] * layers


def equal(target: ReLUNetwork, network: ExactNetwork) -> Built:
    """The claim of a network that equals its target: only the last rounding is left."""
    rounding = target.magnitude * FLOAT64_ROUNDOFF + 2.0**-1074
    check_range(rounding)
    terms = {"final rounding to float64": rounding, **target.reading_terms}
    claim = Claim(0.0, "sup", str(target.domain), terms, arithmetic="exact")
    return Built(network, claim, domain=target.domain)


def row(weights: Iterable[float], values: Iterable[Linear], constant: float) -> Linear:
    """Σ weight × value + constant."""
    total = Linear.of(float(constant))
    for weight, value in zip(weights, values, strict=True):
        if weight:
            total = total + value * float(weight)
    return total


class Rebuild(ABC):
    """The induction of the proof; subclasses say how the sums are carried.

    `x` and the values of `sums` are signed expressions over the newest layer.
    """

    def __init__(self, target: ReLUNetwork) -> None:
        self.target = target
        self.weights, self.biases = target.weights, target.biases
        self.builder = Builder(target.input_dim)
        self.x = self.builder.values

    @abstractmethod
    def scratch(self, expression: Linear) -> Linear:
        """Append a layer that carries all sums and computes σ(expression)."""

    @abstractmethod
    def add(self, level: int, weights: np.ndarray, value: Linear) -> None:
        """Add weights × value to the sums of `level`."""

    @abstractmethod
    def take(self, level: int) -> list[Linear]:
        """The sums of `level`, which restart at 0."""

    def preactivations(self, level: int, rows: slice) -> list[Linear]:
        """W z + b for some rows of map `level`, where z is the hidden layer below."""
        matrix, bias = self.weights[level - 1][rows], self.biases[level - 1][rows]
        if level == 1:
            return [row(w, self.x, b) for w, b in zip(matrix, bias, strict=True)]
        for j in range(matrix.shape[1]):
            (below,) = self.preactivations(level - 1, slice(j, j + 1))
            self.add(level, matrix[:, j], self.scratch(below))
        return [total + float(b) for total, b in zip(self.take(level), bias, strict=True)]

    def network(self) -> ExactNetwork:
        depth = len(self.weights)
        return self.builder.output(self.preactivations(depth, slice(None)))


class Pairs(Rebuild):
    """Theorem 7: σ(x), σ(−x), and a pair of non-negative sums per level."""

    def __init__(self, target: ReLUNetwork) -> None:
        super().__init__(target)
        outputs = target.widths[-1]
        depth = len(self.weights)
        self.sums = {
            level: [[Linear({}), Linear({})] for _ in range(outputs if level == depth else 1)]
            for level in range(2, depth + 1)
        }

    def scratch(self, expression: Linear) -> Linear:
        """2d + 2(L − 2 + d_out) + 1 neurons."""
        pairs = [pair for level in self.sums.values() for pair in level]
        values = iter(
            self.builder.relu(
                [
                    *self.x,
                    *(-x for x in self.x),
                    *(part for pair in pairs for part in pair),
                    expression,
                ]
            )
        )
        d = len(self.x)
        positive, negative = [next(values) for _ in range(d)], [next(values) for _ in range(d)]
        self.x = [p - n for p, n in zip(positive, negative, strict=True)]
        for pair in pairs:
            pair[:] = [next(values), next(values)]
        return next(values)

    def add(self, level: int, weights: np.ndarray, value: Linear) -> None:
        for pair, weight in zip(self.sums[level], weights.tolist(), strict=True):
            if weight:
                pair[weight < 0] += value * abs(weight)

    def take(self, level: int) -> list[Linear]:
        taken = [positive - negative for positive, negative in self.sums[level]]
        for pair in self.sums[level]:
            pair[:] = [Linear({}), Linear({})]
        return taken
