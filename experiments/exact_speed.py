"""Exact points per second: limb programs, gmpy2, python-flint and Python's integers, one run.

    python experiments/exact_speed.py [--scale smoke|cpu|gpu]

Packed narrow networks of targets with d = 3 and L = 3, accuracy 1e-2, δ = 1e-2. Every way is timed
at as many of the same points as it does in about a second (less at the smallest scale), the best of
three runs of each, the limb programs, whose compiling is timed apart, on all threads, the others on
one core: they have no threads. Values are compared bit for bit. *Repaid after* is the number of
points at which compiling and running has taken as long as gmpy2; *chosen from*, at which the engine
decides for it. `limbs_a_cpu_second`, points by the processor time of all threads together, compares
two versions of this project, run in turn. On a CUDA device the GPU's points per second stand beside
them, its values compared with the limb programs' at the points that those were timed at, and the
additions of 64-bit words that its kernel did as a share of what the chip's 32-bit integer units
could do; there a reference that has not done after `PATIENCE` seconds is left out (`skipped`).
python-flint is left out where it is not installed.
"""

from __future__ import annotations

import math
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from depthwright.constructions import NarrowPacked
from depthwright.distributions import UniformCube
from depthwright.experiment import Experiment, Run, fastest, largest, least
from depthwright.figures.chart import Chart, Panel, series
from depthwright.machine.threads import threads
from depthwright.networks import ExactNetwork
from depthwright.networks.exact import integers
from depthwright.networks.exact.limbs import engine, kernel
from depthwright.networks.exact.limbs.program import LimbProgram
from depthwright.targets import RandomNetwork

if TYPE_CHECKING:
    import polars

ACCURACY = FAILURE = 1e-2
WIDTHS = {"smoke": (4, 8, 16), "cpu": (4, 8, 16, 64, 256, 1024), "gpu": (8, 64, 512)}
POINTS = {"smoke": 10_000, "cpu": 100_000, "gpu": 100_000}
SECONDS = {"smoke": 0.3, "cpu": 1.0, "gpu": 0.5}
"""Approximate time of a run of one of the slower methods."""
PATIENCE = {"smoke": None, "cpu": 60.0, "gpu": 3.0}
"""Seconds after which a reference is left out; None: never."""
REPEATS = 3
"""Runs of every method; the fastest counts."""
WAYS = {"gmpy2": "gmpy2", "python-flint": "flint", "Python": "builtins"}
"""Integer types, and their modules."""
COLOURS = {"gmpy2": "#c8553d", "python-flint": "#e09f3e", "Python": "#6b705c", "GPU": "#4c956c"}
GPU_COLUMNS = (
    *("GPU", "gpu_kernel", "gpu_over_gmpy2", "gpu_share", "gpu_name", "gpu_first_seconds"),
    *("gpu_compared", "gpu_differ"),
)
GPU_INTEGER_LANES = 64
"""32-bit integer additions a cycle and multiprocessor, on compute capabilities 7.0 to 9.0."""


def integer_type(way: str) -> Any:
    if way == "gmpy2":
        from gmpy2 import mpz

        return mpz
    if way == "python-flint":
        from flint import fmpz

        return fmpz
    return int


def reference(network: ExactNetwork, x: np.ndarray, way: str) -> tuple[np.ndarray, float]:
    """Values, and points per second, of the integer evaluator with this integer type."""
    kind, usual = integer_type(way), integers._integer
    integers._integer = lambda: kind  # type: ignore[assignment]
    try:
        start = time.perf_counter()
        values = integers.to_float64(integers.exact_values(network.layers, x))
        return values, len(x) / (time.perf_counter() - start)
    finally:
        integers._integer = usual


def timed(
    network: ExactNetwork, x: np.ndarray, way: str, seconds: float
) -> tuple[np.ndarray, float]:
    """The same, at as many points as take about this many seconds."""
    reference(network, x[:1], way)  # the first call converts the layers to its integers
    values, speed = reference(network, x[:1], way)
    part, speeds = x[:1], [speed]
    if speed >= 2 / seconds:
        _, speed = reference(network, x[: max(2, int(speed * seconds / 4))], way)
        part, speeds = x[: max(1, int(speed * seconds))], []
    while len(speeds) < REPEATS:
        values, speed = reference(network, part, way)
        speeds.append(speed)
    return values, max(speeds)


class Skipped(Exception):
    """It has taken too long."""


@contextmanager
def at_most(seconds: float | None) -> Iterator[None]:
    """Raise `Skipped` where the body takes longer; in the main thread only."""
    if seconds is None:
        yield
        return

    def stop(*_: Any) -> None:
        raise Skipped

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def chosen_from(network: ExactNetwork) -> int:
    """The smallest number of points for which the engine compiles."""
    low, high = 0, 1
    while not network.programs.worth_compiling(high, known=False):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if network.programs.worth_compiling(middle, known=False):
            high = middle
        else:
            low = middle
    return high


