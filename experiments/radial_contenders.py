"""One network near a radial target, built or trained, measured as all others: a row.

The two central figures (`radial_vs_dimension.py`, `radial_vs_inverse_accuracy.py`) and
`longer_training.py` are made of such rows. Contenders:

sparse, solved     SparseRidge of a width, levelled; the same with `solved="least_squares"`
trained            the best of training=search, of the same architecture
trained for sup    the same, chosen by the largest error instead of the root mean square
tuned              trained on from the solved network
certified, ridge   SparseRidge and Ridge with a claim for the accuracy, of the width they need
depth 3            RadialDepthThree, certified as well
floor              no network: the path norm that every depth-2 network of the accuracy needs

The attack is one for all: projected ascent from the worst samples, from the sphere, from the
network's own directions and from its kinks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from depthwright import targets
from depthwright.bounds import mass_floor, path_norm, report
from depthwright.constructions import RadialDepthThree, Ridge, SparseRidge
from depthwright.distributions import UniformRadius
from depthwright.errors.l2 import l2_error
from depthwright.errors.sup import attack, residuals
from depthwright.figures.chart import Kind, Series, series
from depthwright.networks.torch_network import layers_of
from depthwright.refusal import Refusal
from depthwright.runs.options import conf_folder
from depthwright.training import TrainerConfig, TrainingConfig, TrainingDiverged, train_rivals
from depthwright.training.tuned import TUNED, start

if TYPE_CHECKING:
    import polars
    import torch

    from depthwright.constructions import Built, Construction
    from depthwright.networks.network import Network
    from depthwright.targets import Radial

SPARSE, SOLVED, TRAINED, FOR_SUP = "sparse", "solved", "trained", "trained for sup"
CERTIFIED, RIDGE, DEPTH_THREE, FLOOR = "certified", "ridge", "depth 3", "floor"
BUILT = (SPARSE, SOLVED, CERTIFIED, RIDGE, DEPTH_THREE)
NUMBERS = (
    *("neurons", "parameters", "error_l2", "error_sup_attacked", "error_promised", "path_norm"),
    *("path_norm_needed", "build_seconds", "train_seconds", "network_steps"),
)
COLOURS = {
    SPARSE: ("#0b6e99", "#86b9d1", "#08405a"),
    SOLVED: ("#4c956c", "#a9d3bb", "#255039"),
    TRAINED: ("#c8553d", "#e6a99c", "#6e2a1c"),
    FOR_SUP: ("#e09f3e", "#f0c98f", "#8f6420"),
    TUNED: ("#7a5195", "#b99cc9", "#43285a"),
    CERTIFIED: ("#b56576", "#dcb0ba", "#6a3541"),
    RIDGE: ("#6b705c", "#b4b8a8", "#3b3e32"),
    DEPTH_THREE: ("#6d1a36", "#b97f92", "#38091a"),
    FLOOR: ("#222222", "#999999", "#666666"),
}
"""Of a contender; the others where several targets or dimensions share a panel."""
ATTACK_STEPS = 200
CHANCE = 1e-3
"""That a drawn network breaks its claim, where the ball is not covered (d > 4)."""
COVERED = 4
NOISES = [0.0, 1e-3]
"""Of tuned networks, on the solved one's weights."""
LARGEST = 4e12
"""Multiply-adds of an attack, above which a certified network is left at its claim."""
CHUNK = 1 << 17
"""Points whose errors are computed at once."""
MOST_DIRECTIONS = 10**8
"""Of first-layer weights from which an attack starts as well."""
OWN_FLOOR = 100
"""Largest input_dim in which the floor at a network's own error is computed, in seconds."""


@dataclass(frozen=True)
class Effort:
    """What measuring takes: samples for L2, evaluations of the attack; network-steps of search."""

    points: int = 100_000
    evaluations: int = 1_000_000
    budget: int = 48_000


EFFORTS = {"smoke": Effort(4000, 10_000, 3600), "cpu": Effort(), "gpu": Effort(points=1_000_000)}


