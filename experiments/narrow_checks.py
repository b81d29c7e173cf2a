"""Every narrow construction against VYS22's promise, at random uniform points.

    python experiments/narrow_checks.py [--points 1000] [--seed 0] [--only narrow_packed]

For d ∈ {2, 3}, n ∈ {4, 8}, L ∈ {2, 3}, accuracy 1e-2, δ = 1e-2: size (formula and count), widths
against the theorem's, share of points above the accuracy with its Clopper–Pearson bounds, error
on the good set. A construction fails if the lower bound at 99.9 % is above δ or if the formula
disagrees with the count; the script then exits with status 1.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from depthwright.constructions import REGISTRY, Construction
from depthwright.distributions import UniformCube
from depthwright.errors import exceedance
from depthwright.refusal import Refusal
from depthwright.targets import RandomNetwork

ACCURACY = FAILURE = 1e-2
WIDTHS: dict[str, Callable[[int, int], int]] = {
    "narrow_bits": lambda d, depth: max(5 * d, 10),
    "narrow_minimal": lambda d, depth: max(d + 2, 10),
    "narrow_packed": lambda d, depth: max(d + 2, 5),
    "narrow_bounded": lambda d, depth: max(d + 2, 5),  # over NarrowPacked
    "narrow_exact": lambda d, depth: 2 * (d + depth - 1) + 1,
    "narrow_exact_slim": lambda d, depth: max(2 * d, d + depth + 1),
}
"""Width each theorem promises for one output; a construction without an entry is not checked."""


def make(kind: type[Construction], target: RandomNetwork) -> Construction:
    """With the accuracy and δ, where the theorem speaks of them."""
    fields = {field.name for field in dataclasses.fields(kind)}
    wanted = {"accuracy": ACCURACY, "failure_probability": FAILURE}
    return kind(target, **{k: v for k, v in wanted.items() if k in fields})


def check(name: str, target: RandomNetwork, points: int, seed: int) -> bool:
    """One line; whether everything promised was seen."""
    start = time.perf_counter()
    recipe = make(REGISTRY[name], target)
    built = recipe.build()
    size = built.network.architecture
    x = UniformCube(target.input_dim, target.radius).sample(
        points,
        torch.Generator().manual_seed(seed),  # its own points for every case
    )
    truth = target.as_network().evaluate(x, "exact")
    errors = (built.network.evaluate(x, built.claim.arithmetic) - truth).abs().amax(dim=1).numpy()
    bound = built.claim.bound
    found = exceedance(errors, bound)
    inside = errors[~built.fails(x.numpy())] if built.fails else errors
    allowed = WIDTHS[name](target.input_dim, target.depth) if name in WIDTHS else size.width
    good = [
        size == recipe.architecture(),
        size.width <= allowed,
        found.lower <= built.claim.failure_probability,
        bound <= max(ACCURACY, 1e-12),
        bool((inside <= bound).all()),
    ]
    print(
        f"{name:18} d={target.input_dim} n={target.width} L={target.depth} "
        f"width {size.width:3} depth {size.depth:7} parameters {size.parameters:9} "
        f"bound {bound:.2e} worst good {inside.max() if len(inside) else np.nan:.2e} "
        f"median {np.median(errors):.1e} above {found.count}/{found.total} "
        f"[{found.lower:.4f}, {found.upper:.4f}] {time.perf_counter() - start:6.1f} s "
        f"{'ok' if all(good) else 'FAILED ' + str(good)}",
        flush=True,
    )
    return all(good)


def main() -> int:
    """All of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="narrow_")
    options = parser.parse_args()
    good = True
    names = [name for name in REGISTRY if name.startswith(options.only)]
    cases = itertools.product(names, (2, 3), (4, 8), (2, 3))
    for case, (name, d, n, depth) in enumerate(cases):
        target = RandomNetwork(d, n, depth, seed=options.seed)
        try:
            good &= check(name, target, options.points, 1000 * options.seed + case)
        except Refusal as refusal:
            print(f"{name:18} d={d} n={n} L={depth} refused: {refusal}", flush=True)
            good = False
    print("all promises seen" if good else "a promise was broken")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
