"""A depth-2 network as arrays, and output weights of least mean square error.

Statement. N(x) = offset + Σ_i outer_i σ(w_i·x + b_i), w_i unit vectors of R^d, f(x) = ϕ(‖x‖).

*Closed form.* Where all b_i are 0 and x = r·u, r uniform on [0, 1] and u uniform on the sphere,

    E σ(w·x)σ(v·x) = (√(1 − t²) + t·(π − arccos t))/(6πd),   t = w·v,
    E σ(w·x)ϕ(r) = ½ E abs(w_1)·∫ r ϕ(r) dr,

the Gaussian's arc-cosine kernel, since a Gaussian is its norm, of mean square d, times an
independent u. Least squares then needs no sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from depthwright.approximation.averaged_hinge import mean_size
from depthwright.approximation.levelling import Hinges
from depthwright.approximation.quadrature import composite
from depthwright.targets.radial import Radial

if TYPE_CHECKING:
    import torch

RIDGE = 1e-10
"""Of the mean diagonal of a Gram matrix, added to it: directions may coincide."""
MOST_SOLVED, MOST_SOLVED_ON_GPU = 6000, 20_000
"""Neurons of a network that descends."""
CHUNK_ELEMENTS = 1 << 22
"""Points × neurons that are held at once."""


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
    solved = _solved(gram, right, ridge)
    return Neurons(start.weight, start.bias, solved[:-1], float(solved[-1]))


def _solved(gram: np.ndarray, right: np.ndarray, ridge: float) -> np.ndarray:
    import torch

    gram[np.diag_indices_from(gram)] += ridge * np.trace(gram) / len(gram)
    matrix, vector = (torch.from_numpy(part).to(best_device()) for part in (gram, right))
    found: np.ndarray = torch.linalg.solve(matrix, vector).cpu().numpy()
    return found


def _closed_form(weight: np.ndarray, target: Radial) -> tuple[np.ndarray, np.ndarray]:
    """Gram matrix of the neurons and a constant, and their products with f; all biases 0."""
    n, d = weight.shape
    cosine = (weight @ weight.T).clip(-1, 1)
    gram = np.ones((n + 1, n + 1))
    turn = cosine * (math.pi - np.arccos(cosine))
    gram[:n, :n] = (np.sqrt(1 - cosine**2) + turn) / (6 * math.pi * d)
    gram[:n, n] = gram[n, :n] = mean_size(d) / 4
    r, share = composite(np.asarray(target.breaks, dtype=np.float64), 16)
    phi = np.asarray(target.profile(r), dtype=np.float64)
    right = np.full(n + 1, mean_size(d) / 2 * float(share @ (r * phi)))
    right[n] = float(share @ phi)
    return gram, right


def mean_square(neurons: Neurons, target: Radial, x: np.ndarray) -> float:
    """Of N − f, at points (count, d)."""
    total = 0.0
    for part in _parts(neurons, x):
        active = np.maximum(part @ neurons.weight.T + neurons.bias, 0)
        error = active @ neurons.outer + neurons.offset - profile(target, part)
        total += float(error @ error)
    return total / len(x)


def _sampled(start: Neurons, target: Radial, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gram matrix and products at points; on a GPU where there is one."""
    import torch

    n, device = len(start.bias), best_device()
    gram = torch.zeros(n + 1, n + 1, dtype=torch.float64, device=device)
    right = torch.zeros(n + 1, dtype=torch.float64, device=device)
    weight, bias = (torch.from_numpy(part).to(device) for part in (start.weight, start.bias))
    for part in _parts(start, x):
        columns = torch.ones(len(part), n + 1, dtype=torch.float64, device=device)
        active = torch.from_numpy(part).to(device) @ weight.T + bias
        columns[:, :n] = active.relu_()
        gram += columns.T @ columns
        right += columns.T @ torch.from_numpy(profile(target, part)).to(device)
    return gram.cpu().numpy() / len(x), right.cpu().numpy() / len(x)


def _parts(neurons: Neurons, x: np.ndarray) -> list[np.ndarray]:
    rows = max(1, CHUNK_ELEMENTS // len(neurons.bias))
    return np.split(x, range(rows, len(x), rows))


def best_device() -> torch.device:
    """A CUDA GPU where there is one, as for the trainer's accelerator "auto"."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def solvable(width: int) -> bool:
    """Whether a network of `width` neurons descends within minutes on this machine."""
    if width <= MOST_SOLVED:
        return True  # without torch
    return width <= MOST_SOLVED_ON_GPU and best_device().type == "cuda"
