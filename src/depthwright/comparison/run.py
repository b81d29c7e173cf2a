"""One run: build, fit, train, measure → rows.

target, distribution → construction.build() → network + claim → matching rules → rivals'
shapes → training (all rivals at once) → the same evaluation points for everyone → rows
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwright import results
from depthwright.comparison.comparison import Comparison
from depthwright.comparison.rows import (
    CONSTRUCTED,
    SOLVED_RIDGE,
    Contender,
    curves_of,
    row_of,
    summarise,
)
from depthwright.errors.measure import measure
from depthwright.files import lesser, write_json
from depthwright.networks.network import Network
from depthwright.progress import Listener
from depthwright.refusal import Refusal
from depthwright.results import Row
from depthwright.tracking import Tracker
from depthwright.training.features import fit as fit_features
from depthwright.training.tuned import TUNED, start

if TYPE_CHECKING:
    from depthwright.networks.torch_network import Layers
    from depthwright.training.result import TrainingResult

SILENT = Listener()
CHECKPOINT = "training.ckpt"
"""In a run's folder until it is finished."""
CURVES = "curves.json"
FEATURES = "_features"
"""Suffix of the names of contenders of which only the output layer is fitted."""


def run(
    comparison: Comparison,
    folder: Path,
    tracker: Tracker,
    listener: Listener = SILENT,
) -> list[Row]:
    """Run the comparison, write its files into `folder`, the rows last, and return the rows."""
    rows = compute(comparison, folder, tracker, listener)
    finish(folder, rows)
    return rows


def finish(folder: Path, rows: list[Row]) -> None:
    """Write the rows, which mark the run as finished, and delete the checkpoint of its training."""
    results.write(folder, rows)
    (folder / CHECKPOINT).unlink(missing_ok=True)


def compute(
    comparison: Comparison,
    folder: Path,
    tracker: Tracker,
    listener: Listener = SILENT,
) -> list[Row]:
    """The rows, not yet written, so that the run is not yet finished; writes the other files.

    Raises Refusal before any long work where a hypothesis fails, and TrainingDiverged when no
    rival survives. A matching rule without shapes is reported and left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contenders = list(_construct(comparison, listener))
    contenders += _fitted(comparison, contenders[0].network, listener)
    trained = _train(comparison, contenders[0].network, tracker, listener, folder / CHECKPOINT)
    device = trained.device if trained else "cpu"
    if trained:
        contenders += [
            Contender(
                name,
                comparison.names["construction"],
                rival.network,
                train_seconds=rival.train_seconds,
                style=rival.member.style,
                tried=len(rival.members),
            )
            for name, rival in trained.rivals.items()
        ]
    measurements = {}
    for contender in contenders:
        listener.doing(f"measuring {contender.name}")
        measurements[contender.name] = measure(
            contender.network,
            comparison.target,
            comparison.distribution,
            comparison.evaluation,
            comparison.accuracy,
            in_bad_set=contender.in_bad_set,
            device=device,
            inputs=comparison.inputs,
        )
        with lesser(file := f"{contender.name}{contender.network.suffix}"):
            contender.network.save(folder / file)
            tracker.network(contender.name, folder / file, _about(contender))
    curves = curves_of(comparison, contenders, measurements, trained)
    with lesser(CURVES):
        write_json(folder / CURVES, curves)
    rows = [row_of(comparison, c, measurements[c.name], device) for c in contenders]
    summarise(tracker, contenders, rows)
    return rows


def _about(contender: Contender) -> dict[str, Any]:
    """How it was made, its size, and its claim where it has one."""
    size, claim = contender.network.architecture, contender.claim
    made: dict[str, Any] = {"construction": contender.construction, "style": contender.style}
    made |= {"width": size.width, "depth": size.depth, "parameters": size.parameters}
    return made | ({"claim": claim.plain(), "bound": claim.bound} if claim else {})


def _construct(comparison: Comparison, listener: Listener) -> Iterator[Contender]:
    first = comparison.names["construction"]
    recipes = {CONSTRUCTED: (first, comparison.construction)} | {
        f"{CONSTRUCTED}_{name}": (name, recipe) for name, recipe in comparison.beside.items()
    }
    for contender, (name, recipe) in recipes.items():
        listener.doing(f"building {name}")
        # With what its sizes took before, the time is that of the whole construction (the
        # cubature rules of a dimension are found once a process).
        start = time.perf_counter() - recipe.sizing_seconds
        try:
            built = recipe.build()
        except Refusal as refusal:
            if name != SOLVED_RIDGE:
                raise
            listener.news(f"no {name}: {refusal}")
            continue
        yield Contender(
            contender,
            name,
            built.network,
            built.claim,
            built.in_bad_set,
            time.perf_counter() - start,
        )


def _fitted(comparison: Comparison, network: Network, listener: Listener) -> Iterator[Contender]:
    """Features beside the first construction; says why where they cannot be fitted."""
    for kind in comparison.features:
        name = f"{kind}{FEATURES}"
        listener.doing(f"fitting {name}")
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
            listener.news(f"no {name}: {refusal}")
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
    listener: Listener,
    checkpoint: Path,
) -> TrainingResult | None:
    """All rivals at once; None where no rule has a shape and there is no starting network."""
    matches = comparison.matches()
    for name, found in matches.items():
        if not found.shapes:
            listener.news(f"no {name}: {found.note}")
    starts = _starts(comparison, constructed, listener)
    if not starts and not any(found.shapes for found in matches.values()):
        return None
    from depthwright.training import train_rivals

    listener.doing("training")
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
        news=listener.news,
    )


def _starts(comparison: Comparison, constructed: Network, listener: Listener) -> dict[str, Layers]:
    """Starting networks of `tuned`, where asked for and the construction can be trained on."""
    if not comparison.training.tuned_noises:
        return {}
    try:
        return {TUNED: start(constructed)}
    except Refusal as refusal:
        listener.news(f"no {TUNED}: {refusal}")
        return {}
