"""What it takes to build, save and load the packed narrow twin of a wide network.

    python experiments/narrow_scale.py [--scale smoke|cpu|gpu]

Targets are He-initialised, d = 16, L = 3, on [−1, 1]^16; accuracy and failure probability 1e-2.
Each width runs in a process of its own, so that its peak memory is its own. Building begins with
the target's matrices and ends with the network: norms, choice of bits, layers. What is loaded must
be what was saved, term by term; at the smaller widths of each scale built and loaded network are
evaluated exactly at some points and the error there is compared with the claim.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwright.experiment import Experiment, Run, peak_gigabytes
from depthwright.figures.chart import Chart, Panel, series

if TYPE_CHECKING:
    import polars

ACCURACY = FAILURE = 1e-2
INPUT_DIM, DEPTH = 16, 3
WIDTHS = {
    "smoke": (32, 64),
    "cpu": (64, 128, 256, 512, 1024, 2048, 4096),
    "gpu": (64, 128, 256, 512, 1024, 2048, 4096),
}
EVALUATED, POINTS = 128, 2
"""Networks of targets up to this width are evaluated, at this many points."""
LIMITS = 60.0, 4.0
"""Seconds and GB that building the largest twin is meant to stay under."""


def alone(width: int, points: int) -> dict[str, Any]:
    """Run `measure` in a fresh process, so that the peak of memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(measure, width, points).result()


def measure(width: int, points: int) -> dict[str, Any]:
    """Build, save, load; evaluate if there are points."""
    from depthwright.constructions import NarrowPacked
    from depthwright.networks import Architecture
    from depthwright.networks.exact.network import ExactNetwork
    from depthwright.networks.files import load
    from depthwright.targets import RandomNetwork

    target = RandomNetwork(INPUT_DIM, width, DEPTH, initialisation="he")
    recipe = NarrowPacked(target, ACCURACY)
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
    seconds = error = values_same = None
    if points:
        import torch

        from depthwright.distributions import UniformCube

        x = UniformCube(INPUT_DIM).sample(points, torch.Generator().manual_seed(0))
        lap = Lap()
        values = again.evaluate(x)
        seconds = lap.seconds()
        values_same = torch.equal(values, built.network.evaluate(x))
        gaps = (values - target(x)).abs().amax(dim=1).numpy()
        error = float(gaps.max(initial=0.0))
    return {
        "depth": size.depth,
        "parameters": size.parameters,
        "share": size.parameters / Architecture.of(target.widths).parameters,
        "build_seconds": norms + sizing + layers,
        "norms_seconds": norms,
        "sizing_seconds": sizing,
        "layers_seconds": layers,
        "build_gigabytes": gigabytes,  # target included
        "save_seconds": save,
        "file_gigabytes": megabytes / 1e3,
        "load_seconds": loading,
        "peak_gigabytes": peak,  # target, built and loaded network at once
        "evaluate_seconds": seconds,
        "error": error,
        "error_promised": built.claim.bound,
        "formula_right": size == recipe.architecture(),
        "same_network": same(built.network, again),
        "same_values": values_same,
    }


class Lap:
    """Seconds since the last call."""

    def __init__(self) -> None:
        self.start = time.perf_counter()

    def seconds(self) -> float:
        before, self.start = self.start, time.perf_counter()
        return self.start - before


def same(one: object, two: object) -> bool:
    """Whether every value of every layer, and the header, agree."""
    from depthwright.networks.exact.network import ExactNetwork

    assert isinstance(one, ExactNetwork)
    assert isinstance(two, ExactNetwork)
    heads = [(n.arithmetic, n.inputs, n.value_bits, len(n.layers)) for n in (one, two)]
    return heads[0] == heads[1] and all(
        a.fan_in == b.fan_in and a.fan_out == b.fan_out and a.expressions() == b.expressions()
        for a, b in zip(one.layers, two.layers, strict=True)
    )


def rows(run: Run) -> polars.DataFrame:
    cells = [{"width": n, "points": POINTS if n <= EVALUATED else 0} for n in WIDTHS[run.scale]]
    return run.cells(cells, alone)


def chart(rows: polars.DataFrame) -> Chart:
    build, save, load = "#0b6e99", "#4c956c", "#c8553d"
    seconds = (
        series(rows, "width", "build_seconds", "build", contender=build),
        series(rows, "width", "save_seconds", "save", contender=save),
        series(rows, "width", "load_seconds", "load", contender=load),
    )
    gigabytes = (
        series(rows, "width", "build_gigabytes", "memory while building", contender=build),
        series(rows, "width", "file_gigabytes", "file", "size", contender=save),
        series(rows, "width", "peak_gigabytes", "memory with the loaded one", contender=load),
    )
    x, ticks = "target width n", tuple(map(float, rows["width"]))
    return Chart(
        (
            Panel(x, "seconds", seconds, x_log=True, y_log=True, ticks=ticks),
            Panel(x, "GB", gigabytes, x_log=True, y_log=True, ticks=ticks),
        )
    )


def sentence(rows: polars.DataFrame) -> str:
    last = rows.sort("width").row(-1, named=True)
    tried = rows.drop_nulls("error").sort("width")
    seen = ""
    if not tried.is_empty():
        one = tried.row(-1, named=True)
        seen = (
            f" At width {one['width']:,} the values at the points tried are "
            f"{'the same' if one['same_values'] else 'NOT the same'} as before saving, "
            f"{one['error']:.1e} off the target at most (promised {one['error_promised']:.1e})."
        )
    kept = last["build_seconds"] < LIMITS[0] and last["build_gigabytes"] < LIMITS[1]
    return (
        f"The twin of a network {last['width']:,} neurons wide is built in "
        f"{last['build_seconds']:.2g} s and has {last['share']:.3g} times its parameters. It has "
        f"{last['depth']:,} layers and {last['parameters']:,} parameters. Building (norms "
        f"{last['norms_seconds']:.1f} s, choice of bits {last['sizing_seconds']:.1f} s, layers "
        f"{last['layers_seconds']:.1f} s) takes {last['build_gigabytes']:.2f} GB at most, target "
        f"included, {'within' if kept else 'NOT within'} {LIMITS[0]:g} s and {LIMITS[1]:g} GB. "
        f"Saved in {last['save_seconds']:.1f} s as {1e3 * last['file_gigabytes']:.2g} MB and "
        f"loaded in {last['load_seconds']:.1f} s, checked entry by entry, it is "
        f"{'the same network' if last['same_network'] else 'NOT the same network'}.{seen}"
    )


def broken(rows: polars.DataFrame) -> list[str]:
    found = []
    for row in rows.iter_rows(named=True):
        wrong = {
            "formula and count differ": not row["formula_right"],
            "what was loaded is not what was saved": not row["same_network"],
            "what was loaded has other values": row["same_values"] is False,
            "error above the claim": row["error"] is not None
            and not row["error"] <= row["error_promised"],
        }
        found += [f"width {row['width']}: {what}" for what, is_so in wrong.items() if is_so]
    return found


EXPERIMENT = Experiment(rows, chart, sentence, broken=broken)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
