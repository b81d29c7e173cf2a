"""How fast rivals are trained: this trainer beside four others, same networks, same batches.

    python experiments/training_speed.py [--scale smoke|cpu|gpu]

Depth-2 networks on 10 inputs, the cone as target, Adam under a cosine, float32; every trainer gets
the same initial weights and the same batches, drawn beforehand (this trainer draws them itself, and
its time includes that, its validations and its checkpointing). Steps a second are network-steps:
members × optimiser steps. The median of several repeats, in turns, compilation left out; each
trainer's number of steps is chosen to take about a second (less at the smallest scale). JAX, the
extra `peers`, is left out where it is not installed.

The arithmetic limit is what independent fused multiply-adds in registers reach on all threads, in
the same run; a step of width n on a batch of B counts 4·B·n·d + 6·B·n operations (two products by
the first matrix, three by the last, one multiply and one add each).
"""

from __future__ import annotations

import copy
import dataclasses
import math
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from torch.utils.data import DataLoader

from depthwright.distributions import UniformRadius
from depthwright.experiment import Experiment, Run, largest
from depthwright.figures.chart import Chart, Panel, Series, series
from depthwright.targets import Cone
from depthwright.training import RivalTraining, TrainerConfig, TrainingConfig, train_rivals
from depthwright.training.family import schedule
from depthwright.training.lightning_module import stream
from depthwright.training.rivals import _quiet
from depthwright.training.step.simd import add, count, load, multiply_add, pointer, total

if TYPE_CHECKING:
    import polars

INPUT_DIM = 10
RATE = 3e-3
SEED = 0
SECONDS = {"smoke": 0.05, "cpu": 1.0, "gpu": 1.0}
"""What a repeat should take."""
REPEATS = {"smoke": 1, "cpu": 5, "gpu": 5}
OURS = "this trainer"
COLOURS = {
    OURS: "#0b6e99",
    "JAX": "#c8553d",
    "torch.func": "#e09f3e",
    "bare loop": "#6b705c",
    "one Lightning run each": "#7a5195",
}


@dataclass(frozen=True)
class Size:
    """Members of one width on batches of one size."""

    members: int
    width: int
    batch: int

    @property
    def operations(self) -> int:
        """Of one network-step."""
        return self.batch * self.width * (4 * INPUT_DIM + 6)


LARGE = (Size(32, 64, 256), Size(16, 256, 1024), Size(8, 1024, 1024))
SIZES = {"smoke": LARGE[:1], "cpu": LARGE, "gpu": LARGE}
ALONE = 2
"""Networks that the trainers of single networks are timed on."""
POOL = 50
"""Batches drawn; longer trainings of the others go through them again (timing only)."""


@dataclass
class Work:
    """Initial weights and batches, as this trainer has them."""

    size: Size
    config: TrainingConfig
    module: RivalTraining = field(init=False)

    def __post_init__(self) -> None:
        size, law = self.size, UniformRadius(INPUT_DIM)
        shape = (INPUT_DIM, size.width, 1)
        self.module = RivalTraining({"a": [shape]}, Cone(INPUT_DIM), law, self.config, SEED)
        generator = torch.Generator().manual_seed(stream(SEED, "points"))
        x = law.sample(POOL * size.batch, generator, torch.float32)
        self.x = x.view(POOL, size.batch, INPUT_DIM)
        self.y = Cone(INPUT_DIM)(x).view(POOL, size.batch, 1)
        ensemble = self.module.family(shape).ensemble
        self.alone = [
            copy.deepcopy(ensemble.member(k).to_torch(torch.float32)) for k in range(size.members)
        ]

    def batches(self, steps: int) -> Any:
        """The first `steps` batches."""
        return ((self.x[k % POOL], self.y[k % POOL]) for k in range(steps))

    def stacked(self) -> dict[str, np.ndarray]:
        """Initial weights, (members, …) each."""
        names = [name for name, _ in self.alone[0].named_parameters()]
        parts = [dict(m.named_parameters()) for m in self.alone]
        return {n: np.stack([p[n].detach().numpy() for p in parts]) for n in names}


