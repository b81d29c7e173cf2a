"""Matching rules: which shapes a trained rival of a given network may have.

Definitions. Of a network of widths (d, n_1, …, n_{L−1}, d_out): `width` is its largest layer,
inputs included, outputs not (VYS22's); `depth` is L, the number of affine maps; `parameters` is
Σ n_k·(n_{k−1} + 1), every entry of every matrix and bias, zeros and structure counted.

- `architecture`: the same widths, layer by layer. One shape. Equal: width, depth, parameters and
  the operations of a dense evaluation.
- `parameters`: at most the same number of parameters (every entry of every matrix and bias), as
  near to it as equal hidden widths allow, at depths 2, 3 and 4; the best of these is the rival.
  A depth at which width 2 is already too large is left out. Equal: parameters, within one neuron
  a layer, so also dense operations; width and depth are not.
- `width`: the same width, the depth that trains: all hidden layers as wide as the construction
  (whose width is never less than its input dimension), at depths 2, 3, 5, 9, 17 and 33, those
  that have more parameters than the construction left out; the best of these is the rival.
  Equal: width; the rival has at most as many parameters, and usually far fewer layers.
- `width_Fx`, F a number as in `width_2x`: as `width`, with hidden layers F times as wide, and at
  most F² times the parameters (F ≥ 1). Nothing is equal: what a rival gains by size.

Never equal: the memory of the weights (a rival's have the 24 bits of float32, a construction's what
its theorem needs), operations that leave out zeros (constructions are mostly zeros), and the
network-steps that a rival took and a construction did not. `Equality` counts the first two for
each comparison, `curves.json` holds all three. All rivals of a run see the same batches, and every
family of a shape has as many members and, where none diverges, takes as many network-steps (see
`search`). `tuned`, the construction trained on, has the construction's own architecture under any
rule; it is trained for as many steps as the others, by members of its own number.

A match without shapes says why in its note: plain networks deeper than `DEPTH_LIMIT` collapse to
a constant in training (their neurons die), so a rival of such an architecture would be a straw
man (other styles do train at depth, but a step costs as many products, one after another, as there
are layers); and above `PARAMETERS_LIMIT` parameters training outlasts a comparison.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from depthwright.networks.architecture import Architecture
from depthwright.refusal import Refusal

DEPTH_LIMIT = 64
"""Deepest network that is trained."""

PARAMETERS_LIMIT = 50_000_000
"""Largest network that is trained."""

DEPTHS = (2, 3, 4)
"""Depths tried where only the number of parameters is given."""

WIDTH_DEPTHS = (2, 3, 5, 9, 17, 33)
"""Depths tried where only the width is given; 1, 2, 4, … hidden layers, up to `DEPTH_LIMIT`."""

Widths = tuple[int, ...]
"""(input_dim, n_1, …, n_{L−1}, output_dim)."""


@dataclass(frozen=True)
class Match:
    """The shapes that a rule derives from an architecture."""

    rule: str
    shapes: tuple[Widths, ...]
    """Full widths, one shape per family of rivals; empty where no shape can be trained."""
    note: str = ""
    """Why there are no shapes."""


def _architecture(architecture: Architecture) -> Match:
    if architecture.depth > DEPTH_LIMIT:
        return Match(
            "architecture",
            (),
            f"depth {architecture.depth} is above {DEPTH_LIMIT}: plain networks that deep "
            "collapse to a constant in training; match by width or parameters instead",
        )
    return Match("architecture", (architecture.widths,))


def hidden_width(input_dim: int, output_dim: int, depth: int, parameters: int) -> int:
    """The largest n such that depth − 1 hidden layers of width n stay within `parameters`.

    They cost (depth−2)·n² + (input_dim + depth − 1 + output_dim)·n + output_dim.
    """
    a, b = depth - 2, input_dim + depth - 1 + output_dim
    rest = parameters - output_dim
    if rest < 0:
        return 0
    if a == 0:
        return rest // b
    return (math.isqrt(b * b + 4 * a * rest) - b) // (2 * a)


def _parameters(architecture: Architecture) -> Match:
    d, outputs = architecture.input_dim, architecture.output_dim
    shapes = []
    for depth in DEPTHS:
        width = hidden_width(d, outputs, depth, architecture.parameters)
        if width >= 2:
            shapes.append((d, *[width] * (depth - 1), outputs))
    if not shapes:
        return Match(
            "parameters",
            (),
            f"{architecture.parameters} parameters are too few for two hidden neurons "
            f"on {d} inputs",
        )
    return Match("parameters", tuple(shapes))


def _width(architecture: Architecture, factor: float = 1.0, rule: str = "width") -> Match:
    d, outputs = architecture.input_dim, architecture.output_dim
    width = max(1, round(factor * architecture.width))
    most = max(1.0, factor**2) * architecture.parameters
    shapes = [(d, *[width] * (depth - 1), outputs) for depth in WIDTH_DEPTHS]
    limit = min(most, PARAMETERS_LIMIT)
    fits = [s for s in shapes if Architecture.of(s).parameters <= limit]
    if not fits:
        return Match(
            rule,
            (),
            f"{limit:.0f} parameters are too few for one hidden layer of width {width} on {d} "
            "inputs",
        )
    return Match(rule, tuple(fits))


RULES: dict[str, Callable[[Architecture], Match]] = {
    "architecture": _architecture,
    "parameters": _parameters,
    "width": _width,
}


_FACTOR = re.compile(r"width_([0-9]{1,4}(?:\.[0-9]{1,4})?)x")
MOST_FACTOR = 1000


def check_rule(rule: str) -> None:
    """Raises Refusal for what is no rule."""
    if rule in RULES:
        return
    found = _FACTOR.fullmatch(rule)
    if not found:
        known = ", ".join(RULES)
        raise Refusal(f"matching={rule!r} is not a rule; choose one of {known} or width_2x")
    if not 0 < float(found[1]) <= MOST_FACTOR:
        raise Refusal(f"matching={rule!r} names a factor that is not in (0, {MOST_FACTOR}]")


def match(architecture: Architecture, rule: str) -> Match:
    """The shapes of the rivals of `architecture` under `rule`."""
    check_rule(rule)
    if architecture.parameters > PARAMETERS_LIMIT:
        return Match(
            rule,
            (),
            f"{architecture.parameters} parameters are above {PARAMETERS_LIMIT}: "
            "training rivals of that size outlasts a comparison",
        )
    if found := _FACTOR.fullmatch(rule):
        return _width(architecture, float(found[1]), rule)
    return RULES[rule](architecture)


STORED_BITS = (32, 64)
"""Bits of floats; longer weights count with their own bits."""


@dataclass(frozen=True)
class Size:
    """Width, depth, parameters, memory and operations of a network."""

    width: int
    depth: int
    parameters: int
    weight_bytes: int
    operations: int
    nonzero_operations: int

    @classmethod
    def of(cls, architecture: Architecture, weight_bits: int) -> Size:
        """`weight_bits` significant bits in the longest weight: 24 is float32's, 53 float64's."""
        fits = [bits for bits, digits in zip(STORED_BITS, (24, 53), strict=True)
                if weight_bits <= digits]  # fmt: skip
        bits = fits[0] if fits else 8 * -(-weight_bits // 8)
        neurons = sum(sum(b.pattern) * b.repeats for b in architecture.blocks)
        biases = neurons + architecture.output_dim
        return cls(
            architecture.width,
            architecture.depth,
            architecture.parameters,
            architecture.parameters * bits // 8,
            2 * architecture.parameters - biases,
            2 * (architecture.nonzeros or 0),
        )


@dataclass(frozen=True)
class Equality:
    """A rival and the construction whose size it matches."""

    rival: Size
    construction: Size

    @property
    def ratios(self) -> dict[str, float]:
        """Rival over construction."""
        pairs = ((name, getattr(self.rival, name), getattr(self.construction, name))
                 for name in Size.__dataclass_fields__)  # fmt: skip
        return {name: ours / theirs for name, ours, theirs in pairs if theirs}

    @property
    def statement(self) -> str:
        """One sentence for a table or a report."""
        equal = [_WORDS[name] for name, ratio in self.ratios.items() if ratio == 1]
        other = [f"{_WORDS[n]} × {ratio:.3g}" for n, ratio in self.ratios.items() if ratio != 1]
        same = f"equal: {', '.join(equal)}" if equal else "nothing equal"
        return f"{same}; the rival's {', '.join(other)}" if other else same


_WORDS = {
    "width": "width",
    "depth": "depth",
    "parameters": "parameters",
    "weight_bytes": "weight memory",
    "operations": "dense operations",
    "nonzero_operations": "operations without zeros",
}
