"""Exact points per second: limb programs, gmpy2, python-flint and Python's integers, one run.

    python experiments/exact_speed.py [--points 100000] [--widths 4 8 16 64 256 1024]

Packed narrow networks of targets with d = 3 and L = 3, accuracy 1e-2, δ = 1e-2. Every way is timed
at as many of the same points as it does in about a second, the limb programs (whose compiling is
timed apart) on all threads, the others on one core: they have no threads. Values are compared bit
for bit. *Repaid after* is the number of points at which compiling and running has taken as long
as gmpy2; *chosen from*, at which the engine decides for it. On a CUDA device the GPU's points per
second stand beside them, and the additions of 64-bit words that its kernel did as a share of
what the chip's 32-bit integer units could do.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from depthwright.constructions import NarrowPacked
from depthwright.distributions import UniformCube
from depthwright.figures.style import COLOURS, OTHERS, below, figure, save
from depthwright.networks import ExactNetwork, evaluation, limb_engine, limb_kernel
from depthwright.targets import RandomNetwork

ACCURACY = FAILURE = 1e-2
SECONDS = 1.0
"""Each of the slower ways gets about so long a width."""
WAYS = ("gmpy2", "python-flint", "Python")
GPU_INTEGER_LANES = 64
"""32-bit integer additions a cycle and multiprocessor, on compute capabilities 7.0 to 9.0."""


def integers(way: str) -> Any:
    """The integer type of a way."""
    if way == "gmpy2":
        from gmpy2 import mpz

        return mpz
    if way == "python-flint":
        from flint import fmpz

        return fmpz
    return int


def reference(network: ExactNetwork, x: np.ndarray, way: str) -> tuple[np.ndarray, float]:
    """Values, and points per second, of the integer evaluator with one way's integers."""
    kind, usual = integers(way), evaluation._big
    evaluation._big = lambda: kind  # type: ignore[assignment]
    try:
        start = time.perf_counter()
        values = evaluation.to_float64(evaluation.exact_values(network, x))
        return values, len(x) / (time.perf_counter() - start)
    finally:
        evaluation._big = usual


def timed(network: ExactNetwork, x: np.ndarray, way: str) -> tuple[np.ndarray, float]:
    """The same, at as many points as take about SECONDS."""
    values, speed = reference(network, x[:1], way)
    if speed < 2 / SECONDS:
        return values, speed
    _, speed = reference(network, x[: max(2, int(speed * SECONDS / 4))], way)
    return reference(network, x[: max(1, int(speed * SECONDS))], way)


def best(times: int, run: Callable[[], object]) -> float:
    """Seconds of the fastest of several runs."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def chosen_from(network: ExactNetwork) -> int:
    """The smallest number of points for which the engine compiles."""
    low, high = 0, 1
    while not limb_engine.worth_compiling(network, high, known=False):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if limb_engine.worth_compiling(network, middle, known=False):
            high = middle
        else:
            low = middle
    return high


def limbs(network: ExactNetwork, x: np.ndarray) -> dict[str, Any]:
    """Values, points per second, compile seconds and limb operations a point."""
    start = time.perf_counter()
    program = limb_engine.program_for(network, -64, limb_engine.reach(network, x))
    seconds = time.perf_counter() - start
    threads = numba.get_num_threads()
    part = x[: threads * limb_engine.tile_size(program, len(x))]
    for _ in range(4):  # the first run loads the machine code
        took = best(2, lambda part=part: limb_engine.run(program, part))  # type: ignore[misc]
        if len(part) == len(x) or took > SECONDS:
            break
        part = x[: min(len(x), int(len(part) * max(2.0, 2 * SECONDS / took)))]
    speed, values = len(part) / took, limb_engine.run(program, part)
    tile = limb_engine.tile_size(program, len(x))
    tables = (program.rows, program.terms, program.constants, program.inputs, program.outputs)
    out = np.empty((tile, len(program.outputs)))
    done = limb_kernel.run(
        x[:tile], tables, program.input_grid, program.places, program.arena, tile, out, 1
    )
    return {"values": values, "speed": speed, "compile": seconds, "points": len(part), "done": done}


def on_gpu(network: ExactNetwork, x: np.ndarray, done: np.ndarray) -> dict[str, float]:
    """Points per second, and the share of the chip's integer additions that they are."""
    device = torch.device("cuda")
    points = torch.from_numpy(x).to(device)
    network.evaluate(points[:1024], engine="limbs")

    def run() -> None:
        network.evaluate(points, engine="limbs")
        torch.cuda.synchronize()

    speed = len(points) / best(3, run)
    chip = torch.cuda.get_device_properties(device)
    clock = 1e6 * torch.cuda.clock_rate(device)
    limit = chip.multi_processor_count * GPU_INTEGER_LANES * clock
    additions = speed * float(done[0] * 4 + done[1] * 16 + done[2])  # in 32-bit instructions
    return {"speed": speed, "operations": additions, "share": additions / limit}


