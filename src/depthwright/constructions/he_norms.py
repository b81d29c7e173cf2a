"""Norms that a He-initialised network has with high probability, for sizes without matrices.

Statement. Let W, k × m, have independent entries N(0, 2/m), and let R be what rounding its entries
to multiples of 2^{−f} changes, h = 2^{−f−1}. Each of these holds outside probability e^{−τ²/2}, the
last one outside twice that:

  ‖W‖₂ ≤ √(2/m)(√k + √m + τ)                           (Gordon; Davidson & Szarek 2001)
  ‖w_i‖, ‖max(±w_i, 0)‖, abs(w_ij) ≤ √(2/m)·(√m, √(m/2), 0  + τ)    (1-Lipschitz functions)
  ‖w_i U‖ ≤ √(2/m)(‖U‖_F + τ‖U‖₂) for a fixed matrix U               (the same)
  ‖R‖₂ ≤ h(√(π/2)(√k + √m) + 2τ)
  ‖R‖₂ ≤ h(√(π/8)(√k + √m) + √(2/π)·τ), ‖r_i‖ ≤ h(√(m/3) + √(2/π)·τ)
      where 3·km·exp(−2π²(2/m)4^f) ≤ log 2.

Proof of the last two lines. R's entries are independent, symmetric and in [−h, h], so R is a
mixture of h·(signs) with factors at most 1: E‖R‖ ≤ h·E‖signs‖ ≤ h√(π/2)·E‖Gauss‖, and a convex
1-Lipschitz function of variables in [−h, h] exceeds its mean by t with probability at most
e^{−t²/(8h²)} (Boucheron, Lugosi & Massart 2013, theorem 6.10). If the grid is fine, the density of
an entry is at most 1 + 3e^{−2π²σ²4^f} times the uniform one (Poisson summation), all of them
together at most twice. Uniform variables on [−h, h] are convexly dominated by N(0, πh²/8): the
means of max(x, 0) agree and the tails cross once. They are also √(2/π)h-Lipschitz images of
N(0, 1), which gives the deviations. ∎

Source. Ours, but for what is cited.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise

import numpy as np

from depthwright.constructions.bits.cells import Cells
from depthwright.constructions.packed.bounds import Facts, First, Residual


class HeNorms:
    """Facts for NarrowPacked's bounds; the failure probability is divided among all events."""

    def __init__(self, input_dim: int, width: int, depth: int, doubt: float) -> None:
        self.widths = (input_dim, *[width] * (depth - 1), 1)
        sizes = sum(k * m for m, k in pairwise(self.widths))
        events = 2 * sizes + 8 * sum(self.widths) + 80 * depth
        self.tau = math.sqrt(2 * math.log(events / doubt))

    def maps(self) -> Iterator[Facts]:
        for m, k in pairwise(self.widths):
            scale = math.sqrt(2 / m)
            half = np.array([scale * (math.sqrt(m / 2) + self.tau)])
            row = scale * (math.sqrt(m) + self.tau)
            norm = scale * (math.sqrt(k) + math.sqrt(m) + self.tau)
            sums = np.array([row * math.sqrt(m)])
            residual = self._rounded(k, m)
            yield Facts(m, k, norm, np.array([row]), half, half, sums, np.zeros(1), residual)

    @property
    def largest(self) -> float:
        """A bound on every weight."""
        return self.tau * math.sqrt(2 / min(self.widths[:-1]))

    def first(self) -> First:
        """The first map on [−1, 1]^d without scaling: U = W_1."""
        facts, second = next(self.maps()), self.widths[1]
        d, n = facts.fan_in, facts.fan_out
        whole = math.sqrt(2 / d) * (math.sqrt(n * d) + self.tau)
        mixed = math.sqrt(2 * d / second) * (whole + self.tau * facts.spectral)

        @cache
        def residual(c: int, p: int, by_bit: bool) -> Residual:
            half = math.ldexp(0.5, -p)
            if not by_bit:
                found = self._norms(n, d, half, p - c + 1)
                reach = math.ldexp(0.5, c)
                return Residual(found[0] * reach, found[1] * reach)
            rows = half / 2 * math.sqrt(d * c)
            norms = [self._norms(n, d, half, p - c + 1 + k)[1] ** 2 for k in range(c)]
            return Residual(np.array([rows]), min(math.sqrt(sum(norms)) / 2, rows * math.sqrt(n)))

        return First(facts, cell, residual, np.array([mixed]))

    def _rounded(self, k: int, m: int) -> Callable[[int, np.ndarray], Residual]:
        def residual(bits: int, _: np.ndarray) -> Residual:
            return Residual(*self._norms(k, m, math.ldexp(0.5, -bits), bits))

        return residual

    def _norms(self, k: int, m: int, half: float, bits: int) -> tuple[np.ndarray, float]:
        """Of the rows and of all; the entries' grid is 2^{−bits} where they are N(0, 2/m)."""
        both, tau = math.sqrt(k) + math.sqrt(m), self.tau
        row, whole = math.sqrt(m), min(math.sqrt(k * m), math.sqrt(math.pi / 2) * both + 2 * tau)
        fine = 2 * math.pi**2 * (2 / m) * 4.0 ** min(bits, 500)
        if fine < 700 and 3 * k * m * math.exp(-fine) > math.log(2):
            return np.array([row * half]), whole * half
        deviation = math.sqrt(2 / math.pi) * tau
        row = min(row, math.sqrt(m / 3) + deviation)
        whole = min(whole, math.sqrt(math.pi / 8) * both + deviation)
        return np.array([row * half]), whole * half


@cache
def cell(bits: int) -> float:
    """Half a cell over half of [−1, 1]."""
    return float(Cells.of(-1.0, 1.0, bits, "float64").error)
