"""How fast rivals are trained: this trainer beside four others, same networks, same batches.

    python experiments/training_speed.py [--scale smoke|cpu|gpu]

Depth-2 networks on 10 inputs, the cone as target, Adam under a cosine, float32; every trainer gets
the same initial weights and the same batches, drawn beforehand (this trainer draws them itself, and
its time includes that, its validations and its checkpointing). Steps a second are network-steps:
members × optimiser steps. The median of several repeats, in turns, compilation left out; each
trainer's number of steps is chosen to take about a second (less at the smallest scale). JAX, the
extra `peers`, is left out where it is not installed. At scale gpu all of them train on the GPU, and
this trainer also by its step alone on batches drawn beforehand, as the others have them; by batched
torch, its steps recorded as a CUDA graph or not; and by its compiled step on the processor.

The arithmetic limit is what independent fused multiply-adds in registers reach on all threads, in
the same run; on a GPU a large product of float32 matrices, without TF32. A step of width n on a
batch of B counts 4·B·n·d + 6·B·n operations (two products by the first matrix, three by the last,
one multiply and one add each).
"""

from __future__ import annotations

import copy
import dataclasses
import math
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from unittest import mock

import numba
import numpy as np
import torch

from depthwright.distributions import UniformRadius
from depthwright.experiment import Experiment, Run, fastest, largest, least
from depthwright.figures.chart import Chart, Panel, Series, series
from depthwright.networks.precision import full_precision
from depthwright.targets import Cone
from depthwright.training import TrainerConfig, TrainingConfig, train_rivals
from depthwright.training.family import schedule
from depthwright.training.step import executor
from depthwright.training.step.simd import add, count, load, multiply_add, pointer, total
from training_peers import (
    ALONE,
    INPUT_DIM,
    POOL,
    RATE,
    SEED,
    Finish,
    Size,
    Trainer,
    Work,
    bare,
    final,
    jaxed,
    lightning,
    vmapped,
    wait,
)

if TYPE_CHECKING:
    import polars

SECONDS = {"smoke": 0.05, "cpu": 1.0, "gpu": 0.5}
"""Intended time of a repeat."""
REPEATS = {"smoke": 1, "cpu": 5, "gpu": 3}
DEVICES = {"smoke": "cpu", "cpu": "cpu", "gpu": "cuda"}
OURS = "this trainer"
STEPS = "this trainer, steps alone"
RECORDED = "this trainer, torch in a graph"
UNRECORDED = "this trainer, torch"
COMPILED = "this trainer, processor"
COLOURS = {
    OURS: "#0b6e99",
    STEPS: "#073b52",
    RECORDED: "#3f9fb5",
    UNRECORDED: "#7fb7be",
    COMPILED: "#4c956c",
    "JAX": "#c8553d",
    "torch.func": "#e09f3e",
    "bare loop": "#6b705c",
    "one Lightning run each": "#7a5195",
}


LARGE = (Size(32, 64, 256), Size(16, 256, 1024), Size(8, 1024, 1024))
SIZES = {"smoke": LARGE[:1], "cpu": LARGE, "gpu": LARGE}


def ours(work: Work, steps: int, device: str | None = None) -> Finish:
    """This trainer as a whole: Lightning, drawing of points, validation."""
    result = train_rivals(
        {"a": [(INPUT_DIM, work.size.width, 1)]},
        Cone(INPUT_DIM),
        UniformRadius(INPUT_DIM),
        dataclasses.replace(work.config, steps=steps),
        TrainerConfig(
            accelerator="cpu" if (device or work.device) == "cpu" else "gpu", progress=False
        ),
        seed=SEED,
    )
    return lambda: np.array([m.final_rmse for m in result.rivals["a"].members])


def recorded(work: Work, steps: int) -> Finish:
    """The same on a GPU without Triton's step."""
    with mock.patch.object(executor, "find_spec", return_value=None):
        return ours(work, steps)


def unrecorded(work: Work, steps: int) -> Finish:
    """And without a graph: every kernel started from Python."""
    with mock.patch.object(executor, "recorded", None):
        return recorded(work, steps)


