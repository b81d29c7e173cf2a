"""Deep narrow networks, constructed and trained: error against depth, and who collapses.

    python experiments/narrow_trained_vs_constructed.py [--depths 8 16 … 2000] [--steps 600]

Targets are random depth-2 networks of width depth − 1 on [−1, 1]², whose exact twin
(`NarrowExact`: equal everywhere, width 7) has that depth. Its rivals have the same depth, in
four styles (plain, residual, normalised, normalised_residual), at width d + 2 = 4 and at the width
that the twin's number of parameters allows; one more has those parameters in one wide hidden layer.
Errors are root mean squares over the target's standard deviation: 1 is what the best constant
reaches. "Collapsed": the best snapshot does no better than 0.98; "dead": a constant at the end.
One file per depth; a depth that is there is not trained again. Default depths take about four
minutes on two cores, 2000 as long again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from depthwright.constructions import NarrowExact
from depthwright.distributions import UniformCube
from depthwright.figures.style import figure, save
from depthwright.networks.styles import STYLES
from depthwright.results import write_json
from depthwright.targets import RandomNetwork
from depthwright.training import TrainerConfig, TrainingConfig, train_rivals
from depthwright.training.matching import hidden_width

INPUT_DIM = 2
DEPTHS = (8, 16, 32, 64, 128, 256, 512, 1000)
POINTS = 4096
COLLAPSED = 0.98
LOWEST = 5e-3
"""Where the pictured errors begin: the twin's lie ten orders of magnitude below."""
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


def train(depth: int, steps: int, folder: Path) -> dict[str, Any]:
    """Everything about one depth, from its file if that is there."""
    path = folder / f"depth-{depth}-steps-{steps}.json"
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    target, law = RandomNetwork(INPUT_DIM, depth - 1, 2), UniformCube(INPUT_DIM)
    built = NarrowExact(target).build()
    x = law.sample(POINTS, torch.Generator().manual_seed(1), torch.float64)
    truth = target(x)
    deviation = float(truth.std())
    gap = built.network.evaluate(x, "float64") - truth
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / f"{path.stem}.ckpt"
    by_name = shapes(depth)
    result = train_rivals(
        {name: [shape] for name, shape in by_name.items()},
        target,
        law,
        TrainingConfig(
            steps=steps,
            batch_size=128,
            learning_rates=[1e-3, 1e-2],
            seeds=4,
            styles=list(STYLES),
            validation_points=POINTS,
        ),
        TrainerConfig(accelerator="cpu"),
        checkpoint=checkpoint,
    )
    size = built.network.architecture
    found = {
        "depth": size.depth,
        "constructed": {
            "width": size.width,
            "parameters": size.parameters,
            "error": float(gap.square().mean().sqrt()) / deviation,
        },
        "trained": [
            {"contender": name, **_summary(style, members, deviation)}
            for name, rival in result.rivals.items()
            for style in STYLES
            if (members := [m for m in rival.members if m.style == style])
        ],
    }
    write_json(path, found)
    checkpoint.unlink(missing_ok=True)
    return found


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


def picture(found: Sequence[dict[str, Any]], path: Path) -> Path:
    """Error against depth at equal width and at equal parameters; share of the collapsed."""
    drawing, panels = figure(3)
    own: dict[str, Any]
    for panel, contender, title in (
        (panels[0], "width", f"width d + 2 = {INPUT_DIM + 2}"),
        (panels[1], "parameters", "as many parameters as the twin"),
    ):
        for style in STYLES:
            rows = _rows(found, contender, style)
            own = {"color": COLOURS[style]}
            panel.plot(*_points(rows, "best"), "o-", label=f"{_words(style)}, best", **own)
            panel.plot(*_points(rows, "median"), ":", label="  median", **own)
        wide = _rows(found, "shallow", "plain")
        panel.plot(*_points(wide, "best"), "s--", color="#7a5195", label="depth 2, best")
        twin = max(one["constructed"]["error"] for one in found)
        panel.text(
            0.02,
            0.02,
            f"↓ constructed twin (width 7): at most {twin:.1e} at every depth",
            transform=panel.transAxes,
            color="#0b6e99",
            fontsize=8,
        )
        panel.axhline(1, color="#222222", linewidth=0.8)
        panel.set(xscale="log", yscale="log", xlabel="depth", ylabel="error / target's deviation")
        panel.set_ylim(bottom=LOWEST)
        panel.set_title(title, loc="left", fontsize=10)
    for style in STYLES:
        rows = _rows(found, "width", style)
        own = {"color": COLOURS[style]}
        panels[2].plot(*_points(rows, "collapsed"), "o-", label=f"{_words(style)}", **own)
        panels[2].plot(*_points(rows, "dead"), "x:", label="  of them dead at the end", **own)
    panels[2].set(xscale="log", xlabel="depth", ylabel="share of networks", ylim=(-0.03, 1.03))
    panels[2].set_title(f"No better than {COLLAPSED} (width d + 2)", loc="left", fontsize=10)
    for panel in panels:
        panel.legend(
            fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2
        )
    return save(drawing, path)


def _words(style: str) -> str:
    return style.replace("_", ", ")


def _rows(found: Sequence[dict[str, Any]], contender: str, style: str) -> list[dict[str, Any]]:
    return [
        {"depth": one["depth"], **row}
        for one in found
        for row in one["trained"]
        if (row["contender"], row["style"]) == (contender, style)
    ]


def _points(rows: Sequence[dict[str, Any]], key: str) -> tuple[list[int], list[float]]:
    return [row["depth"] for row in rows], [row[key] for row in rows]


def sentence(found: Sequence[dict[str, Any]]) -> str:
    """What the theory says, what was measured."""
    twin = max(one["constructed"]["error"] for one in found)
    said = []
    for style in STYLES:
        rows = _rows(found, "width", style)
        last = rows[-1]
        learnt = max((row["depth"] for row in rows if row["collapsed"] < 1), default=0)
        gone = next((row["depth"] for row in rows if row["depth"] > learnt), None)
        where = f"all collapse from depth {gone} on" if gone else "some learn at every depth"
        said.append(
            f"{_words(style)}: {where}, best {last['best']:.2g} and {last['collapsed']:.0%} "
            f"collapsed at depth {last['depth']}"
        )
    return (
        f"The twin equals its target at every depth (largest relative error {twin:.1e}, float64). "
        f"Trained at the same depth and width {INPUT_DIM + 2}: {'; '.join(said)}."
    )


def main(arguments: Sequence[str] | None = None) -> Path:
    """Train what is missing, draw, say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--depths", type=int, nargs="+", default=DEPTHS)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--output", default="outputs")
    options = parser.parse_args(arguments)
    folder = Path(options.output) / "narrow_trained_vs_constructed"
    found = [train(depth, options.steps, folder) for depth in options.depths]
    path = picture(found, folder / "narrow_trained_vs_constructed.png")
    for one in found:
        for row in one["trained"]:
            print(
                f"depth {one['depth']:5} {row['contender']:10} {row['style']:20} "
                f"width {row['width']:5} best {row['best']:.3g} median {row['median']:.3g} "
                f"collapsed {row['collapsed']:.0%} dead {row['dead']:.0%}"
            )
    print(sentence(found))
    print(f"picture  {path.absolute()}")
    return path


if __name__ == "__main__":
    main()
