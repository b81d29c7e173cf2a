"""What it costs that no weight exceeds 2: Corollary 3's price in depth.

    python experiments/bounded_weights.py [--scale smoke|cpu|gpu]

VYS22 Corollary 3 divides every layer by the largest weight and doubles it back at the end, one C
for all layers: O(n³L³ log²) layers for Theorem 2's O(n²L² log). Ours gives every neuron its own
power of two (constructions/narrow_bounded.py). Depth with all weights ≤ 2 over depth without, from
formulas, against the width of random targets (d = 2, L = 3, weights uniform on [−1, 1], ε = δ =
1e-2); the narrowest is built both ways too, its largest weight and its values are compared.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from depthwright.constructions import NarrowBounded
from depthwright.constructions.weight_bounds import weight_exponent
from depthwright.experiment import Experiment, Run, largest
from depthwright.figures.chart import Chart, Panel, series
from depthwright.figures.exponent import exponent
from depthwright.targets import RandomNetwork

if TYPE_CHECKING:
    import polars

ACCURACY = FAILURE = 1e-2
DIM, DEPTH = 2, 3
WIDTHS = {
    "smoke": (4, 8, 16, 32),
    "cpu": (4, 8, 16, 32, 64, 128),
    "gpu": (4, 8, 16, 32, 64, 128, 256),
}
BUILT = 4
"""The width that is built."""
POINTS = 20
INNER = {
    "narrow_bits": "Theorem 2",
    "narrow_packed": "packed",
    "narrow_exact_slim": "Theorem 7, slimmer",
}
Scaling = Literal["layer", "neuron"]
SCALINGS: dict[Scaling, str] = {
    "layer": "one factor (Corollary 3)",
    "neuron": "a factor per neuron (ours)",
}


def measure(inner: str, n: int) -> list[dict[str, Any]]:
    """Both scalings of one inner network."""
    target = RandomNetwork(DIM, n, DEPTH, seed=0)
    found = []
    for scaling in SCALINGS:
        recipe = NarrowBounded(target, ACCURACY, FAILURE, inner, scaling)
        size, own = recipe.architecture(), recipe.construction.architecture()
        row = {
            "scaling": scaling,
            "inner_depth": own.depth,
            "inner_weight_log2": weight_exponent(recipe.construction),
            "depth": size.depth,
            "price": size.depth / own.depth,
            "parameters_price": size.parameters / own.parameters,
        }
        found.append(row | (compared(recipe) if n == BUILT else NOT_COMPARED))
    return found


NOT_COMPARED = {"largest_weight": None, "value_gap": None, "inner_largest_log2": None}


def compared(recipe: NarrowBounded) -> dict[str, float]:
    """Build both networks; compare their largest weights and their values."""
    import torch

    from depthwright.distributions import UniformCube
    from depthwright.networks.exact.network import ExactNetwork

    before, after = recipe.construction.build().network, recipe.build().network
    assert isinstance(before, ExactNetwork)
    assert isinstance(after, ExactNetwork)
    x = UniformCube(DIM).sample(POINTS, torch.Generator().manual_seed(0))
    gap = (before.evaluate(x) - after.evaluate(x)).abs().max()
    return {
        "largest_weight": 2.0 ** largest_entry(after),
        "inner_largest_log2": largest_entry(before),
        "value_gap": float(gap),
    }


def largest_entry(network: Any) -> float:
    """log2 of the largest entry; each distinct layer is read once."""
    layers = {id(layer): layer for layer in network.layers}.values()
    sizes = (abs(value.fraction) for layer in layers for _, _, value in layer.entries())
    top = max(sizes)
    return math.log2(top.numerator) - math.log2(top.denominator)


def rows(run: Run) -> polars.DataFrame:
    cells = ({"inner": inner, "n": n} for inner in INNER for n in WIDTHS[run.scale])
    return run.cells(cells, measure)


def chart(rows: polars.DataFrame) -> Chart:
    import polars

    column = polars.col
    prices, weights = [], []
    for inner, text in INNER.items():
        for scaling, how in SCALINGS.items():
            part = rows.filter((column("inner") == inner) & (column("scaling") == scaling))
            kind = "matched" if scaling == "neuron" else "size"
            prices.append(series(part, "n", "price", f"{text}, {how}", kind, contender=inner))  # type: ignore[arg-type]
        weights.append(
            series(part, "n", "inner_weight_log2", f"{text}, unbounded", "size", contender=inner)
        )
    x = "target width n"
    ticks = tuple(float(n) for n in rows["n"].unique().sort())
    return Chart(
        (
            Panel(x, "depth, weights ≤ 2 / unbounded", tuple(prices), True, True, ticks=ticks),
            Panel(
                x,
                "log2 of the largest weight (formula)",
                tuple(weights),
                True,
                True,
                lines=(("weights ≤ 2", 1.0),),
                ticks=ticks,
            ),
        )
    )


def growth(rows: polars.DataFrame, inner: str, scaling: str) -> float:
    """The exponent of n in the ratio of parameters."""
    import polars

    column = polars.col
    part = rows.filter((column("inner") == inner) & (column("scaling") == scaling)).sort("n")
    return exponent(part["n"], part["price"])


def sentence(rows: polars.DataFrame) -> str:
    import polars

    column = polars.col
    last = rows.filter(column("n") == rows["n"].max())
    at = {(r["inner"], r["scaling"]): r["price"] for r in last.iter_rows(named=True)}
    built = rows.drop_nulls("largest_weight")
    return (
        f"Without weights above 2, Theorem 2's network is {at['narrow_bits', 'layer']:,.0f} times "
        f"as deep if all neurons share one factor, {at['narrow_bits', 'neuron']:.2f} times if each "
        f"has its own (n = {largest(rows, 'n'):.0f}). VYS22 Corollary 3 has one factor and "
        "promises O(nL log) times the depth; here it grows like "
        f"n^{growth(rows, 'narrow_bits', 'layer'):.2f}. The packed network becomes "
        f"{at['narrow_packed', 'layer']:,.0f} or {at['narrow_packed', 'neuron']:,.0f} times as "
        f"deep, the slim exact one {at['narrow_exact_slim', 'layer']:.1f} or "
        f"{at['narrow_exact_slim', 'neuron']:.2f} times. In the networks that were built, at n = "
        f"{BUILT}, weights of up to 2^{largest(built, 'inner_largest_log2'):.0f} become at most "
        f"{largest(built, 'largest_weight'):g}; at {POINTS} points the values differ by "
        f"{largest(built, 'value_gap'):g}."
    )


def broken(rows: polars.DataFrame) -> list[str]:
    return [
        f"{row['inner']}, {row['scaling']}: largest weight {row['largest_weight']}, values differ "
        f"by {row['value_gap']}"
        for row in rows.drop_nulls("largest_weight").iter_rows(named=True)
        if row["largest_weight"] > 2 or row["value_gap"] != 0
    ]


EXPERIMENT = Experiment(rows, chart, sentence, broken=broken)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
