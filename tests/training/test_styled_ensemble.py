"""Styled ensembles: a member is its own network; deep narrow ones collapse when plain."""

import math

import pytest
import torch

from depthwright.networks.styled_network import StyledNetwork
from depthwright.networks.torch_network import BUFFER_BYTES
from depthwright.training.ensemble import Ensemble, EnsembleAdam

WIDTHS = (3, 6, 6, 4, 4, 2)
EPS = torch.finfo(torch.float64).eps


def step(optimiser: EnsembleAdam, factor: float = 1.0) -> None:
    optimiser.update(torch.tensor(optimiser.advance(factor), dtype=optimiser.rates.dtype))


def norm(h: torch.Tensor) -> torch.Tensor:
    centred = h - h.mean(dim=1, keepdim=True)
    return centred / (centred.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()


def by_hand(ensemble: Ensemble, k: int, x: torch.Tensor) -> torch.Tensor:
    """One member of shape WIDTHS, map by map."""
    w = [weight.detach()[k] for weight in ensemble.weights]
    b = [bias.detach()[k, 0] for bias in ensemble.biases]
    h = x @ w[0] + b[0]
    if ensemble.style == "residual":
        h = h + h.clamp(min=0) @ w[1] + b[1]
        h = h.clamp(min=0) @ w[2] + b[2]
        h = h + h.clamp(min=0) @ w[3] + b[3]
    else:
        for layer in (1, 2, 3):
            h = norm(h).clamp(min=0) @ w[layer] + b[layer]
    return h.clamp(min=0) @ w[4] + b[4]


@pytest.mark.parametrize("style", ["residual", "normalised"])
@pytest.mark.parametrize("buffer", [1, 2**21], ids=["one by one", "together"])
def test_a_member_equals_the_same_computation_by_hand(style, buffer, monkeypatch):
    monkeypatch.setitem(BUFFER_BYTES, "cpu", buffer)
    ensemble = Ensemble(WIDTHS, [0, 1, 2], torch.float64, style)
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    together = ensemble(x)
    assert together.shape == (3, 40, 2)
    for k in range(3):
        expected = by_hand(ensemble, k, x)
        # five maps of sums of at most 6 products, and norms that may divide by a small spread
        bound = 2**10 * EPS * float(expected.abs().max())
        assert float((together[k] - expected).detach().abs().max()) <= bound
        network = ensemble.member(k)
        assert isinstance(network, StyledNetwork)
        assert (network.style, network.widths) == (style, WIDTHS)
        assert float((network.evaluate(x) - expected).abs().max()) <= bound
        assert float((by_hand(ensemble, (k + 1) % 3, x) - expected).abs().max()) > 1e3 * bound


@pytest.mark.parametrize("style", ["residual", "normalised"])
def test_a_member_is_trained_as_it_would_be_alone(style):
    generator = torch.Generator().manual_seed(0)
    batches = torch.randn(30, 16, 3, generator=generator, dtype=torch.float64)

    def train(seeds: list[int]) -> list[torch.Tensor]:
        ensemble = Ensemble(WIDTHS, seeds, torch.float64, style)
        rates = torch.full((len(seeds),), 1e-2, dtype=torch.float64)
        optimiser = EnsembleAdam(ensemble.parameters(), rates)
        for x in batches:
            ensemble.zero_grad()
            (ensemble(x) - x[:, :2].abs()).square().sum().backward()
            step(optimiser)
        return [p.detach() for p in ensemble.parameters()]

    start = Ensemble(WIDTHS, [5], torch.float64, style)
    for many, alone, first in zip(train([3, 5, 4]), train([5]), start.parameters(), strict=True):
        # rounding grows by Adam's division over thirty steps; it moves each entry by up to 0.3
        assert float((many[1] - alone[0]).abs().max()) <= 1e-10
        assert float((alone - first).detach().abs().max()) > 1e-3


def test_all_styles_start_from_the_same_draws_and_residual_maps_share_their_size():
    plain, residual, normalised = (
        Ensemble(WIDTHS, [0], torch.float64, style) for style in ("plain", "residual", "normalised")
    )
    for k in range(5):
        for part in ("weights", "biases"):
            p, r, n = (getattr(e, part)[k].detach() for e in (plain, residual, normalised))
            assert torch.equal(p, n)
            scale = math.sqrt(2) if k in (1, 3) else 1.0  # two residual maps
            torch.testing.assert_close(r * scale, p, rtol=4 * EPS, atol=0)


def collapsed(style: str, members: int = 20, steps: int = 50) -> int:
    """How many networks of width 5 and depth 33 compute a constant after a short training."""
    ensemble = Ensemble((3, *[5] * 32, 1), range(members), style=style)
    optimiser = EnsembleAdam(ensemble.parameters(), torch.full((members,), 3e-3))
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        x = 2 * torch.rand(64, 3, generator=generator) - 1
        ensemble.zero_grad()
        (ensemble(x) - x.norm(dim=1, keepdim=True)).square().sum().div(64).backward()
        step(optimiser)
    with torch.no_grad():
        values = ensemble(2 * torch.rand(500, 3, generator=generator) - 1)
    spread = values.amax(dim=1) - values.amin(dim=1)
    # a dead network returns the same float32 everywhere; the target has a spread above 1
    return int((spread <= 1e-6).sum())


def test_deep_narrow_plain_networks_collapse_and_residual_ones_do_not():
    assert collapsed("plain") >= 15
    assert collapsed("residual") <= 5
