"""Limb programs give the integer reference's values, bit for bit.

    python experiments/exact_checks.py [--scale smoke|cpu|gpu]

Twenty random targets under every narrow construction's kind of network, networks that no
construction builds (that end in σ, layers of zeros, a box of one point, powers at the ends of
limbs, wide layers), and edges: points inside ramps (δ = 0.3), corners, zeros, subnormal floats.
One row per network: points, points that differ, seconds of both. A promise is broken by any
difference.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from depthwright.constructions import (
    Construction,
    NarrowBits,
    NarrowBounded,
    NarrowExact,
    NarrowExactSlim,
    NarrowMinimal,
    NarrowPacked,
)
from depthwright.experiment import Experiment, Run
from depthwright.figures.chart import Chart, Panel, Series
from depthwright.networks import ExactNetwork, Network
from depthwright.networks.exact.layer import BIAS, Layer
from depthwright.networks.exact.network import from_arrays
from depthwright.networks.inputs import Inputs
from depthwright.targets import RandomNetwork

if TYPE_CHECKING:
    import polars

SEED = 0
FEW = 20
"""Part of the points, 1/FEW, for networks whose reference takes over a minute on all of them."""
POINTS = {"smoke": 20, "cpu": 1000, "gpu": 10_000}
SKIPPED = {"smoke": ("bits", "bits, δ=0.3", "bits, printed constants", "minimal"), "cpu": ()}
"""Thousands of layers, too slow for a smoke test."""
WIDE = 300
"""Neurons of the wide layers, whose rows wait for each other's buffers."""
COLOURS = {"limb programs": "#0b6e99", "integers": "#c8553d"}


def scattered(rng: np.random.Generator, width: int, depth: int) -> ExactNetwork:
    """A random network of no construction: long and short weights, powers from 2^−100 to 2^100."""
    layers, fan_in = [], 3
    for number in range(depth):
        fan_out = 1 if number == depth - 1 else int(rng.integers(2, width + 1))
        terms = []
        for row in range(fan_out):
            for column in [*range(fan_in), BIAS]:
                if rng.random() < 0.6:
                    words = int(rng.integers(0, 3))
                    integer = int.from_bytes(rng.bytes(8 * words), "little") | 1
                    power = int(rng.integers(-100, 100)) if rng.random() < 0.5 else -64 * words
                    terms.append((row, column, -integer if rng.random() < 0.5 else integer, power))
        parts = [tuple(part) for part in zip(*terms, strict=True)] or [()] * 4
        layers.append(Layer(fan_in, fan_out, *parts))
        fan_in = fan_out
    return ExactNetwork(tuple(layers), inputs=Inputs.cube(3, 1.0))


