"""Where does each theorem's network fail? One network, any number of mantissa bits.

    python experiments/precision.py [--scale smoke|cpu|gpu]

The same constructed network is evaluated in floating point of p mantissa bits (every input, weight,
product and sum rounded), p = 8 (bfloat16's), 11, 24 (float32), 53 (float64), 106 (double-double)
and on until nothing changes, and exactly. Two errors per p: against the exact values of the same
network, which is rounding alone, and against the target, which levels off at what was promised.
Points are uniform and outside the bad set. Beside it torch's own bfloat16, float32 and float64,
whose range is limited, too: values that overflow are counted as infinitely wrong and not drawn.
Vertical lines: `value_bits`, from which on the values are proved to be the exact ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from depthwright.constructions import REGISTRY, Ridge
from depthwright.constructions.construction import Built
from depthwright.experiment import Experiment, Run
from depthwright.figures.chart import Chart, Panel, Series
from depthwright.figures.style import label
from depthwright.targets import Cone, RandomNetwork

if TYPE_CHECKING:
    import polars
    import torch

    from depthwright.networks.exact.network import ExactNetwork

ACCURACY = FAILURE = 1e-2
FEW = (8, 11, 24, 53, 106, 192, 320, 512)
ALL = (8, 11, 16, 24, 32, 53, 64, 80, 106, 128, 160, 192, 224, 256, 272, 288, 320, 384, 512)
BITS = {"smoke": FEW, "cpu": ALL, "gpu": ALL}
POINTS = {"smoke": 8, "cpu": 40, "gpu": 40}
SLOWER = {"narrow_bits": 8}
"""Theorem 2's 3,648 layers take a tenth of a second per point and number of bits: fewer points."""
PLAIN = ("narrow_exact", "narrow_exact_slim")
"""Equal to their target, so without an accuracy."""
NAMES = {
    "smoke": ("narrow_packed", *PLAIN, "ridge"),
    "cpu": ("narrow_packed", "narrow_bits", *PLAIN, "ridge"),
    "gpu": ("narrow_packed", "narrow_bits", *PLAIN, "ridge"),
}
MACHINE = {8: "bfloat16", 24: "float32", 53: "float64"}
FLOOR = 1e-75
"""Where exact values are drawn, since an error of 0 has no logarithm."""
LOWEST = 1e-20
"""The same for errors against the target."""
RIDGE = "#e09f3e"


@dataclass(frozen=True)
class Case:
    """A construction and the points at which it is evaluated."""

    built: Built
    network: ExactNetwork
    x: np.ndarray
    truth: np.ndarray
    """The target's exact values, (points, outputs), rationals or floats."""


def case(construction: str, count: int) -> Case:
    """The wide target is d = 3, n = 8, L = 3; the cone's ridge is for accuracy 0.1."""
    import torch

    from depthwright.distributions import UniformCube, UniformRadius
    from depthwright.networks.exact.mantissa import exact_rationals
    from depthwright.networks.exact.network import ExactNetwork
    from depthwright.networks.ridge import RidgeNetwork

    generator = torch.Generator().manual_seed(0)
    if construction == "ridge":
        cone = Cone(3)
        built = Ridge(cone, accuracy=0.1).build()
        assert isinstance(built.network, RidgeNetwork)
        x = UniformRadius(3).sample(count, generator)
        truth = cone.truth(x).numpy().reshape(count, 1)
        return Case(built, built.network.to_exact(), x.numpy(), truth)
    wide = RandomNetwork(3, 8, 3, seed=0)
    make: Callable[..., Any] = REGISTRY[construction]
    built = (make(wide) if construction in PLAIN else make(wide, ACCURACY, FAILURE)).build()
    assert isinstance(built.network, ExactNetwork)
    cube = UniformCube(3).sample(4 * count, generator).numpy()
    good = (cube if built.in_bad_set is None else cube[~built.in_bad_set(cube)])[:count]
    return Case(built, built.network, good, exact_rationals(wide.as_network(), good))


