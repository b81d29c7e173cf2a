"""How few parameters a narrow family can have that imitates every wide network: by counting.

Statement. (a) BHLM19, proof of Theorem 7, for ReLU: networks of one shape, k_i units in layer
i ≤ D, W_i parameters in the layers up to i, put at most Π_i 2·(2e·N·i·k_i/W_i)^{W_i} patterns of
signs on N ≥ Σ_i W_i points; by concavity at most 2^D·(2e·N·R/S)^S, S = Σ W_i, R = Σ i·k_i.
(b) Yun, Sra and Jadbabaie 2019, Theorem 3.1: networks with two hidden layers of n neurons fit any
real labels on any N = 4⌊n/4⌋² distinct points; so do those of depth L ≥ 3, which carry the value
on. A family that comes within ε < 1 of all of these (labels ±1) has all 2^N patterns of signs.

Builds. `least_narrow`: the shortest shape of constant width w that (a) does not exclude, hence
the fewest parameters of that width.

Claim. A lower bound for families of one shape, weights free, whose promise holds at those N
points, as that of the narrow twins does on a grid. It grows like n·w/√log n; with targets whose own
patterns reach BHLM19's lower bound a factor of about √L more is known, with a constant that is
not stated there.

Not in the paper. Putting the two together.

Source. BHLM19 (arXiv 1703.02930); Yun, Sra, Jadbabaie, NeurIPS 2019 (arXiv 1810.07770).
"""

from __future__ import annotations

import math

from depthwright.networks.architecture import Architecture, Block
from depthwright.refusal import Refusal


def pattern_bits(input_dim: int, narrow: int, hidden: int, points: int) -> float:
    """log2 of (a)'s bound for `hidden` layers of `narrow` neurons and one output; ≥ points is
    needed to shatter them."""
    first, inner = narrow * (input_dim + 1), narrow * (narrow + 1)
    all_parameters = first + (hidden - 1) * inner + narrow + 1
    summed = hidden * first + inner * (hidden * (hidden - 1) // 2) + all_parameters
    if points <= summed:
        return math.inf  # (a) excludes nothing
    units = narrow * (hidden * (hidden + 1) // 2) + (hidden + 1)
    return hidden + 1 + summed * math.log2(2 * math.e * points * units / summed)


def shattered(width: int, depth: int) -> int:
    """N of (b): points on which targets of this width and depth take any labels."""
    if depth < 3:
        raise Refusal(
            f"depth={depth}: the counting bound speaks of two hidden layers or more; give 3"
        )
    return 4 * (width // 4) ** 2


def least_narrow(input_dim: int, narrow: int, width: int, depth: int) -> Architecture:
    """The smallest shape of constant width `narrow` that may imitate all targets (width, depth)."""
    points = shattered(width, depth)
    low, high = 0, 1
    while pattern_bits(input_dim, narrow, high, points) < points:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if pattern_bits(input_dim, narrow, middle, points) < points:
            low = middle
        else:
            high = middle
    return Architecture(input_dim, [Block((narrow,), high)], 1)