def search(budget: int, criterion: str = "l2", noises: list[float] | None = None) -> TrainingConfig:
    """conf/training/search.yaml, of another budget."""
    from omegaconf import DictConfig, OmegaConf

    kept: dict[Any, Any] = {}
    for name in ("default", "search"):
        read = OmegaConf.load(f"{conf_folder()}/training/{name}.yaml")
        assert isinstance(read, DictConfig)
        kept |= read
    own = {"budget": budget, "criterion": criterion, "tuned_noises": noises or []}
    return TrainingConfig(**{k: v for k, v in (kept | own).items() if k != "defaults"})


def recipe(
    contender: str, target: Radial, accuracy: float, width: int | None, seed: int
) -> Construction:
    """What builds it."""
    if contender == RIDGE:
        return Ridge(target, accuracy)
    if contender == DEPTH_THREE:
        return RadialDepthThree(target, accuracy)
    if contender == CERTIFIED:
        chance = 0.0 if target.input_dim <= COVERED else CHANCE
        return SparseRidge(target, accuracy, chance, seed=seed)
    solved = "least_squares" if contender == SOLVED else "program"
    return SparseRidge(target, accuracy, width=width, seed=seed, solved=solved)


def measure(
    target: str,
    input_dim: int,
    accuracy: float,
    contender: str,
    width: int | None,
    seed: int,
    points: int,
    evaluations: int,
    budget: int,
) -> dict[str, Any]:
    """The row of one contender; `left_out` says why it has no network."""
    radial = getattr(targets, target)(input_dim)
    place: dict[str, Any] = {"target": target, "input_dim": input_dim, "accuracy": accuracy}
    place |= {"contender": contender, "seed": seed, "left_out": None}
    if contender == FLOOR:
        return place | {"path_norm_needed": mass_floor(radial, accuracy)}
    try:
        if contender in BUILT:
            built, seconds = _built(contender, radial, accuracy, width, seed)
            network, row = built.network, _claimed(built) | {"build_seconds": seconds}
        else:
            assert width is not None
            network, row = _trained(contender, radial, accuracy, width, seed, budget)
    except (Refusal, TrainingDiverged) as reason:
        return place | {"left_out": str(reason)}
    work = 4 * network.architecture.parameters * evaluations
    attacks = evaluations if row.get("error_promised") is None or work <= LARGEST else 0
    return place | row | _sizes(network, radial) | _errors(network, radial, points, attacks)


@lru_cache(1)
def _built(
    contender: str, target: Radial, accuracy: float, width: int | None, seed: int
) -> tuple[Built, float]:
    """With its seconds; the last one is kept, from which several trainings may go on."""
    started = time.perf_counter()
    built = recipe(contender, target, accuracy, width, seed).build()
    return built, time.perf_counter() - started


def _claimed(built: Built) -> dict[str, Any]:
    claim = built.claim
    promised = None if claim.norm == "none" else claim.bound
    certified = claim.bound if claim.norm in ("sup", "floats") else None
    return {"error_promised": promised, "error_sup_certified": certified}


def _trained(
    contender: str, target: Radial, accuracy: float, width: int, seed: int, budget: int
) -> tuple[Network, dict[str, Any]]:
    d, starts = target.input_dim, {}
    shapes = {"rival": [(d, width, 1)]}
    config = search(budget, "sup" if contender == FOR_SUP else "l2")
    if contender == TUNED:
        solved = _built(SOLVED, target, accuracy, width, seed)[0].network
        shapes, starts = {}, {TUNED: start(solved)}
        config = replace(config, tuned_noises=NOISES)
    found = train_rivals(
        shapes, target, UniformRadius(d), config, TrainerConfig(), seed=seed, starts=starts,
        progress=False,
    )  # fmt: skip
    if found.diverged:
        raise TrainingDiverged(f"no network of width {width} was left")
    (rival,) = found.rivals.values()
    row = {"train_seconds": rival.train_seconds, "network_steps": rival.network_steps}
    return rival.network, row | {"tried": len(rival.members), "device": found.device}


