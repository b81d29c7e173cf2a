"""Data in VYS22's bad set, which a twin misreads, and borders moved between floats.

    python experiments/misread_inputs.py [--scale smoke|cpu|gpu]   (extra: digits, as for digits.py)

VYS22 leaves out a set of inputs of small probability under a law with a density, because no
continuous network reads bits everywhere. Data have no density: they are float32 numbers, many of
them equal, and the largest value of a coordinate (one of two, where it says yes or no) ends its
box. Three small networks learn two moons (scaled to radius 3), iris and diabetes (standardised
float32, on the box of the data); each gets three twins of the same accuracy. One is Theorem 2's,
with its borders at the multiples of 2^−c of the box and δ = 1e-3; one is the same with its borders
between the floats, one the packed network: both claim for every float32. All are evaluated exactly
at every sample and at random float32 points of the box, and held against the exact target.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from depthwright.constructions import Construction, NarrowBits, NarrowPacked
from depthwright.experiment import Experiment, Run, largest
from depthwright.figures.chart import Chart, Panel, Series
from depthwright.networks.inputs import Inputs
from depthwright.refusal import Refusal
from depthwright.targets import Network

if TYPE_CHECKING:
    import polars

DATA = ("moons", "iris", "diabetes")
POINTS = {"smoke": 200, "cpu": 20_000, "gpu": 100_000}
"""Number of random points of the box."""
MOONS, RADIUS = 1000, 3.0
HIDDEN, STEPS = 6, 300
ACCURACY, PROBABILITY = 1e-2, 1e-3
THEOREM, FLOATS = "Theorem 2, δ = 1e-3", "Theorem 2, borders between floats"
PACKED = "packed, borders between floats"


def samples(data: str) -> tuple[np.ndarray, np.ndarray]:
    """Float32 inputs (samples, d), and what is learned from them: classes, or numbers."""
    try:
        from sklearn import datasets
    except ImportError as error:
        raise Refusal("scikit-learn is not here; pip install -e '.[digits]' brings it") from error
    if data == "moons":
        x, y = datasets.make_moons(MOONS, noise=0.1, random_state=0)
        x = x - x.mean(axis=0)
        return (RADIUS * x / np.abs(x).max()).astype(np.float32), y
    bunch = getattr(datasets, f"load_{data}")()
    x, y = bunch.data, bunch.target
    if data == "diabetes":
        y = (y - y.mean()) / y.std()
    return ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32), y


def train(x: np.ndarray, y: np.ndarray) -> nn.Sequential:
    """A network with two hidden layers; every step of Adam uses all samples."""
    classes = y.dtype.kind in "iu"
    torch.manual_seed(0)
    outputs = int(y.max()) + 1 if classes else 1
    layers = nn.Linear(x.shape[1], HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, outputs)
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1e-2)
    inputs, wanted = torch.from_numpy(x), torch.from_numpy(y)
    for _ in range(STEPS):
        found = model(inputs)
        if classes:
            loss = nn.functional.cross_entropy(found, wanted)
        else:
            loss = nn.functional.mse_loss(found[:, 0], wanted.float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


def target_of(data: str, x: np.ndarray) -> Network:
    """The trained network, on the cube of the moons or the box of the data."""
    model = train(*samples(data))
    if data == "moons":
        return Network(model, radius=RADIUS)
    return Network(model, lower=x.min(axis=0), upper=x.max(axis=0))


def measure(data: str, reading: str, points: int) -> list[dict[str, Any]]:
    """Measure one narrow network: one row per sample."""
    x, _ = samples(data)
    target = target_of(data, x)
    if reading == THEOREM:
        recipe: Construction = NarrowBits(target, ACCURACY, PROBABILITY)
    elif reading == FLOATS:
        recipe = NarrowBits(target, ACCURACY, inputs="float32")
    else:
        recipe = NarrowPacked(target, ACCURACY, inputs="float32")
    built = recipe.build()
    box = Inputs(target.domain.lower, target.domain.upper, "float32")
    uniform = np.random.default_rng(0).uniform(target.lower, target.upper, (points, x.shape[1]))

    def errors(rows: np.ndarray) -> np.ndarray:
        inputs = torch.from_numpy(rows.astype(np.float64))
        gap = built.network.evaluate(inputs) - target.truth(inputs)
        return gap.abs().amax(dim=1).numpy()

    start = time.perf_counter()
    at_samples, at_random = errors(x), errors(box.nearest(uniform))
    size = built.network.architecture
    shared = {
        "samples": len(x),
        "samples_above": int((at_samples > ACCURACY).sum()),
        "points": points,
        "points_above": int((at_random > ACCURACY).sum()),
        "largest_error": float(max(at_samples.max(), at_random.max())),
        "error_promised": built.claim.bound,
        "failure_probability": built.claim.failure_probability,
        "width": size.width,
        "parameters": size.parameters,
        "evaluate_seconds": time.perf_counter() - start,
    }
    return [{"sample": k, "error": float(error), **shared} for k, error in enumerate(at_samples)]


def rows(run: Run) -> polars.DataFrame:
    cells = [
        {"data": data, "reading": reading, "points": POINTS[run.scale]}
        for data in DATA
        for reading in (THEOREM, FLOATS, PACKED)
    ]
    return run.cells(cells, measure)


def chart(rows: polars.DataFrame) -> Chart:
    panels = []
    for (data,), part in rows.group_by("data", maintain_order=True):
        drawn = []
        for reading, contender in (
            (THEOREM, "narrow_minimal"),
            (FLOATS, "narrow_bits"),
            (PACKED, "narrow_packed"),
        ):
            error = (
                part.filter(part["reading"] == reading)["error"].sort(descending=True).to_numpy()
            )
            rank = _shown(error)
            share, error = rank / len(error), error[rank - 1]
            drawn.append(
                Series(reading, tuple(share.tolist()), tuple(error.tolist()), contender=contender)
            )
        panels.append(
            Panel(
                "share of the samples",
                "error at that sample or more",
                tuple(drawn),
                x_log=True,
                y_log=True,
                lines=(("accuracy", ACCURACY),),
                title=str(data),
            )
        )
    return Chart(tuple(panels))


def _shown(error: np.ndarray) -> np.ndarray:
    """Ranks, from 1, far enough apart to be distinguished, and the two beside the accuracy."""
    above = int((error > ACCURACY).sum())
    spread = np.geomspace(1, len(error), 50).round().astype(int)
    return np.unique(np.clip([*spread, above, above + 1], 1, len(error)))


def sentence(rows: polars.DataFrame) -> str:
    parts = []
    for data in DATA:
        old, new = (
            rows.filter((rows["data"] == data) & (rows["reading"] == reading)).row(0, named=True)
            for reading in (THEOREM, PACKED)
        )
        parts.append(
            f"{data}, {old['samples_above']:,} of {old['samples']:,} samples and "
            f"{old['points_above']:,} of {old['points']:,} random float32 points with the bad set, "
            f"{new['samples_above']:,} and {new['points_above']:,} with the packed network"
        )
    after = rows.filter(rows["reading"] != THEOREM)
    wrong, sound = (
        int(part.unique(["data", "reading"])["samples_above"].sum())
        for part in (rows.filter(rows["reading"] == THEOREM), after)
    )
    samples = int(rows.unique("data")["samples"].sum())
    return (
        f"With VYS22's bad set a twin misreads {wrong:,} of {samples:,} samples; with borders "
        f"between floats {sound or 'none'}. Misread means an error above the accuracy "
        f"{ACCURACY:g}. By data: {'; '.join(parts)}. The bad set was promised a probability of "
        f"{PROBABILITY:g} under the uniform law, which real data do not follow; errors in it are "
        f"as large as {largest(rows, 'largest_error'):.2g}. With borders between floats the "
        f"largest error is {largest(after, 'largest_error'):.2g}."
    )


def broken(rows: polars.DataFrame) -> list[str]:
    after = rows.filter(rows["reading"] != THEOREM)
    above = after.filter(~(after["largest_error"] <= after["error_promised"]))
    return [f"{data}: a float32 is above the promised error" for data in above["data"].unique()]


COLUMNS = ("data", "reading", "sample", "error", "samples_above", "points_above", "error_promised")
EXPERIMENT = Experiment(rows, chart, sentence, COLUMNS, broken)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
