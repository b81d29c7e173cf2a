"""A floor under networks whose first layer was drawn without looking at the target.

Statement
    Let f(x) = height·√2·sin(π·Σ_{i ≤ ℓ} x_i) on [−1, 1]^d with the uniform law, let r random
    functions (neurons, and the constant) be drawn from a law that no permutation of the inputs
    changes, and let V be their span. If f is within height/4 of V with probability ½, then
    r ≥ C(d, ℓ)/4. (HSSV21 Lemma 34.)

Proof
    The C(d, ℓ) functions √2·sin(π·Σ_{i ∈ S} x_i), S of size ℓ, are orthonormal, and by symmetry all
    as far from V in law. The squared lengths of their projections onto V add up to at most r.
    So E dist(f, V)² ≥ height²·(1 − r/C(d, ℓ)); and if with probability ½ the length of f's
    projection has square at least height²·15/16, r ≥ C(d, ℓ)·15/32.

Claim
    E over the draw of the squared L2 error of the best output layer; at fitted output layers the
    error is larger still. With signs: a law that no reflection x_i → −x_i changes either has
    2^{ℓ−1}·C(d, ℓ) such functions, √2·sin(π·Σ_{i ∈ S} ±x_i), in place of C(d, ℓ).

Shapes and arithmetic
    Whole numbers, and their quotients in float64.

Not in the paper
    The mean in place of a probability, and the signs: the law of `training.features` has both
    symmetries.

Source
    HSSV21: Hsu, Sanford, Servedio, Vlatakis-Gkaragkounis, *On the Approximation Power of Two-Layer
    Networks of Random ReLUs*, COLT 2021, Lemma 34.
"""

from __future__ import annotations

import math

from depthwright.refusal import Refusal
from depthwright.targets.single_ridge import SineRidge


def fewest(target: SineRidge) -> float:
    """C(d, ℓ)/4: the fewest random functions with error height/4 with probability ½."""
    return math.comb(target.input_dim, target.terms) / 4


def orbit(target: SineRidge) -> int:
    """Number of orthonormal functions that permutations and reflections of the inputs make."""
    return math.comb(target.input_dim, target.terms) * 2 ** (target.terms - 1)


def mean_square_floor(target: SineRidge, width: int) -> float:
    """A lower bound on E ‖f − best of the span‖² for `width` neurons and the constant."""
    if width < 0:
        raise Refusal(f"width={width} is negative; give a number of neurons")
    return target.height**2 * max(0.0, 1 - (width + 1) / orbit(target))
