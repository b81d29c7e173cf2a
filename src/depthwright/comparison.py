"""One run: build, fit, train, measure → rows. The only room where theorems and training meet.

target, distribution → construction.build() → network + claim → matching rules → rivals'
shapes → training (all rivals at once) → the same evaluation points for everyone → rows
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwright import results
from depthwright.bounds import has_floor, mass_floor, report
from depthwright.constructions.construction import Claim, Construction
from depthwright.distributions import UniformBox, UniformCube
from depthwright.distributions.distribution import Distribution
from depthwright.distributions.domain import Ball, Box
from depthwright.errors.certified import certified_sup
from depthwright.errors.measure import EvaluationConfig, Measurement, measure
from depthwright.errors.sup import moved
from depthwright.files import write_json
from depthwright.machine.provenance import code
from depthwright.networks.inputs import Inputs
from depthwright.networks.network import Network
from depthwright.refusal import Refusal
from depthwright.results import Row
from depthwright.targets.radial import Radial
from depthwright.targets.target import Target
from depthwright.tracking import Tracker
from depthwright.training.config import TrainerConfig, TrainingConfig
from depthwright.training.features import check_kind
from depthwright.training.features import fit as fit_features
from depthwright.training.matching import Equality, Match, Size, check_rule, match
from depthwright.training.tuned import TUNED, start

if TYPE_CHECKING:
    import numpy as np

    from depthwright.networks.torch_network import Layers
    from depthwright.training.result import TrainingResult

CHECKPOINT = "training.ckpt"
"""In a run's folder while it is not finished."""
CURVES = "curves.json"
CONSTRUCTED = "constructed"
FEATURES = "_features"
"""Ends the names of contenders whose output layer alone is fitted."""
MEMORY_LIMIT = 8 * 10**9
"""Most that the evaluation points, with what is computed of them, may take, in bytes."""
SLICE_POINTS = 201
LEFT_OUT_KEPT = 500
"""Points of a claim's bad set that are written down, to see where they lie."""


@dataclass(frozen=True)
class Comparison:
    """One target, one construction, its rivals, one set of evaluation points."""

    target: Target
    distribution: Distribution
    construction: Construction
    beside: Mapping[str, Construction]
    """Further constructions for the same target, by registry name; rivals match the first one."""
    matching: tuple[str, ...]
    """One trained contender per rule."""
    features: tuple[str, ...]
    """One contender each: hidden layers random or constructed, the output layer fitted."""
    training: TrainingConfig
    evaluation: EvaluationConfig
    trainer: TrainerConfig
    seed: int
    failure_probability: float
    """The δ of the run, asked of the constructions that take one."""
    accuracy: float
    """The ε of the run: asked of the constructions that take one, counted against by all."""
    names: Mapping[str, str]
    """The registry names of target, distribution and construction, for the rows."""

    def __post_init__(self) -> None:
        if self.distribution.input_dim != self.target.input_dim:
            raise Refusal(
                f"distribution.input_dim={self.distribution.input_dim} is not that of the target "
                f"({self.target.input_dim}); leave it out to have it follow"
            )
        given, needed = self.distribution.domain, self.target.domain
        if given != needed:
            if isinstance(needed, Ball):
                cure = "uniform_radius or uniform_ball with distribution.radius="
                cure += f"{needed.radius:g}"
            else:
                cure = "uniform_box, which follows the target"
            raise Refusal(
                f"the distribution lives on the {given} and the target on the {needed}; choose "
                f"distribution={cure}"
            )
        if not 0 <= self.failure_probability < 1:
            raise Refusal(
                f"failure_probability={self.failure_probability} is not in [0, 1); "
                "ask for example for 0.01"
            )
        size = 4 * 8 * self.evaluation.points * self.target.input_dim
        if size > MEMORY_LIMIT:
            raise Refusal(
                f"evaluation.points={self.evaluation.points} of input_dim={self.target.input_dim} "
                f"take {size / 1e9:.3g} GB (limit {MEMORY_LIMIT / 1e9:g} GB); "
                "lower evaluation.points"
            )
        for recipe in (self.construction, *self.beside.values()):
            recipe.need(accuracy=self.accuracy, failure_probability=self.failure_probability)
            _check_law(self.distribution, recipe, self.inputs)
        for rule in self.matching:
            check_rule(rule)
        for kind in self.features:
            check_kind(kind)
        if self.seed < 0:
            raise Refusal(f"seed={self.seed} is negative; seeds start at 0")

    @property
    def inputs(self) -> Inputs | None:
        """What every point is moved to, so that all claims speak of it; None: points stay.

        Any float64 of the box will do for claims on all of it, or for every float64.
        """
        recipes = (self.construction, *self.beside.values())
        covered = [recipe.covered for recipe in recipes]
        few = {i for i in covered if i and (i.grid is not None or i.numbers == "float32")}
        if len(few) > 1:
            raise Refusal(
                f"the claims speak of different inputs, {' and of '.join(sorted(map(str, few)))}; "
                "compare such constructions in runs of their own"
            )
        return few.pop() if few else None

    def matches(self) -> dict[str, Match]:
        """Contender → what its rule makes of the construction's size; nothing is built."""
        for construction in self.beside.values():
            construction.architecture()  # refused now if it is too large, not after the training
        architecture = self.construction.architecture()
        return {f"trained_{rule}": match(architecture, rule) for rule in self.matching}


