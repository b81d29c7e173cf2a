"""VYS22 Corollary 3: no weight exceeds 2 in size, in any of the earlier theorems' networks.

Statement. For every network N of depth D built by another construction (`inner`) there is a network
with the same values, all weights and biases in [−2, 2], N's hidden widths and behind them layers
of width 2·d_out.

Builds. scaling="layer" (the paper's): let every entry of N be at most 2C in size, C = 2^g. Map i is
divided by C, its biases by C^i, so the last values are N(x)/C^D; they become pairs σ(y), σ(−y),
which g·D layers of width 2·d_out double. Depth D·(g + 1). `weight_exponent` bounds the entries
of each construction by a formula (weight_bounds.py), g = max(exponent − 1, 0); for Theorem 2
g = O(n·c + log(1/δ)), which makes O(n³L³ log²) layers.
scaling="neuron" (ours): neuron i of a map is divided by its own power of two, the smallest
2^{s_i} ≥ 1 that keeps its entries w_ij·2^{s_j − s_i} and b_i·2^{−s_i} in [−2, 2]; depth D + s, s a
formula's bound of the outputs' exponents (`gain_exponent`); for Theorem 2 s is about n·c.

Claim. The inner construction's: the values are equal.

Shapes and arithmetic. The inner network's; exact. A slot's common power of two, as small as
C^{−D}, is an exponent beside its integers (exact/integers.py), so a network of 10^5 layers costs
what its layers cost. The doubling layers are one shared object.

Not in the paper. (1) C is a power of two, so all weights stay dyadic and no factor below 2 is
left over. (2) It divides by the largest entry; half of it is enough for a bound of 2. (3)
scaling="neuron": one C for all layers pays D times for what a few layers need. A weight 1 that
carries a value gives back a factor of 2 in every layer, and a triangle takes one, so Theorem 2's
network needs about n·c more layers, not n·c·D.

Source. VYS22, Corollary 3 (arXiv 2202.03841).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from depthwright.constructions.bits.cells import Floats
from depthwright.constructions.construction import Built, Construction
from depthwright.constructions.hypotheses import check_depth, check_inputs, check_target
from depthwright.constructions.narrow_bits import NarrowBits
from depthwright.constructions.narrow_exact import NarrowExact
from depthwright.constructions.narrow_exact_slim import NarrowExactSlim
from depthwright.constructions.narrow_minimal import NarrowMinimal
from depthwright.constructions.narrow_packed import NarrowPacked
from depthwright.constructions.weight_bounds import gain_exponent, weight_exponent
from depthwright.networks.architecture import Architecture, Block
from depthwright.networks.exact.dyadic import Dyadic
from depthwright.networks.exact.layer import BIAS, Layer, Patterns
from depthwright.networks.exact.network import ExactNetwork
from depthwright.networks.inputs import Inputs
from depthwright.refusal import Refusal, need_one_of
from depthwright.targets.network import ReLUNetwork

EXACT: dict[str, type[NarrowExact] | type[NarrowExactSlim]] = {
    "narrow_exact": NarrowExact,
    "narrow_exact_slim": NarrowExactSlim,
}
PROBABLE: dict[str, type[NarrowBits] | type[NarrowPacked]] = {
    "narrow_bits": NarrowBits,
    "narrow_minimal": NarrowMinimal,
    "narrow_packed": NarrowPacked,
}


@dataclass(frozen=True)
class NarrowBounded(Construction):
    """The inner construction's network with weights of size at most 2."""

    target: ReLUNetwork
    accuracy: float | None = None
    """The accuracy of `inner`; None for constructions that equal their target."""
    failure_probability: float = 0.0
    inner: str = "narrow_packed"
    scaling: Literal["layer", "neuron"] = "layer"
    grid: float | None = None
    inputs: Floats = "float64"
    density_bound: float | None = None

    def __post_init__(self) -> None:
        check_target(self.target)
        if self.inner not in {**EXACT, **PROBABLE}:
            raise Refusal(
                f"inner={self.inner!r} is no construction whose weights can be bounded; choose "
                f"one of {', '.join(sorted({**EXACT, **PROBABLE}))}"
            )
        need_one_of("scaling", self.scaling, ("layer", "neuron"))
        if self.inner in PROBABLE and self.accuracy is None:
            raise Refusal(f"inner={self.inner} approximates, so it wants accuracy=…, say 1e-2")
        check_inputs(
            self.target, self.failure_probability, self.grid, self.inputs, self.density_bound
        )
        _ = self.construction  # checks its own hypotheses

    @cached_property
    def construction(self) -> Construction:
        if self.inner in EXACT:
            return EXACT[self.inner](self.target)
        assert self.accuracy is not None
        return PROBABLE[self.inner](
            self.target,
            self.accuracy,
            self.failure_probability,
            grid=self.grid,
            inputs=self.inputs,
            density_bound=self.density_bound,
        )

    @property
    def covered(self) -> Inputs | None:
        return self.construction.covered

    @cached_property
    def doublings(self) -> int:
        """Layers behind the inner network that multiply by 2."""
        size = self.construction.architecture()
        if self.scaling == "layer":
            return size.depth * max(weight_exponent(self.construction) - 1, 0)
        return gain_exponent(self.construction)

    def architecture(self) -> Architecture:
        """The inner network's widths, then the doubling layers."""
        size = self.construction.architecture()
        pairs = Block((2 * size.output_dim,), self.doublings)
        return Architecture(size.input_dim, [*size.blocks, pairs], size.output_dim)

    def build(self) -> Built:
        check_depth(self.architecture())
        built = self.construction.build()
        assert isinstance(built.network, ExactNetwork)
        network = built.network
        if self.scaling == "layer":
            layers = by_layer(network, self.doublings // len(network.layers))
            exponents = [self.doublings] * layers[-1].fan_out
        else:
            layers, exponents = by_neuron(network)
            if max(exponents) > self.doublings:
                raise AssertionError("the outputs' scale is above the formula; this is a bug")
        bounded = ExactNetwork(
            tuple(doubled(layers, exponents, self.doublings)),
            "exact",
            network.inputs,
            network.value_bits,
        )
        return Built(bounded, built.claim, built.in_bad_set, built.domain)


# --- scaling


def at_most(value: Dyadic) -> int:
    """An e with abs(value) ≤ 2^e, the smallest unless terms of different signs lie far apart."""
    power_of_two = len(value.terms) == 1 and abs(value.terms[0][0]) == 1
    return value.top - power_of_two


def by_layer(network: ExactNetwork, g: int) -> list[Layer]:
    """Map i divided by 2^g, its biases by 2^{g·i}."""
    layers = []
    for i, old in enumerate(network.layers, 1):
        powers = (
            power - (g * i if column == BIAS else g)
            for column, power in zip(old.columns, old.powers, strict=True)
        )
        layers.append(
            Layer(old.fan_in, old.fan_out, old.rows, old.columns, old.integers, tuple(powers))
        )
        for _, column, value in old.entries():
            if at_most(value) > 1 + (g * i if column == BIAS else g):
                raise AssertionError(f"an entry of layer {i} is above the formula; this is a bug")
    return layers


def by_neuron(network: ExactNetwork) -> tuple[list[Layer], list[int]]:
    """Every neuron divided by its own 2^s; returns the layers, and s of the outputs."""
    layers, scales = [], [0] * network.layers[0].fan_in
    for old in network.layers:
        new = [0] * old.fan_out
        for row, column, value in old.entries():
            carried = 0 if column == BIAS else scales[column]
            new[row] = max(new[row], carried + at_most(value) - 1)
        powers = (
            power + (0 if column == BIAS else scales[column]) - new[row]
            for row, column, power in zip(old.rows, old.columns, old.powers, strict=True)
        )
        layers.append(
            Layer(old.fan_in, old.fan_out, old.rows, old.columns, old.integers, tuple(powers))
        )
        scales = new
    return layers, scales


def doubled(layers: list[Layer], exponents: list[int], count: int) -> list[Layer]:
    """The outputs times 2^exponents, by `count` layers of pairs that multiply by 2."""
    if not count:
        return layers
    *hidden, last = layers
    patterns = Patterns()
    split: list[dict[int, Dyadic]] = []
    for row, exponent in zip(last.expressions(), exponents, strict=True):
        even = {column: value >> count - exponent for column, value in row.items()}
        split += [even, {column: -value for column, value in even.items()}]
    width, two = len(split), Dyadic(2)
    double = patterns.layer(width, [{column: two} for column in range(width)])
    join = patterns.layer(width, [{j: two, j + 1: -two} for j in range(0, width, 2)])
    return [*hidden, patterns.layer(last.fan_in, split), *[double] * (count - 1), join]
