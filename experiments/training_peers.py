"""Four other trainers of the same networks on the same batches, for training_speed.py.

One Lightning run per network, as its manual shows; a plain torch loop; `torch.func`'s vmap of grad;
JAX's, with the whole training in one jit. All of them get this trainer's initial weights and
batches, drawn beforehand, on the processor or on a GPU.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from depthwright.distributions import UniformRadius
from depthwright.targets import Cone
from depthwright.training import TrainingConfig
from depthwright.training.family import schedule
from depthwright.training.rivals import quiet

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from depthwright.training import RivalTraining

INPUT_DIM = 10
RATE = 3e-3
SEED = 0
ALONE = 2
"""Number of networks on which trainers of single networks are timed."""
POOL = 50
"""Batches drawn; longer trainings of the other trainers use them again (timing only)."""


@dataclass(frozen=True)
class Size:
    """Networks of one width on batches of one size."""

    members: int
    width: int
    batch: int

    @property
    def operations(self) -> int:
        """Operations of one step of one network."""
        return self.batch * self.width * (4 * INPUT_DIM + 6)


@dataclass
class Work:
    """Initial weights and batches, the same as this trainer's."""

    size: Size
    config: TrainingConfig
    device: str = "cpu"
    """"cuda" for a GPU. JAX takes the GPU wherever it sees one."""
    module: RivalTraining = field(init=False)

    def __post_init__(self) -> None:
        from depthwright.training.lightning_module import RivalTraining, stream

        size, law = self.size, UniformRadius(INPUT_DIM)
        shape = (INPUT_DIM, size.width, 1)
        self.module = RivalTraining({"a": [shape]}, Cone(INPUT_DIM), law, self.config, SEED)
        generator = torch.Generator().manual_seed(stream(SEED, "points"))
        x = law.sample(POOL * size.batch, generator, torch.float32)
        self.x = x.view(POOL, size.batch, INPUT_DIM).to(self.device)
        self.y = Cone(INPUT_DIM)(x).view(POOL, size.batch, 1).to(self.device)
        ensemble = self.module.family(shape).ensemble
        self.alone = [
            copy.deepcopy(ensemble.member(k).to_torch(torch.float32)) for k in range(size.members)
        ]

    def batches(self, steps: int) -> Any:
        return ((self.x[k % POOL], self.y[k % POOL]) for k in range(steps))

    def stacked(self) -> dict[str, np.ndarray]:
        """Initial weights, (members, …) each."""
        names = [name for name, _ in self.alone[0].named_parameters()]
        parts = [dict(m.named_parameters()) for m in self.alone]
        return {n: np.stack([p[n].detach().numpy() for p in parts]) for n in names}


Finish = Callable[[], np.ndarray]
"""Root mean squared errors of the networks that were trained, (members,)."""

Trainer = Callable[[Work, int], Finish]
"""Trains for the given number of steps; the function it returns is not timed."""


def _one(network: torch.nn.Module, batches: list[Any]) -> pl.LightningModule:
    """One network, trained as Lightning's manual shows it: Adam, this learning-rate schedule."""
    import pytorch_lightning as pl  # takes seconds, and the picture is drawn without it

    class One(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def train_dataloader(self) -> Any:
            return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            x, y = batch
            return torch.nn.functional.mse_loss(self.network(x), y)

        def configure_optimizers(self) -> Any:
            optimiser = torch.optim.Adam(self.parameters(), lr=RATE)
            steps = len(batches)
            rate = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: schedule(k, steps, 0.0))
            return {
                "optimizer": optimiser,
                "lr_scheduler": {"scheduler": rate, "interval": "step"},
            }

    return One()


def lightning(work: Work, steps: int) -> Finish:
    """One Lightning run per network; two are run, and the time is multiplied."""
    import pytorch_lightning as pl
    from pytorch_lightning.plugins.environments import LightningEnvironment

    networks = []
    for network in work.alone[:ALONE]:
        own = copy.deepcopy(network)
        module = _one(own, list(work.batches(steps)))
        with quiet():
            pl.Trainer(
                accelerator="cpu" if work.device == "cpu" else "gpu",
                devices=1,
                max_epochs=1,
                logger=False,
                enable_checkpointing=False,
                enable_model_summary=False,
                enable_progress_bar=False,
                plugins=[LightningEnvironment()],
            ).fit(module)
        networks.append(own)
    return lambda: np.array([final(network, work) for network in networks])


def bare(work: Work, steps: int) -> Finish:
    """A plain torch loop per network; two are run, and the time is multiplied."""
    networks = [copy.deepcopy(network).to(work.device) for network in work.alone[:ALONE]]
    for network in networks:
        optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
        for k, (x, y) in enumerate(work.batches(steps)):
            optimiser.param_groups[0]["lr"] = RATE * schedule(k, steps, 0.0)
            optimiser.zero_grad()
            torch.nn.functional.mse_loss(network(x), y).backward()
            optimiser.step()
    wait(work)
    return lambda: np.array([final(network, work) for network in networks])


def wait(work: Work) -> None:
    """Until the device has done all that it was given."""
    if work.device != "cpu":
        torch.cuda.synchronize()


def vmapped(work: Work, steps: int) -> Finish:
    """torch.func: vmap of grad over stacked weights, one Adam for all."""
    from torch.func import functional_call, grad, vmap

    parts = {n: torch.from_numpy(p).clone().to(work.device) for n, p in work.stacked().items()}
    network = copy.deepcopy(work.alone[0]).to(work.device)

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
    wait(work)
    return lambda: finals({n: p.cpu().numpy() for n, p in parts.items()}, work)


def jaxed() -> Trainer:
    """JAX: vmap of grad, the same Adam, jit around a scan over all steps; no TF32 on a GPU."""
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
            with jax.default_matmul_precision("highest"):
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
        x, y = jnp.asarray(work.x.cpu().numpy()), jnp.asarray(work.y.cpu().numpy())
        trained = jax.block_until_ready(train(parts, x, y, jnp.arange(steps) % POOL, rates))
        return lambda: finals({n: np.asarray(p) for n, p in trained.items()}, work)

    return run


def final(network: torch.nn.Module, work: Work) -> float:
    """Root mean squared error on this trainer's validation points."""
    from depthwright.training.lightning_module import stream

    generator = torch.Generator().manual_seed(stream(SEED, "validation"))
    points = work.config.validation_points
    x = UniformRadius(INPUT_DIM).sample(points, generator, torch.float32)
    with torch.no_grad():
        gap = network.cpu()(x) - Cone(INPUT_DIM)(x)
    return float(gap.square().mean().sqrt())


def finals(parts: dict[str, np.ndarray], work: Work) -> np.ndarray:
    """The same for stacked weights."""
    found = []
    for k in range(work.size.members):
        network = copy.deepcopy(work.alone[0])
        network.load_state_dict({n: torch.from_numpy(np.array(p[k])) for n, p in parts.items()})
        found.append(final(network, work))
    return np.array(found)