Finish = Callable[[], np.ndarray]
"""Root mean squared errors of the networks that were trained, (members,)."""

Trainer = Callable[[Work, int], Finish]
"""Trains for some steps; what it returns is not timed."""


def ours(work: Work, steps: int) -> Finish:
    """This trainer, all of it: Lightning, drawing, validation."""
    result = train_rivals(
        {"a": [(INPUT_DIM, work.size.width, 1)]},
        Cone(INPUT_DIM),
        UniformRadius(INPUT_DIM),
        dataclasses.replace(work.config, steps=steps),
        TrainerConfig(accelerator="cpu", progress=False),
        seed=SEED,
    )
    return lambda: np.array([m.final_rmse for m in result.rivals["a"].members])


class One(pl.LightningModule):
    """One network, as Lightning's manual shows it."""

    def __init__(self, network: torch.nn.Module, batches: list[Any]) -> None:
        super().__init__()
        self.network = network
        self.given = batches

    def train_dataloader(self) -> Any:
        """The batches as they are."""
        return DataLoader(self.given, batch_size=None)  # type: ignore[arg-type]

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        """Squared error."""
        x, y = batch
        return torch.nn.functional.mse_loss(self.network(x), y)

    def configure_optimizers(self) -> Any:
        """Adam, its rate after the schedule."""
        optimiser = torch.optim.Adam(self.parameters(), lr=RATE)
        steps = len(self.given)
        rate = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: schedule(k, steps, 0.0))
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": rate, "interval": "step"},
        }


def lightning(work: Work, steps: int) -> Finish:
    """One Lightning run per network; of two networks, the others take as long."""
    modules = []
    for network in work.alone[:ALONE]:
        module = One(copy.deepcopy(network), list(work.batches(steps)))
        with _quiet():
            pl.Trainer(
                accelerator="cpu",
                max_epochs=1,
                logger=False,
                enable_checkpointing=False,
                enable_model_summary=False,
                enable_progress_bar=False,
                plugins=[LightningEnvironment()],
            ).fit(module)
        modules.append(module.network)
    return lambda: np.array([final(network, work) for network in modules])


def bare(work: Work, steps: int) -> Finish:
    """A plain torch loop per network; of two networks."""
    networks = copy.deepcopy(work.alone[:ALONE])
    for network in networks:
        optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
        for k, (x, y) in enumerate(work.batches(steps)):
            optimiser.param_groups[0]["lr"] = RATE * schedule(k, steps, 0.0)
            optimiser.zero_grad()
            torch.nn.functional.mse_loss(network(x), y).backward()
            optimiser.step()
    return lambda: np.array([final(network, work) for network in networks])


def vmapped(work: Work, steps: int) -> Finish:
    """torch.func: vmap of grad over stacked weights, one Adam for all."""
    from torch.func import functional_call, grad, vmap

    parts = {n: torch.from_numpy(p).clone() for n, p in work.stacked().items()}
    network = work.alone[0]

    def loss(own: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.mse_loss(functional_call(network, own, (x,)), y)

    gradients = vmap(grad(loss), in_dims=(0, None, None))
    leaves = list(parts.values())
    optimiser = torch.optim.Adam(leaves, lr=RATE, foreach=True)
    for k, (x, y) in enumerate(work.batches(steps)):
        optimiser.param_groups[0]["lr"] = RATE * schedule(k, steps, 0.0)
        for leaf, g in zip(leaves, gradients(parts, x, y).values(), strict=True):
            leaf.grad = g
        optimiser.step()
    return lambda: finals({n: p.numpy() for n, p in parts.items()}, work)


def jaxed() -> Trainer:
    """JAX: vmap of grad, the same Adam, jit around a scan over all steps."""
    import jax
    import jax.numpy as jnp

    def loss(own: Any, x: Any, y: Any) -> Any:
        hidden = jax.nn.relu(x @ own["0.weight"].T + own["0.bias"])
        return jnp.mean((hidden @ own["2.weight"].T + own["2.bias"] - y) ** 2)

    gradients = jax.vmap(jax.grad(loss), in_axes=(0, None, None))

    @jax.jit
    def train(parts: Any, x: Any, y: Any, picked: Any, rates: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, parts)

        def step(carry: Any, now: Any) -> Any:
            parts, mean, square, t = carry
            k, rate = now
            g = gradients(parts, x[k], y[k])
            mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, g)
            square = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g * g, square, g)
            c1, c2 = 1 - 0.9**t, jnp.sqrt(1 - 0.999**t)
            parts = jax.tree.map(
                lambda p, m, s: p - rate / c1 * m / (jnp.sqrt(s) / c2 + 1e-8), parts, mean, square
            )
            return (parts, mean, square, t + 1), None

        return jax.lax.scan(step, (parts, zeros, zeros, 1.0), (picked, rates))[0][0]

    def run(work: Work, steps: int) -> Finish:
        parts = {n: jnp.asarray(p) for n, p in work.stacked().items()}
        rates = jnp.asarray([RATE * schedule(k, steps, 0.0) for k in range(steps)])
        x, y = jnp.asarray(work.x.numpy()), jnp.asarray(work.y.numpy())
        trained = jax.block_until_ready(train(parts, x, y, jnp.arange(steps) % POOL, rates))
        return lambda: finals({n: np.asarray(p) for n, p in trained.items()}, work)

    return run