def edges() -> Iterator[tuple[str, ExactNetwork]]:
    """Networks that end in σ, layers of zeros, powers at the ends of limbs, a wide layer."""
    rng = np.random.default_rng(SEED)
    # σ(x_1 − x_2), σ(x_2), and σ(−x_3 − 1/4), below 1 and often with its top bit at a limb's end
    parts = ((0, 0, 1, 2, 2), (0, 1, 1, 2, BIAS), (1, -1, 1, -1, -1), (0, 0, 0, 0, -2))
    relu = Layer(3, 3, *parts)
    chosen = Layer(3, 2, (0, 1), (2, 1), (1, -1), (0, 0))
    yield "ends in σ", ExactNetwork((relu, chosen), inputs=Inputs.cube(3, 1.0))
    terms = [(row, row % 3, 1 - row % 2 * 2, 64 * (row // 6) - 128 + row % 2) for row in range(30)]
    aligned = Layer(3, 30, *(tuple(part) for part in zip(*terms, strict=True)))
    yield "aligned powers", ExactNetwork((relu, aligned), inputs=Inputs.cube(3, 1.0))
    nothing = ((), (), (), ())
    zeros = (relu, Layer(3, 5, *nothing), Layer(5, 2, *nothing))
    yield "layers of zeros", ExactNetwork(zeros, inputs=Inputs.cube(3, 1.0))
    later = Layer(3, 5, *parts)
    shared = (relu, later, Layer(5, 1, (0, 0), (0, 2), (1, 5), (0, -3)))
    yield "rows of zeros at the end", ExactNetwork(shared, inputs=Inputs.cube(3, 1.0))
    yield "a box of one point", ExactNetwork((relu, chosen), inputs=Inputs.cube(3, 0.0))
    eye = np.eye(WIDE)
    ring = eye + 2.0**7 * np.roll(eye, 1, 1)
    weights = [rng.standard_normal((WIDE, 3)), ring, ring.T, rng.standard_normal((1, WIDE))]
    biases = [rng.standard_normal(len(matrix)) for matrix in weights]
    yield f"{WIDE} neurons wide", from_arrays(weights, biases, "exact", Inputs.cube(3, 1.0))


def networks() -> Iterator[tuple[str, Callable[[], Network], int]]:
    """Name, network (built on demand), and the divisor of its number of points."""
    for k in range(20):
        n, depth, failure = (4, 8, 8, 16)[k % 4], (2, 3)[k // 10], 0.3 if k % 5 == 4 else 1e-2
        target = RandomNetwork(3, n, depth, seed=SEED + k)
        recipe: Construction = NarrowPacked(target, 1e-2, failure)
        yield f"packed {k}: n={n} L={depth} δ={failure}", partial(built, recipe), 1
    target = RandomNetwork(3, 4, 2, seed=SEED)
    larger = RandomNetwork(3, 8, 3, seed=SEED)
    for name, recipe, part in (
        ("bits", NarrowBits(target, 1e-2, 1e-2), 1),
        ("bits, δ=0.3", NarrowBits(target, 1e-2, 0.3), 1),
        ("bits, printed constants", NarrowBits(target, 1e-2, 1e-2, bits="paper"), FEW),
        ("minimal", NarrowMinimal(target, 1e-2, 1e-2), 1),
        ("bounded by layer", NarrowBounded(target, 1e-2, 1e-2), 1),
        ("bounded by neuron", NarrowBounded(target, 1e-2, 1e-2, scaling="neuron"), 1),
        ("packed on a grid", NarrowPacked(target, 1e-2, grid=2.0**-12), 1),
        ("exact", NarrowExact(larger), 1),
        ("exact, slim", NarrowExactSlim(larger), 1),
    ):
        yield name, partial(built, recipe), part
    yield "target", RandomNetwork(3, 16, 4, seed=SEED).as_network, 1
    for k in range(6):
        yield f"scattered {k}", partial(scattered, np.random.default_rng(SEED + k), 6, 2 + k), 1
    for name, network in edges():
        yield name, partial(copy, network), FEW if name.endswith("wide") else 1


def built(recipe: Construction) -> Network:
    return recipe.build().network


def points(rng: np.random.Generator, count: int) -> np.ndarray:
    """Uniform points with special floats among them: 0, ±1, the smallest ones."""
    x = rng.uniform(-1.0, 1.0, (count, 3))
    edges = np.array([0.0, 1.0, -1.0, 5e-324, -2.2e-308, 2.0**-70, -(2.0**-200), 0.5])
    chosen = rng.random(x.shape) < 0.02
    x[chosen] = rng.choice(edges, int(chosen.sum()))
    x[:3] = np.array([0.0, 1.0, -1.0])[:, None]
    return x


def measure(network: str, points_each: int) -> dict[str, Any]:
    """Run both engines on one network."""
    make, part = {name: (make, part) for name, make, part in networks()}[network]
    checked = make()
    assert isinstance(checked, ExactNetwork)
    rng = np.random.default_rng([SEED, *network.encode()])
    x = torch.from_numpy(points(rng, max(points_each // part, 10)))
    if checked.inputs == Inputs.cube(3, 0.0):
        x = x * 0.0
    start = time.perf_counter()
    limbs = checked.evaluate(x, "exact", engine="limbs", anywhere=True)
    middle = time.perf_counter()
    integers = checked.evaluate(x, "exact", engine="integers", anywhere=True)
    end = time.perf_counter()
    differ = (limbs.view(torch.int64) != integers.view(torch.int64)).any(dim=1)
    return {
        "points": len(x),
        "values": len(limbs.unique()),
        "differ": int(differ.sum()),
        "limb_seconds": middle - start,
        "integer_seconds": end - middle,
    }


def rows(run: Run) -> polars.DataFrame:
    count, skipped = POINTS[run.scale], SKIPPED.get(run.scale, ())
    names = [name for name, _, _ in networks() if name not in skipped]
    return run.cells(({"network": name, "points_each": count} for name in names), measure)


def chart(rows: polars.DataFrame) -> Chart:
    where = tuple(float(k + 1) for k in range(len(rows)))
    notes = tuple(rows["network"])
    differ = tuple(map(float, rows["differ"]))
    wrong = Series("limb programs beside integers", where, differ, "points", notes=notes)
    seconds = tuple(
        Series(name, where, tuple(rows[column]), "points", COLOURS[name], notes=notes)
        for name, column in (("limb programs", "limb_seconds"), ("integers", "integer_seconds"))
    )
    x = "network (in the order of the table)"
    return Chart(
        (
            Panel(x, "points that differ in any bit", (wrong,), lines=(("promised", 0.0),)),
            Panel(x, "seconds, compiling included", seconds, y_log=True),
        )
    )


def sentence(rows: polars.DataFrame) -> str:
    points = int(rows["points"].sum())
    return (
        f"Two exact evaluators give the same bits at {points - int(rows['differ'].sum()):,} of "
        f"{points:,} points of {len(rows)} networks. One computes in big integers, the other in "
        f"programs on 64-bit words (limbs). The programs take {rows['limb_seconds'].sum():.1f} s, "
        f"compiling included, the integers {rows['integer_seconds'].sum():.1f} s."
    )


def broken(rows: polars.DataFrame) -> list[str]:
    return [
        f"{row['network']}: {row['differ']} of {row['points']} points differ"
        for row in rows.iter_rows(named=True)
        if row["differ"]
    ]


EXPERIMENT = Experiment(rows, chart, sentence, broken=broken)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
