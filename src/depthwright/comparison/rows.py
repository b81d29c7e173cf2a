"""From contenders and measurements to rows, summaries and curves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from depthwright.bounds import has_floor, mass_floor, report
from depthwright.comparison.comparison import Comparison
from depthwright.constructions.construction import Claim
from depthwright.errors.certified import certified_sup
from depthwright.errors.measure import Measurement
from depthwright.errors.sup import moved
from depthwright.machine.provenance import code
from depthwright.networks.network import Network
from depthwright.results import Row
from depthwright.targets.radial import Radial
from depthwright.targets.target import Target
from depthwright.tracking import Tracker
from depthwright.training.matching import Equality, Size

if TYPE_CHECKING:
    import numpy as np

    from depthwright.training.result import TrainingResult

CONSTRUCTED = "constructed"
SOLVED_RIDGE = "solved_ridge"
"""In the place of a registry name: a solved sparse ridge network of the first one's width."""
SLICE_POINTS = 201
LEFT_OUT_KEPT = 500
"""Number of points of a claim's bad set that are written down."""


@dataclass(frozen=True)
class Contender:
    """A network that takes part, with how it was made."""

    name: str
    """"constructed", "constructed_NAME" for one beside it, "trained_RULE", "KIND_features",
    "tuned"."""
    construction: str
    """The construction that built it, or that it is matched with."""
    network: Network
    claim: Claim | None = None
    in_bad_set: Callable[[np.ndarray], np.ndarray] | None = None
    """Which points (batch, d) the claim leaves out, as booleans; None where it leaves out none."""
    build_seconds: float | None = None
    train_seconds: float | None = None
    tried: int | None = None
    """Of how many trained networks it is the best."""
    style: str | None = None
    """Of a rival's winning member; None for constructed networks."""


def row_of(comparison: Comparison, contender: Contender, measured: Measurement, device: str) -> Row:
    """The contender's row of the results table."""
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
        tried=contender.tried,
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


def summarise(tracker: Tracker, contenders: list[Contender], rows: list[Row]) -> None:
    """`CONTENDER/column` and `CONTENDER/claim/TERM` to the tracker."""
    for contender, row in zip(contenders, rows, strict=True):
        numbers = asdict(row)
        if contender.claim:
            numbers |= {f"claim/{term}": value for term, value in contender.claim.terms.items()}
            numbers |= {"claim/norm": contender.claim.norm, "claim/domain": contender.claim.domain}
        tracker.summary({f"{contender.name}/{key}": value for key, value in numbers.items()})


def curves_of(
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
