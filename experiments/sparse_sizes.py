"""How few neurons SparseRidge needs at accuracy 0.1, in up to a thousand dimensions.

    python experiments/sparse_sizes.py [--only budgets promises] [--largest 1000] [--seed 0]

Budgets (no promise): Cone and Hat at the widths of record, beside what plain random frames need,
and narrower. Promises: with probability 0.999, and with certainty. Per line: neurons, the claim,
the error of the rotation average (the program's, where nothing was levelled), the error met by
projected ascent from many starts (the worst samples, the sphere, the network's own directions,
sums of a few of them, its kinks), seconds to build, peak memory of the process so far. The exit
status is 1 where a width or an error is above its limit.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from dataclasses import dataclass

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from depthwright.bounds import rotation_average
from depthwright.constructions import SparseRidge
from depthwright.distributions import UniformRadius
from depthwright.errors import attack
from depthwright.networks.ridge_network import RidgeNetwork
from depthwright.targets import Cone, Hat, Radial

ATTACK_WORK = 4e11
"""Multiply-adds an attack may take."""
STEPS = 200
MOST_STARTS = 2048
COLUMNS = (
    *("target", "d", "promise", "neurons", "of record", "frames", "accuracy", "claim"),
    *("averaged", "attacked", "starts", "build s", "peak GB", ""),
)


@dataclass(frozen=True)
class Case:
    """One line: what is asked for, and what plain random frames need for the same."""

    target: Radial
    accuracy: float = 0.1
    width: int | None = None
    failure_probability: float = 1e-3
    record: int | None = None
    """Width that should suffice."""
    frames: int | None = None
    """Of plain random frames, for the same error."""


BUDGETS = (
    Case(Cone(10), width=400, record=400, frames=600),
    Case(Cone(10), width=160),
    Case(Cone(20), width=800, record=800, frames=1200),
    Case(Cone(20), width=360),
    Case(Cone(100), width=3500, record=3500, frames=5000),
    Case(Cone(100), width=1600),
    Case(Cone(1000), width=20_000),
    Case(Hat(20), width=3000, record=3000, frames=4040),
    Case(Hat(20), width=1000),
    Case(Hat(100), width=12_000, record=12_000, frames=16_200),
    Case(Hat(100), width=5500),
)
PROMISES = (
    Case(Cone(10)),
    Case(Cone(100), record=200_000),
    Case(Cone(3), accuracy=0.01, failure_probability=0.0, record=2000),
    Case(Cone(4), accuracy=0.08, failure_probability=0.0),
    Case(Hat(3), accuracy=0.05, failure_probability=0.0),
)


def attacked(network: RidgeNetwork, target: Radial, seed: int) -> tuple[float, int]:
    """The largest error met, and from how many starts."""
    d, generator = target.input_dim, torch.Generator().manual_seed(seed)
    directions = np.concatenate([group.dense(d) for group in network.groups])
    count = int(np.clip(ATTACK_WORK / (4 * directions.size * STEPS), 24, MOST_STARTS))
    x = UniformRadius(d).sample(20 * count, generator)
    gap = torch.cat([(network.evaluate(p) - target(p)).abs()[:, 0] for p in x.split(512)])
    rng = np.random.default_rng(seed)
    quarter = count // 4
    sphere = rng.standard_normal((quarter, d))
    own = directions[rng.integers(len(directions), size=quarter)]
    # Sums of 2 to d directions with signs, where many of one frame are met at once.
    few = rng.integers(2, d + 1, size=quarter)
    sums = np.stack([rng.choice([-1.0, 1.0], n) @ _frame(directions, n, rng) for n in few])
    starts = np.concatenate([sphere, own, sums])
    starts /= np.linalg.norm(starts, axis=1, keepdims=True)
    points = torch.cat(
        [
            x[gap.topk(min(quarter, len(x))).indices],
            torch.from_numpy(starts),
            network.landmarks(quarter, generator).double(),
        ]
    )
    return max(float(gap.max()), attack(network, target, points, STEPS)), len(points)


def _frame(directions: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Neighbours in the list: of one frame, where directions were drawn as frames."""
    start = int(rng.integers(max(1, len(directions) - count + 1)))
    return directions[start : start + count]


def _program(network: RidgeNetwork, target: Radial) -> float:
    """What is left of the error in the mean over rotations, where directions no longer matter."""
    return rotation_average(network).sup_distance(target)[0]


def run(case: Case, seed: int, table: Table) -> bool:
    """Builds and attacks; whether claim, width and accuracy are as they should be."""
    target, start = case.target, time.perf_counter()
    recipe = SparseRidge(
        target, case.accuracy, case.failure_probability, width=case.width, seed=seed
    )
    built = recipe.build()
    seconds, network, claim = time.perf_counter() - start, built.network, built.claim
    assert isinstance(network, RidgeNetwork)
    found, starts = attacked(network, target, seed)
    width = network.architecture.width
    good = found <= min(case.accuracy, claim.bound) and width <= (case.record or width)
    kind = {"none": "budget", "drawn": "99.9 %", "sup": "certain"}[claim.norm]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    table.add_row(
        type(target).__name__,
        str(target.input_dim),
        kind,
        f"{width:,}",
        f"{case.record:,}" if case.record else "",
        f"{case.frames:,}" if case.frames else "",
        f"{case.accuracy:g}",
        "" if claim.norm == "none" else f"{claim.bound:.4f}",
        f"{_program(network, target):.4f}",
        f"{found:.4f}",
        str(starts),
        f"{seconds:.1f}",
        f"{memory:.2f}",
        "" if good else "MISSED",
    )
    return good


def main() -> int:
    """All lines; exit status 1 where one misses its width or its accuracy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="+", default=["budgets", "promises"])
    parser.add_argument("--targets", nargs="+", default=["Cone", "Hat"])
    parser.add_argument("--smallest", type=int, default=2, help="least input_dim")
    parser.add_argument("--largest", type=int, default=1000, help="largest input_dim")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    table = Table(title="SparseRidge: neurons and attacked sup errors")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    cases = [
        case
        for name, group in (("budgets", BUDGETS), ("promises", PROMISES))
        for case in group
        if name in options.only
        and options.smallest <= case.target.input_dim <= options.largest
        and type(case.target).__name__ in options.targets
    ]
    good = [run(case, options.seed, table) for case in cases]
    Console(width=150).print(table)
    return 0 if all(good) and good else 1


if __name__ == "__main__":
    sys.exit(main())
