"""Ensembles: each member is the network it would be alone."""

import pytest
import torch

from depthwright.networks.torch_network import BUFFER_BYTES
from depthwright.training.ensemble import Ensemble, EnsembleAdam

WIDTHS = (3, 8, 6, 2)
RATES = (1e-3, 1e-2, 3e-2)
STEPS = 200


def step(optimiser: EnsembleAdam, factor: float = 1.0) -> None:
    optimiser.update(torch.tensor(optimiser.advance(factor), dtype=optimiser.rates.dtype))


def batches(steps: int = STEPS) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(steps, 32, 3, generator=generator, dtype=torch.float64)
    return x, torch.cat([x.norm(dim=2, keepdim=True), x[..., :1].sin()], dim=2)


def train(ensemble: Ensemble, optimiser: EnsembleAdam, steps: int = STEPS) -> list[torch.Tensor]:
    """Parameters after the last step."""
    dtype = ensemble.weights[0].dtype
    for x, y in zip(*batches(steps), strict=True):
        ensemble.zero_grad()
        (ensemble(x.to(dtype)) - y.to(dtype)).square().mean(dim=(1, 2)).sum().backward()
        step(optimiser)
    return [p.detach().clone() for p in ensemble.parameters()]


def alone(ensemble: Ensemble, index: int, rate: float) -> list[torch.Tensor]:
    """The member trained by itself, with plain torch."""
    module = ensemble.member(index).to_torch()
    optimiser = torch.optim.Adam(module.parameters(), lr=rate)
    for x, y in zip(*batches(), strict=True):
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(module(x), y).backward()
        optimiser.step()
    return [p.detach() for p in module.parameters()]


@pytest.mark.parametrize("buffer", [1, 2**21], ids=["one by one", "together"])
def test_a_member_follows_plain_torch_and_adam(buffer, monkeypatch):
    monkeypatch.setitem(BUFFER_BYTES, "cpu", buffer)
    ensemble = Ensemble(WIDTHS, [0, 0, 1], torch.float64)
    expected = [alone(ensemble, k, rate) for k, rate in enumerate(RATES)]
    train(ensemble, EnsembleAdam(ensemble.parameters(), torch.tensor(RATES, dtype=torch.float64)))
    for k, parts in enumerate(expected):
        trained = [p.detach() for p in ensemble.member(k).to_torch().parameters()]
        for ours, theirs in zip(trained, parts, strict=True):
            assert float((ours - theirs).abs().max()) <= 1e-10


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_diverging_member_changes_no_bit_of_the_others(dtype):
    def run(middle: float, drop: bool) -> list[torch.Tensor]:
        ensemble = Ensemble(WIDTHS, [0, 1, 2], dtype)
        rates = torch.tensor([1e-3, middle, 1e-2], dtype=dtype)
        optimiser = EnsembleAdam(ensemble.parameters(), rates)
        if drop:
            train(ensemble, optimiser, 20)
            with torch.no_grad():
                ensemble.weights[0][1] = torch.nan
            optimiser.drop(torch.tensor([False, True, False]))
            return train(ensemble, optimiser, 50)
        train(ensemble, optimiser, 20)
        return train(ensemble, optimiser, 50)

    calm = run(1e-3, drop=False)
    for wild in (run(1e6, drop=False), run(1e-3, drop=True)):
        for a, b in zip(calm, wild, strict=True):
            assert torch.equal(a[[0, 2]], b[[0, 2]])
            assert not torch.equal(a[1], b[1])


def test_a_dropped_member_keeps_its_parameters():
    ensemble = Ensemble(WIDTHS, [0, 1, 2])
    optimiser = EnsembleAdam(ensemble.parameters(), torch.tensor(RATES))
    before = train(ensemble, optimiser, 3)
    optimiser.drop(torch.tensor([True, False, False]))
    for part in optimiser.moments()[1]:
        part[0] = torch.nan
    after = train(ensemble, optimiser, 3)
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a[0], b[0])
        assert not torch.equal(a[1], b[1])


def test_the_factor_scales_every_rate():
    def run(scale: float, factor: float) -> list[torch.Tensor]:
        ensemble = Ensemble(WIDTHS, [0, 1, 2], torch.float64)
        optimiser = EnsembleAdam(
            ensemble.parameters(), torch.tensor(RATES, dtype=torch.float64) * scale
        )
        ensemble(batches(1)[0][0]).square().sum().backward()
        step(optimiser, factor)
        return [p.detach() for p in ensemble.parameters()]

    for a, b in zip(run(0.25, 1.0), run(1.0, 0.25), strict=True):
        assert torch.equal(a, b)


def test_a_member_starts_the_same_in_any_ensemble():
    few, many = Ensemble(WIDTHS, [7]), Ensemble(WIDTHS, [3, 4, 7, 7])
    with torch.random.fork_rng():
        torch.manual_seed(123)
        again = Ensemble(WIDTHS, [7])
    for a, b, c in zip(few.parameters(), many.parameters(), again.parameters(), strict=True):
        assert torch.equal(a[0], b[2])
        assert torch.equal(a[0], b[3])
        assert torch.equal(a[0], c[0])
        assert not torch.equal(a[0], b[0])


def test_initial_weights_have_the_stated_variance():
    ensemble = Ensemble((400, 300, 200, 50), [0], torch.float64)
    for weight, gain in zip(ensemble.weights, (2, 2, 1), strict=True):
        fan_in, count = weight.shape[1], weight.numel()
        ratio = float(weight.detach().square().mean()) * fan_in / gain
        # a chi-square over count: standard deviation sqrt(2/count); four of them
        assert abs(ratio - 1) <= 4 * (2 / count) ** 0.5
    for weight, bias in zip(ensemble.weights, ensemble.biases, strict=True):
        assert float(bias.detach().abs().max()) <= weight.shape[1] ** -0.5


def test_values_are_those_of_each_member():
    ensemble = Ensemble(WIDTHS, [0, 1, 2], torch.float64)
    x = batches(1)[0][0]
    together = ensemble(x)
    assert together.shape == (3, 32, 2)
    for k in range(3):
        network = ensemble.member(k)
        assert network.architecture.widths == WIDTHS
        # sums of at most 8 products of numbers of size one, three layers
        scale = 64 * torch.finfo(torch.float64).eps
        torch.testing.assert_close(network.evaluate(x), together[k], rtol=scale, atol=scale)
