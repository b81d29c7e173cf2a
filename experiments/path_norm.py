"""Path norms of trained, fitted and constructed networks above the floor that none can pass.

    python experiments/path_norm.py [--scale smoke|cpu|gpu]

No depth-2 ReLU network within ε of a radial f has Σ abs(a_i)‖w_i‖ below 2·M_ε (its proof:
bounds/norm_floor.py).
Every network is a point: its path norm against the sup error of its rotation average, at which the
floor binds rigorously. Trained networks (Adam, the best of two learning rates by validation, as in
every comparison) of several widths and lengths of training, features, and constructions of all
sizes: how near does each come to the cheapest network of its error?
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from depthwright.bounds import mass_floor, report
from depthwright.constructions import Ridge, SparseRidge
from depthwright.distributions import UniformRadius
from depthwright.experiment import Experiment, Run, least
from depthwright.figures.chart import Chart, Panel, Series, series
from depthwright.networks.torch_network import layers_of
from depthwright.targets import REGISTRY, Radial
from depthwright.training import TrainerConfig, TrainingConfig, train_rivals
from depthwright.training.features import fit_output, random_features

if TYPE_CHECKING:
    import polars

    from depthwright.networks.network import Network

TARGETS = {
    "smoke": (("cone", 5),),
    "cpu": (("cone", 5), ("hat", 5)),
    "gpu": (("cone", 5), ("hat", 5), ("cone", 20), ("hat", 20)),
}
WIDTHS = {"smoke": (50,), "cpu": (25, 100, 400), "gpu": (25, 100, 400, 1600)}
STEPS = {"smoke": (100,), "cpu": (500, 3000), "gpu": (500, 3000, 20_000)}
RIDGES = {"smoke": (0.3,), "cpu": (0.3, 0.2, 0.1), "gpu": (0.3, 0.2, 0.1)}
"""Accuracies of the construction by polynomials, in units of the target's range."""
CURVE = {"cone": np.geomspace(2e-5, 0.5, 30), "hat": np.geomspace(0.01, 0.25, 25)}
"""Errors at which the floor is computed, from about the smallest error of the networks."""
NAMES = {
    "trained_architecture": "trained",
    "random_features": "random, last layer fitted",
    "constructed_sparse_ridge": "SparseRidge",
    "constructed_features": "SparseRidge, last layer fitted",
    "constructed": "Ridge",
}


def target(name: str, input_dim: int) -> Radial:
    found = REGISTRY[name](input_dim=input_dim)  # type: ignore[call-arg]
    assert isinstance(found, Radial)
    return found


def measure(
    name: str, input_dim: int, what: str, width: int = 0, steps: int = 0, error: float = 0.0
) -> dict[str, Any] | list[dict[str, Any]]:
    """One network against its floor, or the floor at one error."""
    f, law = target(name, input_dim), UniformRadius(input_dim)
    if what == "floor":
        return {
            "contender": "floor",
            "error_sup_averaged": error,
            "path_norm": mass_floor(f, error),
        }
    training = TrainingConfig(steps=steps or 1, learning_rates=[3e-3, 1e-2], seeds=1)
    if what == "trained":
        trainer = TrainerConfig(progress=False)
        shapes = {"trained_architecture": [(input_dim, width, 1)]}
        found = train_rivals(shapes, f, law, training, trainer)
        return [_row(c, rival.network, f) for c, rival in found.rivals.items()]
    if what == "ridge":
        return _row("constructed", Ridge(f, error).build().network, f)
    sparse = SparseRidge(f, width=width).build().network
    features = fit_output(layers_of(sparse)[:-1], f, law, training, seed=0)
    drawn = random_features(width, f, law, training)
    return [
        _row("constructed_sparse_ridge", sparse, f),
        _row("constructed_features", features.network, f),
        _row("random_features", drawn.network, f),
    ]


def _row(contender: str, network: Network, f: Radial) -> dict[str, Any]:
    found = report(network, f)
    return {
        "contender": contender,
        "neurons": network.architecture.widths[1],
        "error_sup_averaged": found.error_sup_averaged,
        "path_norm": found.path_norm,
        "path_norm_floor": found.path_norm_floor,
    }


