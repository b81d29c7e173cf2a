"""All errors of one network at one set of points, each under its own name."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from depthwright.distributions.distribution import Distribution
from depthwright.errors.exceedance import Exceedance, exceedance
from depthwright.errors.l2 import L2Error, l2_error
from depthwright.errors.sup import attack, moved
from depthwright.networks.inputs import Inputs
from depthwright.networks.network import Network
from depthwright.refusal import need_seed, need_whole
from depthwright.targets.target import Target

MOST_POINTS = 10**9
MOST_STEPS = 10**9


@dataclass
class EvaluationConfig:
    """How contenders are measured. The points depend on `seed` alone, so all share them.

    Not frozen because Hydra makes a frozen schema read-only.
    """

    points: int = 100_000
    """Independent samples, for L2 and the sampled sup."""
    attack_starts: int = 256
    """Half of them the worst samples, half the network's own kinks."""
    attack_steps: int = 200
    seed: int = 20_000

    def __post_init__(self) -> None:
        need_whole("evaluation.points", self.points, 2, MOST_POINTS)
        need_whole("evaluation.attack_starts", self.attack_starts, 2, MOST_POINTS)
        need_whole("evaluation.attack_steps", self.attack_steps, 1, MOST_STEPS)
        need_seed("evaluation.seed", self.seed)


@dataclass(frozen=True)
class Measurement:
    """What was measured of one network."""

    l2: L2Error
    l2_good: L2Error | None
    """The same without the points that the claim leaves out; None where it leaves out none."""
    sup_sampled: float
    sup_good: float | None
    """As sampled, without the points that the claim leaves out; None where it leaves out none."""
    left_out: np.ndarray
    """(·, input_dim) the sampled points that the claim leaves out."""
    sup_attacked: float | None
    """None for a network without a usable gradient."""
    exceedance: Exceedance
    """How often the error is above the accuracy."""
    evaluate_seconds: float
    """Time for the values at all points, compilation excluded."""


def measure(
    network: Network,
    target: Target,
    distribution: Distribution,
    config: EvaluationConfig,
    accuracy: float,
    in_bad_set: Callable[[np.ndarray], np.ndarray] | None = None,
    device: str = "cpu",
    inputs: Inputs | None = None,
) -> Measurement:
    """Measure on points drawn on `device` from `config.seed`; `accuracy` is for the exceedance.

    Every point is moved to the nearest of `inputs`, for which the claims hold. `in_bad_set` gives
    the points (batch, input_dim) that a claim leaves out, as booleans (batch,).
    """
    import torch

    generator = torch.Generator(device).manual_seed(config.seed)
    x = moved(distribution.sample(config.points, generator), inputs)
    network.evaluate(x[:2])  # compiles, where there is compiled code
    start = time.perf_counter()
    values = network.evaluate(x)
    seconds = time.perf_counter() - start
    # the target's own rounding may exceed the claim for exact values
    truth = target.truth(x) if network.arithmetic == "exact" else target(x)
    error = values.to(torch.float64) - truth
    gap = error.abs().amax(dim=1)
    sampled = float(gap.max())
    bad = in_bad_set(x.cpu().numpy()) if in_bad_set else np.zeros(len(x), dtype=bool)
    attacked = None
    if network.differentiable:
        worst = x[gap.topk(min(config.attack_starts // 2, len(x))).indices]
        chooser = torch.Generator().manual_seed(config.seed + 1)
        own = network.kink_points(config.attack_starts - len(worst), chooser).to(x)
        attacked = max(
            sampled,
            attack(network, target, torch.cat([worst, own]), config.attack_steps, inputs=inputs),
        )
    residual, wanted = error.cpu().numpy(), truth.cpu().numpy()
    return Measurement(
        l2=l2_error(residual, wanted),
        l2_good=l2_error(residual[~bad], wanted[~bad]) if in_bad_set and (~bad).sum() > 1 else None,
        sup_sampled=sampled,
        sup_good=float(gap.cpu().numpy()[~bad].max(initial=0.0)) if in_bad_set else None,
        left_out=x.cpu().numpy()[bad],
        sup_attacked=attacked,
        exceedance=exceedance(gap.cpu().numpy(), accuracy),
        evaluate_seconds=seconds,
    )
