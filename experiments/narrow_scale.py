"""What it takes to build, save and load the packed narrow twin of a wide network.

    python experiments/narrow_scale.py [--widths 64 256 1024 4096] [--evaluate 2]

Targets are He-initialised, d = 16, L = 3, on [−1, 1]^16; accuracy and failure probability 1e-2.
Each width runs in a process of its own, so that its peak memory is its own. Building begins with
the target's matrices and ends with the network: norms, choice of bits, layers. What is loaded must
be what was saved, term by term; with `--evaluate N`, built and loaded network are evaluated exactly
at N points and the error there is compared with the claim.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

ACCURACY = FAILURE = 1e-2
INPUT_DIM, DEPTH = 16, 3
WIDTHS = (64, 128, 256, 512, 1024, 2048, 4096)
LIMITS = 60.0, 4.0
"""Seconds and GB that the largest width is meant to stay under."""


@dataclass(frozen=True)
class Row:
    """One width, measured."""

    width: int
    norms_seconds: float
    sizing_seconds: float
    layers_seconds: float
    build_gigabytes: float
    """Peak of the process up to the built network, target included."""
    depth: int
    parameters: int
    share: float
    """Of the target's parameters."""
    save_seconds: float
    megabytes: float
    load_seconds: float
    peak_gigabytes: float
    """Peak of the whole process: target, built and loaded network at once."""
    evaluate_seconds: float | None
    error: float | None
    bound: float

    @property
    def build_seconds(self) -> float:
        """From the target's matrices to the network."""
        return self.norms_seconds + self.sizing_seconds + self.layers_seconds


def peak_gigabytes() -> float:
    """Of this process so far. Linux counts kilobytes, macOS bytes."""
    unit = 1e9 if sys.platform == "darwin" else 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def measure(width: int, points: int) -> Row:
    """Build, save, load; evaluate if there are points."""
    from depthwright.constructions import NarrowPacked
    from depthwright.networks import Architecture
    from depthwright.networks.exact import ExactNetwork
    from depthwright.networks.files import load
    from depthwright.targets import RandomNetwork

    target = RandomNetwork(INPUT_DIM, width, DEPTH, initialisation="he")
    recipe = NarrowPacked(target, ACCURACY, FAILURE)
    assert target.weights
    lap = Lap()
    assert recipe.bounds
    norms = lap.seconds()
    assert recipe.sizing
    sizing = lap.seconds()
    built = recipe.build()
    layers = lap.seconds()
    gigabytes = peak_gigabytes()
    size = built.network.architecture
    if size != recipe.architecture():
        raise SystemExit(f"width {width}: counted {size}, by formula {recipe.architecture()}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "twin.jsonl.gz"
        lap = Lap()
        built.network.save(path)
        save = lap.seconds()
        megabytes = path.stat().st_size / 1e6
        lap = Lap()
        again = load(path)
        loading = lap.seconds()
    peak = peak_gigabytes()
    assert isinstance(again, ExactNetwork)
    assert isinstance(built.network, ExactNetwork)
    if not same(built.network, again):
        raise SystemExit(f"width {width}: the network that was loaded is not the one saved")
    seconds = error = None
    if points:
        import torch

        from depthwright.distributions import UniformCube

        x = UniformCube(INPUT_DIM).sample(points, torch.Generator().manual_seed(0))
        assert built.fails is not None
        lap = Lap()
        values = again.evaluate(x)
        seconds = lap.seconds()
        if not torch.equal(values, built.network.evaluate(x)):
            raise SystemExit(f"width {width}: what was loaded has other values than what was saved")
        gaps = (values - target(x)).abs().amax(dim=1).numpy()[~built.fails(x.numpy())]
        error = float(gaps.max(initial=0.0))
        if not error <= built.claim.bound:
            raise SystemExit(f"width {width}: error {error}, claim {built.claim.bound}")
    own = Architecture.of(target.widths).parameters
    return Row(
        width, norms, sizing, layers, gigabytes, size.depth, size.parameters,
        size.parameters / own, save, megabytes, loading, peak, seconds, error, built.claim.bound,
    )  # fmt: skip


class Lap:
    """Seconds since the last call."""

    def __init__(self) -> None:
        self.start = time.perf_counter()

    def seconds(self) -> float:
        """And start again."""
        before, self.start = self.start, time.perf_counter()
        return self.start - before


def same(one: object, two: object) -> bool:
    """Every value of every layer, and what the header says."""
    from depthwright.networks.exact import ExactNetwork

    assert isinstance(one, ExactNetwork)
    assert isinstance(two, ExactNetwork)
    heads = [(n.arithmetic, n.radius, n.value_bits, len(n.layers)) for n in (one, two)]
    return heads[0] == heads[1] and all(
        a.fan_in == b.fan_in and a.fan_out == b.fan_out and a.expressions() == b.expressions()
        for a, b in zip(one.layers, two.layers, strict=True)
    )


def main() -> None:
    """Table, picture, sentence."""
    parser = argparse.ArgumentParser(description="Building packed narrow networks at scale.")
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--evaluate", type=int, default=0, metavar="N", help="at N points")
    parser.add_argument("--output", type=Path, default=Path("outputs/narrow_scale"))
    options = parser.parse_args()
    rows = []
    for width in track(options.widths, "widths", console=Console(stderr=True)):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            rows.append(alone.submit(measure, width, options.evaluate).result())
    console = Console()
    show(rows, console)
    console.print(f"picture  {draw(rows, options.output / 'narrow_scale.png').absolute()}")
    console.print(sentence(rows))


def show(rows: list[Row], console: Console) -> None:
    """The table."""
    table = Table(title=f"d = {INPUT_DIM}, L = {DEPTH}, accuracy {ACCURACY:g}: build, save, load")
    for column in (
        "n", "depth", "build s", "GB", "save s", "MB", "load s", "GB", "eval s", "error",
    ):  # fmt: skip
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            f"{row.width:,}", f"{row.depth:,}", f"{row.build_seconds:.1f}",
            f"{row.build_gigabytes:.2f}", f"{row.save_seconds:.1f}", f"{row.megabytes:.1f}",
            f"{row.load_seconds:.1f}", f"{row.peak_gigabytes:.2f}",
            "–" if row.evaluate_seconds is None else f"{row.evaluate_seconds:.0f}",
            "–" if row.error is None else f"{row.error:.1e}",
        )  # fmt: skip
    console.print(table)


