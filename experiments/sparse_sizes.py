"""How few neurons SparseRidge needs at accuracy 0.1, in up to a thousand dimensions.

    python experiments/sparse_sizes.py [--scale smoke|cpu|gpu]

Budgets (no promise): Cone and Hat at the widths of record, beside what plain random frames need,
and narrower. Solved (no promise): the same with `solved="minimax"`, minutes each. Promises: with
probability 0.999, and with certainty. Per row: neurons, the claim,
the error of the rotation average (the program's, where nothing was levelled), the error met by
projected ascent from many starts (the worst samples, the sphere, the network's own directions,
sums of a few of them, its kinks), seconds to build, peak memory of the process so far. A promise is
broken where a width is above that of record, or an error above the claim or, at a width of record,
above the accuracy; the narrower budgets promise nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from depthwright import targets
from depthwright.bounds import rotation_average
from depthwright.constructions import SparseRidge
from depthwright.distributions import UniformRadius
from depthwright.errors import attack
from depthwright.experiment import Experiment, Run, peak_gigabytes
from depthwright.figures.chart import Chart, Panel, Series
from depthwright.networks.network import Network
from depthwright.networks.ridge import RidgeNetwork
from depthwright.networks.torch_network import layers_of
from depthwright.targets import Cone, Hat, Radial

if TYPE_CHECKING:
    import polars

ATTACK_WORK = {"smoke": 2e7, "cpu": 2e11, "gpu": 4e11}
"""Multiply-adds an attack may take."""
STEPS = 200
MOST_STARTS = 2048
SEED = 0
PROMISES_BY_NORM = {"none": "budget", "drawn": "99.9 %", "sup": "certain"}
WORDS = {"budget": "nothing promised", "solved": "solved, nothing promised"}
WORDS |= {"99.9 %": "promised with 99.9 %", "certain": "proved"}
COLOURS = {
    ("Cone", "budget"): "#e09f3e",
    ("Cone", "99.9 %"): "#0b6e99",
    ("Cone", "certain"): "#4c956c",
    ("Cone", "solved"): "#3d5a80",
    ("Hat", "budget"): "#c8553d",
    ("Hat", "certain"): "#7a5195",
}


@dataclass(frozen=True)
class Case:
    """A row: the settings, and the width that plain random frames need for the same."""

    target: Radial
    accuracy: float = 0.1
    width: int | None = None
    solved: str = "program"
    failure_probability: float = 1e-3
    record: int | None = None
    """Width that should suffice."""
    frames: int | None = None
    """Width that plain random frames need for the same error."""

    @property
    def cell(self) -> dict[str, Any]:
        return {
            "target": type(self.target).__name__,
            "input_dim": self.target.input_dim,
            "accuracy": self.accuracy,
            "budget": self.width,
            "solved": self.solved,
            "failure_probability": self.failure_probability,
            "of_record": self.record,
            "frames": self.frames,
        }


BUDGETS = (
    Case(Cone(10), width=400, record=400, frames=600),
    Case(Cone(10), width=160),
    Case(Cone(20), width=800, record=800, frames=1200),
    Case(Cone(20), width=360),
    Case(Cone(100), width=3500, record=3500, frames=5000),
    Case(Cone(100), width=1800),
    Case(Cone(1000), width=12_500),
    Case(Hat(20), width=3000, record=3000, frames=4040),
    Case(Hat(20), width=1000),
    Case(Hat(100), width=12_000, record=12_000, frames=16_200),
    Case(Hat(100), width=5500),
)
SOLVED = tuple(
    Case(target, width=width, solved="minimax", record=width)
    for target, width in ((Cone(10), 120), (Cone(20), 270), (Cone(100), 1500))
)
PROMISES = (
    Case(Cone(10)),
    Case(Cone(100), record=200_000),
    Case(Cone(3), accuracy=0.01, failure_probability=0.0, record=2000),
    Case(Cone(4), accuracy=0.08, failure_probability=0.0),
    Case(Hat(3), accuracy=0.05, failure_probability=0.0),
)


CASES = {
    "smoke": (
        Case(Cone(3), width=40),
        Case(Cone(2), width=20),
        Case(Cone(3)),
        Case(Cone(3), accuracy=0.3, failure_probability=0.0),
    ),
    "cpu": (*BUDGETS, *SOLVED, *PROMISES),
    "gpu": (*BUDGETS, *SOLVED, *PROMISES),
}


def attacked(network: Network, target: Radial, seed: int, work: float) -> tuple[float, int]:
    """The largest error found, and from how many starts."""
    d, generator = target.input_dim, torch.Generator().manual_seed(seed)
    directions = _directions(network)
    count = int(np.clip(work / (4 * directions.size * STEPS), 24, MOST_STARTS))
    x = UniformRadius(d).sample(20 * count, generator)
    gap = torch.cat([(network.evaluate(p) - target(p)).abs()[:, 0] for p in x.split(512)])
    rng = np.random.default_rng(seed)
    quarter = count // 4
    sphere = rng.standard_normal((quarter, d))
    own = directions[rng.integers(len(directions), size=quarter)]
    # Sums of 2 to d directions with signs, where many directions of one frame add up.
    few = rng.integers(2, d + 1, size=quarter)
    sums = np.stack([rng.choice([-1.0, 1.0], n) @ _frame(directions, n, rng) for n in few])
    starts = np.concatenate([sphere, own, sums])
    starts /= np.linalg.norm(starts, axis=1, keepdims=True)
    points = torch.cat(
        [
            x[gap.topk(min(quarter, len(x))).indices],
            torch.from_numpy(starts),
            network.kink_points(quarter, generator).double(),
        ]
    )
    return max(float(gap.max()), attack(network, target, points, STEPS)), len(points)


def _frame(directions: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Neighbours in the list: they are of one frame, where directions were drawn as frames."""
    start = int(rng.integers(max(1, len(directions) - count + 1)))
    return directions[start : start + count]


