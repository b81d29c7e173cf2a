"""The compiled step against plain torch: every style, loss and shape; padding; independence."""

import ast
import importlib
import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from depthwright.networks.styles import BOTH, NORMALISED, PLAIN, RESIDUAL
from depthwright.training.ensemble import Ensemble, EnsembleAdam
from depthwright.training.losses import L2, L8, LOSSES, SMOOTH_MAXIMUM, loss_of
from depthwright.training.step import loop
from depthwright.training.step.batched import Batched
from depthwright.training.step.compiled import Compiled
from depthwright.training.step.executor import executor

RATES = (1e-3, 1e-2, 3e-3)
STEPS, BATCH = 200, 30


def batches(d: int, outputs: int, steps: int = STEPS) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(steps, BATCH, d, generator=generator, dtype=torch.float64)
    return x, torch.cat([x.norm(dim=2, keepdim=True), x[..., :1].sin()], dim=2)[..., :outputs]


def made(widths, style=PLAIN, dtype=torch.float64) -> Ensemble:
    return Ensemble(widths, range(len(RATES)), dtype, style)


def optimiser(ensemble: Ensemble, rates=RATES) -> EnsembleAdam:
    dtype = ensemble.weights[0].dtype
    return EnsembleAdam(ensemble.parameters(), torch.tensor(rates, dtype=dtype))


def by_torch(widths, style, losses, x, y) -> Ensemble:
    """Autograd and `torch.optim.Adam`, each member alone."""
    ensemble = made(widths, style)
    for k, rate in enumerate(RATES):
        alone = made(widths, style)
        adam = torch.optim.Adam(alone.parameters(), lr=rate)
        for batch, truth in zip(x, y, strict=True):
            adam.zero_grad()
            gap = (alone(batch) - truth)[k]
            value = {
                L2: lambda e: e.square().mean(),
                L8: lambda e: e.pow(8).mean().pow(1 / 8),
                SMOOTH_MAXIMUM: lambda e: (
                    torch.logsumexp(10 * e.abs().flatten() / e.detach().abs().max(), 0)
                    * e.detach().abs().max()
                    / 10
                ),
            }[losses[k]](gap)
            value.backward()
            adam.step()
        with torch.no_grad():
            for ours, theirs in zip(ensemble.parameters(), alone.parameters(), strict=True):
                ours[k] = theirs[k]
    return ensemble


def gap(a: Ensemble, b: Ensemble) -> float:
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return max(float((p - q).detach().abs().max()) for p, q in pairs)


@pytest.mark.parametrize("style", [PLAIN, RESIDUAL, NORMALISED, BOTH])
@pytest.mark.parametrize("widths", [(3, 20, 1), (3, 8, 6, 6, 2), (10, 20, 20, 20, 40, 1)])
def test_a_member_follows_plain_torch_and_adam(widths, style):
    x, y = batches(widths[0], widths[-1])
    ensemble = made(widths, style)
    Compiled(ensemble, optimiser(ensemble), [L2] * 3).train(x, y, [1.0] * STEPS)
    assert gap(ensemble, by_torch(widths, style, [L2] * 3, x, y)) <= 1e-10


@pytest.mark.parametrize("tile", [8, 64])
def test_the_losses_follow_autograd(tile):
    x, y = batches(3, 2, 50)
    ensemble = made((3, 8, 6, 2))
    compiled = Compiled(ensemble, optimiser(ensemble), LOSSES)
    compiled.shape = compiled.shape._replace(tile=tile)  # a batch in several tiles, and in one
    compiled.train(x, y, [1.0] * 50)
    assert gap(ensemble, by_torch((3, 8, 6, 2), PLAIN, LOSSES, x, y)) <= 1e-10


