"""Where does each theorem's network die? One network, any number of mantissa bits.

    python experiments/precision.py [--points 40] [--only NarrowPacked]

The same constructed network is evaluated in floating point of p mantissa bits (every input, weight,
product and sum rounded), p = 8 (bfloat16's), 11, 24 (float32), 53 (float64), 106 (double-double)
and on until nothing changes, and exactly. Two errors per p: against the exact values of the same
network, which is rounding alone, and against the target, which levels off at what was promised.
Points are uniform and outside the bad set. Beside it torch's own bfloat16, float32 and float64,
whose range is limited, too: values that overflow are counted as infinitely wrong.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from depthwright.constructions import (
    NarrowBits,
    NarrowExact,
    NarrowExactSlim,
    NarrowPacked,
    Ridge,
)
from depthwright.constructions.construction import Built
from depthwright.distributions import UniformCube, UniformRadius
from depthwright.figures.style import CLAIM, COLOURS, OTHERS, figure, save
from depthwright.networks.evaluation import dense
from depthwright.networks.exact import ExactNetwork
from depthwright.networks.mantissa import (
    distance,
    evaluate_rounded,
    exact_rationals,
    operation_bits,
)
from depthwright.targets import Cone, RandomNetwork

ACCURACY = FAILURE = 1e-2
BITS = (8, 11, 16, 24, 32, 53, 64, 80, 106, 128, 160, 192, 224, 256, 272, 288, 320, 384, 512)
TICKS = (8, 11, 24, 53, 106, 192, 320, 512)
MACHINE = {8: torch.bfloat16, 24: torch.float32, 53: torch.float64}
FLOOR = 1e-75
"""Where exact values are drawn: an error of 0 has no logarithm."""


@dataclass(frozen=True)
class Case:
    """A construction at its points."""

    name: str
    built: Built
    network: ExactNetwork
    x: np.ndarray
    truth: np.ndarray
    """The target's exact values, (points, outputs), rationals or floats."""


@dataclass(frozen=True)
class Row:
    """One network at one number of bits; worst error over the points."""

    name: str
    bits: int
    rounding: float
    """Against the exact values of the same network."""
    target: float
    machine: float | None
    """Of torch in the dtype of so many bits, against the exact values."""


def networks(count: int) -> dict[str, Callable[[], Case]]:
    """The five constructions; the wide target is d = 3, n = 8, L = 3."""
    wide = RandomNetwork(3, 8, 3, seed=0)
    cone = Cone(3)

    def narrow(name: str, recipe: Any) -> Case:
        built = recipe.build()
        x = UniformCube(3).sample(4 * count, torch.Generator().manual_seed(0)).numpy()
        x = (x if built.fails is None else x[~built.fails(x)])[:count]
        return Case(name, built, built.network, x, exact_rationals(wide.as_network(), x))

    def ridge() -> Case:
        built = Ridge(cone, accuracy=0.1).build()
        x = UniformRadius(3).sample(count, torch.Generator().manual_seed(0))
        truth = cone.truth(x).numpy().reshape(count, 1)
        return Case("Ridge", built, built.network.to_exact(), x.numpy(), truth)

    return {
        "NarrowPacked": lambda: narrow("NarrowPacked", NarrowPacked(wide, ACCURACY, FAILURE)),
        "NarrowBits": lambda: narrow("NarrowBits", NarrowBits(wide, ACCURACY, FAILURE)),
        "NarrowExact": lambda: narrow("NarrowExact", NarrowExact(wide)),
        "NarrowExactSlim": lambda: narrow("NarrowExactSlim", NarrowExactSlim(wide)),
        "Ridge": ridge,
    }