def steps_alone(work: Work, steps: int) -> Finish:
    """This trainer's steps on the batches drawn beforehand, without Lightning and validations."""
    family = copy.deepcopy(work.module.family((INPUT_DIM, work.size.width, 1)))
    taken = family.to(work.device).executor(torch.device(work.device))
    taken.prepare(work.size.batch)
    x, y = (torch.cat([part, part]) for part in (work.x, work.y))
    for first in range(0, steps, len(x)):
        count = min(len(x), steps - first)
        factors = [schedule(k, steps, 0.0) for k in range(first, first + count)]
        taken.train(x[:count], y[:count], factors)
    wait(work)
    members = range(work.size.members)
    return lambda: np.array(
        [final(family.ensemble.member(k).to_torch(torch.float32), work) for k in members]
    )


@numba.njit(nogil=True)
def _fused(a, times):  # type: ignore[no-untyped-def]
    a = pointer(a)
    n, b = count(a), load(a, 0)
    c0, c1, c2, c3 = load(a, n), load(a, 2 * n), load(a, 3 * n), load(a, 4 * n)
    c4, c5, c6, c7 = load(a, 5 * n), load(a, 6 * n), load(a, 7 * n), load(a, 8 * n)
    c8, c9 = load(a, 9 * n), load(a, 10 * n)
    for _ in range(times):
        c0, c1 = multiply_add(c0, b, b), multiply_add(c1, b, b)
        c2, c3 = multiply_add(c2, b, b), multiply_add(c3, b, b)
        c4, c5 = multiply_add(c4, b, b), multiply_add(c5, b, b)
        c6, c7 = multiply_add(c6, b, b), multiply_add(c7, b, b)
        c8, c9 = multiply_add(c8, b, b), multiply_add(c9, b, b)
    sums = add(add(add(c0, c1), add(c2, c3)), add(add(c4, c5), add(c6, c7)))
    return total(add(sums, add(c8, c9)))


def arithmetic_limit(threads: int) -> float:
    """Floating-point operations per second, all threads."""
    a = np.linspace(0.1, 0.9, 256).astype(np.float32)
    _fused(a, 1)
    times, best = 5_000_000, 0.0
    for _ in range(5):
        start = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda _: _fused(a, times), range(threads)))
        best = max(best, threads * times * 10 * 2 * 16 / (time.perf_counter() - start))
    return best


def gpu_limit() -> float:
    """Floating-point operations per second of a GPU in float32, fused multiply-adds."""
    size = 8192
    a, b = (torch.randn(size, size, device="cuda") for _ in range(2))

    def run() -> None:
        torch.matmul(a, b)
        torch.cuda.synchronize()

    with full_precision():
        return 2 * size**3 / fastest(5, run)


def length(trainer: Trainer, work: Work, wanted: float) -> int:
    """Number of steps that take about this many seconds; JAX is then compiled for that number."""
    steps = POOL
    while True:
        trainer(work, steps)
        start = time.perf_counter()
        trainer(work, steps)
        seconds = time.perf_counter() - start
        if seconds > wanted / 2:
            return steps
        steps *= min(8, math.ceil(wanted / seconds))


def trainers_on(device: str) -> dict[str, Trainer]:
    found: dict[str, Trainer] = {OURS: ours}
    if device != "cpu":
        found |= {STEPS: steps_alone, RECORDED: recorded, UNRECORDED: unrecorded}
        found |= {COMPILED: partial(ours, device="cpu")}
    if find_spec("jax"):
        found["JAX"] = jaxed()
    return found | {"torch.func": vmapped, "bare loop": bare, "one Lightning run each": lightning}


