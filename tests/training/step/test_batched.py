"""Recording on a GPU gives what the same steps give unrecorded. Needs CUDA."""

import pytest
import torch

from depthwright.training.ensemble import Ensemble, EnsembleAdam
from depthwright.training.losses import LOSSES
from depthwright.training.step.batched import Batched

STEPS = 40


@pytest.mark.skipif(not torch.cuda.is_available(), reason="records CUDA graphs")
def test_a_recorded_step_is_the_step():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(STEPS, 32, 3, generator=generator, dtype=torch.float64)
    y = x.norm(dim=2, keepdim=True)
    found = []
    for device in ("cpu", "cuda"):
        ensemble = Ensemble((3, 8, 6, 1), [0, 1, 2], torch.float64).to(device)
        rates = torch.tensor([1e-3, 1e-2, 3e-3], dtype=torch.float64, device=device)
        optimiser = EnsembleAdam(ensemble.parameters(), rates)
        step = Batched(ensemble, optimiser, LOSSES)
        half = STEPS // 2
        step.train(x[:half].to(device), y[:half].to(device), [1.0] * half)
        optimiser.drop(torch.tensor([False, True, False], device=device))
        step.train(x[half:].to(device), y[half:].to(device), [0.5] * half)
        found.append([p.detach().cpu() for p in ensemble.parameters()])
    for a, b in zip(*found, strict=True):
        assert float((a - b).abs().max()) <= 1e-9
