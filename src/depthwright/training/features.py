"""Features: fixed hidden layers, and an output layer fitted by least squares.

Between constructed and trained networks: *random* features draw one hidden layer independently of
the target, *constructed* features take the hidden layers of a construction. Both are fitted to
samples, so nothing is claimed of them.

Drawn neurons are σ(w·x − b), w uniform on the sphere and b uniform on ±spread times the median of
abs(w·x); so many draws at each of SPREADS as rivals have seeds, the best by validation is kept.
The law of the draw has every symmetry of the sphere, as `bounds.random_features` requires.

Least squares with a penalty on the sum of squared weights, which the few samples of a neuron that
is hardly ever active need: normal equations in float64 from POINTS_PER_COLUMN samples a column; the
penalty with the lowest validation error is taken.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from depthwright.distributions.distribution import Distribution
from depthwright.networks.network import Network
from depthwright.refusal import Refusal, need_one_of
from depthwright.targets.target import Target
from depthwright.training.config import TrainingConfig
from depthwright.training.matching import PARAMETERS_LIMIT

if TYPE_CHECKING:
    import torch

    from depthwright.networks.torch_network import ModuleNetwork

RANDOM, CONSTRUCTED = "random", "constructed"
KINDS = (RANDOM, CONSTRUCTED)
SPREADS = (1.0, 2.0, 4.0)
WIDTH_LIMIT = 4000
"""Widest last hidden layer that is fitted."""
POINTS_PER_COLUMN, FEWEST_POINTS = 20, 20_000
PENALTIES = np.geomspace(1e-14, 1.0, 29)
"""Tried, in units of the largest eigenvalue."""
CHUNK_ELEMENTS = 1 << 24
"""Largest points × columns array."""
STREAM = 17
"""Of the run's seed; the rivals' streams have smaller numbers."""


@dataclass(frozen=True)
class Fitted:
    """A network with a fitted output layer."""

    network: ModuleNetwork
    validation_rmse: float
    penalty: float
    seconds: float
    """Time of drawing and fitting, for everything that was tried."""


def fit(
    kind: str,
    network: Network,
    target: Target,
    distribution: Distribution,
    config: TrainingConfig,
    seed: int = 0,
) -> Fitted:
    """Features beside `network`, a construction: as many drawn ones, or its own.

    Refused where the last hidden layer is wider than WIDTH_LIMIT, or where the hidden layers have
    weights that float64 does not hold.
    """
    need_one_of("features", kind, KINDS)
    architecture = network.architecture
    if architecture.depth < 2:
        raise Refusal("a network of depth 1 has no hidden layer; features need one")
    if kind == RANDOM:
        return random_features(architecture.width, target, distribution, config, seed)
    if architecture.parameters > PARAMETERS_LIMIT:
        raise Refusal(
            f"{architecture.parameters} parameters are above {PARAMETERS_LIMIT}: "
            "fitting features of that size outlasts a comparison; leave features out"
        )
    from depthwright.networks.torch_network import layers_of

    start = time.perf_counter()
    hidden = layers_of(network)[:-1]
    return fit_output(hidden, target, distribution, config, seed, start)


def random_features(
    width: int, target: Target, distribution: Distribution, config: TrainingConfig, seed: int = 0
) -> Fitted:
    """The best of `config.seeds` draws at every spread."""
    start = time.perf_counter()
    _check_width(width)
    tries = []
    for k in range(config.seeds):
        for spread in SPREADS:
            layer = draw(width, distribution, spread, _stream(seed, 1 + k))
            tries.append(fit_output([layer], target, distribution, config, seed, start))
    best = min(tries, key=lambda found: found.validation_rmse)
    return Fitted(best.network, best.validation_rmse, best.penalty, time.perf_counter() - start)


def draw(
    width: int, distribution: Distribution, spread: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight (width, input_dim) and bias (width,) of a random hidden layer."""
    import torch

    from depthwright.distributions.uniform import directions

    x = distribution.sample(2000, generator)
    weight = directions(width, distribution.input_dim, generator, torch.float64)
    scale = spread * float((x @ weight[:100].T).abs().median())
    bias = (2 * torch.rand(width, generator=generator, dtype=torch.float64) - 1) * scale
    return weight, bias


def fit_output(
    hidden: Sequence[tuple[torch.Tensor, torch.Tensor]],
    target: Target,
    distribution: Distribution,
    config: TrainingConfig,
    seed: int,
    start: float | None = None,
) -> Fitted:
    """The output layer on top of `hidden` with the lowest validation error over the penalties."""
    import torch

    from depthwright.networks.torch_network import ModuleNetwork

    start = time.perf_counter() if start is None else start
    width = len(hidden[-1][1])
    _check_width(width)
    count = max(FEWEST_POINTS, POINTS_PER_COLUMN * width)
    normal = torch.zeros(width + 1, width + 1, dtype=torch.float64)
    right = torch.zeros(width + 1, target.output_dim, dtype=torch.float64)
    for columns, values in _samples(hidden, target, distribution, count, _stream(seed, 0)):
        normal += columns.T @ columns
        right += columns.T @ values
    sizes, basis = torch.linalg.eigh(normal)
    along = basis.T @ right
    penalties = torch.from_numpy(PENALTIES) * sizes[-1]
    shrunk = along[:, None] / (sizes.clamp(min=0)[:, None, None] + penalties[:, None])
    solutions = torch.einsum("ij,jpo->ipo", basis, shrunk)
    squares, seen = torch.zeros(len(penalties), dtype=torch.float64), 0
    validation = _samples(
        hidden, target, distribution, config.validation_points, _stream(seed, 100)
    )
    for columns, values in validation:
        gaps = torch.einsum("nc,cpo->npo", columns, solutions) - values[:, None]
        squares += gaps.square().sum(dim=(0, 2))
        seen += len(values)
    best = int(squares.nan_to_num(math.inf).argmin())
    chosen = solutions[:, best]
    layers = [*hidden, (chosen[:-1].T, chosen[-1])]
    return Fitted(
        ModuleNetwork.of([(w.double(), b.double()) for w, b in layers]),
        math.sqrt(float(squares[best]) / seen),
        float(PENALTIES[best]),
        time.perf_counter() - start,
    )


def _samples(
    hidden: Sequence[tuple[torch.Tensor, torch.Tensor]],
    target: Target,
    distribution: Distribution,
    count: int,
    generator: torch.Generator,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Values of the last hidden layer and a column of ones, and of the target, in chunks."""
    import torch

    widest = max(len(bias) for _, bias in hidden)
    chunk = max(1, CHUNK_ELEMENTS // (widest + 1))
    for first in range(0, count, chunk):
        x = distribution.sample(min(chunk, count - first), generator)
        h = x
        for weight, bias in hidden:
            h = torch.addmm(bias, h, weight.T).relu_()
        yield torch.cat([h, torch.ones(len(h), 1, dtype=h.dtype)], dim=1), target(x)


def _stream(seed: int, index: int) -> torch.Generator:
    import torch

    state = np.random.SeedSequence([seed, STREAM, index]).generate_state(1)[0]
    return torch.Generator().manual_seed(int(state))


def _check_width(width: int) -> None:
    if width > WIDTH_LIMIT:
        raise Refusal(
            f"{width} features are above {WIDTH_LIMIT}: fitting them outlasts a comparison; "
            "leave features out, or raise accuracy"
        )
