"""Sizes of all narrow twins of a He-initialised target, at any width, no matrix drawn.

Statement. Let N0 : [−1, 1]^d → R have depth L, hidden width n, weights N(0, 2/fan_in), biases 0.
With probability at least 1 − DOUBT its norms are below those of he_norms.py, and then each
construction of the table has at most the parameters of its `Architecture` here.

Builds. Nothing. Theorems 2 and 5 take c0 and c from VYS22's printed constants (B the largest
weight) or from the interval bounds of budget.py, with row sums in place of rows; the packed
network, without the scales that a target of its own would give it, its bits from
packed/bounds.py; Theorem 7 and its slimmer version know their size from
the widths alone. Accuracies are those of the networks' exact values; rounding a value to float64,
which the interval bound of wide deep targets makes large, is left to the reader.

Claim. Upper bounds of the sizes, in probability over the draw of the target. The failure
probability δ over the inputs sets the slopes of the bit tests and no size.

Not in the paper. The interval bounds by Cauchy–Schwarz: Σ_j abs(w_ij) ≤ √m·‖w_i‖ for m inputs.

Source. VYS22, Theorems 2, 5, 7 (arXiv 2202.03841).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from depthwright.constructions.bits.budget import BITS_LIMIT, Budget, printed
from depthwright.constructions.bits.extraction import in_turn_blocks, together_blocks
from depthwright.constructions.he_norms import HeNorms
from depthwright.constructions.narrow_bits import bits_architecture
from depthwright.constructions.narrow_exact import exact_architecture
from depthwright.constructions.narrow_exact_slim import slim_architecture
from depthwright.constructions.narrow_packed import layouts
from depthwright.constructions.packed.bounds import Bounds, Facts
from depthwright.constructions.packed.choice import choose
from depthwright.constructions.packed.widths import architecture
from depthwright.networks.architecture import Architecture
from depthwright.refusal import Refusal

DOUBT = 1e-6
"""Probability with which the norms, and so the sizes, may fail to bound those of a target."""


def he_sizes(input_dim: int, width: int, depth: int, accuracy: float) -> dict[str, Architecture]:
    """Construction → size, "narrow_bits_paper" with the printed constants beside the certified."""
    norms = HeNorms(input_dim, width, depth, DOUBT)
    widths = norms.widths
    paper = printed(1.0, norms.largest, width, input_dim, depth, accuracy)
    certified = interval_budget(list(norms.maps()), accuracy)
    return {
        "narrow_bits_paper": _theorem_2(widths, paper),
        "narrow_bits": _theorem_2(widths, certified),
        "narrow_minimal": _theorem_5(widths, certified),
        "narrow_exact": exact_architecture(widths),
        "narrow_exact_slim": slim_architecture(widths),
        "narrow_packed": he_architecture(input_dim, width, depth, accuracy),
    }


def he_architecture(
    input_dim: int,
    width: int,
    depth: int,
    accuracy: float,
    long_gaps: bool = False,
) -> Architecture:
    """The architecture of the packed network."""
    norms = HeNorms(input_dim, width, depth, DOUBT)
    _, *maps = norms.maps()
    possible = layouts(norms.widths, True, long_gaps)
    sizing = choose(
        Bounds(norms.first(), maps),
        accuracy * (1 - 1e-12),
        lambda each: architecture(norms.widths, each).parameters,
        possible,
    )
    return architecture(norms.widths, sizing)


def interval_budget(facts: Sequence[Facts], accuracy: float) -> Budget:
    """The smallest c0 and c that follow from the norms: Intervals with the largest row for all."""
    scale = 0.5  # one over the side of the cube
    slack = 1 + 16 * 2.0**-53 * sum(fact.fan_in + 32 for fact in facts)
    reaches, reach, top = [1.0], 1.0, 0.0
    for level, fact in enumerate(facts):
        positive = float(fact.positive_norm.max()) * math.sqrt(fact.fan_in)
        rows = float(fact.row_sum.max()) if level == 0 else positive
        reach = rows * reach * slack
        if level < len(facts) - 1:
            reaches.append(reach)
            top = max(top, reach)
    for c0 in range(1, BITS_LIMIT + 1):
        unit, error = 2.0**-c0, 2.0**-c0 / scale
        for level, (fact, reach) in enumerate(zip(facts, reaches, strict=True)):
            rounding = fact.fan_in * unit * (scale if level == 0 else 1.0)
            error = float(fact.row_sum.max()) * error + rounding * reach + unit * unit
            error = (error + (unit if level < len(facts) - 1 else 0.0)) * slack
        if error <= accuracy:
            return Budget(c0, 2 * c0 + max(math.frexp(top)[1], 0))
    raise Refusal(
        f"accuracy={accuracy} would need more than {BITS_LIMIT} bits per number; give a larger one"
    )


def _theorem_2(widths: Sequence[int], budget: Budget) -> Architecture:
    return bits_architecture(widths, budget, together_blocks(widths[0], budget.c0))


def _theorem_5(widths: Sequence[int], budget: Budget) -> Architecture:
    shared = widths[0] + 3 > max(10, 6 + 2 * widths[-1])
    return bits_architecture(widths, budget, in_turn_blocks(widths[0], budget.c0, shared))
