"""Upper bounds of spectral norms, rounding included."""

from __future__ import annotations

import math

import numpy as np

from depthwright.networks.arithmetic import EPS
from depthwright.networks.upper import Upper

EIGENVALUES_LIMIT = 512
"""Gram matrices larger than this are bounded by one Cholesky factorisation, ten times faster."""


def spectral_bound(matrix: np.ndarray) -> float:
    """An upper bound of ‖W‖₂ as a float: inf beyond its range, and 0 for zero matrices only."""
    return float(spectral_upper(matrix))


def spectral_upper(matrix: np.ndarray) -> Upper:
    """An upper bound of ‖W‖₂, from the Gram matrix of the shorter side plus its rounding error.

    Computed in floats: the Gram matrix errs by at most m·eps·‖W‖_F² (m products per entry), the
    eigenvalue by a modest multiple of n·eps·‖W‖_F²; 16·(m + n)·eps·‖W‖_F² covers both. Entries
    are brought below 1 by a power of two first, so that no square that counts leaves the range.
    """
    scale = math.frexp(float(np.abs(matrix).max()))[1]
    matrix = np.ldexp(matrix, -scale)
    gram = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
    slack = 16 * sum(matrix.shape) * EPS * float(np.trace(gram))
    if len(gram) <= EIGENVALUES_LIMIT:
        largest = float(np.linalg.eigvalsh(gram)[-1])
    else:
        largest = _largest_eigenvalue(gram)
    return Upper.of(math.sqrt(max(largest, 0.0) + slack) * (1 + 1e-15)) << scale


def _largest_eigenvalue(gram: np.ndarray) -> float:
    """An upper bound μ: μ·1 − gram has a Cholesky factor, so it is positive but for rounding.

    The rounding is at most (n + 2)·eps·trace/(1 − …) (Rump 2006); 4·n²·eps·μ covers it. Power
    steps give the first trial; a poor one makes the bound about a percent larger, never wrong.
    """
    n = len(gram)
    if not gram.any():
        return 0.0
    vector = np.random.default_rng(0).standard_normal(n)
    for _ in range(60):
        vector = gram @ (vector / np.linalg.norm(vector))
    estimate, excess = float(np.linalg.norm(vector)), 3e-3
    while True:
        top = estimate * (1 + excess)
        shifted = -gram
        shifted[np.diag_indices(n)] += top
        try:
            np.linalg.cholesky(shifted)
        except np.linalg.LinAlgError:
            excess *= 3
            continue
        return top * (1 + 4 * n * n * EPS)