def _sizes(network: Network, target: Radial) -> dict[str, Any]:
    size = network.architecture
    row = {"neurons": size.width, "depth": size.depth, "parameters": size.parameters}
    if size.depth != 2:
        return row
    if target.input_dim > OWN_FLOOR or size.width * target.input_dim > MOST_DIRECTIONS:
        return row | {"path_norm": path_norm(network)}
    return row | asdict(report(network, target))


def _errors(network: Network, target: Radial, points: int, evaluations: int) -> dict[str, Any]:
    """L2 with its interval, the largest sample, and the attack."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    d, generator = target.input_dim, torch.Generator(device).manual_seed(20_000)
    x = UniformRadius(d).sample(points, generator)
    gap = torch.cat([residuals(network, target, part) for part in x.split(CHUNK)])
    l2 = l2_error(gap.cpu().numpy(), target(x).cpu().numpy())
    row = {"error_l2": l2.value, "error_l2_low": l2.low, "error_l2_high": l2.high}
    sampled = float(gap.abs().max())
    if not evaluations:
        return row | {"error_sup_sampled": sampled}
    worst = x[gap.abs()[:, 0].topk(evaluations // ATTACK_STEPS // 4).indices]
    starts = torch.cat([worst, _starts(network, d, len(worst)).to(worst)])
    attacked = max(sampled, attack(network, target, starts, ATTACK_STEPS))
    return row | {"error_sup_sampled": sampled, "error_sup_attacked": attacked}


def _starts(network: Network, d: int, quarter: int) -> torch.Tensor:
    """At most `quarter` each: from the sphere, the network's own directions, its kinks."""
    import torch

    generator = torch.Generator().manual_seed(20_001)
    sphere = torch.randn(quarter, d, generator=generator, dtype=torch.float64)
    own = sphere[:0]
    if network.architecture.width * d <= MOST_DIRECTIONS:
        weight = layers_of(network)[0][0]
        own = weight[torch.randint(len(weight), (quarter,), generator=generator)]
        own = own * (2 * torch.randint(2, (quarter, 1), generator=generator) - 1)
    along = torch.cat([sphere, own])
    along /= torch.linalg.vector_norm(along, dim=1, keepdim=True).clip(1e-300)
    return torch.cat([along, network.kink_points(quarter, generator).double()])


# --- what the figures share


def over_seeds(rows: polars.DataFrame, column: str) -> polars.DataFrame:
    """Median, smallest and largest value of every number over the seeds of a contender."""
    import polars

    keys = ["target", "input_dim", "accuracy", "contender"]
    numbers = [n for n in NUMBERS if n in rows.columns]
    if column not in keys:
        keys.append(column)
    found = [
        each
        for name in numbers
        for each in (
            polars.col(name).cast(polars.Float64).median(),
            polars.col(name).cast(polars.Float64).min().alias(f"{name}_least"),
            polars.col(name).cast(polars.Float64).max().alias(f"{name}_most"),
        )
    ]
    return rows.group_by(keys, maintain_order=True).agg(found).sort(column)