def in_torch(network: ExactNetwork, x: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """Values in hardware arithmetic; weights are rounded from float64."""
    import torch

    from depthwright.networks.exact.floats import dense

    values = torch.from_numpy(x).to(dtype)
    for i, layer in enumerate(network.layers):
        matrix, bias = dense(layer, "float64")
        matrix = matrix.toarray() if hasattr(matrix, "toarray") else matrix
        weight = torch.from_numpy(matrix).to(dtype)
        values = torch.nn.functional.linear(values, weight, torch.from_numpy(bias).to(dtype))
        values = torch.relu(values) if i < len(network.layers) - 1 else values
    return values.double().numpy()


def measure(construction: str, points: int, bits: list[int]) -> list[dict[str, Any]]:
    """One row per number of bits; errors are the largest over the points."""
    import torch

    from depthwright.networks.exact.mantissa import distance, evaluate_rounded, exact_rationals

    given = case(construction, points)
    exact = exact_rationals(given.network, given.x)
    shared = {
        "layers": len(given.network.layers),
        "value_bits": given.network.value_bits,
        "promised": given.built.claim.bound,
        "equal_from": equal_from(given, exact),
    }
    found = []
    for p in bits:
        values = evaluate_rounded(given.network, given.x, p, anywhere=True)
        machine = None
        if p in MACHINE:
            own = in_torch(given.network, given.x, getattr(torch, MACHINE[p]))
            machine = float(distance(own, exact).max())
        row = {
            "mantissa_bits": p,
            "error_rounding": float(distance(values, exact).max()),
            "error_target": float(distance(values, given.truth).max()),
            "error_torch": machine,
        }
        found.append(row | shared)
    return found


def equal_from(given: Case, exact: np.ndarray) -> int:
    """Smallest p, by bisection, for which every value equals the exact one, bit for bit."""
    from depthwright.networks.exact.mantissa import evaluate_rounded, operation_bits

    low, high = 1, operation_bits(given.network, given.x)
    while high - low > 1:
        middle = (low + high) // 2
        if (evaluate_rounded(given.network, given.x, middle, anywhere=True) == exact).all():
            high = middle
        else:
            low = middle
    return high


def rows(run: Run) -> polars.DataFrame:
    """One cell per construction for all numbers of bits, which share its exact values."""
    count, bits = POINTS[run.scale], list(BITS[run.scale])
    cells = (
        {"construction": name, "points": max(4, count // SLOWER.get(name, 1)), "bits": bits}
        for name in NAMES[run.scale]
    )
    return run.cells(cells, measure).drop("bits")


def useful_from(part: polars.DataFrame) -> int | None:
    """Smallest p tried from which on the error against the target stays within the accuracy."""
    kept = None
    for row in part.sort("mantissa_bits", descending=True).iter_rows(named=True):
        if row["error_target"] > row["promised"]:
            break
        kept = row["mantissa_bits"]
    return kept


def chart(rows: polars.DataFrame) -> Chart:
    import polars

    rounding, torchs, target, proved, promised = [], [], [], [], []
    for (name,), part in rows.group_by("construction", maintain_order=True):
        text = label(str(name))
        own: dict[str, Any] = {"contender": RIDGE if name == "ridge" else str(name)}
        first = part.row(0, named=True)
        equal = part.filter(polars.col("error_rounding") == 0)["mantissa_bits"].min()
        # Once equal, it stays so; one point of it is enough.
        upto = part if equal is None else part.filter(polars.col("mantissa_bits") <= equal)
        rounding.append(curve(upto, "error_rounding", text, FLOOR, **own))
        finite = part.filter(polars.col("error_torch").is_finite())
        if not finite.is_empty():
            torchs.append(
                curve(finite, "error_torch", f"{text}, in torch", FLOOR, kind="matched", **own)
            )
        target.append(curve(part, "error_target", text, LOWEST, **own))
        if bits := first["value_bits"]:
            line = f"{text}, proved exact from here on"
            proved.append(Series(line, (bits, bits), (FLOOR, 1.0), "promised", **own))
        if first["promised"] > 1e-6:
            ends = (float(part["mantissa_bits"][0]), float(part["mantissa_bits"][-1]))
            line = f"{text}, promised"
            promised.append(Series(line, ends, (first["promised"],) * 2, "promised", **own))
    x = "mantissa bits p"
    logs: dict[str, Any] = {"x_log": True, "y_log": True}
    ticks = (8.0, 24.0, 53.0, 106.0, 192.0, 512.0)
    left = Panel(
        x,
        "worst error against the network's exact values",
        (*rounding, *proved, *torchs),
        lines=(("equal, bit for bit", FLOOR),),
        ticks=ticks,
        title="rounding alone",
        **logs,
    )
    right = Panel(
        x,
        f"worst error against the target (at least {LOWEST:g})",
        (*target, *promised),
        ticks=ticks,
        title="rounding and the theorem's own error",
        **logs,
    )
    return Chart((left, right))


def curve(part: polars.DataFrame, column: str, name: str, lowest: float, **drawn: Any) -> Series:
    """A column against the number of bits; zeros are drawn at the lowest value of the axis."""
    heights = tuple(max(value, lowest) for value in part[column])
    notes = tuple("equal" if value == 0 else f"{value:.3g}" for value in part[column])
    return Series(name, tuple(map(float, part["mantissa_bits"])), heights, notes=notes, **drawn)


def sentence(rows: polars.DataFrame) -> str:
    import polars

    parts, needed = [], []
    for (name,), part in rows.group_by("construction", maintain_order=True):
        last = part.row(-1, named=True)
        needed.append(f"{label(str(name))} {useful_from(part) or 'more than were tried'}")
        double = part.filter(polars.col("mantissa_bits") == 53).row(0, named=True)
        proof = f"proved from {last['value_bits']}" if last["value_bits"] else "nothing is proved"
        torchs = double["error_torch"]
        own = "overflows" if math.isinf(torchs) else f"errs by {torchs:.1e}"
        parts.append(
            f"{label(str(name))} ({last['layers']:,} layers) promises to be within "
            f"{last['promised']:.2g} of the target; rounded to 53 bits it is off its own exact "
            f"values by {double['error_rounding']:.1e}, in torch's float64 it {own}; it is exact, "
            f"bit for bit, from {last['equal_from']} bits on ({proof}), and at "
            f"{last['mantissa_bits']} bits {last['error_target']:.1e} off the target."
        )
    finding = f"Mantissa bits that keep the promise: {', '.join(needed)}; float64 has 53."
    return " ".join([finding, *(part[0].upper() + part[1:] for part in parts)])


def broken(rows: polars.DataFrame) -> list[str]:
    found = []
    for row in rows.iter_rows(named=True):
        case = f"{row['construction']} with {row['mantissa_bits']} bits"
        proved = row["value_bits"] and row["mantissa_bits"] >= row["value_bits"]
        if proved and row["error_rounding"] != 0:
            found.append(f"{case} rounds by {row['error_rounding']:.2g}, proved exact")
        if row["error_rounding"] == 0 and not row["error_target"] <= row["promised"]:
            found.append(f"{case} is off by {row['error_target']:.2g}, above {row['promised']:.2g}")
    return found


EXPERIMENT = Experiment(rows, chart, sentence, broken=broken)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