def test_batched_torch_takes_the_same_steps():
    x, y = batches(3, 1, 50)
    factors = [math.cos(k / 40) for k in range(50)]
    one, other = made((3, 8, 6, 1)), made((3, 8, 6, 1))
    compiled = Compiled(one, optimiser(one), LOSSES)
    batched = Batched(other, optimiser(other), LOSSES)
    compiled.train(x, y, factors)
    batched.train(x, y, factors)
    assert gap(one, other) <= 1e-10
    for found, expected in zip(
        compiled.errors(x[0], y[0]), batched.errors(x[0], y[0]), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


def test_the_smooth_maximum_lies_below_the_maximum_and_l8_between():
    errors = torch.randn(4, 100, 1, generator=torch.Generator().manual_seed(0)).double()
    top = errors.abs().amax((1, 2))
    rms = loss_of(errors, L2).sqrt()
    for loss in (L8, SMOOTH_MAXIMUM):
        value = loss_of(errors, loss)
        assert bool((value < top).all())
        assert bool((value > rms).all())


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_no_bit(threads):
    x, y = batches(3, 1, 30)
    before = torch.get_num_threads()
    found = []
    try:
        for count in (1, threads):
            torch.set_num_threads(count)
            ensemble = made((3, 33, 17, 1), dtype=torch.float32)
            losses = [L2, L8, L2]
            compiled = Compiled(ensemble, optimiser(ensemble), losses)
            compiled.train(x.float(), y.float(), [1.0] * 30)
            found.append(ensemble)
    finally:
        torch.set_num_threads(before)
    assert gap(*found) == 0


def test_a_diverging_member_changes_no_bit_of_the_others():
    x, y = batches(3, 1, 50)
    found = []
    for middle in (1e-2, 1e6):
        ensemble = made((3, 20, 20, 1), dtype=torch.float32)
        adam = optimiser(ensemble, (1e-3, middle, 3e-3))
        Compiled(ensemble, adam, [L2] * 3).train(x.float(), y.float(), [1.0] * 50)
        found.append(list(ensemble.parameters()))
    for calm, wild in zip(*found, strict=True):
        assert torch.equal(calm[[0, 2]], wild[[0, 2]])
        assert not torch.equal(calm[1], wild[1])


def test_chunks_change_no_bit():
    x, y = batches(3, 1, 30)
    whole, parts = made((3, 20, 1)), made((3, 20, 1))
    Compiled(whole, optimiser(whole), [L2] * 3).train(x, y, [1.0] * 30)
    compiled = Compiled(parts, optimiser(parts), [L2] * 3)
    for start, end in itertools.pairwise((0, 7, 20, 30)):
        compiled.train(x[start:end], y[start:end], [1.0] * (end - start))
    assert gap(whole, parts) == 0


def test_a_narrower_network_trains_in_a_wider_ones_place():
    x, y = batches(3, 1, 60)
    narrow, wide = made((3, 5, 4, 1)), made((3, 20, 19, 1))
    with torch.no_grad():
        for small, large in zip(narrow.parameters(), wide.parameters(), strict=True):
            large.zero_()
            large[:, : small.shape[1], : small.shape[2]] = small
    for ensemble in (narrow, wide):
        Compiled(ensemble, optimiser(ensemble), [L2] * 3).train(x, y, [1.0] * 60)
    for small, large in zip(narrow.parameters(), wide.parameters(), strict=True):
        inside = large[:, : small.shape[1], : small.shape[2]]
        assert float((inside - small).detach().abs().max()) <= 1e-12
        assert float(large.detach().abs().sum()) == pytest.approx(
            float(inside.detach().abs().sum())
        )


def test_what_is_not_a_number_shows_in_the_errors():
    x, y = batches(3, 1, 2)
    ensemble = made((3, 20, 1), dtype=torch.float32)
    with torch.no_grad():
        ensemble.weights[0][1].fill_(math.nan)
    rmse, sup, _ = Compiled(ensemble, optimiser(ensemble), [L2] * 3).errors(
        x[0].float(), y[0].float()
    )
    assert rmse.isfinite().tolist() == sup.isfinite().tolist() == [True, False, True]


@pytest.mark.parametrize("step", [Compiled, Batched])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_without_any_error_changes_no_weight(loss, step):
    x, y = batches(3, 1, 2)
    ensemble = made((3, 20, 1))
    with torch.no_grad():
        for last in (ensemble.weights[-1], ensemble.biases[-1]):
            last.zero_()
    before = [p.detach().clone() for p in ensemble.parameters()]
    step(ensemble, optimiser(ensemble), [loss] * 3).train(x, torch.zeros_like(y), [1.0] * 2)
    for now, then in zip(ensemble.parameters(), before, strict=True):
        assert torch.equal(now, then)


@pytest.mark.parametrize("style", [PLAIN, RESIDUAL, NORMALISED, BOTH])
def test_errors_are_those_of_each_member(style):
    x, y = (part[0] for part in batches(3, 2, 1))
    ensemble = made((3, 20, 20, 2), style)
    with torch.no_grad():
        values = ensemble(x)
    e = (values - y).flatten(1)
    truth = (e.square().mean(1).sqrt(), e.abs().amax(1), values.amax((1, 2)) - values.amin((1, 2)))
    for found, expected in zip(
        Compiled(ensemble, optimiser(ensemble), [L2] * 3).errors(x, y), truth, strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def kind(ensemble: Ensemble, device: str = "cpu") -> type:
    rates = torch.full((ensemble.members,), 1e-3)
    adam = EnsembleAdam(ensemble.parameters(), rates)
    return type(executor(ensemble, adam, [L2] * ensemble.members, torch.device(device)))


def test_networks_that_have_no_compiled_form_go_through_torch():
    assert kind(made((3, 20, 1))) is Compiled
    assert kind(made((3, 1))) is Batched  # no hidden layer
    assert kind(made((3, 20, 1)), "meta") is Batched
    assert kind(Ensemble((2, 1025, 1025, 1), [0])) is Batched


TRAINED = """
import torch
from depthwright.training.ensemble import Ensemble, EnsembleAdam
from depthwright.training.step.compiled import Compiled
from depthwright.training.step.loop import train

ensemble = Ensemble((3, 20, 20, 20, 1), [0], style="normalised_residual")
adam = EnsembleAdam(ensemble.parameters(), torch.tensor([1e-2]))
x = torch.linspace(-1, 1, 4 * 30 * 3).view(4, 30, 3)
Compiled(ensemble, adam, ["l2"]).train(x, x.norm(dim=2, keepdim=True), [1.0] * 4)
print(sum(train.stats.cache_hits.values()), [w.tolist() for w in ensemble.parameters()])
"""


@pytest.mark.slow
def test_code_from_the_disk_gives_the_bits_of_code_just_compiled(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    (hits, first), (hits_again, again) = (
        subprocess.run(
            [sys.executable, "-c", TRAINED],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split(" ", 1)
        for _ in range(2)
    )
    assert (hits, hits_again) == ("0", "1")
    assert first == again


def test_stored_code_is_older_than_none_of_the_files_it_is_made_of():
    made_of, left = {loop}, [loop]
    while left:
        tree = ast.parse(Path(left.pop().__file__).read_text())
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("depthwright."):
                whole = importlib.import_module(node.module)
                parts = [getattr(whole, name.name) for name in node.names]
                for found in (p if isinstance(p, type(ast)) else whole for p in parts):
                    if found not in made_of:
                        made_of.add(found)
                        left.append(found)
    names = {module.__name__.removeprefix("depthwright.") for module in made_of - {loop}}
    step = {f"training.step.{name}" for name in ("kernel", "layout", "product", "simd")}
    assert {"networks.styles", "training.losses", *step} <= names
    # a refusal is raised, a digest taken and a bar drawn by Python alone
    python = {"depthwright.refusal", "depthwright.machine.numba_cache", "depthwright.progress"}
    assert made_of == {loop, *loop.SOURCES} | {importlib.import_module(name) for name in python}
