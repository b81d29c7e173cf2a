"""No polynomial in both: what depth 2 pays when dimension and frequency grow together.

    python experiments/no_polynomial_in_both.py [--scale smoke|cpu|gpu]

SES19: a depth-2 network for a Lipschitz radial function may be polynomial in d for fixed accuracy,
and polynomial in 1/ε for fixed d, but not in both (Theorem 4: f_m(x) = sin(2πm‖x‖²)/(4πm), m = d³).
Here k runs along three ways, m = k in d = 3, m = 1 in d = k + 2, and m = k in d = k + 2; the error
allowed is half the height 1/(4πm) of f_m, and all sums are in units of that height. Left: the path
norm that every depth-2 network needs in the sup norm (2·M_ε), and what D17's theorem says of the
sum of its neurons' norms for an L2 error of a quarter of the height over the pair law. Middle:
neurons of SparseRidge with probability 0.999, by formula. Right: trained networks, all of one width
and training. Where float64 cannot solve a program, the floor shown is that of a slightly larger
error: lower, and a floor all the same.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from depthwright.bounds import mass_floor, of_radial
from depthwright.constructions import SparseRidge
from depthwright.distributions import UniformRadius
from depthwright.errors import EvaluationConfig
from depthwright.errors.measure import measure as measured
from depthwright.experiment import Experiment, Run
from depthwright.figures.chart import Chart, Kind, Panel, Series, series
from depthwright.figures.exponent import exponent
from depthwright.refusal import Refusal
from depthwright.targets import Sine
from depthwright.training import TrainerConfig, TrainingConfig, train_rivals

if TYPE_CHECKING:
    import polars

WAYS = {
    "frequency": "frequency grows: d = 3, m = k",
    "dimension": "dimension grows: d = k + 2, m = 1",
    "both": "both grow: d = k + 2, m = k",
}
COLOURS = {"frequency": "#e09f3e", "dimension": "#0b6e99", "both": "#c8553d"}
PALE = {"frequency": "#f0c98f", "dimension": "#86b9d1", "both": "#e6a99c"}
SHARE = 0.5
"""The allowed error, as a share of the height of f."""
SHARE_L2 = 0.25
FAILURE = 1e-3
MASSES = {"smoke": (1, 2, 3), "cpu": (1, 2, 3, 4, 5, 6), "gpu": (1, 2, 3, 4, 5, 6, 8, 12)}
TAILS = {"smoke": (1, 2, 4), "cpu": (1, 2, 3, 4, 6, 8, 12, 16, 24), "gpu": (1, 2, 4, 8, 16, 32)}
TRAINED = {"smoke": (1,), "cpu": (1, 2, 4, 8), "gpu": (1, 2, 3, 4, 6, 8, 12)}
WIDTH = {"smoke": 50, "cpu": 200, "gpu": 2000}
STEPS = {"smoke": 50, "cpu": 2500, "gpu": 30_000}


def target(way: str, k: int) -> Sine:
    return Sine(3 if way == "frequency" else k + 2, 1 if way == "dimension" else k)


def measure(way: str, k: int, what: str, width: int = 0, steps: int = 0) -> dict[str, Any]:
    f = target(way, k)
    height = f.norms["sup"]
    if what == "mass":
        return {"path_norm_needed": mass_floor(f, SHARE * height) / height}
    if what == "neurons":
        try:
            recipe = SparseRidge(f, SHARE * height, failure_probability=FAILURE)
            return {"neurons": recipe.architecture().widths[1]}
        except Refusal as refusal:
            return {"neurons": None, "note": str(refusal)}
    if what == "tail":
        return {"norms_needed": of_radial(f).norms_needed(SHARE_L2 * height) / height}
    law = UniformRadius(f.input_dim)
    training = TrainingConfig(steps=steps, learning_rates=[3e-3, 1e-2], seeds=1)
    shape = {"trained": [(f.input_dim, width, 1)]}
    found = train_rivals(shape, f, law, training, TrainerConfig(progress=False))
    errors = measured(
        found.rivals["trained"].network, f, law, EvaluationConfig(points=20_000), SHARE * height
    )
    return {
        "error_l2_relative": errors.l2.relative,
        "low": errors.l2.low / errors.l2.value * errors.l2.relative,
        "high": errors.l2.high / errors.l2.value * errors.l2.relative,
        "error_sup": None if errors.sup_attacked is None else errors.sup_attacked / height,
    }


def rows(run: Run) -> polars.DataFrame:
    asked: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
        ("mass", MASSES[run.scale], {}),
        ("neurons", MASSES[run.scale], {}),
        ("tail", TAILS[run.scale], {}),
        ("trained", TRAINED[run.scale], {"width": WIDTH[run.scale], "steps": STEPS[run.scale]}),
    ]
    cells = [
        {"way": way, "k": k, "what": what} | more
        for what, ks, more in asked
        for way in WAYS
        for k in ks
    ]
    return run.cells(cells, measure)


def chart(rows: polars.DataFrame) -> Chart:
    def lines(
        column: str,
        kind: Kind,
        text: str = "",
        colours: dict[str, str] = COLOURS,
        interval: tuple[str, str] | None = None,
    ) -> list[Series]:
        if column not in rows.columns:
            return []
        found = [
            series(
                rows.filter(rows["way"] == way),
                "k",
                column,
                f"{name}{text}",
                kind,
                contender=colours[way],
                interval=interval,
            )
            for way, name in WAYS.items()
        ]
        return [one for one in found if one.x]

    floors = lines("path_norm_needed", "floor", ", path norm")
    both = floors[-1]
    floors[-1] = Series(
        both.name,
        both.x,
        both.y,
        "floor",
        contender=COLOURS["both"],
        low=(1.0,) * len(both.x),
        high=both.y,
        band=True,
    )
    tails = lines("norms_needed", "floor", ", neuron norms (D17)", PALE)
    panels = [
        Panel("k", "needed, in units of the height of f", (*floors, *tails), True, True),
        Panel("k", "neurons of SparseRidge", tuple(lines("neurons", "size")), True, True),
    ]
    trained = lines("error_l2_relative", "measured", interval=("low", "high"))
    if trained:
        what = "L2 error of trained networks / deviation of f"
        panels.append(Panel("k", what, tuple(trained), True, lines=(("the mean of f", 1.0),)))
    ticks = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
    return Chart(tuple(_ticked(panel, ticks) for panel in panels))


def _ticked(panel: Panel, ticks: tuple[int, ...]) -> Panel:
    largest = max(x for one in panel.series for x in one.x if x is not None)
    return replace(panel, ticks=tuple(float(t) for t in ticks if t <= largest))


def local(rows: polars.DataFrame, way: str, column: str) -> tuple[float, float]:
    """Exponents of the column in k, over the first step and over the last."""
    part = rows.filter(rows["way"] == way).drop_nulls(column).sort("k")
    steps = [
        exponent(ks, values)
        for ks, values in zip(
            pairwise(part["k"].to_list()), pairwise(part[column].to_list()), strict=True
        )
    ]
    return steps[0], steps[-1]


def sentence(rows: polars.DataFrame) -> str:
    text = []
    for way, name in WAYS.items():
        first, last = local(rows, way, "path_norm_needed")
        tail_first, tail_last = local(rows, way, "norms_needed")
        text.append(
            f"where {name}, like k^{first:.1f} at first and k^{last:.1f} at last "
            f"(D17: k^{tail_first:.1f} and k^{tail_last:.1f})"
        )
    first, last = local(rows, "both", "path_norm_needed")
    return (
        f"{'No polynomial in both: when' if last > first else 'When'} dimension and frequency grow "
        f"together, the path norm that depth 2 needs grows like k^{first:.1f} at first and like "
        f"k^{last:.1f} at last. SES19 "
        "excludes a polynomial in d and 1/ε for depth 2 (width 2^{c·d·log d} at ε of order 1/d³), "
        "while each alone has one. By path norm, and by the sum of neuron norms that D17's theorem "
        f"needs: {'; '.join(text)}."
    )


EXPERIMENT = Experiment(
    rows,
    chart,
    sentence,
    ("way", "k", "path_norm_needed", "norms_needed", "neurons", "error_l2_relative", "error_sup"),
)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