def sentence(rows: list[Row]) -> str:
    """What was meant and what was measured."""
    last = max(rows, key=lambda row: row.width)
    seen = ""
    if last.error is not None:
        seen = (
            f", its values at the points tried the same as before saving, off the target by "
            f"{last.error:.1e} at most (promised {last.bound:.1e})"
        )
    kept = last.build_seconds < LIMITS[0] and last.build_gigabytes < LIMITS[1]
    return (
        f"The twin of width {last.width:,} ({last.depth:,} layers, {last.parameters:,} parameters, "
        f"{last.share:.3g} of the target's) is built in {last.build_seconds:.1f} s "
        f"(norms {last.norms_seconds:.1f}, choice of bits {last.sizing_seconds:.1f}, "
        f"layers {last.layers_seconds:.1f}) with "
        f"{last.build_gigabytes:.2f} GB at most, target included "
        f"({'within' if kept else 'NOT within'} {LIMITS[0]:g} s and {LIMITS[1]:g} GB), saved in "
        f"{last.save_seconds:.1f} s as {last.megabytes:.0f} MB and loaded, checked entry by entry, "
        f"in {last.load_seconds:.1f} s: the same network{seen}."
    )


def draw(rows: list[Row], path: Path) -> Path:
    """Seconds and memory against the width."""
    from depthwright.figures.style import COLOURS, OTHERS, below, figure, save

    drawing, (left, right) = figure(2)
    widths = [row.width for row in rows]
    for name, colour, values in (
        ("build", COLOURS["constructed"], [row.build_seconds for row in rows]),
        ("save", OTHERS[1], [row.save_seconds for row in rows]),
        ("load", OTHERS[3], [row.load_seconds for row in rows]),
    ):
        left.plot(widths, values, color=colour, marker="o", markersize=3, label=name)
    for name, colour, values in (
        ("peak while building, GB", COLOURS["constructed"], [r.build_gigabytes for r in rows]),
        ("peak with the loaded one, GB", OTHERS[3], [r.peak_gigabytes for r in rows]),
        ("file, GB", OTHERS[1], [row.megabytes / 1e3 for row in rows]),
    ):
        right.plot(widths, values, color=colour, marker="o", markersize=3, label=name)
    for panel, label in ((left, "seconds"), (right, "GB")):
        panel.set(xscale="log", yscale="log", xlabel="target width n", ylabel=label)
        below(panel)
    return save(drawing, path)


if __name__ == "__main__":
    main()
