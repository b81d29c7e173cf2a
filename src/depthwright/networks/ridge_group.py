"""Directions that share one ridge function, and how far evaluating them rounds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from depthwright.networks.arithmetic import UNIT_ROUNDOFF, Arithmetic


@dataclass(frozen=True)
class RidgeGroup:
    """Directions that share one ridge function ĝ."""

    indices: np.ndarray
    """(n, k) coordinates at which each direction is not zero."""
    values: np.ndarray
    """(n, k) its entries there; directions have norm 1 (k = input_dim for dense ones)."""
    weights: np.ndarray
    """(n,) outer weights A_i."""
    kinks: np.ndarray
    """(m,) increasing, in [0, 1)."""
    turns: np.ndarray
    """(m,) changes of slope."""

    @property
    def neurons_per_direction(self) -> int:
        """Two a kink, one for a kink at 0 (its linear part is carried once for all)."""
        return 2 * len(self.kinks) - int(self.turns_at_zero)

    @property
    def turns_at_zero(self) -> bool:
        """Whether ĝ has a kink at 0."""
        return bool(len(self.kinks) and self.kinks[0] == 0)

    @cached_property
    def linear_part(self) -> list[tuple[int, float]]:
        """Nonzero entries of Σ_i A_i·turns[0]·w_i, what σ alone leaves of the kinks at 0."""
        if not self.turns_at_zero:
            return []
        total = np.zeros(int(self.indices.max()) + 1)
        np.add.at(total, self.indices, self.values * self.weights[:, None] * self.turns[0])
        return [(int(j), float(total[j])) for j in np.flatnonzero(total)]

    def dense(self, input_dim: int) -> np.ndarray:
        """The directions as a dense matrix (n, input_dim)."""
        matrix = np.zeros((len(self.weights), input_dim))
        np.put_along_axis(matrix, self.indices, self.values, axis=1)
        return matrix


@dataclass(frozen=True)
class Bundle:
    """What the rounding bound needs of a group: its directions are counted, not listed."""

    count: int
    """How many directions."""
    nonzeros: int
    """Entries of each."""
    weight_sum: float
    """Σ abs(A_i) over the directions."""
    kinks: np.ndarray
    turns: np.ndarray


def rounding_bound(bundles: Iterable[Bundle], offset: float, arithmetic: Arithmetic) -> float:
    """How far float evaluation lies from c + Σ_i A_i ĝ(abs(w_i·x)) on ‖x‖ ≤ 1, at the x given.

    With u the unit roundoff: a projection on k nonzeros is off by (k + 9)u, inputs rounded to the
    arithmetic and directions and weights rounded from exact ones with 4 units in the last place
    included; a ridge value by that times Σ abs(turns), by the sums that a look-up table of m kinks
    holds (3m·u) and by the few operations of a look-up; a sum over n directions by (n + 8)u of
    what it adds up, in any order, and by one u more for every group whose sum it is added to. The
    offset comes last. Groups that share a ridge may be given as one bundle: the bound only grows.
    """
    bundles = list(bundles)
    total = abs(offset) * 4
    for bundle in bundles:
        # sup over [0, 1] of abs(ĝ) is attained at a kink or at 1.
        rises = np.cumsum(bundle.turns) * np.diff(bundle.kinks, append=1.0)
        height = float(np.abs(np.cumsum(rises)).max(initial=0.0))
        turning = float(np.abs(bundle.turns).sum())
        ridge = turning * (bundle.nonzeros + 3 * len(bundle.kinks) + 17)
        total += bundle.weight_sum * (ridge + height * (bundle.count + len(bundles) + 8))
    return 1.01 * UNIT_ROUNDOFF[arithmetic] * total