def final(network: torch.nn.Module, work: Work) -> float:
    """Root mean squared error on this trainer's validation points."""
    generator = torch.Generator().manual_seed(stream(SEED, "validation"))
    points = work.config.validation_points
    x = UniformRadius(INPUT_DIM).sample(points, generator, torch.float32)
    with torch.no_grad():
        gap = network(x) - Cone(INPUT_DIM)(x)
    return float(gap.square().mean().sqrt())


def finals(parts: dict[str, np.ndarray], work: Work) -> np.ndarray:
    """The same for stacked weights."""
    found = []
    for k in range(work.size.members):
        network = copy.deepcopy(work.alone[0])
        network.load_state_dict({n: torch.from_numpy(np.array(p[k])) for n, p in parts.items()})
        found.append(final(network, work))
    return np.array(found)


@numba.njit(nogil=True)
def _fused(a, times):  # type: ignore[no-untyped-def]
    a = pointer(a)
    n, b = count(a), load(a, 0)
    c0, c1, c2, c3 = load(a, n), load(a, 2 * n), load(a, 3 * n), load(a, 4 * n)
    c4, c5, c6, c7 = load(a, 5 * n), load(a, 6 * n), load(a, 7 * n), load(a, 8 * n)
    c8, c9 = load(a, 9 * n), load(a, 10 * n)
    for _ in range(times):
        c0, c1 = multiply_add(c0, b, b), multiply_add(c1, b, b)
        c2, c3 = multiply_add(c2, b, b), multiply_add(c3, b, b)
        c4, c5 = multiply_add(c4, b, b), multiply_add(c5, b, b)
        c6, c7 = multiply_add(c6, b, b), multiply_add(c7, b, b)
        c8, c9 = multiply_add(c8, b, b), multiply_add(c9, b, b)
    sums = add(add(add(c0, c1), add(c2, c3)), add(add(c4, c5), add(c6, c7)))
    return total(add(sums, add(c8, c9)))


def arithmetic_limit(threads: int) -> float:
    """Operations a second, all threads."""
    a = np.linspace(0.1, 0.9, 256).astype(np.float32)
    _fused(a, 1)
    times, best = 5_000_000, 0.0
    for _ in range(5):
        start = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda _: _fused(a, times), range(threads)))
        best = max(best, threads * times * 10 * 2 * 16 / (time.perf_counter() - start))
    return best


def length(trainer: Trainer, work: Work, wanted: float) -> int:
    """Steps that take about so many seconds; JAX has compiled for that number afterwards."""
    steps = POOL
    while True:
        trainer(work, steps)
        start = time.perf_counter()
        trainer(work, steps)
        seconds = time.perf_counter() - start
        if seconds > wanted / 2:
            return steps
        steps *= min(8, math.ceil(wanted / seconds))


