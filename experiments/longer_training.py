"""What a longer training brings: 4,000 to 64,000 steps, beside the network that was solved for.

    python experiments/longer_training.py [--scale smoke|cpu|gpu] [--limit SECONDS]

Cone in d = 5 and 10 at the widths of `radial_vs_dimension.py`. Trained: the best of
training=search, whose budget in network-steps is that of twelve members of so many steps. Solved:
`SparseRidge(solved="least_squares")`, whose own descent is told in seconds. Tuned: trained on from
the solved network's weights, for as many network-steps. Marks are medians over seeds, bars reach
from the best seed to the worst one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from depthwright.experiment import Experiment, Run
from depthwright.figures.chart import Chart, Kind, Panel, Series
from depthwright.results import contradictions
from radial_contenders import COLOURS, EFFORTS, SOLVED, TRAINED, TUNED, lines, measure, over_seeds

if TYPE_CHECKING:
    import polars

ACCURACY = 0.1
WIDTHS = {5: 40, 10: 160}
STEPS = {"smoke": (100, 300), "cpu": (4000, 16_000, 64_000), "gpu": (4000, 16_000, 64_000)}
MEMBERS = 12
"""Networks trained to the end that a budget would last for."""
DIMENSIONS = {"smoke": (5,), "cpu": (5, 10), "gpu": (5, 10)}
SEEDS = {"smoke": 1, "cpu": 3, "gpu": 3}


def cells(scale: str) -> Iterator[dict[str, Any]]:
    own = asdict(EFFORTS[scale])
    for seed in range(SEEDS[scale]):
        for d in DIMENSIONS[scale]:
            place = {"target": "Cone", "input_dim": d, "accuracy": ACCURACY, "width": WIDTHS[d]}
            yield place | {"contender": SOLVED, "seed": seed} | own
            for steps in STEPS[scale]:
                for contender in (TRAINED, TUNED):
                    found = place | {"contender": contender, "seed": seed} | own
                    yield found | {"budget": MEMBERS * steps}


def rows(run: Run) -> polars.DataFrame:
    import polars

    steps = polars.col("budget") // MEMBERS
    return run.cells(cells(run.scale), measure).with_columns(steps=steps)


def chart(rows: polars.DataFrame) -> Chart:
    panels = []
    for d in sorted(set(rows["input_dim"].to_list())):
        part = rows.filter(rows["input_dim"] == d)
        trained = part.filter(part["contender"] != SOLVED)
        ticks = tuple(float(n) for n in sorted(set(trained["steps"].to_list())))
        if len(ticks) < 2:  # of cells that a limit has cut short
            continue
        found = lines(over_seeds(trained, "steps"), "steps", (TRAINED, TUNED))["error"]
        solved = over_seeds(part.filter(part["contender"] == SOLVED), "steps")
        shown: tuple[tuple[str, str, Kind], ...] = (
            ("error_l2", "L2", "measured"),
            ("error_sup_attacked", "largest found", "sampled"),
        )
        flat = [
            Series(
                f"solved: {name}", (ticks[0], ticks[-1]), tuple(solved[y].to_list() * 2), kind,
                COLOURS[SOLVED][0],
            )
            for y, name, kind in shown
        ]  # fmt: skip
        panels.append(
            Panel(
                "steps of a member to the end",
                "error",
                (*found, *flat),
                x_log=True,
                y_log=True,
                ticks=ticks,
                title=f"Cone, d = {d}, {WIDTHS[d]} neurons",
            )
        )
    return Chart(tuple(panels))


def sentence(rows: polars.DataFrame) -> str:
    told, finding = [], "No network was trained for two lengths"
    for d in sorted(set(rows["input_dim"].to_list())):
        middle = over_seeds(rows.filter(rows["input_dim"] == d), "steps")
        (solved,) = middle.filter(middle["contender"] == SOLVED).to_dicts()
        part = f"d = {d}: solved {_errors(solved)} in {solved['build_seconds']:,.0f} s"
        for who in (TRAINED, TUNED):
            of = middle.filter(middle["contender"] == who).to_dicts()
            if not of:
                continue
            each = ", ".join(f"{_errors(row)} after {row['steps']:,}" for row in of)
            part += f"; {who} {each} steps ({of[-1]['train_seconds']:,.0f} s)"
            if who == TRAINED and len(of) > 1:
                finding = (
                    f"{of[-1]['steps'] / of[0]['steps']:.0f} times as many steps bring a trained "
                    f"network from an L2 error of {of[0]['error_l2']:.2g} to "
                    f"{of[-1]['error_l2']:.2g}; the solved one has {solved['error_l2']:.2g} "
                    f"(d = {d})"
                )
        told.append(part)
    return (
        f"{finding}. Below are L2 error / largest error found by the attack, medians over seeds. "
        f"{'. '.join(told)}."
    )


def _errors(row: dict[str, Any]) -> str:
    return f"{row['error_l2']:.2g} / {row['error_sup_attacked']:.2g}"


COLUMNS = (
    *("input_dim", "contender", "steps", "seed", "neurons", "error_l2", "error_l2_low"),
    *("error_l2_high", "error_sup_attacked", "build_seconds", "train_seconds", "network_steps"),
)
EXPERIMENT = Experiment(rows, chart, sentence, COLUMNS, contradictions)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
