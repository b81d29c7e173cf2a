"""The narrow twin becomes the smaller network: its parameters over its target's.

    python experiments/narrow_parameters_vs_width.py [--scale smoke|cpu|gpu]

Accuracy 1e-2, He-initialised targets on [−1, 1]^d; no matrix is drawn: the sizes follow from norms
that such targets have with probability at least 1 − 1e-6 (constructions/he_norms.py). Beside every
construction of VYS22 and ours the counting lower bound for networks as wide as the packed one
(bounds/counting.py). The crossing is the first width of a run of 32 at which the packed twin is
the smaller network. At the larger scales one target is drawn, its twin built, evaluated exactly on
8 points, and counted: its row says `built`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from depthwright.bounds import least_narrow
from depthwright.constructions.he_sizes import he_architecture, he_sizes
from depthwright.experiment import Experiment, Run
from depthwright.figures.chart import Chart, Kind, Panel, series
from depthwright.networks import Architecture

if TYPE_CHECKING:
    import polars

ACCURACY = 1e-2
FAMILY = (8, 3)
"""d and L of the left panel."""
FAMILIES = {
    "smoke": ((8, 3), (16, 4)),
    "cpu": ((8, 3), (16, 3), (16, 4), (16, 8)),
    "gpu": ((8, 3), (16, 3), (16, 4), (16, 8)),
}
WIDTHS = (64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_000_000)
BUILT: dict[str, tuple[int, ...]] = {"smoke": (), "cpu": (480,), "gpu": (480, 1000)}
NAMES = {
    "narrow_bits_paper": "Theorem 2, printed constants",
    "narrow_bits": "Theorem 2, certified bits",
    "narrow_minimal": "Theorem 5, certified bits (on top of Theorem 2)",
    "narrow_exact": "Theorem 7, repaired",
    "narrow_exact_slim": "Theorem 7, slimmer (ours)",
    "narrow_packed": "packed (ours)",
    "narrow_packed_gaps": "packed, long gaps (ours)",
    "floor": "no network of the packed width below this (counting)",
}
KINDS: dict[str, Kind] = {"floor": "floor", "narrow_packed_gaps": "matched"}
"""How curves of other colours are drawn."""


def target_parameters(input_dim: int, depth: int, width: int) -> int:
    """Parameters of a network with depth − 1 hidden layers."""
    return Architecture.of((input_dim, *[width] * (depth - 1), 1)).parameters


def ratio(input_dim: int, depth: int, width: int) -> float:
    """Parameters of the packed network over those of the target."""
    twin = he_architecture(input_dim, width, depth, ACCURACY)
    return twin.parameters / target_parameters(input_dim, depth, width)


def crossing(input_dim: int, depth: int) -> int:
    """A width with a ratio below 1 that none of the 32 before it has.

    By bisection, and a walk back over the teeth that whole numbers of bits cut into the curve.
    """
    low, high = 64, 64
    while ratio(input_dim, depth, high) >= 1:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if ratio(input_dim, depth, middle) < 1:
            high = middle
        else:
            low = middle
    for width in range(high - 1, max(high - 32, 1), -1):
        if ratio(input_dim, depth, width) < 1:
            high = width
    return high


def measure(input_dim: int, target_depth: int, neurons: int, built: bool) -> list[dict[str, Any]]:
    """One row per construction; the row of the crossing has 0 neurons."""
    depth, crosses = target_depth, neurons == 0
    width = neurons or crossing(input_dim, depth)
    own = target_parameters(input_dim, depth, width)
    sizes = he_sizes(input_dim, width, depth, ACCURACY)
    sizes["narrow_packed_gaps"] = he_architecture(input_dim, width, depth, ACCURACY, long_gaps=True)
    sizes["floor"] = least_narrow(input_dim, sizes["narrow_packed"].width, width, depth)
    counted = {"narrow_packed": draw(input_dim, depth, width)} if built else {}
    return [
        {
            "target_width": width,
            "crossing": crosses,
            "construction": name,
            "width": size.width,
            "depth": float(size.depth),  # beyond 64 bits for Theorem 7
            "parameters": float(size.parameters),
            "target_parameters": float(own),
            "ratio": size.parameters / own,
            **counted.get(name, {"error_good": None, "error_promised": None, "ratio_built": None}),
        }
        for name, size in sizes.items()
    ]


def draw(input_dim: int, depth: int, width: int) -> dict[str, float]:
    """Draw a target, build its narrow network and evaluate both exactly on 8 points."""
    import torch

    from depthwright.constructions import NarrowPacked
    from depthwright.distributions import UniformCube
    from depthwright.targets import RandomNetwork

    target = RandomNetwork(input_dim, width, depth, initialisation="he")
    built = NarrowPacked(target, ACCURACY).build()
    x = UniformCube(input_dim).sample(8, torch.Generator().manual_seed(0))
    gap = (built.network.evaluate(x) - target(x)).abs()[:, 0].numpy()
    own = Architecture.of(target.widths).parameters
    return {
        "error_good": float(gap.max()),
        "error_promised": built.claim.bound,
        "ratio_built": built.network.architecture.parameters / own,
    }


def rows(run: Run) -> polars.DataFrame:
    cells = [
        {"input_dim": d, "target_depth": depth, "neurons": n, "built": False}
        for d, depth in FAMILIES[run.scale]
        for n in (*WIDTHS, 0)
    ]
    d, depth = FAMILY
    cells += [
        {"input_dim": d, "target_depth": depth, "neurons": n, "built": True}
        for n in BUILT[run.scale]
    ]
    return run.cells(cells, measure)


def chart(rows: polars.DataFrame) -> Chart:
    import polars

    column = polars.col
    d, depth = FAMILY
    family = rows.filter(
        (column("input_dim") == d) & (column("target_depth") == depth) & ~column("built")
    )
    curves = [
        series(
            family.filter(column("construction") == name),
            "target_width",
            "ratio",
            label,
            KINDS.get(name, "size"),
            contender=name.removesuffix("_gaps"),
        )
        for name, label in NAMES.items()
    ]
    packed = rows.filter((column("construction") == "narrow_packed") & ~column("built"))
    families = packed.select("input_dim", "target_depth").unique(maintain_order=True).rows()
    colours = ("#0b6e99", "#4c956c", "#c8553d", "#6d1a36")
    others = [
        series(
            packed.filter((column("input_dim") == d) & (column("target_depth") == depth)),
            "target_width",
            "ratio",
            f"packed, d = {d}, L = {depth}",
            "size",
            contender=colour,
        )
        for (d, depth), colour in zip(families, colours, strict=False)
    ]
    one = (("as large as the target", 1.0),)
    x, y = "target width n", "parameters, twin / target"
    crossings = "where packed twins cross"
    return Chart(
        (
            Panel(x, y, tuple(curves), True, True, lines=one, title=f"d = {d}, L = {depth}"),
            Panel(x, y, tuple(others), True, True, lines=one, title=crossings),
        )
    )


def sentence(rows: polars.DataFrame) -> str:
    import polars

    column = polars.col
    crossings = rows.filter(column("crossing") & (column("construction") == "narrow_packed"))
    found = ", ".join(
        f"n = {row['target_width']:,} (d = {row['input_dim']}, L = {row['target_depth']})"
        for row in crossings.iter_rows(named=True)
    )
    d, depth = FAMILY
    last = rows.filter((column("input_dim") == d) & (column("target_depth") == depth))
    last = last.filter(column("target_width") == last["target_width"].max())
    at = {row["construction"]: row["ratio"] for row in last.iter_rows(named=True)}
    own = crossings.filter((column("input_dim") == d) & (column("target_depth") == depth))
    where = f"from n = {own['target_width'][0]:,} on" if len(own) else "nowhere"
    told = (
        f"The packed twin is the smaller network {where}; at n = {max(WIDTHS):,} it has "
        f"{at['narrow_packed']:.2g} times its target's parameters (d = {d}, L = {depth}). VYS22's "
        "Theorems 2 and 5 promise O(n²L² log) and O(d·n²L² log²) parameters for a target that has "
        f"n²L of them; the packed network needs Õ(n·L). At n = {max(WIDTHS):,} (d = {d}, L = "
        f"{depth}) Theorem 2 takes {at['narrow_bits_paper']:,.0f} times the target's parameters "
        f"with its printed constants and {at['narrow_bits']:,.0f} times with certified bits; that "
        f"less than {at['floor']:.1e} times suffices is excluded by counting. The packed twin "
        f"becomes the smaller network at {found or 'no width'}."
    )
    for row in rows.filter(column("ratio_built").is_not_null()).iter_rows(named=True):
        told += (
            f" Drawn and built at n = {row['target_width']:,}: ratio {row['ratio_built']:.3f}, "
            f"largest error {row['error_good']:.1e} of {row['error_promised']:.1e} "
            "promised."
        )
    return told


def broken(rows: polars.DataFrame) -> list[str]:
    drawn = rows.drop_nulls("ratio_built")
    return [
        f"n = {row['target_width']}: error {row['error_good']:.3g}, promised "
        f"{row['error_promised']:.3g}"
        for row in drawn.iter_rows(named=True)
        if not row["error_good"] <= row["error_promised"]
    ]


EXPERIMENT = Experiment(
    rows,
    chart,
    sentence,
    ("input_dim", "target_depth", "target_width", "construction", "width", "depth", "ratio"),
    broken,
)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