def rows(run: Run) -> polars.DataFrame:
    cells: list[dict[str, Any]] = []
    for name, d in TARGETS[run.scale]:
        f = {"name": name, "input_dim": d}
        cells += [f | {"what": "floor", "error": float(error)} for error in CURVE[name]]
        for width in WIDTHS[run.scale]:
            cells += [f | {"what": "trained", "width": width, "steps": s} for s in STEPS[run.scale]]
            cells.append(f | {"what": "other", "width": width})
        height = 2 * float(CURVE[name][-1])
        cells += [f | {"what": "ridge", "error": height * e} for e in RIDGES[run.scale]]
    return run.cells(cells, measure)


def chart(rows: polars.DataFrame) -> Chart:
    panels = []
    for (name, d), part in rows.group_by("name", "input_dim", maintain_order=True):
        floor = part.filter(part["contender"] == "floor").sort("error_sup_averaged")
        floor = floor.filter(floor["path_norm"] > 0)
        at, height = (tuple(floor[c].to_list()) for c in ("error_sup_averaged", "path_norm"))
        bottom = min(height) / 2
        lines = [
            Series(
                "no depth-2 network below this",
                at,
                height,
                "floor",
                low=(bottom,) * len(at),
                high=height,
                band=True,
                contender="floor",
            )
        ]
        lines += [
            series(
                part.filter(part["contender"] == contender),
                "error_sup_averaged",
                "path_norm",
                text,
                "points",
                contender=contender,
                note="neurons",
            )
            for contender, text in NAMES.items()
            if (part["contender"] == contender).any()
        ]
        panels.append(
            Panel(
                "sup error of the rotation average",
                "path norm Σ|a|·‖w‖",
                tuple(lines),
                x_log=True,
                y_log=True,
                title=f"{name}, d = {d}",
            )
        )
    return Chart(tuple(panels))


def over_floor(rows: polars.DataFrame) -> polars.DataFrame:
    """Every network that has a floor, with the ratio of its path norm to the floor."""
    import polars

    found = rows.filter((polars.col("contender") != "floor") & (polars.col("path_norm_floor") > 0))
    return found.with_columns(
        (polars.col("path_norm") / polars.col("path_norm_floor")).alias("times")
    )


def sentence(rows: polars.DataFrame) -> str:
    import polars

    networks = over_floor(rows)
    without = rows.filter(polars.col("contender") != "floor").height - len(networks)
    below = int((networks["times"] < 1).sum())
    text = []
    for contender, name in NAMES.items():
        times = networks.filter(networks["contender"] == contender)["times"].to_numpy()
        if len(times):
            low, high = f"{times.min():.3g}", f"{times.max():.3g}"
            text.append(f"{name}, {low if low == high else f'{low} to {high}'}")
    told = (
        f"{below or 'None'} of {len(networks)} depth-2 networks {'is' if below < 2 else 'are'} "
        f"below the floor of the path norm; the nearest has {least(networks, 'times'):.3g} times "
        "the floor. A network whose average over rotations has the error ε has a path norm of at "
        "least 2·M_ε, its floor. As multiples of their floors, the path norms are: "
        f"{'; '.join(text)}."
    )
    if without:
        told += (
            f" {without} more {'network has an error' if without == 1 else 'networks have errors'} "
            "so large that the floor is 0, which says nothing."
        )
    return told


def broken(rows: polars.DataFrame) -> list[str]:
    networks = over_floor(rows)
    return [
        f"{row['contender']}, {row['neurons']} neurons, {row['name']}, d = {row['input_dim']}: "
        f"path norm {row['path_norm']:.6g} below its floor {row['path_norm_floor']:.6g}"
        for row in networks.iter_rows(named=True)
        if not row["times"] >= 1
    ]


EXPERIMENT = Experiment(
    rows,
    chart,
    sentence,
    (
        "name",
        "input_dim",
        "contender",
        "neurons",
        "steps",
        "error_sup_averaged",
        "path_norm",
        "path_norm_floor",
    ),
    broken,
)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