def measure(width: int, count: int, console: Console) -> dict[str, Any]:
    """One width: every way's points per second."""
    start = time.perf_counter()
    built = NarrowPacked(RandomNetwork(3, width, 3, seed=0), ACCURACY, FAILURE).build()
    network = built.network
    assert isinstance(network, ExactNetwork)
    x = UniformCube(3).sample(count, torch.Generator().manual_seed(0)).double().numpy()
    found: dict[str, Any] = {"n": width, "build": time.perf_counter() - start}
    found["limbs"] = limbs(network, x)
    found["chosen"] = chosen_from(network)
    for way in WAYS:
        values, found[way] = timed(network, x, way)
        if not np.array_equal(values, found["limbs"]["values"][: len(values)]):
            raise SystemExit(f"n = {width}: {way} and the limb programs disagree")
    if torch.cuda.is_available():
        found["gpu"] = on_gpu(network, x, found["limbs"]["done"])
    gain = 1 / found["gmpy2"] - 1 / found["limbs"]["speed"]
    found["repaid"] = found["limbs"]["compile"] / gain if gain > 0 else float("inf")
    console.print(
        f"n = {width}: {len(network.layers):,} layers, values of {network.value_bits:,} bits, "
        f"{found['limbs']['points']:,} points; a tile of points adds {found['limbs']['done'][0]:,} "
        f"limbs, multiplies {found['limbs']['done'][1]:,}, moves {found['limbs']['done'][2]:,}; "
        f"{found['limbs']['speed']:,.4g} points a second, gmpy2 {found['gmpy2']:,.3g}"
    )
    return found


def main() -> None:
    """Table, picture, sentence."""
    parser = argparse.ArgumentParser(description="Exact evaluation, four ways.")
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--widths", type=int, nargs="+", default=[4, 8, 16, 64, 256, 1024])
    parser.add_argument("--output", type=Path, default=Path("outputs/exact_speed"))
    options = parser.parse_args()
    console = Console(width=150)
    rows = [measure(width, options.points, console) for width in options.widths]
    threads = numba.get_num_threads()
    gpu = "gpu" in rows[0]
    table = Table(
        title=f"exact points per second, d = 3, L = 3; limb programs on {threads} threads"
    )
    for column in ("n", "limbs", *WAYS, *(f"limbs/{way}" for way in WAYS)):
        table.add_column(column, justify="right")
    for column in ("compile s", "repaid after", "chosen from"):
        table.add_column(column, justify="right")
    for column in ("GPU", "GPU/gmpy2", "share") if gpu else ():
        table.add_column(column, justify="right")
    for row in rows:
        speed = row["limbs"]["speed"]
        cells = [f"{row['n']:,}", f"{speed:,.4g}", *(f"{row[way]:,.3g}" for way in WAYS)]
        cells += [f"{speed / row[way]:,.0f}×" for way in WAYS]
        cells += [f"{row['limbs']['compile']:.2f}", f"{row['repaid']:,.0f}", f"{row['chosen']:,}"]
        if gpu:
            cells += [f"{row['gpu']['speed']:,.4g}", f"{row['gpu']['speed'] / row['gmpy2']:,.0f}×"]
            cells += [f"{row['gpu']['share']:.1%}"]
        table.add_row(*cells)
    console.print(table)
    drawing, (panel,) = figure(1)
    lines = [(f"limb programs, {threads} threads", [r["limbs"]["speed"] for r in rows])]
    lines += [(f"{way}, one core", [row[way] for row in rows]) for way in WAYS]
    if gpu:
        lines.append((torch.cuda.get_device_name(), [row["gpu"]["speed"] for row in rows]))
    colours = (COLOURS["constructed"], *OTHERS)
    for (name, speeds), colour in zip(lines, colours, strict=False):
        panel.plot(options.widths, speeds, color=colour, marker="o", markersize=3, label=name)
    panel.set(xscale="log", yscale="log", xlabel="target width n")
    panel.set(ylabel="exact points per second")
    below(panel)
    console.print(f"picture  {save(drawing, options.output / 'exact_speed.png').absolute()}")
    ratios = [row["limbs"]["speed"] / row["gmpy2"] for row in rows]
    early = "never" if all(row["chosen"] >= row["repaid"] for row in rows) else "sometimes"
    console.print(
        f"the same bits {min(ratios):,.0f} to {max(ratios):,.0f} times faster than gmpy2; the "
        f"engine compiles {early} before that is repaid"
    )


if __name__ == "__main__":
    main()
