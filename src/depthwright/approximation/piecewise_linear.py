"""Even continuous piecewise-linear functions near an even polynomial g on [−1, 1].

*Knots* start where they equidistribute √abs(g''), which is asymptotically best, and are then moved
until every piece errs alike. *Values* at the knots are raised or lowered until every piece errs
as much above as below. M pieces reach an error of about (∫√abs(g''))²/(16·M²), half of what
interpolation at the same knots has. *Certificate*: between samples at distance h the error exceeds
the larger neighbour by at most sup abs(g'')·h²/8, with the sup over that piece.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depthwright.approximation.polynomial import Polynomial
from depthwright.networks.arithmetic import EPS

SAMPLES = 64
"""Samples per piece in the certificate; between them the error grows by at most 2/SAMPLES² of it.
"""
MOST_PIECES = 4096
"""Most pieces that are tried."""


@dataclass(frozen=True)
class EvenPiecewiseLinear:
    """t ↦ offset + Σ_k turns[k]·(abs(t) − kinks[k])₊ on [−1, 1], with 0 ≤ kinks < 1."""

    kinks: np.ndarray
    turns: np.ndarray
    """Change of slope at each kink."""
    offset: float
    error: float
    """Rigorous bound on the uniform distance to the polynomial."""

    @property
    def pieces(self) -> int:
        """Linear pieces on [−1, 1]; a kink at 0 joins two, any other bounds one on each side."""
        return 2 * len(self.kinks) + 1 - int(self.kinks[0] == 0)


def approximate(g: Polynomial, pieces: int) -> EvenPiecewiseLinear:
    """The approximant of the even polynomial `g` with this number of pieces, at least 2."""
    flat = pieces % 2 == 1
    knots, values = _balance(g, _equidistributed(g, pieces), flat)
    slopes = np.diff(values) / np.diff(knots)
    if flat:
        slopes[0] = 0.0
        kinks, turns = knots[1:-1], np.diff(slopes)
    else:
        kinks, turns = knots[:-1], np.diff(slopes, prepend=0.0)
    offset = float(values[0])
    return EvenPiecewiseLinear(
        kinks, turns, offset, _certified_error(g, knots, kinks, turns, offset)
    )


def fewest_pieces(g: Polynomial, error: float, limit: int) -> EvenPiecewiseLinear | None:
    """The approximant with the fewest pieces whose certified error is at most `error`.

    None where more than `limit` pieces, or more than MOST_PIECES, would be needed.
    """
    limit = min(limit, MOST_PIECES)
    expected = _root_curvature(g)[1][-1] / (2 * np.sqrt(error))
    if not expected <= 1.2 * limit + 2:
        return None
    found = approximate(g, max(2, int(0.95 * expected)))
    while found.error > error:
        if found.pieces >= limit:
            return None
        # Errors fall like pieces⁻²; a step that overshoots is taken back below.
        ahead = int(found.pieces * 0.99 * (found.error / error) ** 0.5)
        found = approximate(g, min(limit, max(found.pieces + 1, ahead)))
    while found.pieces > 2 and (smaller := approximate(g, found.pieces - 1)).error <= error:
        found = smaller
    return found


def _root_curvature(g: Polynomial) -> tuple[np.ndarray, np.ndarray]:
    """Points t of [0, 1] and the running integral of √abs(g'') there.

    A floor on the curvature keeps pieces across an inflection from growing without bound.
    """
    t = np.linspace(0.0, 1.0, 4097)
    curvature = np.abs(g.derivative().derivative()(t))
    density = np.sqrt(np.maximum(curvature, 1e-3 * curvature.mean() + 1e-300))
    steps = (density[1:] + density[:-1]) / 2 * np.diff(t)
    return t, np.concatenate([[0.0], np.cumsum(steps)])


def _marks(pieces: int) -> np.ndarray:
    """Positions of the knots of [0, 1] on a scale from 0 to 1; a flat middle piece counts half."""
    marks = np.arange(pieces % 2, pieces + 1, 2) / pieces
    return np.concatenate([[0.0], marks]) if pieces % 2 else marks


def _equidistributed(g: Polynomial, pieces: int) -> np.ndarray:
    """Knots in [0, 1], both ends included."""
    t, total = _root_curvature(g)
    knots = np.interp(_marks(pieces) * total[-1], total, t)
    knots[0], knots[-1] = 0.0, 1.0
    return knots


def _balance(g: Polynomial, knots: np.ndarray, flat: bool) -> tuple[np.ndarray, np.ndarray]:
    """Knots and values with equal errors on all pieces, above as below; best of a few rounds."""
    marks = _marks(2 * len(knots) - 2 - flat)
    least, best = np.inf, (knots, knots)
    for _ in range(8):
        values, errors = _level(g, knots, flat)
        if errors.max() > 0.999 * least:
            break
        least, best = float(errors.max()), (knots, values)
        # A piece errs like the square of its length.
        share = np.sqrt(np.maximum(errors, 1e-2 * errors.max()) + 1e-300) * np.diff(marks)
        scale = np.concatenate([[0.0], np.cumsum(share)])
        moved = np.interp(marks * scale[-1], scale, knots)
        knots = np.concatenate([[0.0], (knots + moved)[1:-1] / 2, [1.0]])
    return best


def _level(g: Polynomial, knots: np.ndarray, flat: bool) -> tuple[np.ndarray, np.ndarray]:
    """Values at the knots with equal errors above and below, and each piece's error."""
    inside = np.linspace(0.0, 1.0, 17)
    exact = g(knots[:-1, None] + inside * np.diff(knots)[:, None])
    values = np.append(exact[:, 0], exact[-1, -1])
    for _ in range(16):
        if flat:
            values[0] = values[1]
        gap = exact - (values[:-1, None] * (1 - inside) + values[1:, None] * inside)
        high, low = gap.max(axis=1), gap.min(axis=1)
        levelled = values
        wish = (high + low) / 2  # how far each piece has to rise for equal errors
        values = values + np.convolve(np.pad(wish, 1, mode="edge"), [0.5, 0.5], mode="valid")
    return levelled, np.maximum(high, -low)


def _certified_error(
    g: Polynomial,
    knots: np.ndarray,
    kinks: np.ndarray,
    turns: np.ndarray,
    offset: float,
) -> float:
    """Bound on sup over [−1, 1] of the distance, for the kinks and turns as stored in floats."""
    second = g.derivative().derivative()
    inside = np.linspace(0.0, 1.0, SAMPLES + 1)
    t = knots[:-1, None] + inside * np.diff(knots)[:, None]
    t[:, -1] = knots[1:]
    value = np.full_like(t, offset)
    for kink, turn in zip(kinks, turns, strict=True):
        value += turn * np.maximum(t - kink, 0.0)
    h = np.diff(knots) / SAMPLES
    # abs(g'') on a piece: its samples, plus what sup abs(g''') allows between them.
    bend = np.abs(second(t)).max(axis=1) + second.rounding
    bend += second.derivative().magnitude * h
    between = bend * (h * (1 + 1e-9)) ** 2 / 8
    rounding = g.rounding + 4 * (len(kinks) + 2) * EPS * (abs(offset) + float(np.abs(turns).sum()))
    return float((np.abs(g(t) - value).max(axis=1) + between).max()) + rounding
