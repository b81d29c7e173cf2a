"""One run: build, train, measure → rows. The only room where theorems and training meet.

target, distribution → construction.build() → network + claim → matching rules → rivals'
shapes → training (all rivals at once) → the same evaluation points for everyone → rows
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwright import results
from depthwright.constructions.construction import Built, Construction
from depthwright.distributions.distribution import Distribution
from depthwright.distributions.domain import Cube
from depthwright.errors.measure import EvaluationConfig, Measurement, measure
from depthwright.networks.network import Network
from depthwright.refusal import Refusal
from depthwright.results import Row
from depthwright.targets.radial import Radial
from depthwright.targets.target import Target
from depthwright.tracking import Tracker
from depthwright.training.config import TrainerConfig, TrainingConfig
from depthwright.training.matching import Match, check_rule, match

if TYPE_CHECKING:
    from depthwright.training.result import TrainingResult

CURVES = "curves.json"
CONSTRUCTED = "constructed"
SLICE_POINTS = 201


@dataclass(frozen=True)
class Comparison:
    """One target, one construction, its rivals, one set of evaluation points."""

    target: Target
    distribution: Distribution
    construction: Construction
    matching: tuple[str, ...]
    """One trained contender per rule."""
    training: TrainingConfig
    evaluation: EvaluationConfig
    trainer: TrainerConfig
    seed: int
    accuracy: float
    """The ε of the run: asked of the construction where it takes one, counted against by all."""
    names: Mapping[str, str]
    """The registry names of target, distribution and construction, for the rows."""

    def __post_init__(self) -> None:
        if self.distribution.input_dim != self.target.input_dim:
            raise Refusal(
                f"distribution.input_dim={self.distribution.input_dim} is not that of the target "
                f"({self.target.input_dim}); leave it out to have it follow"
            )
        given, needed = self.distribution.domain, self.target.domain
        if (type(given), given.radius) != (type(needed), needed.radius):
            laws = "uniform_cube" if isinstance(needed, Cube) else "uniform_radius or uniform_ball"
            raise Refusal(
                f"the distribution lives on the {given} and the target on the {needed}; choose "
                f"distribution={laws} with distribution.radius={needed.radius:g}"
            )
        for rule in self.matching:
            check_rule(rule)
        if self.seed < 0:
            raise Refusal(f"seed={self.seed} is negative; seeds start at 0")

    def matches(self) -> dict[str, Match]:
        """Contender → what its rule makes of the construction's size; nothing is built."""
        architecture = self.construction.architecture()
        return {f"trained_{rule}": match(architecture, rule) for rule in self.matching}


def run(
    comparison: Comparison,
    folder: Path,
    tracker: Tracker,
    say: Callable[[str], None] = lambda message: None,
) -> list[Row]:
    """Do all of it, write the run's files into `folder`, the rows last, and return the rows.

    Raises Refusal before any long work where a hypothesis fails, and TrainingDiverged when no
    rival survives. A matching rule without shapes is said and left out.
    """
    from depthwright.training import train_rivals

    folder.mkdir(parents=True, exist_ok=True)
    matches = comparison.matches()
    for name, found in matches.items():
        if not found.shapes:
            say(f"no {name}: {found.note}")
    say("building")
    start = time.perf_counter()
    # A copy has nothing cached from sizing, so the time is that of the whole construction.
    built = replace(comparison.construction).build()
    build_seconds = time.perf_counter() - start
    tracker.summary({f"claim/{term}": value for term, value in built.claim.terms.items()})
    trained: TrainingResult | None = None
    if any(found.shapes for found in matches.values()):
        say("training")
        trained = train_rivals(
            {name: found.shapes for name, found in matches.items()},
            comparison.target,
            comparison.distribution,
            comparison.training,
            comparison.trainer,
            seed=comparison.seed,
            on_validation=lambda step, errors: tracker.log(
                step, {f"{name}/validation_rmse": error for name, error in errors.items()}
            ),
        )
    networks: dict[str, Network] = {CONSTRUCTED: built.network}
    if trained:
        networks |= {name: rival.network for name, rival in trained.rivals.items()}
    device = _device(trained)
    rows = []
    for name, network in networks.items():
        say(f"measuring {name}")
        measured = measure(
            network,
            comparison.target,
            comparison.distribution,
            comparison.evaluation,
            comparison.accuracy,
            device,
        )
        rows.append(
            _row(comparison, name, network, measured, built, build_seconds, trained, device)
        )
        tracker.summary({f"{name}/{key}": value for key, value in asdict(rows[-1]).items()})
        network.save(folder / f"{name}{network.suffix}")
    results.write_json(folder / CURVES, _curves(comparison, networks, trained))
    results.write(folder, rows)
    return rows


def _device(trained: TrainingResult | None) -> str:
    if trained:
        return trained.device
    return "cpu"


def _row(
    comparison: Comparison,
    name: str,
    network: Network,
    measured: Measurement,
    built: Built,
    build_seconds: float,
    trained: TrainingResult | None,
    device: str,
) -> Row:
    constructed = name == CONSTRUCTED
    architecture = network.architecture
    return Row(
        contender=name,
        **comparison.names,
        input_dim=comparison.target.input_dim,
        accuracy=comparison.accuracy,
        failure_probability=built.claim.failure_probability,
        seed=comparison.seed,
        width=architecture.width,
        depth=architecture.depth,
        parameters=architecture.parameters,
        nonzeros=architecture.nonzeros or 0,
        weight_bits=network.weight_bits,
        arithmetic=network.arithmetic,
        error_l2=measured.l2.value,
        error_l2_low=measured.l2.low,
        error_l2_high=measured.l2.high,
        error_l2_relative=measured.l2.relative,
        error_sup_sampled=measured.sup_sampled,
        error_sup_attacked=measured.sup_attacked,
        error_sup_certified=built.claim.bound if constructed else None,
        exceedance=measured.exceedance.share,
        exceedance_upper=measured.exceedance.upper,
        build_seconds=build_seconds if constructed else None,
        train_seconds=trained.rivals[name].train_seconds if trained and not constructed else None,
        evaluate_seconds=measured.evaluate_seconds,
        device=device,
    )


def _curves(
    comparison: Comparison, networks: Mapping[str, Network], trained: TrainingResult | None
) -> dict[str, Any]:
    """What the rows leave out: training curves, every member's outcome, values along a ray."""
    import torch

    from depthwright.distributions.uniform import directions

    histories = {
        name: [list(point) for point in rival.history]
        for name, rival in (trained.rivals.items() if trained else ())
    }
    target = comparison.target
    generator = torch.Generator().manual_seed(comparison.evaluation.seed + 2)
    ray = directions(1, target.input_dim, generator, torch.float64)
    low = 0.0 if isinstance(target, Radial) else -1.0
    s = torch.linspace(low, 1.0, SLICE_POINTS, dtype=torch.float64) * target.domain.radius
    x = s[:, None] * ray
    values = {name: network.evaluate(x)[:, 0].tolist() for name, network in networks.items()}
    members = {
        name: [asdict(member) for member in rival.members]
        for name, rival in (trained.rivals.items() if trained else ())
    }
    return {
        "validation_rmse": histories,
        "members": members,
        "slice": {"at": s.tolist(), "target": target(x)[:, 0].tolist(), **values},
    }
