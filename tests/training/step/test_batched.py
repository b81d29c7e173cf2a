"""Recorded steps are the steps: with a plain call in place of a CUDA graph, and on a GPU."""

import pytest
import torch

from depthwright.training.ensemble import Ensemble, EnsembleAdam
from depthwright.training.losses import LOSSES
from depthwright.training.step import batched
from depthwright.training.step.batched import Batched, recorded

STEPS = 2 * batched.STEPS + 7


def trained(device, record):
    """Weights after some steps, one member dropped midway."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2 * STEPS, 32, 3, generator=generator, dtype=torch.float64)
    y = x.norm(dim=2, keepdim=True)
    ensemble = Ensemble((3, 8, 6, 1), [0, 1, 2], torch.float64).to(device)
    rates = torch.tensor([1e-3, 1e-2, 3e-3], dtype=torch.float64, device=device)
    optimiser = EnsembleAdam(ensemble.parameters(), rates)
    step = Batched(ensemble, optimiser, LOSSES, record)
    step.train(x[:STEPS].to(device), y[:STEPS].to(device), [1.0] * STEPS)
    optimiser.drop(torch.tensor([False, True, False], device=device))
    step.train(x[STEPS:].to(device), y[STEPS:].to(device), [0.5] * STEPS)
    return [p.detach().cpu() for p in ensemble.parameters()]


def test_a_plain_call_in_place_of_the_graph_gives_the_same_bits():
    calls = []

    def plain(work):
        def call():
            calls.append(work)
            work()

        work()
        return call

    for a, b in zip(trained("cpu", None), trained("cpu", plain), strict=True):
        assert torch.equal(a, b)
    assert len(calls) == 4
    assert len(set(calls)) == 2  # recorded again after a member was dropped


@pytest.mark.gpu
@pytest.mark.parametrize("record", [None, recorded])
def test_a_step_on_a_gpu_is_the_step(record):
    for a, b in zip(trained("cpu", None), trained("cuda", record), strict=True):
        assert float((a - b).abs().max()) <= 1e-9
