"""A narrower network that equals its target on all of R^d (ours): Theorem 7 with two savings.

Statement. Let N0 : R^d → R^d_out have depth L and hidden widths n_1..n_{L−1}. There is a
network N of width max{2d, d + L + d_out} with N(x) = N0(x) for every x in R^d.

Builds. One hidden layer of width 2d, then n_{L−1}·T_{L−1} hidden layers of width d + L + d_out
(T as in narrow_exact), then the output map. For d_out = 1: width max{2d, d + L + 1}, depth about
n^{L−1}.

Proof. The first hidden layer holds σ(x), σ(−x), so m = 1 + Σ_j abs(x_j) is linear in it. From
then on every layer carries m and the d numbers x_j + m ≥ 0: d + 1 carriers instead of 2d, and
x_j = (x_j + m) − m. By induction every neuron of hidden layer l is at most Z_l,i·m with
Z_1,i = max(abs(b_i), max_j abs(w_ij)) and Z_l,i = Σ_j max(w_ij, 0)·Z_{l−1,j} + max(b_i, 0),
because m ≥ 1; so every partial sum Σ w_ij z_j is at least −C_l·m,
C_l = max_i Σ_j max(−w_ij, 0)·Z_{l−1,j}, and sum + C_l·m ≥ 0 passes σ unchanged: one carrier
instead of a pair. The rest is the induction of narrow_exact.

Claim. Equal for every x in R^d, in exact arithmetic; the one term is the final rounding to
float64 on the target's box.

Shapes and arithmetic. (batch, d) → (batch, d_out). C_l is rounded up to a power of two. The
coefficient of m in a first-layer neuron is −Σ_j w_ij, which may need a few bits more than the
target's weights: with float64 weights a float64 evaluation rounds it (`rounding=True`, relative
error of a few eps·C·m), with float32 weights it holds it exactly.

Not in the paper. All of it but the induction: both savings are ours. VYS22's Theorem 7 (repaired)
has width 2(d + L − 1) + 1.

Source. VYS22, Theorem 7 (arXiv 2202.03841), for the induction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depthwright.constructions.construction import Built, Construction
from depthwright.constructions.hypotheses import check_depth, check_target
from depthwright.constructions.narrow_exact import (
    Rebuild,
    equal,
    rebuilding,
)
from depthwright.networks.architecture import Architecture, Block
from depthwright.networks.exact.calculus import Linear
from depthwright.networks.exact.dyadic import Dyadic
from depthwright.networks.upper import Upper, product
from depthwright.targets.network import ReLUNetwork


@dataclass(frozen=True)
class NarrowExactSlim(Construction):
    """Width max{2d, d + L + d_out}, equal everywhere."""

    target: ReLUNetwork

    def __post_init__(self) -> None:
        check_target(self.target)

    def architecture(self) -> Architecture:
        return slim_architecture(self.target.widths)

    def build(self) -> Built:
        check_depth(self.architecture())
        return equal(self.target, Offsets(self.target).network())


def slim_architecture(widths: tuple[int, ...]) -> Architecture:
    """Width 2d once, then d + L + d_out."""
    d, depth, outputs = widths[0], len(widths) - 1, widths[-1]
    return Architecture(d, [2 * d, Block((d + depth + outputs,), rebuilding(widths))], outputs)


class Offsets(Rebuild):
    """Carriers m, x_j + m, sum + C·m: all non-negative."""

    def __init__(self, target: ReLUNetwork) -> None:
        super().__init__(target)
        d, outputs, depth = target.input_dim, target.widths[-1], len(self.weights)
        values = self.builder.relu([*self.x, *(-x for x in self.x)])
        self.x = [values[j] - values[d + j] for j in range(d)]
        self.m = Linear.of(1)
        for value in values:
            self.m = self.m + value
        self.offsets = offsets(self.weights, self.biases)
        self.sums = {
            level: [Linear({})] * (outputs if level == depth else 1)
            for level in range(2, depth + 1)
        }

    def scratch(self, expression: Linear) -> Linear:
        """d + 1 + (L − 2 + d_out) + 1 neurons."""
        carried = [x + self.m for x in self.x] + [self.m]
        for level, totals in self.sums.items():
            carried += [total + self.m * self.offsets[level] for total in totals]
        values = iter(self.builder.relu([*carried, expression]))
        shifted = [next(values) for _ in self.x]
        self.m = next(values)
        self.x = [value - self.m for value in shifted]
        for level, totals in self.sums.items():
            self.sums[level] = [next(values) - self.m * self.offsets[level] for _ in totals]
        return next(values)

    def add(self, level: int, weights: np.ndarray, value: Linear) -> None:
        totals = self.sums[level]
        self.sums[level] = [
            total + value * weight for total, weight in zip(totals, weights.tolist(), strict=True)
        ]

    def take(self, level: int) -> list[Linear]:
        taken = self.sums[level]
        self.sums[level] = [Linear({})] * len(taken)
        return taken


def offsets(weights: tuple[np.ndarray, ...], biases: tuple[np.ndarray, ...]) -> dict[int, Dyadic]:
    """C_l for l = 2..L, a power of two (or 0) not below the bound of the proof."""
    largest = Upper.of(np.maximum(np.abs(weights[0]).max(axis=1), np.abs(biases[0])))
    out = {}
    for level, (matrix, bias) in enumerate(zip(weights[1:], biases[1:], strict=True), 2):
        bound = product(np.maximum(-matrix, 0), largest).max()
        out[level] = Dyadic(int(bound.mantissa > 0), int(bound.exponent))
        largest = product(np.maximum(matrix, 0), largest) + Upper.of(np.maximum(bias, 0))
    return out
