"""Adam, AdamW and momentum against `torch.optim`, in the compiled step and in torch's."""

from __future__ import annotations

import math

import pytest
import torch

from depthwright.networks.styles import NORMALISED, PLAIN
from depthwright.refusal import Refusal
from depthwright.training.config import TrainingConfig
from depthwright.training.ensemble import Ensemble, EnsembleAdam, optimiser
from depthwright.training.losses import L2
from depthwright.training.step.batched import Batched
from depthwright.training.step.compiled import Compiled
from depthwright.training.step.executor import executor

RATES = (1e-3, 1e-2, 3e-3)
STEPS = 60
WIDTHS = (3, 10, 7, 1)
FACTORS = [0.5 * (1 + math.cos(math.pi * k / STEPS)) for k in range(STEPS)]
CONFIGS = {
    "adam": TrainingConfig(optimiser="adam"),
    "adamw": TrainingConfig(optimiser="adamw", weight_decay=0.3),
    "sgd": TrainingConfig(optimiser="sgd", momentum=0.8),
    "plain": TrainingConfig(optimiser="sgd", momentum=0.0),
}
THEIRS = {
    "adam": lambda p, lr: torch.optim.Adam(p, lr=lr),
    "adamw": lambda p, lr: torch.optim.AdamW(p, lr=lr, weight_decay=0.3),
    "sgd": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.8),
    "plain": lambda p, lr: torch.optim.SGD(p, lr=lr),
}


def batches(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(STEPS, 30, 3, generator=generator, dtype=torch.float64)
    return x.to(dtype), x.norm(dim=2, keepdim=True).to(dtype)


def made(style: str = PLAIN) -> Ensemble:
    return Ensemble(WIDTHS, range(3), torch.float64, style)


def ours(name: str, ensemble: Ensemble) -> EnsembleAdam:
    rates = torch.tensor(RATES, dtype=torch.float64)
    return optimiser(CONFIGS[name], ensemble.parameters(), rates)


def alone(name: str, style: str, k: int) -> list[torch.Tensor]:
    """Member k, by torch's own optimiser and schedule."""
    ensemble = made(style)
    theirs = THEIRS[name](ensemble.parameters(), RATES[k])
    schedule = torch.optim.lr_scheduler.LambdaLR(theirs, lambda step: FACTORS[min(step, STEPS - 1)])
    for x, y in zip(*batches(), strict=True):
        theirs.zero_grad()
        (ensemble(x) - y)[k].square().mean().backward()
        theirs.step()
        schedule.step()
    return [p[k].detach() for p in ensemble.parameters()]


@pytest.mark.parametrize("form", [Compiled, Batched])
@pytest.mark.parametrize("style", [PLAIN, NORMALISED])
@pytest.mark.parametrize("name", CONFIGS)
def test_every_member_takes_the_steps_of_torch_s_optimiser(
    name: str, style: str, form: type[Compiled] | type[Batched]
) -> None:
    ensemble = made(style)
    before = [p.detach().clone() for p in ensemble.parameters()]
    form(ensemble, ours(name, ensemble), [L2] * 3).train(*batches(), FACTORS)
    for k in range(3):
        expected = alone(name, style, k)
        for p, start, found in zip(ensemble.parameters(), before, expected, strict=True):
            assert float((p[k].detach() - found).abs().max()) <= 1e-10
            assert float((start[k] - found).abs().max()) > 1e-4  # something was learnt


@pytest.mark.parametrize("form", [Compiled, Batched])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_dropped_member_keeps_every_parameter(
    name: str, form: type[Compiled] | type[Batched]
) -> None:
    ensemble = made()
    rule = ours(name, ensemble)
    rule.drop(torch.tensor([False, True, False]))
    before = [p[1].detach().clone() for p in ensemble.parameters()]
    form(ensemble, rule, [L2] * 3).train(*batches(), FACTORS)
    for p, start in zip(ensemble.parameters(), before, strict=True):
        assert torch.equal(p[1].detach(), start)


def test_every_optimiser_is_in_the_compiled_step() -> None:
    for name in CONFIGS:
        ensemble = made()
        found = executor(ensemble, ours(name, ensemble), [L2] * 3, torch.device("cpu"))
        assert type(found) is Compiled


@pytest.mark.parametrize("name", CONFIGS)
def test_the_step_that_knows_adam_alone_is_given_no_other(name: str) -> None:
    step = pytest.importorskip("depthwright.training.step.triton", reason="triton is missing")
    ensemble = Ensemble((3, 10, 1), range(3))
    rule = optimiser(CONFIGS[name], ensemble.parameters(), torch.tensor(RATES))
    found = executor(ensemble, rule, [L2] * 3, torch.device("cuda"))  # nothing runs yet
    assert type(found) is (step.Fused if name == "adam" else Batched)


@pytest.mark.parametrize(
    "field",
    [{"optimiser": "lion"}, {"weight_decay": -0.1}, {"momentum": 1.0}, {"momentum": math.nan}],
)
def test_what_is_no_optimiser_is_refused(field: dict[str, object]) -> None:
    with pytest.raises(Refusal, match=f"{next(iter(field))}="):
        TrainingConfig(**field)  # type: ignore[arg-type]