def measure(
    members: int, width: int, batch: int, repeats: int, wanted: float
) -> list[dict[str, Any]]:
    """One size: a row per trainer."""
    size = Size(members, width, batch)
    config = TrainingConfig(
        steps=POOL, batch_size=size.batch, learning_rates=[RATE], seeds=size.members, warmup=0.0
    )
    work = Work(size, config)
    trainers: dict[str, Trainer] = {OURS: ours}
    if find_spec("jax"):
        trainers["JAX"] = jaxed()
    trainers |= {"torch.func": vmapped, "bare loop": bare, "one Lightning run each": lightning}
    limit = arithmetic_limit(torch.get_num_threads())
    alone = {"one Lightning run each": ALONE, "bare loop": ALONE}
    # The same networks on the same batches: the errors should agree far within their spread.
    errors = {name: trainer(work, POOL)() for name, trainer in trainers.items()}
    true = errors[OURS]
    lengths = {name: length(trainer, work, wanted) for name, trainer in trainers.items()}
    speeds: dict[str, list[float]] = {name: [] for name in trainers}
    for _ in range(repeats):
        for name, trainer in trainers.items():
            start = time.perf_counter()
            trainer(work, lengths[name])
            done = alone.get(name, size.members) * lengths[name]
            speeds[name].append(done / (time.perf_counter() - start))
    median = {name: statistics.median(found) for name, found in speeds.items()}
    return [
        {
            "trainer": name,
            "network_steps_per_second": speed,
            "low": min(speeds[name]),
            "high": max(speeds[name]),
            "slower_than_ours": median[OURS] / speed,
            "share_of_limit": speed * size.operations / limit,
            "largest_difference": float(np.abs(errors[name] - true[: len(errors[name])]).max()),
            "error_mean": float(true.mean()),
            "error_deviation": float(true.std()),
            "limit_gigaflops": limit / 1e9,
            "threads": torch.get_num_threads(),
        }
        for name, speed in median.items()
    ]


def rows(run: Run) -> polars.DataFrame:
    """A cell per size."""
    more = {"repeats": REPEATS[run.scale], "wanted": SECONDS[run.scale]}
    return run.cells([{**vars(size), **more} for size in SIZES[run.scale]], measure)


def chart(rows: polars.DataFrame) -> Chart:
    """Network-steps a second, and shares of the arithmetic limit."""
    speeds, shares = [], []
    for (name,), part in rows.group_by("trainer", maintain_order=True):
        told, colour = str(name), COLOURS[str(name)]
        speeds.append(
            series(
                part,
                "width",
                "network_steps_per_second",
                told,
                contender=colour,
                interval=("low", "high"),
            )
        )
        shares.append(series(part, "width", "share_of_limit", told, contender=colour))
    x, ticks = "width of the trained networks", tuple(map(float, rows["width"].unique().sort()))
    return Chart(
        (
            _panel(x, "network-steps a second", tuple(speeds), ticks),
            _panel(x, "share of the arithmetic limit", tuple(shares), ticks),
        )
    )


def _panel(x: str, y: str, drawn: tuple[Series, ...], ticks: tuple[float, ...]) -> Panel:
    return Panel(x, y, drawn, x_log=True, y_log=True, ticks=ticks)


def sentence(rows: polars.DataFrame) -> str:
    """How many times faster than each, size by size."""
    said = []
    for (members, width, batch), part in rows.group_by(
        "members", "width", "batch", maintain_order=True
    ):
        others = [
            f"{row['trainer']} {row['slower_than_ours']:.2f}"
            for row in part.iter_rows(named=True)
            if row["trainer"] != OURS
        ]
        one = part.row(0, named=True)
        said.append(
            f"{members} networks 10 → {width} → 1 on batches of {batch}: {', '.join(others)}; this "
            f"trainer does {one['share_of_limit']:.1%} of what the processor can "
            f"({one['limit_gigaflops']:.0f} Gflop/s); errors differ by at most "
            f"{largest(part, 'largest_difference'):.1e}, over seeds by {one['error_deviation']:.1e}"
        )
    return (
        f"How many times faster this trainer is, on {rows['threads'][0]} threads, than — "
        f"{'. '.join(said)}."
    )


EXPERIMENT = Experiment(rows, chart, sentence)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