def _directions(network: Network) -> np.ndarray:
    """(n, d) unit vectors."""
    if isinstance(network, RidgeNetwork):
        return np.concatenate(
            [group.dense(network.architecture.input_dim) for group in network.groups]
        )
    weight = layers_of(network)[0][0].double().numpy()
    return np.asarray(weight / np.linalg.norm(weight, axis=1, keepdims=True))


def _program(network: Network, target: Radial) -> float:
    """The error that is left in the mean over rotations, where directions no longer matter."""
    return rotation_average(network).sup_distance(target)[0]


def measure(
    target: str,
    input_dim: int,
    accuracy: float,
    budget: int | None,
    solved: str,
    failure_probability: float,
    of_record: int | None,
    frames: int | None,
    work: float,
) -> dict[str, Any]:
    radial = getattr(targets, target)(input_dim)
    start = time.perf_counter()
    recipe = SparseRidge(
        radial, accuracy, failure_probability, width=budget, seed=SEED, solved=solved
    )
    built = recipe.build()
    seconds, network, claim = time.perf_counter() - start, built.network, built.claim
    found, starts = attacked(network, radial, SEED, work)
    return {
        "promise": PROMISES_BY_NORM[claim.norm] if solved == "program" else "solved",
        "neurons": network.architecture.width,
        "error_promised": None if claim.norm == "none" else claim.bound,
        "limit": min(accuracy, claim.bound),
        "error_averaged": _program(network, radial),
        "error_sup_attacked": found,
        "starts": starts,
        "build_seconds": seconds,
        "peak_gigabytes": peak_gigabytes(),
    }


def rows(run: Run) -> polars.DataFrame:
    """A row per case, in the order of the file."""
    work = ATTACK_WORK[run.scale]
    return run.cells([{**case.cell, "work": work} for case in CASES[run.scale]], measure)


def chart(rows: polars.DataFrame) -> Chart:
    sizes, errors = [], []
    for (target, kind), part in rows.group_by("target", "promise", maintain_order=True):
        named, colour = f"{target}, {WORDS[str(kind)]}", COLOURS[str(target), str(kind)]
        x = tuple(map(float, part["input_dim"]))
        notes = tuple(f"{target}, {kind}, accuracy {a:g}" for a in part["accuracy"])
        neurons = tuple(map(float, part["neurons"]))
        sizes.append(Series(named, x, neurons, "points", colour, notes=notes))
        ratio = tuple((part["error_sup_attacked"] / part["limit"]).to_list())
        errors.append(Series(named, x, ratio, "points", colour, notes=notes))
    record = rows.drop_nulls("frames")
    for (target,), part in record.group_by("target", maintain_order=True):
        name = f"{target}, unimproved directions"
        x, y = tuple(map(float, part["input_dim"])), tuple(map(float, part["frames"]))
        sizes.append(Series(name, x, y, "matched", COLOURS[str(target), "budget"]))
    ticks = tuple(map(float, rows["input_dim"].unique().sort()))
    x_name, limit = "input dimension d", (("limit", 1.0),)
    return Chart(
        (
            Panel(x_name, "neurons", tuple(sizes), x_log=True, y_log=True, ticks=ticks),
            Panel(
                x_name,
                "largest error found / what it must stay below",
                tuple(errors),
                x_log=True,
                lines=limit,
                ticks=ticks,
            ),
        )
    )


def sentence(rows: polars.DataFrame) -> str:
    import polars

    known = rows.drop_nulls("of_record")
    kept = int((known["neurons"] <= known["of_record"]).sum())
    below = int((rows["error_sup_attacked"] <= rows["limit"]).sum())
    wide = rows.filter(polars.col("promise") == "budget").sort("input_dim").row(-1, named=True)
    ratio = float((rows["error_sup_attacked"] / rows["limit"]).max())  # type: ignore[arg-type]
    text = (
        f"In dimension {wide['input_dim']:,} a sparse ridge network of {wide['neurons']:,} neurons "
        f"is within {wide['error_sup_attacked']:.3g} of the {str(wide['target']).lower()}, as far "
        f"as an attack finds. Nothing is promised there. {below} of {len(rows)} attacked errors "
        f"are within the accuracy and the claim; the largest is {ratio:.1%} of its limit."
    )
    if len(known):
        text += f" {kept} of {len(known)} of the smallest widths known before are enough."
    for row in rows.filter(polars.col("promise") != "budget").iter_rows(named=True):
        text += (
            f" {row['target']} in dimension {row['input_dim']} at accuracy {row['accuracy']:g}, "
            f"{WORDS[row['promise']]}: {row['neurons']:,} neurons."
        )
    return text


def broken(rows: polars.DataFrame) -> list[str]:
    found = []
    for row in rows.iter_rows(named=True):
        case = f"{row['target']} d={row['input_dim']} {row['promise']}"
        if row["neurons"] > (row["of_record"] or row["neurons"]):
            found.append(f"{case}: {row['neurons']:,} neurons, of record {row['of_record']:,}")
        promised = row["of_record"] is not None or row["error_promised"] is not None
        if promised and not row["error_sup_attacked"] <= row["limit"]:
            found.append(f"{case}: {row['error_sup_attacked']:.4f}, above {row['limit']:.4f}")
    return found


COLUMNS = (
    *("target", "input_dim", "promise", "neurons", "of_record", "frames", "accuracy"),
    *("error_promised", "error_averaged", "error_sup_attacked", "starts", "build_seconds"),
    "peak_gigabytes",
)
EXPERIMENT = Experiment(rows, chart, sentence, COLUMNS, broken)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
