"""One radial function: depth 3 is soon the smaller network, built and trained.

    python experiments/depth_two_vs_three.py [--scale smoke|cpu|gpu]

Depth 3 squares the coordinates and then draws the profile: about d·√d/ε neurons are enough. Depth 2
has one hidden layer for all of it. Target: Hat (slope 2), at a tenth of its range. Left: parameters
of the constructions, by formula: SparseRidge with probability 0.999, Ridge where it can be built,
and RadialDepthThree. Middle: the path norm that every depth-2 network of that accuracy needs.
Right: trained networks with one hidden layer and with two, of the same number of parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from depthwright.bounds import mass_floor
from depthwright.constructions import Construction, RadialDepthThree, Ridge, SparseRidge
from depthwright.distributions import UniformRadius
from depthwright.errors import EvaluationConfig
from depthwright.errors.measure import measure as measured
from depthwright.experiment import Experiment, Run
from depthwright.figures.chart import Chart, Panel, series
from depthwright.figures.exponent import exponent
from depthwright.refusal import Refusal
from depthwright.targets import Hat
from depthwright.training import TrainerConfig, TrainingConfig, train_rivals
from depthwright.training.matching import hidden_width

if TYPE_CHECKING:
    import polars

ACCURACY = 0.05
"""A tenth of the range of the target."""
FAILURE = 1e-3
SIZES = {"smoke": (2, 5), "cpu": (2, 3, 5, 10, 20, 50, 100), "gpu": (2, 3, 5, 10, 20, 50, 100, 200)}
TRAINED = {"smoke": (2,), "cpu": (2, 5, 10, 20, 50), "gpu": (2, 5, 10, 20, 50, 100)}
PARAMETERS = {"smoke": 300, "cpu": 4000, "gpu": 50_000}
STEPS = {"smoke": 50, "cpu": 3000, "gpu": 20_000}
NAMES = {
    "ridge": "depth 2: Ridge",
    "sparse_ridge": "depth 2: SparseRidge",
    "radial_depth_three": "depth 3: RadialDepthThree",
}
COLOURS = {
    "ridge": "#e09f3e",
    "sparse_ridge": "#c8553d",
    "radial_depth_three": "#0b6e99",
    "depth 2": "#c8553d",
    "depth 3": "#0b6e99",
}


def recipe(name: str, f: Hat) -> Construction:
    if name == "sparse_ridge":
        return SparseRidge(f, ACCURACY, failure_probability=FAILURE)
    return Ridge(f, ACCURACY) if name == "ridge" else RadialDepthThree(f, ACCURACY)


def measure(
    input_dim: int, what: str, parameters: int = 0, steps: int = 0
) -> dict[str, Any] | list[dict[str, Any]]:
    """The size of a construction, the floor, or two trained networks."""
    f = Hat(input_dim)
    if what == "floor":
        return {"path_norm_needed": mass_floor(f, ACCURACY)}
    if what in NAMES:
        try:
            size = recipe(what, f).architecture()
        except Refusal as refusal:
            return {"note": str(refusal)}
        return {"neurons": sum(size.widths[1:-1]), "parameters_built": size.parameters}
    law = UniformRadius(input_dim)
    training = TrainingConfig(steps=steps, learning_rates=[3e-3, 1e-2], seeds=2)
    shapes = {
        f"depth {depth}": [
            (input_dim, *[hidden_width(input_dim, 1, depth, parameters)] * (depth - 1), 1)
        ]
        for depth in (2, 3)
    }
    found = train_rivals(shapes, f, law, training, TrainerConfig(progress=False))
    rows = []
    for name, rival in found.rivals.items():
        errors = measured(rival.network, f, law, EvaluationConfig(points=20_000), ACCURACY)
        scale = errors.l2.relative / errors.l2.value
        rows.append(
            {
                "contender": name,
                "error_l2_relative": errors.l2.relative,
                "low": errors.l2.low * scale,
                "high": errors.l2.high * scale,
                "error_sup_attacked": errors.sup_attacked,
            }
        )
    return rows


def rows(run: Run) -> polars.DataFrame:
    cells: list[dict[str, Any]] = [
        {"input_dim": d, "what": what} for what in (*NAMES, "floor") for d in SIZES[run.scale]
    ]
    more = {"what": "trained", "parameters": PARAMETERS[run.scale], "steps": STEPS[run.scale]}
    cells += [{"input_dim": d} | more for d in TRAINED[run.scale]]
    return run.cells(cells, measure)


def chart(rows: polars.DataFrame) -> Chart:
    axis = "input dimension d"
    sizes = [
        series(part, "input_dim", "parameters_built", text, "size", contender=COLOURS[what])
        for what, text in NAMES.items()
        if len(part := rows.filter(rows["what"] == what).drop_nulls("parameters_built"))
    ]
    needed = series(
        rows,
        "input_dim",
        "path_norm_needed",
        "no depth-2 network below this",
        "floor",
        contender="floor",
    )
    trained = rows.drop_nulls("error_l2_relative")
    errors = [
        series(
            trained.filter(trained["contender"] == name),
            "input_dim",
            column,
            f"trained, {name}: {text}",
            kind,  # type: ignore[arg-type]
            contender=COLOURS[name],
            interval=interval,
        )
        for name in ("depth 2", "depth 3")
        for column, text, kind, interval in (
            ("error_l2_relative", "L2 / deviation of f", "measured", ("low", "high")),
            ("error_sup_attacked", "largest found", "sampled", None),
        )
    ]
    parameters = int(rows["parameters"].max())  # type: ignore[arg-type]
    everywhere = tuple(float(d) for d in sorted(set(rows["input_dim"].to_list())))
    some = tuple(float(d) for d in sorted(set(trained["input_dim"].to_list())))
    return Chart(
        (
            Panel(
                axis, f"parameters, accuracy {ACCURACY:g}", tuple(sizes), True, True, (), everywhere
            ),
            Panel(axis, "path norm Σ|a|·‖w‖ needed", (needed,), True, True, (), everywhere),
            Panel(
                axis, f"error with {parameters:,} parameters", tuple(errors), True, True, (), some
            ),
        )
    )


def sentence(rows: polars.DataFrame) -> str:
    text = []
    for what, name in NAMES.items():
        part = rows.filter(rows["what"] == what)
        part = part.drop_nulls("neurons").sort("input_dim")
        slope = exponent(part["input_dim"].to_list(), part["neurons"].to_list())
        reach = f"{part['input_dim'][0]} to {part['input_dim'][-1]}"
        text.append(f"{name.partition(': ')[2]} like d^{slope:.2f} (d = {reach})")
    floor = rows.filter(rows["what"] == "floor").sort("input_dim")
    mass = exponent(floor["input_dim"].to_list(), floor["path_norm_needed"].to_list())
    trained = rows.drop_nulls("error_l2_relative")
    last = trained.filter(trained["input_dim"] == trained["input_dim"].max())
    error = dict(zip(last["contender"].to_list(), last["error_l2_relative"].to_list(), strict=True))
    built = rows.drop_nulls("parameters_built")
    built = built.filter(built["input_dim"] == built["input_dim"].max())
    sizes = dict(zip(built["what"], built["parameters_built"], strict=True))
    deep = sizes.pop("radial_depth_three")
    return (
        f"For the hat in d = {built['input_dim'][0]} the construction of depth 2 has "
        f"{min(sizes.values()) / deep:,.3g} times the parameters of that of depth 3; trained with "
        f"equal numbers, depth 2 errs {error['depth 2'] / error['depth 3']:.2g} times as much "
        f"(d = {last['input_dim'][0]}). "
        f"At accuracy {ACCURACY:g} the neurons grow as follows: {', '.join(text)}; SES19 Theorem 1 "
        f"allows d^O(ε^-9) for depth 2. The path norm that depth 2 needs grows like d^{mass:.2f}. "
        f"Trained with {int(rows['parameters'].max()):,} parameters, depth 2 has a relative L2 "  # type: ignore[arg-type]
        f"error of {error['depth 2']:.3f}, depth 3 of {error['depth 3']:.3f}."
    )


EXPERIMENT = Experiment(
    rows,
    chart,
    sentence,
    (
        "input_dim",
        "what",
        "neurons",
        "parameters_built",
        "path_norm_needed",
        "contender",
        "error_l2_relative",
        "error_sup_attacked",
    ),
)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