def limbs(network: ExactNetwork, x: np.ndarray, seconds: float) -> dict[str, Any]:
    """Values, points per second, compile seconds and limb operations a point."""
    start = time.perf_counter()
    program = network.programs.program(-64, network.programs.reach(x))
    compiling = time.perf_counter() - start
    part = x[: threads() * engine.tile_size(program, len(x))]
    for _ in range(4):  # the first run loads the machine code
        took = fastest(REPEATS, lambda part=part: engine.run(program, part))  # type: ignore[misc]
        if len(part) == len(x) or took > seconds:
            break
        part = x[: min(len(x), int(len(part) * max(2.0, 2 * seconds / took)))]
    speed, values = len(part) / took, engine.run(program, part)
    start = time.process_time()
    engine.run(program, part)
    each = len(part) / (time.process_time() - start)
    tile = engine.tile_size(program, len(x))
    tables = (program.rows, program.terms, program.constants, program.inputs, program.outputs)
    out = np.empty((tile, len(program.outputs)))
    done = kernel.run(
        x[:tile], tables, program.input_grid, program.places, program.arena, tile, out
    )
    return {
        "values": values,
        "speed": speed,
        "each": each,
        "compile": compiling,
        "points": len(part),
        "done": done,
    }


def on_gpu(
    network: ExactNetwork, x: np.ndarray, limb: dict[str, Any], gmpy2: float | None
) -> dict[str, float | str | None]:
    """Points per second, the share of the GPU's integer additions, and values that are other bits
    than the limb programs' on the processor; None without a GPU.
    """
    if not torch.cuda.is_available():
        return dict.fromkeys(GPU_COLUMNS)
    device = torch.device("cuda")
    points = torch.from_numpy(x).to(device)
    start = time.perf_counter()
    network.evaluate(points[:1024], engine="limbs")
    first = time.perf_counter() - start

    def run() -> None:
        network.evaluate(points, engine="limbs")
        torch.cuda.synchronize()

    speed = len(points) / fastest(REPEATS, run)
    chip = torch.cuda.get_device_properties(device)
    limit = chip.multi_processor_count * GPU_INTEGER_LANES * highest_clock()
    done = limb["done"]
    additions = speed * float(done[0] * 4 + done[1] * 16 + done[2])  # in 32-bit instructions
    wanted = limb["values"]
    program = network.programs.program(-64, network.programs.reach(x))
    found = program_values(program, points[: len(wanted)]).cpu().numpy()
    kernel_seconds = fastest(REPEATS, lambda: program_values(program, points))
    return {
        "GPU": speed,
        "gpu_kernel": len(x) / kernel_seconds,
        "gpu_over_gmpy2": speed / gmpy2 if gmpy2 else None,
        "gpu_share": additions / limit,
        "gpu_name": torch.cuda.get_device_name(),
        "gpu_first_seconds": first,
        "gpu_compared": len(wanted),
        "gpu_differ": int((found.view(np.int64) != wanted.view(np.int64)).any(axis=1).sum()),
    }


def highest_clock() -> float:
    """Of the multiprocessors, in hertz."""
    asked = ["nvidia-smi", "--query-gpu=clocks.max.sm", "--format=csv,noheader,nounits"]
    told = subprocess.run(asked, capture_output=True, text=True, check=True)
    return 1e6 * float(told.stdout.splitlines()[0])


def program_values(program: LimbProgram, x: torch.Tensor) -> torch.Tensor:
    """Values without the checks and the choice of points around them."""
    from depthwright.networks.exact.limbs import triton

    found = triton.run(program, x)
    torch.cuda.synchronize()
    return found


def measure(n: int, points: int, seconds: float, patience: float | None) -> dict[str, Any]:
    """Points per second of every method at one width."""
    start = time.perf_counter()
    built = NarrowPacked(RandomNetwork(3, n, 3, seed=0), ACCURACY, FAILURE).build()
    building = time.perf_counter() - start
    network = built.network
    assert isinstance(network, ExactNetwork)
    x = UniformCube(3).sample(points, torch.Generator().manual_seed(0)).double().numpy()
    limb = limbs(network, x, seconds)
    speeds: dict[str, float | None] = dict.fromkeys(WAYS)
    skipped: list[str] = []
    differ = compared = 0
    for way, module in WAYS.items():
        if find_spec(module):
            try:
                with at_most(patience):
                    values, speeds[way] = timed(network, x, way, seconds)
            except Skipped:
                skipped.append(way)
                continue
            found = limb["values"][: len(values)]
            gaps = (values != found) & ~np.isnan(found)  # nan is left to the integers
            differ, compared = differ + int(gaps.any(axis=1).sum()), compared + len(values)
    speed, gmpy2 = limb["speed"], speeds["gmpy2"]
    gain = 1 / gmpy2 - 1 / speed if gmpy2 else math.nan
    additions, products, moves = map(int, limb["done"])
    return {
        "limbs": speed,
        "limbs_a_cpu_second": limb["each"],
        "left_to_integers": int(np.isnan(limb["values"]).any(axis=1).sum()),
        **speeds,
        "skipped": ", ".join(skipped),
        "limbs_over_gmpy2": speed / gmpy2 if gmpy2 else None,
        "compile_seconds": limb["compile"],
        "repaid_after": limb["compile"] / gain if gain > 0 else None,
        "chosen_from": chosen_from(network),
        "compared": compared,
        "differ": differ,
        "threads": threads(),
        "limb_points": limb["points"],
        "layers": len(network.layers),
        "value_bits": network.value_bits,
        "limbs_added_a_tile": additions,
        "limbs_multiplied_a_tile": products,
        "limbs_moved_a_tile": moves,
        "build_seconds": building,
        **on_gpu(network, x, limb, gmpy2),
    }


