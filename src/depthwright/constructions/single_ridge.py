"""Depth-2 networks for functions of one direction: a broken line along it.

Statement
    Let f(x) = g(w·x) on [−1, 1]^d, abs(g'') ≤ C, T = ‖w‖_1 and ε > 0. A depth-2 ReLU network of
    width ⌈T·√(C/(2ε))⌉ is within ε of f in the sup norm: for HSSV21's sine of ℓ inputs O(ℓ) neurons
    at constant ε, where random first layers need C(d, ℓ)/4.

Builds
    m = ⌈T·√(C/(2ε'))⌉ equal pieces of length h = 2T/m between −T and T, ε' what rounding leaves of
    ε: N(x) = g(−T) + s_1·σ(w·x + T) + Σ_{1 ≤ k < m} (s_{k+1} − s_k)·σ(w·x − t_k), with t_k = kh − T
    and s_k the slopes of the interpolant.
    depth 2, m hidden neurons.

Claim
    sup norm on the cube, for every x;
    interpolation: C·h²/8 (a chord leaves a curve by at most that);
    rounding of the float64 evaluation, of the knots and of the values there.

Shapes and arithmetic
    (batch, d) → (batch, 1); float64.

Not in the paper
    HSSV21 states O(ℓ) neurons; the count is the textbook's.

Source
    HSSV21 (Hsu, Sanford, Servedio, Vlatakis-Gkaragkounis, COLT 2021) Lemma 34 for the target.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from depthwright.constructions.construction import Built, Claim, Construction
from depthwright.constructions.hypotheses import check_float_accuracy, check_single_ridge_target
from depthwright.networks.architecture import Architecture
from depthwright.networks.arithmetic import FLOAT64_ROUNDOFF
from depthwright.refusal import Refusal
from depthwright.targets.declared import PROFILE_ROUNDING
from depthwright.targets.single_ridge import SingleRidge as Target

MOST_PIECES = 1_000_000
ROUNDING_SHARE = 1e-3
"""Part of the accuracy reserved for rounding; the part that is not needed is not claimed."""


@dataclass(frozen=True)
class SingleRidge(Construction):
    """Depth-2 network within `accuracy` of a function of one direction, on all of the cube."""

    target: Target
    accuracy: float = 0.1

    def __post_init__(self) -> None:
        check_float_accuracy(self.accuracy)
        check_single_ridge_target(self.target)
        if self._least_pieces > MOST_PIECES:
            raise Refusal(
                f"accuracy={self.accuracy} needs {self._least_pieces:.3g} pieces "
                f"(limit {MOST_PIECES:,}); ask for a larger one"
            )

    @property
    def _least_pieces(self) -> float:
        """T·√(C/(2ε')), of square roots that stay in range."""
        budget = self.accuracy * (1 - ROUNDING_SHARE)
        return self.target.reach * (math.sqrt(self.target.curvature / 2) / math.sqrt(budget))

    @property
    def _pieces(self) -> int:
        return max(1, math.ceil(self._least_pieces))

    def architecture(self) -> Architecture:
        return Architecture.of((self.target.input_dim, self._pieces, 1))

    def build(self) -> Built:
        import torch

        from depthwright.networks.torch_network import ModuleNetwork

        target, m = self.target, self._pieces
        knots = np.linspace(-target.reach, target.reach, m + 1)
        values = np.asarray(target.profile(knots), dtype=np.float64)
        slopes = np.diff(values) / np.diff(knots)
        turns = np.diff(slopes, prepend=0.0)
        layers = [
            (np.tile(target.direction, (m, 1)), -knots[:-1]),
            (turns[None], values[:1]),
        ]
        tensors = [(torch.from_numpy(weight), torch.from_numpy(bias)) for weight, bias in layers]
        longest = float(np.diff(knots).max())
        terms = {
            "interpolation": target.curvature * longest**2 / 8 * (1 + 1e-12),
            "rounding": self._rounding(turns, slopes, values, longest),
        }
        claim = Claim(self.accuracy, "sup", str(target.domain), terms)
        if not claim.bound <= self.accuracy:
            raise Refusal(
                f"accuracy={self.accuracy} is finer than float64 rounding allows here "
                f"({terms['rounding']:.1e} of {claim.bound:.1e}); ask for a larger one"
            )
        return Built(ModuleNetwork.of(tensors), claim, domain=target.domain)

    def _rounding(
        self, turns: np.ndarray, slopes: np.ndarray, values: np.ndarray, longest: float
    ) -> float:
        """A first-order bound with constants large enough for the higher orders.

        Every w·x − t_k is rounded by (d + 2)u·2T and every term of the sum by (m + 4)u; what values
        of g are rounded by, slopes pass on to every x; g is no steeper than its steepest chord and
        C times a piece.
        """
        d, reach = self.target.input_dim, self.target.reach
        total = float(np.abs(turns).sum()) * 2 * reach + float(np.abs(values).max())
        steepest = float(np.abs(slopes).max()) + self.target.curvature * longest
        inner = (d + 2) * float(np.abs(turns).sum()) * 2 * reach
        read = PROFILE_ROUNDING * (float(np.abs(values).max()) + steepest * reach)
        return 1.01 * (FLOAT64_ROUNDOFF * ((len(turns) + 12) * total + inner) + read)