def measure(
    members: int,
    width: int,
    batch: int,
    repeats: int,
    wanted: float,
    device: str = "cpu",
    chosen: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """One size: a row per trainer, or per `chosen` trainer, this one among them."""
    size = Size(members, width, batch)
    config = TrainingConfig(
        steps=POOL, batch_size=size.batch, learning_rates=[RATE], seeds=size.members, warmup=0.0
    )
    work = Work(size, config, device)
    trainers = trainers_on(device)
    if chosen is not None:
        trainers = {name: trainers[name] for name in chosen if name in trainers}
    limit = arithmetic_limit(torch.get_num_threads())
    limits = dict.fromkeys(trainers, limit if device == "cpu" else gpu_limit()) | {COMPILED: limit}
    alone = {"one Lightning run each": ALONE, "bare loop": ALONE}
    # The same networks on the same batches: the errors should agree far within their spread.
    errors = {name: trainer(work, POOL)() for name, trainer in trainers.items()}
    true = errors[OURS]
    lengths = {name: length(trainer, work, wanted) for name, trainer in trainers.items()}
    speeds: dict[str, list[float]] = {name: [] for name in trainers}
    for _ in range(repeats):
        for name, trainer in trainers.items():
            start = time.perf_counter()
            trainer(work, lengths[name])
            done = alone.get(name, size.members) * lengths[name]
            speeds[name].append(done / (time.perf_counter() - start))
    median = {name: statistics.median(found) for name, found in speeds.items()}
    return [
        {
            "trainer": name,
            "network_steps_per_second": speed,
            "low": min(speeds[name]),
            "high": max(speeds[name]),
            "slower_than_ours": median[OURS] / speed,
            "share_of_limit": speed * size.operations / limits[name],
            "largest_difference": float(np.abs(errors[name] - true[: len(errors[name])]).max()),
            "error_mean": float(true.mean()),
            "error_deviation": float(true.std()),
            "limit_gigaflops": limits[name] / 1e9,
            "device": torch.cuda.get_device_name() if device != "cpu" else "processor",
            "threads": torch.get_num_threads(),
        }
        for name, speed in median.items()
    ]


def rows(run: Run) -> polars.DataFrame:
    return run.cells(cells(run.scale), measure)


def cells(scale: str) -> list[dict[str, Any]]:
    more = {"repeats": REPEATS[scale], "wanted": SECONDS[scale], "device": DEVICES[scale]}
    return [{**vars(size), **more} for size in SIZES[scale]]


def chart(rows: polars.DataFrame) -> Chart:
    speeds, shares = [], []
    for (name,), part in rows.group_by("trainer", maintain_order=True):
        text, colour = str(name), COLOURS[str(name)]
        speeds.append(
            series(
                part,
                "width",
                "network_steps_per_second",
                text,
                contender=colour,
                interval=("low", "high"),
            )
        )
        shares.append(series(part, "width", "share_of_limit", text, contender=colour))
    x, ticks = "width of the trained networks", tuple(map(float, rows["width"].unique().sort()))
    return Chart(
        (
            _panel(x, "network-steps a second", tuple(speeds), ticks),
            _panel(x, "share of the arithmetic limit", tuple(shares), ticks),
        )
    )


def _panel(x: str, y: str, drawn: tuple[Series, ...], ticks: tuple[float, ...]) -> Panel:
    return Panel(x, y, drawn, x_log=True, y_log=True, ticks=ticks)


def sentence(rows: polars.DataFrame) -> str:
    parts = []
    for (members, width, batch), part in rows.group_by(
        "members", "width", "batch", maintain_order=True
    ):
        others = [
            f"{row['trainer']} {row['slower_than_ours']:.2f}"
            for row in part.iter_rows(named=True)
            if row["trainer"] != OURS
        ]
        one = part.row(0, named=True)
        parts.append(
            f"{members} networks 10 → {width} → 1 on batches of {batch}: {', '.join(others)}; this "
            f"trainer does {one['share_of_limit']:.1%} of what the {one['device']} can "
            f"({one['limit_gigaflops']:.0f} Gflop/s); errors differ by at most "
            f"{largest(part, 'largest_difference'):.1e}, over seeds by {one['error_deviation']:.1e}"
        )
    peers = rows.filter(~rows["trainer"].str.starts_with(OURS))
    threads = int(rows["threads"][0])
    return (
        f"This trainer is {least(peers, 'slower_than_ours'):.3g} to "
        f"{largest(peers, 'slower_than_ours'):.3g} times as fast as the others. Below: how many "
        f"times as fast as each, on {threads} thread{'s' * (threads > 1)}. {'. '.join(parts)}."
    )


EXPERIMENT = Experiment(rows, chart, sentence)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
