"""Every radial construction against its claim: the attacked sup error is never above it.

    python experiments/radial_checks.py [--dims 2 3 5] [--targets Cone] [--only Ridge] [--seed 0]

Cone, Hat, RandomProfile, Monomial, ZigZag; d ∈ {2, 3, 5, 10, 20, 50}; accuracies 0.3 to 0.02;
Ridge, RadialDepthThree, SparseRidge with probability 0.999 and, for d ≤ 4, with certainty. A case
of 2·10⁵ neurons or more is listed as too wide and not built; nothing else is exempt. The attack
starts at the worst of many samples, on the sphere, at the network's own directions and at its
kinks. A line per case; the exit status is 1 where an attacked error is above its claim, where the
claim is above the accuracy, or where the size is not the one announced.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import torch

from depthwright import targets
from depthwright.constructions import Construction, RadialDepthThree, Ridge, SparseRidge
from depthwright.distributions import UniformRadius
from depthwright.errors import attack
from depthwright.networks.network import Network
from depthwright.networks.ridge_network import RidgeNetwork
from depthwright.refusal import Refusal
from depthwright.targets import Radial

DIMENSIONS = (2, 3, 5, 10, 20, 50)
ACCURACIES = (0.3, 0.2, 0.15, 0.1, 0.05, 0.02)
TARGETS = ("Cone", "Hat", "RandomProfile", "Monomial", "ZigZag")
WIDEST = 200_000
WORK = 1.5e10
"""Multiply-adds an attack may take: fewer starts and steps for wider networks."""

RECIPES: dict[str, Callable[[Radial, float], Construction]] = {
    "Ridge": Ridge,
    "RadialDepthThree": RadialDepthThree,
    "SparseRidge": lambda target, accuracy: SparseRidge(target, accuracy, 1e-3),
    "SparseRidge-certain": lambda target, accuracy: SparseRidge(target, accuracy, 0.0),
}


def attacked(network: Network, target: Radial, generator: torch.Generator) -> float:
    """The largest error met, starting from samples, the sphere, directions and kinks."""
    d, width = target.input_dim, network.architecture.width
    work = network.architecture.parameters
    directions = 0
    if isinstance(network, RidgeNetwork):
        directions = sum(len(group.weights) for group in network.groups)
        work = directions * (d + 40)
    budget = max(16.0, WORK / (4 * work))
    starts = int(np.clip(budget / 40, 16, 192))
    steps = int(np.clip(budget / starts, 12, 80))
    # Sampled with less work than the climb.
    count = int(np.clip(WORK / (8 * work), 200, 20_000))
    x = UniformRadius(d).sample(count, generator)
    parts = [
        network.evaluate(part).double() - target(part)
        for part in x.split(max(1, (1 << 25) // (directions or width)))
    ]
    gap = torch.cat(parts).abs()[:, 0]
    worst = x[gap.topk(min(starts // 2, count)).indices]
    sphere = torch.randn(starts // 4, d, generator=generator, dtype=torch.float64)
    sphere /= sphere.norm(dim=1, keepdim=True)
    own = [network.landmarks(starts // 4, generator)]
    if isinstance(network, RidgeNetwork):
        for group in network.groups:
            pick = torch.randint(len(group.weights), (max(1, starts // 16),), generator=generator)
            rows = np.zeros((len(pick), d))
            np.put_along_axis(rows, group.indices[pick.numpy()], group.values[pick.numpy()], axis=1)
            own.append(torch.from_numpy(rows))
    points = torch.cat([worst, sphere, *own, torch.zeros(1, d, dtype=torch.float64)])
    return max(float(gap.max()), attack(network, target, points.double(), steps))


def check(name: str, target: Radial, accuracy: float, seed: int) -> str:
    """One line; "holds", "BROKEN", "too wide" or "refused"."""
    start = time.perf_counter()
    case = f"{name:20} {type(target).__name__:14} d={target.input_dim:<3} accuracy {accuracy:<5}"
    recipe = RECIPES[name](target, accuracy)
    try:
        size = recipe.architecture()
        if size.width >= WIDEST:
            print(f"{case} width {size.width:9,}  too wide", flush=True)
            return "too wide"
        built = recipe.build()
    except Refusal as refusal:
        print(f"{case} refused: {refusal}", flush=True)
        return "refused"
    found = attacked(built.network, target, torch.Generator().manual_seed(seed))
    counted = built.network.architecture == size
    good = found <= built.claim.bound <= accuracy and counted
    verdict = "holds" if good else "BROKEN"
    print(
        f"{case} width {size.width:9,}  claim {built.claim.bound:.6f}  attacked {found:.6f}  "
        f"{found / built.claim.bound:5.0%}  {time.perf_counter() - start:5.1f} s  {verdict}",
        flush=True,
    )
    return verdict


def main() -> int:
    """All cases that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dims", type=int, nargs="+", default=DIMENSIONS)
    parser.add_argument("--accuracies", type=float, nargs="+", default=ACCURACIES)
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    parser.add_argument("--only", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    verdicts: Counter[str] = Counter()
    for name, kind, d, accuracy in itertools.product(
        options.only, options.targets, options.dims, options.accuracies
    ):
        if name == "SparseRidge-certain" and d > 4:
            continue  # a covering of the ball is for d ≤ 4; the construction refuses others
        target = getattr(targets, kind)(input_dim=d)
        verdicts[check(name, target, accuracy, options.seed)] += 1
    print(", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items())))
    return 1 if verdicts["BROKEN"] or not verdicts["holds"] else 0


if __name__ == "__main__":
    sys.exit(main())
