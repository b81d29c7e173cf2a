"""Parameters of the packed narrow twin over those of its target, up to a million neurons.

    python experiments/narrow_sizes.py [--build 2000]

Accuracy 1e-2, He-initialised targets on [−1, 1]^d; no matrix is drawn: the sizes follow from norms
that such targets have with probability at least 1 − 1e-6 (narrow_packed_bits.he_facts). Prints the
table, the first width at which the twin is the smaller of the two, and draws both. `--build N`
draws a target of width N, builds its twin and evaluates it exactly on 8 points.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from depthwright.constructions import NarrowPacked
from depthwright.constructions.narrow_packed import he_architecture
from depthwright.distributions import UniformCube
from depthwright.figures.style import OTHERS, below, figure, save
from depthwright.networks import Architecture
from depthwright.targets import RandomNetwork

ACCURACY = 1e-2
FAMILIES = ((8, 3), (16, 4), (16, 8))
WIDTHS = (64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_000_000)


def ratio(input_dim: int, width: int, depth: int) -> float:
    """Parameters of the twin over those of the target."""
    target = Architecture.of((input_dim, *[width] * (depth - 1), 1))
    return he_architecture(input_dim, width, depth, ACCURACY).parameters / target.parameters


def crossing(input_dim: int, depth: int) -> int:
    """A width with a ratio below 1 that none of the 32 before it has.

    By bisection, and a walk back over the teeth that whole numbers of bits cut into the curve.
    """
    low, high = 64, 64
    while ratio(input_dim, high, depth) >= 1:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if ratio(input_dim, middle, depth) < 1:
            high = middle
        else:
            low = middle
    for width in range(high - 1, max(high - 32, 1), -1):
        if ratio(input_dim, width, depth) < 1:
            high = width
    return high


def build(width: int, console: Console) -> None:
    """One real twin of (8, 3), evaluated exactly on 8 points."""
    start = time.perf_counter()
    target = RandomNetwork(8, width, 3, initialisation="he")
    recipe = NarrowPacked(target, ACCURACY, failure_probability=ACCURACY)
    built = recipe.build()
    size = built.network.architecture
    assert size == recipe.architecture()
    own = Architecture.of(target.widths).parameters
    console.print(
        f"built for n = {width}: width {size.width}, depth {size.depth:,}, {size.parameters:,} "
        f"parameters, {size.parameters / own:.3f} of the target's {own:,}, "
        f"in {time.perf_counter() - start:.0f} s"
    )
    start = time.perf_counter()
    x = UniformCube(8).sample(8, torch.Generator().manual_seed(0))
    gap = (built.network.evaluate(x) - target(x)).abs()[:, 0].numpy()
    assert built.fails is not None
    good = ~built.fails(x.numpy())
    console.print(
        f"evaluated exactly on {len(x)} points, {good.sum()} of them good, in "
        f"{time.perf_counter() - start:.0f} s: largest error on these {gap[good].max():.1e}, "
        f"promised {built.claim.bound:.2e}"
    )
    if not gap[good].max() <= built.claim.bound:
        raise SystemExit("the promise was broken")


def main() -> None:
    """Table, crossings, picture, and the network that was asked for."""
    parser = argparse.ArgumentParser(description="Sizes of packed narrow networks.")
    parser.add_argument("--build", type=int, metavar="N", help="build and evaluate one of width N")
    parser.add_argument("--output", type=Path, default=Path("outputs/narrow_sizes"))
    options = parser.parse_args()
    console = Console()
    table = Table(title="parameters of the narrow twin / of the target, accuracy 1e-2")
    table.add_column("n", justify="right")
    for d, depth in FAMILIES:
        table.add_column(f"d = {d}, L = {depth}", justify="right")
    ratios = np.array(
        [
            [ratio(d, n, depth) for d, depth in FAMILIES]
            for n in track(WIDTHS, "sizes", console=Console(stderr=True))
        ]
    )
    for n, row in zip(WIDTHS, ratios, strict=True):
        table.add_row(f"{n:,}", *(f"{value:.4g}" for value in row))
    console.print(table)
    drawing, (panel,) = figure(1)
    for (d, depth), column, colour in zip(FAMILIES, ratios.T, OTHERS[:3], strict=True):
        first = crossing(d, depth)
        console.print(f"d = {d}, L = {depth}: the twin is the smaller one at n = {first:,}")
        name = f"d = {d}, L = {depth}: smaller at n = {first:,}"
        panel.plot(WIDTHS, column, color=colour, marker="o", markersize=3, label=name)
    panel.axhline(1.0, color="#222222", linewidth=0.8)
    panel.set(xscale="log", yscale="log", xlabel="target width n")
    panel.set(ylabel="parameters, narrow twin / target")
    below(panel)
    console.print(f"picture  {save(drawing, options.output / 'narrow_sizes.png').absolute()}")
    if options.build:
        build(options.build, console)


if __name__ == "__main__":
    main()
