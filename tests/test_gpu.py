"""What runs on a GPU gives what the processor gives. Every test needs CUDA."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from depthwright import distributions, targets
from depthwright.approximation import descent, goals, neurons
from depthwright.comparison import run
from depthwright.constructions import NarrowPacked, Ridge, SparseRidge
from depthwright.distributions import UniformCube, UniformRadius
from depthwright.networks.ridge import RidgeNetwork
from depthwright.runs import config
from depthwright.targets import Cone, RandomNetwork, SineRidge
from depthwright.tracking import Tracker
from depthwright.training import TrainerConfig, TrainingConfig, train_rivals

pytestmark = pytest.mark.gpu
CONFIG = {
    "steps": 200,
    "batch_size": 64,
    "learning_rates": [3e-3, 1e-2],
    "validation_points": 1000,
    "chunk_steps": 25,
    "checkpoint_seconds": 0.0,
}


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("law", distributions.REGISTRY.values())
@pytest.mark.parametrize("input_dim", [1, 5])
def test_every_law_draws_on_the_gpu(law, input_dim):
    """Its mean square is that of the processor's draws, within sampling error."""
    one = law(input_dim)
    drawn = {
        device: one.sample(20_000, torch.Generator(device).manual_seed(0)).cpu()
        for device in ("cpu", "cuda")
    }
    assert one.domain.contains(drawn["cuda"]).all()
    capped = {device: x.norm(dim=1).clip(max=10.0) for device, x in drawn.items()}
    spread = float(capped["cpu"].std()) / 20_000**0.5
    assert abs(float(capped["cpu"].mean() - capped["cuda"].mean())) <= 8 * spread + 1e-12


@pytest.mark.parametrize(
    "target",
    [
        cls(5)
        for cls in targets.REGISTRY.values()
        if cls not in (RandomNetwork, SineRidge, targets.Profile, targets.Network)
    ]
    + [RandomNetwork(5, 8, 3, seed=0), SineRidge(5)],
    ids=lambda target: type(target).__name__,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_target_has_the_same_values_there(target, dtype):
    x = UniformRadius(5).sample(1000, torch.Generator().manual_seed(0), dtype)
    wanted, found = target(x), target(x.cuda())
    assert found.is_cuda
    assert found.dtype == wanted.dtype
    scale = float(wanted.abs().max()) * target_slope(target)
    assert float((found.cpu() - wanted).abs().max()) <= 100 * torch.finfo(dtype).eps * scale


def target_slope(target):
    """At least by how much a rounding of the radius may be multiplied in the value."""
    return max(1.0, float(target.lipschitz)) if hasattr(target, "lipschitz") else 100.0


@pytest.mark.parametrize("arithmetic", ["float32", "float64"])
def test_ridge_networks_are_within_their_rounding_bound_of_the_processor(arithmetic):
    network = Ridge(Cone(12), accuracy=0.1).build().network
    assert isinstance(network, RidgeNetwork)
    x = UniformRadius(12).sample(5000, torch.Generator().manual_seed(0))
    x = x.to(getattr(torch, arithmetic))
    wanted, found = network.evaluate(x, arithmetic), network.evaluate(x.cuda(), arithmetic)
    assert found.is_cuda
    gap = float((found.cpu() - wanted).abs().max())
    assert gap <= 2 * network.rounding_bound(arithmetic)


def test_exact_values_are_the_same_bits_and_lie_on_the_gpu():
    pytest.importorskip("triton")
    network = NarrowPacked(RandomNetwork(3, 8, 3, seed=0), 1e-2, 1e-2).build().network
    x = UniformCube(3).sample(3000, torch.Generator().manual_seed(0))
    found = network.evaluate(x.cuda(), engine="limbs")
    assert found.is_cuda
    assert torch.equal(found.cpu(), network.evaluate(x, engine="integers"))


def trained(accelerator, checkpoint=None, stop=None, **changes):
    curve = []

    def watch(step, errors):
        curve.append((step, errors["a"]))
        if step == stop:
            raise Killed

    train_rivals(
        {"a": [(4, 16, 1), (4, 6, 6, 1)]},
        Cone(4),
        UniformRadius(4),
        TrainingConfig(**(CONFIG | changes)),
        TrainerConfig(accelerator=accelerator, progress=False),
        on_validation=watch,
        checkpoint=checkpoint,
    )
    return curve


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_begins_with_the_same_errors_and_ends_near(dtype):
    """The same weights and validation points; the batches are drawn by the GPU's generator."""
    cpu, gpu = trained("cpu", dtype=dtype), trained("gpu", dtype=dtype)
    assert [step for step, _ in cpu] == [step for step, _ in gpu]
    assert gpu[0][1] == pytest.approx(cpu[0][1], rel=1e-5)
    assert 0.5 < gpu[-1][1] / cpu[-1][1] < 2
    assert gpu[-1][1] < 0.5 * gpu[0][1]


def test_an_interrupted_training_goes_on_where_it_was(tmp_path: Path) -> None:
    """Within rounding: a GPU's sums may differ from run to run."""
    whole, path = trained("gpu"), tmp_path / "training.ckpt"
    with pytest.raises(Killed):
        trained("gpu", path, stop=100)
    assert path.exists()
    resumed = trained("gpu", path)
    assert [step for step, _ in resumed] == [step for step, _ in whole]
    assert [e for _, e in resumed] == pytest.approx([e for _, e in whole], rel=1e-3)


@pytest.mark.parametrize("halving", [0, 3])
@pytest.mark.parametrize("losses", [["l2"], ["l2", "l8", "smooth_maximum"]])
def test_every_loss_and_a_search_run_there(halving, losses):
    curve = trained("gpu", halving=halving, rungs=2, losses=losses, styles=["plain", "normalised"])
    assert curve[-1][1] < 0.7 * curve[0][1]


def test_a_comparison_keeps_its_promises_there(tmp_path: Path, composed) -> None:
    comparison = config.comparison(composed("training=quick", "evaluation=quick"))
    rows = {row.contender: row for row in run(comparison, tmp_path, Tracker())}
    assert rows["constructed"].device.startswith("cuda")
    assert rows["constructed"].error_sup_attacked <= rows["constructed"].error_sup_certified


@pytest.mark.parametrize("solved", ["least_squares", "minimax"])
def test_networks_descend_on_the_gpu(solved, monkeypatch):
    """As far as on the processor, and twice to the same network; here a small one as well."""
    target = targets.Hat(4)
    monkeypatch.setattr(descent, "LEAST_ON_GPU", 0)
    x = UniformRadius(4).sample(20_000, torch.Generator().manual_seed(0))
    for device in ("cpu", "cuda"):
        monkeypatch.setitem(goals.LAW, device, 256)
        for goal in (goals.BOTH, goals.LARGEST):
            monkeypatch.setitem(goal.climbers, device, 500)
        monkeypatch.setitem(descent.MOST_STEPS, device, 1000)

    def errors():
        network = SparseRidge(target, width=60, solved=solved).build().network
        return (network.evaluate(x) - target(x)).abs()

    torch.cuda.reset_peak_memory_stats()
    here, again = errors(), errors()
    assert torch.cuda.max_memory_allocated() > 1e6
    assert torch.equal(here, again)
    for module in (descent, neurons):
        monkeypatch.setattr(module, "best_device", lambda: torch.device("cpu"))
    there = errors()
    assert float(here.square().mean()) < 1.3 * float(there.square().mean())
    assert float(here.max()) < 1.3 * float(there.max())
