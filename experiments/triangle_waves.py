"""A label that flips eight times: three composed triangles against trained networks.

    python experiments/triangle_waves.py [--scale smoke|cpu|gpu]

Protocol of Chatziafratis et al. 2020, from secondary sources: 8,000 points on [0, 1] whose label
flips every 1,000. Telgarsky's triangle, composed three times, is above 1/2 exactly where
the label is 1: width 2, depth 4, 19 parameters, no error. Trained networks of growing depth and
several widths, the best of several seeds and learning rates, squared loss on labels ±1. The floor:
a network of h hidden layers of width w has at most (w + 1)^h affine pieces, so its sign at most
r = (w + 1)^h + 1 runs; a run of m points errs on at least (m − 1,000)/2 of them, so all err on a
share of at least (8 − r)/16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from depthwright.distributions.domain import Box
from depthwright.distributions.uniform import UniformCube
from depthwright.experiment import Experiment, Run, least
from depthwright.figures.chart import Chart, Panel, Series, series
from depthwright.networks import Architecture
from depthwright.targets.target import Target

if TYPE_CHECKING:
    import polars
    import torch

POINTS, FLIPS, TRIANGLES = 8000, 8, 3
WIDTHS = {"smoke": (2, 8), "cpu": (2, 4, 8, 32), "gpu": (2, 4, 8, 16, 32, 64)}
DEPTHS = {"smoke": (2, 4), "cpu": (2, 3, 4, 5, 6), "gpu": (2, 3, 4, 5, 6, 8, 10)}
TRAINING: dict[str, dict[str, Any]] = {
    "smoke": {"steps": 300, "seeds": 2, "learning_rates": [1e-2]},
    "cpu": {"steps": 4000, "seeds": 4, "learning_rates": [1e-3, 3e-3, 1e-2]},
    "gpu": {"steps": 20_000, "seeds": 16, "learning_rates": [1e-3, 3e-3, 1e-2]},
}
SHADES = {2: "#c8553d", 4: "#e09f3e", 8: "#6d1a36", 16: "#4c956c", 32: "#7a5195", 64: "#3d5a80"}


@dataclass(frozen=True)
class Flips(Target):
    """1 on every other eighth of [0, 1], beginning with the first, −1 between; x = 2u − 1."""

    input_dim: int = 1

    @property
    def domain(self) -> Box:
        return Box.of(1)

    @property
    def lipschitz(self) -> float:
        return float("inf")

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        eighth = ((x + 1) / 2 * FLIPS).floor().clip(0, FLIPS - 1)
        return 1 - 2 * (eighth % 2)


class Points(UniformCube):
    """Uniform on the 8,000 points, the middles of their cells."""

    def sample(
        self, count: int, generator: torch.Generator, dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        import torch

        where = torch.randint(POINTS, (count, 1), generator=generator, device=generator.device)
        return points(where, dtype or torch.float64)


def points(where: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return (2 * where.to(dtype) + 1) / POINTS - 1


def composed() -> torch.nn.Sequential:
    """φ(φ(φ(u + 1/16))) − 1/2 with u = (x + 1)/2 and φ(z) = σ(2z) − σ(4z − 2)."""
    import torch

    layers: list[torch.nn.Module] = []
    fold = torch.tensor([[2.0], [4.0]], dtype=torch.float64)
    shift = torch.tensor([0.0, -2.0], dtype=torch.float64)
    join = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    for k in range(TRIANGLES):
        weight = fold * 0.5 if k == 0 else fold @ join
        bias = shift + (fold[:, 0] * (0.5 + 1 / 16) if k == 0 else 0)
        layers += [_linear(weight, bias), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, _linear(join, torch.full((1,), -0.5, dtype=torch.float64)))


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> torch.nn.Linear:
    import torch

    made = torch.nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
    made.load_state_dict({"weight": weight, "bias": bias})
    return made.requires_grad_(False)


def wrong(values: torch.Tensor) -> float:
    """Share of the 8,000 points with the wrong sign; a value of 0 counts as wrong."""
    import torch

    truth = Flips()(points(torch.arange(POINTS)[:, None], torch.float64))
    return float((values.double() * truth <= 0).double().mean())


def floor(hidden: int, width: int) -> float:
    """The smallest share of wrong points for any network of this shape."""
    return max(0.0, (FLIPS - ((width + 1) ** hidden + 1)) / (2 * FLIPS))


def measure(
    width: int, target_depth: int, steps: int, seeds: int, rates: list[float]
) -> dict[str, Any]:
    """The best network of one shape; width 0 stands for the composed triangles."""
    import torch

    x = points(torch.arange(POINTS)[:, None], torch.float64)
    if not width:
        size = Architecture.of((1, *[2] * TRIANGLES, 1))
        error, rate, seconds = wrong(composed()(x)), None, 0.0
    else:
        from depthwright.training import TrainerConfig, TrainingConfig, train_rivals

        shape = (1, *[width] * (target_depth - 1), 1)
        size = Architecture.of(shape)
        config = TrainingConfig(steps=steps, seeds=seeds, learning_rates=rates, batch_size=256)
        result = train_rivals(
            {"trained": [shape]}, Flips(), Points(1), config, TrainerConfig(), progress=False
        )
        rival = result.rivals["trained"]
        error = wrong(rival.network.evaluate(x, "float32"))
        rate, seconds = rival.member.learning_rate, result.seconds
    return {
        "contender": "trained" if width else "composed triangles",
        "depth": size.depth,
        "parameters": size.parameters,
        "wrong": error,
        "floor": floor(size.depth - 1, size.width),
        "learning_rate": rate,
        "train_seconds": seconds,
    }


def rows(run: Run) -> polars.DataFrame:
    config = TRAINING[run.scale]
    more = {"steps": config["steps"], "seeds": config["seeds"], "rates": config["learning_rates"]}
    shapes = [(w, depth) for w in WIDTHS[run.scale] for depth in DEPTHS[run.scale]]
    cells = [{"width": w, "target_depth": depth, **more} for w, depth in [(0, 4), *shapes]]
    return run.cells(cells, measure)


def chart(rows: polars.DataFrame) -> Chart:
    import polars

    def lines(x: str) -> tuple[Series, ...]:
        found = [
            series(
                rows.filter(polars.col("width") == w),
                x,
                "wrong",
                f"trained, width {w}",
                contender=SHADES[w],
            )
            for w in rows["width"].unique().sort()
            if w
        ]
        built = rows.filter(polars.col("width") == 0)
        name = "three composed triangles, width 2"
        return (*found, series(built, x, "wrong", name, "points", contender="constructed"))

    narrow = rows.filter(polars.col("width") == 2)
    least = series(
        narrow, "depth", "floor", "no network of width 2 below this", "floor", contender="floor"
    )
    share = "share of the 8,000 points with the wrong label"
    return Chart(
        (
            Panel("depth", share, (*lines("depth"), least), ticks=tuple(map(float, DEPTHS["cpu"]))),
            Panel("parameters", share, lines("parameters"), x_log=True),
        )
    )


def sentence(rows: polars.DataFrame) -> str:
    import polars

    built = rows.filter(polars.col("width") == 0).row(0, named=True)
    trained = rows.filter(polars.col("width") > 0)
    same = trained.filter((polars.col("width") == 2) & (polars.col("depth") == built["depth"]))
    best = trained.sort("wrong", "parameters").row(0, named=True)
    shallow = trained.filter(polars.col("depth") == 2).sort("wrong").row(0, named=True)
    return (
        f"Three composed triangles get {built['wrong']:.1%} of the labels wrong, a trained "
        f"network of the same shape {least(same, 'wrong'):.1%}. They have width 2, depth "
        f"{built['depth']} and {built['parameters']} parameters; the label flips every 1,000 of "
        f"8,000 points. The best trained network here, of width {best['width']}, depth "
        f"{best['depth']} and {best['parameters']:,} parameters, gets {best['wrong']:.1%} wrong, "
        f"the best of depth 2, of width {shallow['width']}, {shallow['wrong']:.1%}. No network of "
        f"width 2 and depth 2 can get less than {floor(1, 2):.0%} wrong."
    )


def broken(rows: polars.DataFrame) -> list[str]:
    return [
        f"width {row['width']}, depth {row['depth']}: {row['wrong']:.4f} wrong"
        for row in rows.iter_rows(named=True)
        if (row["width"] == 0 and row["wrong"] > 0) or row["wrong"] < row["floor"]
    ]


EXPERIMENT = Experiment(rows, chart, sentence, broken=broken)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
