"""A depth-2 network as arrays, its mean square in closed form, and where it errs most.

Statement. N(x) = offset + Σ_i outer_i σ(w_i·x + b_i), w_i unit vectors of R^d, f(x) = ϕ(‖x‖).

*Closed form.* Where all b_i are 0 and x = r·u, r uniform on [0, 1] and u uniform on the sphere,

    E σ(w·x)σ(v·x) = (√(1 − t²) + t·(π − arccos t))/(6πd),   t = w·v,
    E σ(w·x)ϕ(r) = ½ E abs(w_1)·∫ r ϕ(r) dr,

the Gaussian's arc-cosine kernel, since a Gaussian is its norm, of mean square d, times an
independent u. Least squares then needs no sample.

*Attack.* Projected ascent of abs(N − f) from many starts: what it finds is a lower bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from depthwright.approximation.averaged_hinge import mean_size
from depthwright.approximation.levelling import Hinges
from depthwright.targets.radial import Radial

INWARD = 1e-3
"""Step inwards of the difference quotient that gives the slope of ϕ."""
FIRST_STEP, LAST_STEP = 0.2, 2e-4
RIDGE = 1e-10
"""Of the mean diagonal of a Gram matrix, added to it: directions may coincide."""
START_RIDGE = 1e-6
"""The same before a descent, which large weights that cancel would hold up."""
CHUNK_ELEMENTS = 1 << 22


@dataclass(frozen=True)
class Neurons:
    """x ↦ offset + Σ_i outer[i]·σ(weight[i]·x + bias[i]), in float64."""

    weight: np.ndarray
    """(n, d) unit vectors."""
    bias: np.ndarray
    """(n,)"""
    outer: np.ndarray
    """(n,)"""
    offset: float

    def towards(self, other: Neurons, part: float) -> Neurons:
        """Between this network and another one of the same neurons, slightly moved."""
        mine, theirs = self._scaled, other._scaled
        w, b, a = (x + part * (y - x) for x, y in zip(mine, theirs, strict=True))
        size = np.maximum(np.linalg.norm(w, axis=1), 1e-12)
        offset = self.offset + part * (other.offset - self.offset)
        return Neurons(w / size[:, None], b / size, a * size, offset)

    @property
    def _scaled(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weight, bias and outer weight, inner and outer ones of equal size."""
        scale = np.sqrt(np.abs(self.outer))
        return self.weight * scale[:, None], self.bias * scale, np.sign(self.outer) * scale

    def errors(self, x: np.ndarray, target: Radial) -> np.ndarray:
        """(points,) N − f in float32, for a search."""
        parts = np.split(x, range(self._rows, len(x), self._rows))
        return np.concatenate([self._errors(part, target) for part in parts])

    @property
    def _rows(self) -> int:
        return max(1, CHUNK_ELEMENTS // len(self.bias))

    def _errors(self, x: np.ndarray, target: Radial) -> np.ndarray:
        single = x.astype(np.float32)
        active = single @ self.weight.T.astype(np.float32) + self.bias.astype(np.float32)
        np.maximum(active, 0, out=active)
        value = active @ self.outer.astype(np.float32)
        found: np.ndarray = value + self.offset - profile(target, x)
        return found

    def worst(self, target: Radial, x: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """The points of largest abs(N − f) met from starts `x` (count, d), and those errors."""
        weight, bias, outer = (
            part.astype(np.float32) for part in (self.weight, self.bias, self.outer)
        )
        x = x.astype(np.float32)
        highest, at = np.full(len(x), -1.0, dtype=np.float32), x
        decay = (LAST_STEP / FIRST_STEP) ** (1 / max(steps - 1, 1))
        for k in range(steps):
            z = x @ weight.T + bias
            on = (z > 0).astype(np.float32)
            r = np.linalg.norm(x, axis=1)
            inner = np.maximum(r - INWARD, 0)
            height = target.profile(r)
            error = (on * z) @ outer + np.float32(self.offset) - height
            steep = (height - target.profile(inner)) / np.maximum(r - inner, 1e-9)
            gradient = (on * outer) @ weight - (steep / np.maximum(r, 1e-6))[:, None] * x
            size = np.abs(error)
            higher = size > highest
            highest, at = np.where(higher, size, highest), np.where(higher[:, None], x, at)
            gradient *= np.sign(error)[:, None]
            gradient /= np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-20)
            x = (x + np.float32(FIRST_STEP * decay**k) * gradient).astype(np.float32)
            x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1)
        return at.astype(np.float64), highest.astype(np.float64)

    def starts(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(count, d): a quarter own directions, a quarter inside the ball, the rest its sphere."""
        d = self.weight.shape[1]
        x = rng.standard_normal((count, d))
        own = count // 4
        x[:own] = self.weight[rng.integers(len(self.weight), size=own)]
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        radius = np.ones(count)
        radius[own : 2 * own] = rng.random(own)
        found: np.ndarray = x * radius[:, None]
        return found


def profile(target: Radial, x: np.ndarray) -> np.ndarray:
    """ϕ(‖x‖) at points (count, d)."""
    radius = np.minimum(np.linalg.norm(x, axis=1), 1.0)
    return np.asarray(target.profile(radius), dtype=np.float64)


def one_sided(hinges: list[Hinges], offset: float, width: int, rng: np.random.Generator) -> Neurons:
    """Hinges as at most `width` single neurons; the rest are drawn, of weight 0.

    Σ a_i abs(w_i·x) = 2 Σ a_i σ(±w_i·x) − (Σ ±a_i w_i)·x for every choice of signs: they are taken
    so that the linear part nearly cancels, and it is left out.
    """
    weight, bias, outer = [], [], []
    for h in hinges:
        if h.knot:
            weight += [h.directions, -h.directions]
            bias += [np.full(len(h.weights), -h.knot)] * 2
            outer += [h.weights] * 2
            continue
        signed, total = h.directions.copy(), np.zeros(h.directions.shape[1])
        for w, a in zip(signed, h.weights, strict=True):
            if a * (total @ w) > 0:
                w *= -1
            total += a * w
        weight.append(signed)
        bias.append(np.zeros(len(signed)))
        outer.append(2 * h.weights)
    w, b, a = (np.concatenate(parts)[:width] for parts in (weight, bias, outer))
    missing = width - len(b)
    drawn = rng.standard_normal((missing, w.shape[1]))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    filled = np.zeros(missing)
    return Neurons(
        np.concatenate([w, drawn]),
        np.concatenate([b, filled]),
        np.concatenate([a, filled]),
        offset,
    )


def sample(count: int, dimension: int, rng: np.random.Generator) -> np.ndarray:
    """(count, d) points r·u and −r·u: u uniform, the radii r one in each of count/2 equal cells."""
    half = -(-count // 2)
    u = rng.standard_normal((half, dimension))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    x = u * ((rng.permutation(half) + rng.random(half)) / half)[:, None]
    return np.concatenate([x, -x])[:count]


def least_squares(start: Neurons, target: Radial, x: np.ndarray, ridge: float = RIDGE) -> Neurons:
    """The same neurons with the output weights of least mean square error.

    Under uniform radius × direction by the closed form where all biases are 0, else at `x`.
    """
    if not start.bias.any():
        gram, right = _closed_form(start.weight, target)
    else:
        gram, right = _sampled(start, target, x)
    gram[np.diag_indices_from(gram)] += ridge * np.trace(gram) / len(gram)
    solved = np.linalg.solve(gram, right)
    return Neurons(start.weight, start.bias, solved[:-1], float(solved[-1]))


def _closed_form(weight: np.ndarray, target: Radial) -> tuple[np.ndarray, np.ndarray]:
    """Gram matrix of the neurons and a constant, and their products with f; all biases 0."""
    n, d = weight.shape
    cosine = (weight @ weight.T).clip(-1, 1)
    gram = np.ones((n + 1, n + 1))
    turn = cosine * (math.pi - np.arccos(cosine))
    gram[:n, :n] = (np.sqrt(1 - cosine**2) + turn) / (6 * math.pi * d)
    gram[:n, n] = gram[n, :n] = mean_size(d) / 4
    node, share = np.polynomial.legendre.leggauss(16)
    ends = target.breaks
    low, half = ends[:-1, None], np.diff(ends)[:, None] / 2
    r, share = (low + half + half * node).ravel(), (half * share).ravel()
    phi = np.asarray(target.profile(r), dtype=np.float64)
    right = np.full(n + 1, mean_size(d) / 2 * float(share @ (r * phi)))
    right[n] = float(share @ phi)
    return gram, right


def _sampled(start: Neurons, target: Radial, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = len(start.bias)
    gram, right = np.zeros((n + 1, n + 1)), np.zeros(n + 1)
    for part in np.split(x, range(start._rows, len(x), start._rows)):
        columns = np.ones((len(part), n + 1))
        np.maximum(part @ start.weight.T + start.bias, 0, out=columns[:, :n])
        gram += columns.T @ columns
        right += columns.T @ profile(target, part)
    return gram / len(x), right / len(x)
