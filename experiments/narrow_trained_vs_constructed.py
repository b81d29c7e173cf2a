"""Deep narrow networks, constructed and trained: error against depth, and who collapses.

    python experiments/narrow_trained_vs_constructed.py [--scale smoke|cpu|gpu]

Targets are random depth-2 networks of width depth − 1 on [−1, 1]², whose exact twin
(`NarrowExact`: equal everywhere, width 7) has that depth. Its rivals have the same depth, in
four styles (plain, residual, normalised, normalised_residual), at width d + 2 = 4 and at the width
that the twin's number of parameters allows; one more has those parameters in one wide hidden layer.
Errors are root mean squares over the target's standard deviation: 1 is what the best constant
reaches. "Collapsed": the best snapshot does no better than 0.98; "dead": a constant at the end.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from depthwright.constructions import NarrowExact
from depthwright.experiment import Experiment, Run, largest
from depthwright.figures.chart import Chart, Panel, Series, series
from depthwright.networks.styles import STYLES
from depthwright.targets import RandomNetwork
from depthwright.training.matching import hidden_width

if TYPE_CHECKING:
    import polars

INPUT_DIM = 2
DEPTHS = {
    "smoke": (8, 32),
    "cpu": (8, 16, 32, 64, 128, 256, 512, 1000),
    "gpu": (8, 16, 32, 64, 128, 256, 512, 1000, 2000),
}
STEPS = {"smoke": 60, "cpu": 600, "gpu": 600}
SEEDS = {"smoke": 2, "cpu": 4, "gpu": 4}
POINTS = 4096
COLLAPSED = 0.98
TWIN = 1e-9
"""Far above the rounding of float64 through a thousand layers."""
COLOURS = dict(zip(STYLES, ("#c8553d", "#e09f3e", "#6d1a36", "#4c956c"), strict=True))


def shapes(depth: int) -> dict[str, tuple[int, ...]]:
    """Full widths by contender."""
    budget = NarrowExact(RandomNetwork(INPUT_DIM, depth - 1, 2)).architecture().parameters
    equal = hidden_width(INPUT_DIM, 1, depth, budget)
    return {
        "width": (INPUT_DIM, *[INPUT_DIM + 2] * (depth - 1), 1),
        "parameters": (INPUT_DIM, *[equal] * (depth - 1), 1),
        "shallow": (INPUT_DIM, hidden_width(INPUT_DIM, 1, 2, budget), 1),
    }


def _summary(style: str, members: Sequence[Any], deviation: float) -> dict[str, Any]:
    errors = sorted(m.best_rmse / deviation for m in members)
    return {
        "style": style,
        "width": members[0].widths[1],
        "members": len(members),
        "best": errors[0],
        "median": statistics.median(errors),
        "worst": errors[-1],
        "collapsed": sum(not error < COLLAPSED for error in errors) / len(errors),
        "dead": sum(m.dead for m in members) / len(members),
        "diverged": sum(m.diverged_at is not None for m in members) / len(members),
    }


def measure(target_depth: int, steps: int, seeds: int) -> list[dict[str, Any]]:
    """The narrow network and rivals of one depth: one row per contender and style."""
    import torch

    from depthwright.distributions import UniformCube
    from depthwright.training import TrainerConfig, TrainingConfig, train_rivals

    target, law = RandomNetwork(INPUT_DIM, target_depth - 1, 2), UniformCube(INPUT_DIM)
    built = NarrowExact(target).build()
    x = law.sample(POINTS, torch.Generator().manual_seed(1), torch.float64)
    truth = target(x)
    deviation = float(truth.std())
    gap = built.network.evaluate(x, "float64") - truth
    size = built.network.architecture
    error = float(gap.square().mean().sqrt()) / deviation
    result = train_rivals(
        {name: [shape] for name, shape in shapes(target_depth).items()},
        target,
        law,
        TrainingConfig(
            steps=steps,
            batch_size=128,
            learning_rates=[1e-3, 1e-2],
            seeds=seeds,
            styles=list(STYLES),
            validation_points=POINTS,
        ),
        TrainerConfig(accelerator="cpu"),
        progress=False,
    )
    twin = {"contender": "constructed", "style": "", "width": size.width, "members": 1}
    twin |= dict.fromkeys(("best", "median", "worst"), error)
    twin |= dict.fromkeys(("collapsed", "dead", "diverged"), 0.0)
    trained = [
        {"contender": name, **_summary(style, members, deviation)}
        for name, rival in result.rivals.items()
        for style in STYLES
        if (members := [m for m in rival.members if m.style == style])
    ]
    return [{"depth": size.depth, **row} for row in (twin, *trained)]


def rows(run: Run) -> polars.DataFrame:
    more = {"steps": STEPS[run.scale], "seeds": SEEDS[run.scale]}
    return run.cells([{"target_depth": depth, **more} for depth in DEPTHS[run.scale]], measure)


def chart(rows: polars.DataFrame) -> Chart:
    """Error against depth at equal width and at equal parameters; share of collapsed networks."""
    panels = []
    # A line ten orders of magnitude lower would compress all others.
    twin = f"twin: ≤ {largest(_rows(rows, 'constructed', ''), 'best'):.0e}"
    for contender, title in (
        ("width", f"width d + 2 = {INPUT_DIM + 2}"),
        ("parameters", "as many parameters as the twin"),
    ):
        lines: list[Series] = []
        for style in STYLES:
            part, colour = _rows(rows, contender, style), COLOURS[style]
            lines.append(series(part, "depth", "best", f"{_words(style)}, best", contender=colour))
            told = f"{_words(style)}, median"
            lines.append(series(part, "depth", "median", told, "matched", contender=colour))
        wide = _rows(rows, "shallow", "plain")
        lines.append(series(wide, "depth", "best", "depth 2, plain, best", contender="#7a5195"))
        constant = (("the best constant", 1.0),)
        y = "error / target's deviation"
        panels.append(
            Panel("depth", y, tuple(lines), True, True, lines=constant, title=f"{title}; {twin}")
        )
    shares = []
    for style in STYLES:
        part, colour = _rows(rows, "width", style), COLOURS[style]
        told = f"{_words(style)}, collapsed"
        shares.append(series(part, "depth", "collapsed", told, contender=colour))
        told = f"{_words(style)}, dead at the end"
        shares.append(series(part, "depth", "dead", told, "matched", contender=colour))
    title = f"No better than {COLLAPSED} (width d + 2)"
    panels.append(Panel("depth", "share of networks", tuple(shares), x_log=True, title=title))
    return Chart(tuple(panels))


def _words(style: str) -> str:
    return style.replace("_", ", ")


def _rows(rows: polars.DataFrame, contender: str, style: str) -> polars.DataFrame:
    import polars

    named = (polars.col("contender") == contender) & (polars.col("style") == style)
    return rows.filter(named).sort("depth")


def sentence(rows: polars.DataFrame) -> str:
    said, where = [], {}
    for style in STYLES:
        part = list(_rows(rows, "width", style).iter_rows(named=True))
        last = part[-1]
        learnt = max((row["depth"] for row in part if row["collapsed"] < 1), default=0)
        gone = next((row["depth"] for row in part if row["depth"] > learnt), None)
        where[style] = f"all collapse from depth {gone} on" if gone else "some learn at every depth"
        said.append(
            f"{_words(style)}, {where[style]}, best {last['best']:.2g} and {last['collapsed']:.0%} "
            f"collapsed at depth {last['depth']}"
        )
    twin = largest(_rows(rows, "constructed", ""), "best")
    return (
        f"Of plain networks of width {INPUT_DIM + 2} that are trained, {where['plain']}; the "
        f"constructed twin is within {twin:.1e} of its target at every depth. Errors are relative, "
        f"in float64. A network has collapsed where it is no better than {COLLAPSED:g} of the best "
        f"constant. Trained at the twin's depth: {'; '.join(said)}."
    )


def broken(rows: polars.DataFrame) -> list[str]:
    return [
        f"depth {row['depth']}: the twin is {row['best']:.2g} off, relative to the deviation"
        for row in _rows(rows, "constructed", "").iter_rows(named=True)
        if not row["best"] <= TWIN
    ]


COLUMNS = (
    *("depth", "contender", "style", "width", "members", "best", "median", "worst"),
    *("collapsed", "dead", "diverged"),
)
EXPERIMENT = Experiment(rows, chart, sentence, COLUMNS, broken)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