def _check_law(law: Distribution, recipe: Construction, moved: Inputs | None) -> None:
    """A bad set's probability is one under the law that the construction was told of."""
    covered, bound = recipe.covered, recipe.density_bound
    if covered is None or covered.numbers != "real" or covered.grid is not None:
        return
    name = type(recipe).__name__
    if moved is not None:
        raise Refusal(
            f"{name} claims something of random points of a box, and {moved} are what another "
            "claim speaks of; ask for failure_probability=0, or compare them in two runs"
        )
    box = Box(covered.lower, covered.upper)
    uniform = type(law) in (UniformBox, UniformCube) and law.domain == box
    if not (uniform or (bound is not None and law.density_bound <= bound)):
        told = f"uniform on the {box}" if bound is None else f"of density at most {bound:g}"
        raise Refusal(
            f"the failure probability of {name} is one under laws {told}, not under "
            f"{type(law).__name__}; choose distribution=uniform_box, or give "
            "construction.density_bound, or ask for failure_probability=0"
        )


@dataclass(frozen=True)
class Contender:
    """A network that takes part, with what is known of how it came about."""

    name: str
    """"constructed", "constructed_NAME" for one beside it, "trained_RULE", "KIND_features",
    "tuned"."""
    construction: str
    """What built it, or what it was matched with."""
    network: Network
    claim: Claim | None = None
    fails: Callable[[np.ndarray], np.ndarray] | None = None
    """Which points (batch, d) the claim leaves out, as booleans; None where it leaves out none."""
    build_seconds: float | None = None
    train_seconds: float | None = None
    style: str | None = None
    """Of a rival's winning member; None for what is constructed."""


def run(
    comparison: Comparison,
    folder: Path,
    tracker: Tracker,
    say: Callable[[str], None] = lambda message: None,
) -> list[Row]:
    """Do all of it, write the run's files into `folder`, the rows last, and return the rows."""
    rows = compute(comparison, folder, tracker, say)
    finish(folder, rows)
    return rows


def finish(folder: Path, rows: list[Row]) -> None:
    """Write the rows, which end a run; where its training had come to is of no more use."""
    results.write(folder, rows)
    (folder / CHECKPOINT).unlink(missing_ok=True)


