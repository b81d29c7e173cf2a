"""Structured values against the plain module and against rationals; sizes; files."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from depthwright.approximation.directions import frames
from depthwright.distributions import UniformBall
from depthwright.networks import load
from depthwright.networks.ridge import RidgeGroup, RidgeNetwork
from depthwright.networks.ridge_kernel import LARGEST_TABLE, table
from depthwright.refusal import Refusal

ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53}


def random_network(seed: int, *, zero_kink: bool, groups: int = 2) -> RidgeNetwork:
    """Sparse directions in R^6, two groups with ridges of their own."""
    rng = np.random.default_rng(seed)
    made = []
    for k in range(1, groups + 1):
        n, m = 5 + k, 3 + k
        indices = np.stack([np.sort(rng.choice(6, k + 1, replace=False)) for _ in range(n)])
        values = rng.standard_normal((n, k + 1))
        values /= np.linalg.norm(values, axis=1, keepdims=True)
        kinks = np.sort(rng.uniform(0.01, 0.99, m))
        if zero_kink:
            kinks[0] = 0.0
        made.append(
            RidgeGroup(indices, values, rng.standard_normal(n), kinks, rng.standard_normal(m))
        )
    return RidgeNetwork(6, made, float(rng.standard_normal()))


def exact_value(network: RidgeNetwork, x: np.ndarray) -> Fraction:
    """The definition, in rationals."""
    total = Fraction(network.offset)
    for group in network.groups:
        for indices, values, weight in zip(group.indices, group.values, group.weights, strict=True):
            t = sum(
                (
                    Fraction(float(v)) * Fraction(float(x[j]))
                    for j, v in zip(indices, values, strict=True)
                ),
                Fraction(0),
            )
            for kink, turn in zip(group.kinks, group.turns, strict=True):
                ramp = max(abs(t) - Fraction(float(kink)), Fraction(0))
                total += Fraction(float(weight)) * Fraction(float(turn)) * ramp
    return total


CASES = [random_network(seed, zero_kink=bool(seed % 2)) for seed in range(4)]


@pytest.mark.parametrize("network", CASES, ids=range(4))
@pytest.mark.parametrize("arithmetic", ["float32", "float64"])
def test_every_form_is_within_its_rounding_bound_of_the_rationals(
    network: RidgeNetwork, arithmetic: str, generator: torch.Generator
) -> None:
    dtype = getattr(torch, arithmetic)
    x = UniformBall(6).sample(30, generator).to(dtype)
    exact = [exact_value(network, row) for row in x.double().numpy()]
    structured = network.evaluate(x, arithmetic)  # type: ignore[arg-type]
    with torch.no_grad():
        plain, differentiable = network.to_torch(dtype)(x), network.forward(x)
    bound = network.rounding_bound(arithmetic)  # type: ignore[arg-type]
    dense_bound = network.dense_rounding_bound(arithmetic)  # type: ignore[arg-type]
    for form, limit in ((structured, bound), (differentiable, bound), (plain, dense_bound)):
        assert form.dtype == dtype
        gaps = [abs(Fraction(float(v)) - e) for v, e in zip(form[:, 0], exact, strict=True)]
        assert max(gaps) <= limit
    assert dense_bound < 1e4 * ROUNDOFF[arithmetic] * 50, "the bound says something"


@pytest.mark.parametrize("network", CASES, ids=range(4))
def test_counts_are_those_of_the_plain_module(network: RidgeNetwork) -> None:
    module = network.to_torch()
    parameters = list(module.parameters())
    assert network.architecture.parameters == sum(p.numel() for p in parameters)
    assert network.architecture.width == module[0].out_features
    assert network.architecture.nonzeros == sum(int((p != 0).sum()) for p in parameters)


def test_values_hold_outside_the_ball_too(generator: torch.Generator) -> None:
    network = CASES[1]
    x = 30 * torch.randn(20, 6, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(network.evaluate(x), network.to_torch()(x), rtol=0, atol=1e-10)


def test_a_changed_weight_is_seen(generator: torch.Generator) -> None:
    network = CASES[0]
    first, *rest = network.groups
    turns = first.turns.copy()
    turns[0] += 1e-6
    changed = RidgeNetwork(6, [dataclasses.replace(first, turns=turns), *rest], network.offset)
    x = UniformBall(6).sample(100, generator)
    gap = (changed.evaluate(x) - network.evaluate(x)).abs().max()
    assert gap > 100 * network.rounding_bound("float64")


def test_gradient_is_that_of_the_plain_module(generator: torch.Generator) -> None:
    for network in CASES:
        x = UniformBall(6).sample(40, generator).requires_grad_(True)
        (ours,) = torch.autograd.grad(network.forward(x).sum(), x)
        (plain,) = torch.autograd.grad(network.to_torch()(x).sum(), x)
        torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 50, 51])
def test_kink_points_lie_on_kinks_and_on_the_sphere(count: int) -> None:
    network = CASES[0]
    points = network.kink_points(count, torch.Generator().manual_seed(0))
    assert points.shape == (count, 6)
    kinks, sums = points[: -(-count // 2)], points[-(-count // 2) :]
    first = network.to_torch()[0]
    with torch.no_grad():
        assert first(kinks).abs().min(dim=1).values.max() < 1e-14
    assert all(abs(norm - 1) < 1e-14 for norm in sums.norm(dim=1).tolist())


def test_landmarks_see_all_of_a_frame() -> None:
    """Σ_i abs(w_i·x) over one orthonormal frame is √d, its maximum; the last frame is cut."""
    d, n = 40, 100
    w = frames(n, d, np.random.default_rng(0))
    group = RidgeGroup(
        np.broadcast_to(np.arange(d), w.shape), w, np.ones(n), np.zeros(1), np.ones(1)
    )
    sums = RidgeNetwork(d, [group], 0.0).kink_points(80, torch.Generator().manual_seed(0))[40:]
    seen = np.add.reduceat(np.abs(sums.numpy() @ w.T), np.arange(0, n, d), axis=1)
    # Uniform points see √(2/π) ≈ 0.8 of what these see; the cut frame has 20 directions.
    share = seen / np.sqrt([d, d, n % d])
    assert np.abs(share.max(axis=1) - 1).max() < 1e-13
    assert set(share.argmax(axis=1)) == {0, 1, 2}


def test_two_directions_that_cancel_leave_the_origin() -> None:
    pair = RidgeGroup(
        np.tile([0, 1], (2, 1)),
        np.array([[0.6, 0.8], [0.6, 0.8]]),
        np.ones(2),
        np.array([0.5]),
        np.ones(1),
    )
    points = RidgeNetwork(2, [pair], 0.0).kink_points(40, torch.Generator().manual_seed(0))
    assert set(points[20:].norm(dim=1).round(decimals=12).tolist()) == {0.0, 1.0}


def test_lookup_table_holds_one_kink_a_cell_and_gives_up_on_close_ones() -> None:
    kinks = np.array([0.0, 0.3, 0.300001, 0.9])
    rows = table(kinks, np.ones(4), np.float64)
    assert rows is not None
    assert np.count_nonzero(rows[3]) == 4
    assert table(np.array([0.3, 0.3 + 1e-9]), np.ones(2), np.float64) is None
    assert rows.shape[1] <= LARGEST_TABLE


def test_close_kinks_are_still_evaluated(generator: torch.Generator) -> None:
    first = CASES[0].groups[0]
    kinks = first.kinks.copy()
    kinks[1] = kinks[0] + 1e-9
    network = RidgeNetwork(6, [dataclasses.replace(first, kinks=kinks)], 0.5)
    x = UniformBall(6).sample(100, generator)
    with torch.no_grad():
        plain = network.to_torch()(x)
    torch.testing.assert_close(network.evaluate(x), plain, rtol=0, atol=1e-13)


@pytest.mark.parametrize("network", CASES[:2], ids=range(2))
def test_files_keep_every_bit(
    network: RidgeNetwork, tmp_path: Path, generator: torch.Generator
) -> None:
    network.save(tmp_path / "n.safetensors")
    again = load(tmp_path / "n.safetensors")
    x = UniformBall(6).sample(100, generator)
    assert torch.equal(again.evaluate(x), network.evaluate(x))
    assert again.architecture.nonzeros == network.architecture.nonzeros
    assert sorted(p.name for p in tmp_path.iterdir()) == ["n.safetensors"]


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "n.safetensors"
    CASES[0].save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Refusal, match="cannot be read"):
        load(path)
    first = CASES[0].groups[0]
    RidgeNetwork(6, [dataclasses.replace(first, indices=first.indices + 5)], 0.0).save(path)
    with pytest.raises(Refusal, match="coordinates outside"):
        load(path)
    weights = first.weights.copy()
    weights[0] = np.nan
    RidgeNetwork(6, [dataclasses.replace(first, weights=weights)], 0.0).save(path)
    with pytest.raises(Refusal, match="not finite"):
        load(path)
    with pytest.raises(Refusal, match="is not there"):
        load(tmp_path / "none.safetensors")


def test_wrong_inputs_are_refused() -> None:
    with pytest.raises(Refusal, match=r"expected \(batch, 6\)"):
        CASES[0].evaluate(torch.zeros(3, 5))
    with pytest.raises(Refusal, match="float32, float64, exact"):
        CASES[0].evaluate(torch.zeros(3, 6), "bfloat16")  # type: ignore[arg-type]


@pytest.mark.parametrize("network", CASES, ids=range(4))
def test_exact_values_are_the_rationals_rounded_once(
    network: RidgeNetwork, generator: torch.Generator
) -> None:
    """2·A·turn of the plain form's kink at 0 is rounded, nothing else."""
    x = UniformBall(6).sample(10, generator)
    plain = network.to_torch()
    weights = [p.detach().numpy() for p in plain.parameters()]
    values = network.evaluate(x, "exact")
    for row, value in zip(x.numpy(), values[:, 0].tolist(), strict=True):
        hidden = [
            max(
                sum(
                    (Fraction(float(w)) * Fraction(float(v)) for w, v in zip(ws, row, strict=True)),
                    Fraction(float(b)),
                ),
                Fraction(0),
            )
            for ws, b in zip(weights[0], weights[1], strict=True)
        ]
        total = sum(
            (Fraction(float(w)) * h for w, h in zip(weights[2][0], hidden, strict=True)),
            Fraction(float(weights[3][0])),
        )
        assert value == float(total)


@pytest.mark.parametrize("first", [0.0, 1.0], ids=["offset", "first group"])
def test_many_small_groups_stay_within_the_rounding_bound(first: float) -> None:
    """Each group adds less than half a unit in the last place of 1: 200 of them are not lost."""
    n, small = 200, 0.9 * ROUNDOFF["float32"]

    def group(weight: float) -> RidgeGroup:
        one = np.array([[1.0]])
        return RidgeGroup(
            np.array([[0]]), one, np.array([weight]), np.array([0.5]), np.array([2.0])
        )

    groups = [group(first), *(group(small) for _ in range(n))]
    network = RidgeNetwork(1, groups, 1.0 - first, "float32")
    with torch.no_grad():
        got = float(network.forward(torch.ones(1, 1)))
    assert abs(got - (1 + n * small)) <= network.rounding_bound("float32")


def test_directions_that_are_not_of_norm_one_are_refused() -> None:
    first = CASES[0].groups[0]
    with pytest.raises(Refusal, match="a direction of norm 2 is off 1"):
        RidgeNetwork(6, [dataclasses.replace(first, values=2 * first.values)], 0.0)
    RidgeNetwork(6, [dataclasses.replace(first, values=(1 + 1e-10) * first.values)], 0.0)