def rows(run: Run) -> polars.DataFrame:
    return run.cells(cells(run.scale), measure)


def cells(scale: str) -> list[dict[str, Any]]:
    more = {"points": POINTS[scale], "seconds": SECONDS[scale], "patience": PATIENCE[scale]}
    return [{"n": n, **more} for n in WIDTHS[scale]]


def _threads(rows: polars.DataFrame) -> str:
    count = rows["threads"][0]
    return f"{count} thread{'s' * (count > 1)}"


def chart(rows: polars.DataFrame) -> Chart:
    threads = _threads(rows)
    lines = [series(rows, "n", "limbs", f"limb programs, {threads}", contender="constructed")]
    names = {way: f"{way}, one core" for way in WAYS} | {"GPU": rows["gpu_name"][0] or ""}
    lines += [
        series(rows, "n", way, name, contender=COLOURS[way])
        for way, name in names.items()
        if rows[way].count()
    ]
    ratio = [
        series(rows, "n", "limbs_over_gmpy2", f"limb programs, {threads}", contender="constructed")
    ]
    if rows["GPU"].count():
        ratio.append(series(rows, "n", "gpu_over_gmpy2", names["GPU"], contender=COLOURS["GPU"]))
    x = "target width n"
    logs: dict[str, Any] = {"x_log": True, "y_log": True}
    ticks = tuple(map(float, rows["n"]))
    times = "times the points of gmpy2 on one core"
    equal = (("as fast as gmpy2", 1.0),)
    return Chart(
        (
            Panel(x, "exact points per second", tuple(lines), ticks=ticks, **logs),
            Panel(x, times, tuple(ratio), ticks=ticks, lines=equal, **logs),
        )
    )


def sentence(rows: polars.DataFrame) -> str:
    early = [
        row["n"]
        for row in rows.iter_rows(named=True)
        if row["repaid_after"] and row["chosen_from"] < row["repaid_after"]
    ]
    said = f"in {len(early)} of {len(rows)} cases" if early else "never"
    compared, differ = int(rows["compared"].sum()), int(rows["differ"].sum())
    told = (
        f"Limb programs on {_threads(rows)} are {least(rows, 'limbs_over_gmpy2'):,.0f} to "
        f"{largest(rows, 'limbs_over_gmpy2'):,.0f} times as fast as gmpy2 on one core. "
        f"{compared - differ:,} of {compared:,} values that were compared are the same bits. "
        f"Compiling takes {least(rows, 'compile_seconds'):.2g} to "
        f"{largest(rows, 'compile_seconds'):.2g} s; the engine {said} compiles for fewer points "
        f"than repay that."
    )
    if rows["GPU"].count():
        told += (
            f" {rows['gpu_name'][0]} is {least(rows, 'gpu_over_gmpy2'):,.0f} to "
            f"{largest(rows, 'gpu_over_gmpy2'):,.0f} times as fast as gmpy2, at "
            f"{least(rows, 'gpu_share'):.1%} to {largest(rows, 'gpu_share'):.1%} of its integer "
            f"additions."
        )
    return told


def broken(rows: polars.DataFrame) -> list[str]:
    return [
        f"n = {row['n']}: {row[differ]} of {row[compared]} values are other bits"
        for row in rows.iter_rows(named=True)
        for differ, compared in (("differ", "compared"), ("gpu_differ", "gpu_compared"))
        if row[differ]
    ]


COLUMNS = (
    *("n", "layers", "value_bits", "limbs", *WAYS, "limbs_over_gmpy2", "compile_seconds"),
    *("repaid_after", "chosen_from", "compared", "differ", "GPU", "gpu_share", "gpu_compared"),
    "gpu_differ",
)
EXPERIMENT = Experiment(rows, chart, sentence, COLUMNS, broken)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