def compute(
    comparison: Comparison,
    folder: Path,
    tracker: Tracker,
    say: Callable[[str], None] = lambda message: None,
) -> list[Row]:
    """The rows, not yet written, so that nothing says "finished"; the other files are.

    Raises Refusal before any long work where a hypothesis fails, and TrainingDiverged when no
    rival survives. A matching rule without shapes is said and left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contenders = list(_construct(comparison, say))
    contenders += _fitted(comparison, contenders[0].network, say)
    trained = _train(comparison, contenders[0].network, tracker, say, folder / CHECKPOINT)
    device = trained.device if trained else "cpu"
    if trained:
        contenders += [
            Contender(
                name,
                comparison.names["construction"],
                rival.network,
                train_seconds=rival.train_seconds,
                style=rival.member.style,
            )
            for name, rival in trained.rivals.items()
        ]
    measurements = {}
    for contender in contenders:
        say(f"measuring {contender.name}")
        measurements[contender.name] = measure(
            contender.network,
            comparison.target,
            comparison.distribution,
            comparison.evaluation,
            comparison.accuracy,
            fails=contender.fails,
            device=device,
            inputs=comparison.inputs,
        )
        contender.network.save(folder / f"{contender.name}{contender.network.suffix}")
    curves = _curves(comparison, contenders, measurements, trained)
    write_json(folder / CURVES, curves)
    rows = [_row(comparison, c, measurements[c.name], device) for c in contenders]
    _summarise(tracker, contenders, rows)
    return rows


def _construct(comparison: Comparison, say: Callable[[str], None]) -> Iterator[Contender]:
    first = comparison.names["construction"]
    recipes = {CONSTRUCTED: (first, comparison.construction)} | {
        f"{CONSTRUCTED}_{name}": (name, recipe) for name, recipe in comparison.beside.items()
    }
    for contender, (name, recipe) in recipes.items():
        say(f"building {name}")
        start = time.perf_counter()
        # A copy holds nothing of the sizing, so the time is that of the whole construction (the
        # cubature rules of a dimension are found once a process).
        built = replace(recipe).build()
        yield Contender(
            contender,
            name,
            built.network,
            built.claim,
            built.fails,
            time.perf_counter() - start,
        )


def _fitted(
    comparison: Comparison, network: Network, say: Callable[[str], None]
) -> Iterator[Contender]:
    """Features beside the first construction; where they cannot be fitted it is said."""
    for kind in comparison.features:
        name = f"{kind}{FEATURES}"
        say(f"fitting {name}")
        try:
            fitted = fit_features(
                kind,
                network,
                comparison.target,
                comparison.distribution,
                comparison.training,
                comparison.seed,
            )
        except Refusal as refusal:
            say(f"no {name}: {refusal}")
            continue
        yield Contender(
            name,
            comparison.names["construction"],
            fitted.network,
            train_seconds=fitted.seconds,
        )


def _train(
    comparison: Comparison,
    constructed: Network,
    tracker: Tracker,
    say: Callable[[str], None],
    checkpoint: Path,
) -> TrainingResult | None:
    """All rivals at once; None where no rule has a shape and nothing is trained on."""
    matches = comparison.matches()
    for name, found in matches.items():
        if not found.shapes:
            say(f"no {name}: {found.note}")
    starts = _starts(comparison, constructed, say)
    if not starts and not any(found.shapes for found in matches.values()):
        return None
    from depthwright.training import train_rivals

    say("training")
    return train_rivals(
        {name: found.shapes for name, found in matches.items()},
        comparison.target,
        comparison.distribution,
        comparison.training,
        comparison.trainer,
        seed=comparison.seed,
        on_validation=lambda step, errors: tracker.log(
            step, {f"{name}/validation_rmse": error for name, error in errors.items()}
        ),
        starts=starts,
        checkpoint=checkpoint,
        say=say,
    )


def _starts(
    comparison: Comparison, constructed: Network, say: Callable[[str], None]
) -> dict[str, Layers]:
    """`tuned`, where it is asked for and the construction can be trained on."""
    if not comparison.training.tuned_noises:
        return {}
    try:
        return {TUNED: start(constructed)}
    except Refusal as refusal:
        say(f"no {TUNED}: {refusal}")
        return {}


def _row(comparison: Comparison, contender: Contender, measured: Measurement, device: str) -> Row:
    architecture, claim = contender.network.architecture, contender.claim
    return Row(
        contender=contender.name,
        construction=contender.construction,
        style=contender.style,
        target=comparison.names["target"],
        distribution=comparison.names["distribution"],
        input_dim=comparison.target.input_dim,
        accuracy=comparison.accuracy,
        failure_probability=claim.failure_probability if claim else None,
        seed=comparison.seed,
        code=code(),
        width=architecture.width,
        depth=architecture.depth,
        parameters=architecture.parameters,
        nonzeros=architecture.nonzeros or 0,
        weight_bits=contender.network.weight_bits,
        arithmetic=contender.network.arithmetic,
        error_l2=measured.l2.value,
        error_l2_low=measured.l2.low,
        error_l2_high=measured.l2.high,
        error_l2_good=measured.l2_good.value if measured.l2_good else None,
        error_l2_relative=measured.l2.relative,
        error_sup_sampled=measured.sup_sampled,
        error_sup_attacked=measured.sup_attacked,
        error_sup_certified=claim.bound
        if claim and claim.norm in ("sup", "floats")
        else certified_sup(contender.network, comparison.target),
        error_sup_good=measured.sup_good,
        error_promised=claim.bound if claim and claim.norm != "none" else None,
        promised_for=claim.words if claim else None,
        points=_points(comparison),
        exceedance=measured.exceedance.share,
        exceedance_upper=measured.exceedance.upper,
        **_against_floor(contender.network, comparison.target, comparison.accuracy),
        build_seconds=contender.build_seconds,
        train_seconds=contender.train_seconds,
        evaluate_seconds=measured.evaluate_seconds,
        device=device,
    )


def _points(comparison: Comparison) -> str:
    """Where errors are measured, in words."""
    law, inputs = comparison.names["distribution"], comparison.inputs
    return law if inputs is None else f"{law}, moved to {inputs}"


def _against_floor(network: Network, target: Target, accuracy: float) -> dict[str, float]:
    """The path-norm columns of a depth-2 network for a radial target; none for others."""
    if not has_floor(network, target):
        return {}
    assert isinstance(target, Radial)
    needed = mass_floor(target, accuracy)
    return asdict(report(network, target)) | {"path_norm_needed": needed}


def _summarise(tracker: Tracker, contenders: list[Contender], rows: list[Row]) -> None:
    """`CONTENDER/column` and `CONTENDER/claim/TERM` to the tracker."""
    for contender, row in zip(contenders, rows, strict=True):
        numbers = asdict(row)
        if contender.claim:
            numbers |= {f"claim/{term}": value for term, value in contender.claim.terms.items()}
            numbers |= {"claim/norm": contender.claim.norm, "claim/domain": contender.claim.domain}
        tracker.summary({f"{contender.name}/{key}": value for key, value in numbers.items()})


def _curves(
    comparison: Comparison,
    contenders: list[Contender],
    measurements: Mapping[str, Measurement],
    trained: TrainingResult | None,
) -> dict[str, Any]:
    """What the rows do not hold: training curves, every member's outcome, the search and its
    budget, what was equal, the points that claims leave out, values along a ray.
    """
    import torch

    from depthwright.distributions.uniform import directions

    rivals = trained.rivals if trained else {}
    target = comparison.target
    generator = torch.Generator().manual_seed(comparison.evaluation.seed + 2)
    ray = directions(1, target.input_dim, generator, torch.float64)
    low = 0.0 if isinstance(target, Radial) else -1.0
    domain = target.domain
    centre, half = torch.from_numpy(domain.centre), torch.from_numpy(domain.half_sides)
    s = torch.linspace(low, 1.0, SLICE_POINTS, dtype=torch.float64)
    x = moved(domain.project(centre + s[:, None] * half * ray), comparison.inputs)
    s = s * torch.linalg.vector_norm(half * ray)
    return {
        "validation_rmse": {
            name: [list(point) for point in rival.history] for name, rival in rivals.items()
        },
        "members": {
            name: [asdict(member) for member in rival.members] for name, rival in rivals.items()
        },
        "search": {
            name: {"network_steps": rival.network_steps, **rival.spread()}
            for name, rival in rivals.items()
        },
        "matching": _matching(contenders, rivals),
        "left_out": {
            name: measured.left_out[:LEFT_OUT_KEPT].tolist()
            for name, measured in measurements.items()
            if len(measured.left_out)
        },
        "slice": {"at": s.tolist(), "target": target(x)[:, 0].tolist()}
        | {c.name: c.network.evaluate(x)[:, 0].tolist() for c in contenders},
    }


def _matching(contenders: list[Contender], rivals: Iterable[str]) -> dict[str, Any]:
    """For every rival: what was equal to the construction and what was not."""
    sizes = {c.name: Size.of(c.network.architecture, c.network.weight_bits) for c in contenders}
    pairs = {name: Equality(sizes[name], sizes[CONSTRUCTED]) for name in rivals}
    return {
        name: {"statement": pair.statement, "ratios": pair.ratios} for name, pair in pairs.items()
    }