def lines(
    middle: polars.DataFrame,
    column: str,
    who: Sequence[str],
    target: str = "",
    number: int = 0,
    *,
    inverse: bool = False,
) -> dict[str, tuple[Series, ...]]:
    """Of some contenders: errors, path norms with their floor, sizes, seconds."""
    found: dict[str, list[Series]] = {"error": [], "norm": [], "size": [], "seconds": []}
    named = f"{target}, " if target else ""
    for contender in who:
        part = middle.filter(middle["contender"] == contender)

        colour = COLOURS[contender][number]
        looks: tuple[tuple[str, str, Kind, str], ...] = (
            ("error_l2", f"{contender}: L2", "measured", "error"),
            ("error_sup_attacked", f"{contender}: largest found", "sampled", "error"),
            ("path_norm", f"{named}{contender}", "size", "norm"),
            ("neurons", f"{named}{contender}", "size", "size"),
            ("build_seconds", f"{named}{contender}", "size", "seconds"),
            ("train_seconds", f"{named}{contender}", "matched", "seconds"),
        )
        for y, name, kind, place in looks:
            if y in part.columns and part[y].is_not_null().any():
                ends = (f"{y}_least", f"{y}_most")
                one = series(
                    part, column, y, name, kind, contender=colour, interval=ends, inverse=inverse
                )
                found[place].append(one)
    part = middle.filter(middle["contender"] == FLOOR)
    if "path_norm_needed" in part.columns and len(part):
        told = f"{named}floor of depth 2 within ε"
        found["norm"].append(
            series(part, column, "path_norm_needed", told, "floor",
                   contender=COLOURS[FLOOR][number],
                   inverse=inverse)
        )  # fmt: skip
    return {name: tuple(each) for name, each in found.items()}


def verdict(rows: polars.DataFrame, place: Sequence[str]) -> str:
    """Whether the solved network is at least as good as the trained ones, case by case.

    Medians over seeds are compared, each error with that of the better of the two trained networks;
    then the attacked error with that of the sparse network.
    """
    middle = over_seeds(rows, place[-1])
    kept, other, behind, clear = [], [], [], 0
    for at, part in middle.group_by(list(place), maintain_order=True):
        own = {row["contender"]: row for row in part.to_dicts()}
        rivals = [own[c] for c in (TRAINED, FOR_SUP) if c in own and own[c]["error_l2"]]
        solved = own.get(SOLVED)
        if not rivals or not solved or not solved["error_l2"]:
            continue
        name = " ".join(_told(key, value) for key, value in zip(place, at, strict=True))
        start = own.get(SPARSE, solved)["error_sup_attacked"]
        if start is not None and start < solved["error_sup_attacked"]:
            behind.append(name)
        lost = []
        for words, y in (("L2", "error_l2"), ("sup", "error_sup_attacked")):
            best = min((r[y] for r in rivals if r[y] is not None), default=math.inf)
            if not solved[y] <= best:
                lost.append(f"{words} {solved[y]:.3g} against {best:.3g}")
        if lost:
            other.append(f"{name} ({', '.join(lost)})")
        else:
            kept.append(name)
            clear += all(
                all(solved[f"{y}_most"] <= r[f"{y}_least"] for r in rivals if r[y] is not None)
                for y in ("error_l2", "error_sup_attacked")
            )
    total = len(kept) + len(other)
    if not total:
        return "No case has both a solved and a trained network."
    counts = seeds_of(rows, place)
    text = (
        f"In {len(kept)} of {total} cases the solved network errs no more than the best trained "
        "one of its shape, on average and at worst. Compared are L2 errors and the largest errors "
        f"found by the attack, medians over {_span(counts)}"
    )
    if min(counts) > 1:
        text += f"; in {clear} of these cases its worst seed is as good as their best"
    if other:
        text += f". It errs more for {'; '.join(other)}"
    if behind:
        text += f". For {', '.join(behind)} the sparse network has a smaller largest error"
    return f"{text}."


def seeds_of(rows: polars.DataFrame, place: Sequence[str]) -> list[int]:
    """How many solved networks the cases have, each number once."""
    counts = rows.filter(rows["contender"] == SOLVED).group_by(list(place)).len()["len"]
    return sorted({int(n) for n in counts})


def _span(seeds: Sequence[int]) -> str:
    if seeds[-1] == 1:
        return "one seed"
    return f"{seeds[0]} to {seeds[-1]} seeds" if seeds[0] < seeds[-1] else f"{seeds[0]} seeds"


def _told(key: str, value: Any) -> str:
    if key == "input_dim":
        return f"d = {value}"
    return f"1/ε = {1 / value:g}" if key == "accuracy" else str(value)