def in_torch(network: ExactNetwork, x: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """Values in a machine's own arithmetic; weights are rounded from float64."""
    values = torch.from_numpy(x).to(dtype)
    for i, layer in enumerate(network.layers):
        matrix, bias = dense(layer, "float64")
        matrix = matrix.toarray() if hasattr(matrix, "toarray") else matrix
        weight = torch.from_numpy(matrix).to(dtype)
        values = torch.nn.functional.linear(values, weight, torch.from_numpy(bias).to(dtype))
        values = torch.relu(values) if i < len(network.layers) - 1 else values
    return values.double().numpy()


def rows_of(case: Case) -> list[Row]:
    """All numbers of bits."""
    exact = exact_rationals(case.network, case.x)
    rows = []
    for bits in BITS:
        values = evaluate_rounded(case.network, case.x, bits, anywhere=True)
        machine = None
        if bits in MACHINE:
            own = in_torch(case.network, case.x, MACHINE[bits])
            machine = float(distance(own, exact).max())
        rounding = float(distance(values, exact).max())
        rows.append(
            Row(case.name, bits, rounding, float(distance(values, case.truth).max()), machine)
        )
    return rows


def equal_from(case: Case) -> int:
    """Smallest p, found by bisection, with every value equal to the exact one, bit for bit."""
    exact = exact_rationals(case.network, case.x)
    low, high = 1, operation_bits(case.network, case.x)
    while high - low > 1:
        middle = (low + high) // 2
        if (evaluate_rounded(case.network, case.x, middle, anywhere=True) == exact).all():
            high = middle
        else:
            low = middle
    return high


def useful_from(case: Case, rows: list[Row]) -> int | None:
    """Smallest p of the sweep from which on the error against the target keeps the promise."""
    promised = promise(case)
    kept = None
    for row in reversed(rows):
        if row.target > promised:
            break
        kept = row.bits
    return kept


def promise(case: Case) -> float:
    """The claim's bound; of an equal network, the accuracy that the others are asked for."""
    return case.built.claim.bound or ACCURACY


def main() -> None:
    """Sweep, table, picture, sentence."""
    parser = argparse.ArgumentParser(description="Error against mantissa bits.")
    parser.add_argument("--points", type=int, default=40)
    parser.add_argument("--only", nargs="+", help="constructions by name")
    parser.add_argument("--output", type=Path, default=Path("outputs/precision"))
    options = parser.parse_args()
    console = Console()
    found: list[tuple[Case, list[Row], int]] = []
    wanted = [n for n in networks(0) if not options.only or n in options.only]
    for name in track(wanted, "constructions", console=Console(stderr=True)):
        # Theorem 2's 3,648 layers take a tenth of a second a point and a number of bits.
        count = max(4, options.points // 8) if name == "NarrowBits" else options.points
        case = networks(count)[name]()
        found.append((case, rows_of(case), equal_from(case)))
    show(found, console)
    console.print(f"picture  {draw(found, options.output / 'precision.png').absolute()}")
    for case, rows, equal in found:
        console.print(sentence(case, rows, equal))


def show(found: list[tuple[Case, list[Row], int]], console: Console) -> None:
    """Worst rounding error by construction and bits; torch's in brackets."""
    table = Table(title="worst error against the same network's exact values (torch's own)")
    table.add_column("bits", justify="right")
    for case, _, _ in found:
        table.add_column(f"{case.name}, {len(case.x)} points", justify="right")
    for at, bits in enumerate(BITS):
        cells = []
        for _, rows, _ in found:
            row = rows[at]
            own = "" if row.machine is None else f" ({row.machine:.1e})"
            cells.append(f"{row.rounding:.1e}{own}" if row.rounding else "exact")
        table.add_row(str(bits), *cells)
    console.print(table)


def sentence(case: Case, rows: list[Row], equal: int) -> str:
    """What the proof says, and what was seen."""
    kept = useful_from(case, rows)
    bits = case.network.value_bits
    double = next(row for row in rows if row.bits == 53)
    said = f"value_bits says {bits}" if bits else "no bits are asked for"
    own = "overflows" if math.isinf(double.machine or 0.0) else f"errs by {double.machine:.1e}"
    return (
        f"{case.name}, {len(case.network.layers):,} layers: the error against the target is below "
        f"{promise(case):.2g} from {kept} of the tried numbers of bits on; "
        f"float64 (53 bits) rounds by {double.rounding:.1e}, torch's own {own}; equal to the exact "
        f"values bit for bit from {equal} bits on ({said}); worst error against the target with "
        f"all bits {rows[-1].target:.1e}."
    )


def draw(found: list[tuple[Case, list[Row], int]], path: Path) -> Path:
    """A panel of rounding errors and one of errors against the target."""
    drawing, (left, right) = figure(2)
    colours = (COLOURS["constructed"], *OTHERS)
    for (case, rows, _), colour in zip(found, colours, strict=False):
        style: dict[str, Any] = {
            "color": colour,
            "marker": "o",
            "markersize": 2.5,
            "linewidth": 1.2,
        }
        shown = [row for row in rows if row.rounding] + [row for row in rows if not row.rounding][
            :1
        ]
        left.plot(
            [row.bits for row in shown],
            [max(row.rounding, FLOOR) for row in shown],
            label=case.name,
            **style,
        )
        machine = [r for r in rows if r.machine is not None and 0 < r.machine < math.inf]
        left.plot(
            [r.bits for r in machine],
            [r.machine or 0.0 for r in machine],
            color=colour,
            marker="x",
            markersize=5,
            linestyle="none",
        )
        right.plot(
            [row.bits for row in rows],
            [max(row.target, FLOOR) for row in rows],
            label=case.name,
            **style,
        )
        if case.network.value_bits:
            for panel in (left, right):
                panel.axvline(case.network.value_bits, color=colour, linewidth=0.9, linestyle=":")
        if case.built.claim.bound > 1e-6:
            right.axhline(case.built.claim.bound, color=colour, **CLAIM)
    for panel in (left, right):
        panel.set(xscale="log", yscale="log", xlabel="mantissa bits p")
        panel.set_xticks(TICKS, [str(bits) for bits in TICKS])
        panel.minorticks_off()
    left.set(ylabel="worst error against the network's own exact values")
    left.text(8, FLOOR, " equal, bit for bit", fontsize=7, va="bottom")
    right.set(ylabel="worst error against the target", ylim=(1e-20, 30))
    drawing.legend(
        *left.get_legend_handles_labels(),
        fontsize=7,
        frameon=False,
        ncols=5,
        loc="outside lower center",
    )
    left.set_title("rounding alone; ×: torch's bfloat16, float32, float64", fontsize=8)
    right.set_title("dashed: promised; dotted: value_bits", fontsize=8)
    return save(drawing, path)


if __name__ == "__main__":
    main()
