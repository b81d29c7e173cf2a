"""Ridge networks: sizes of record, each term of the claim, negative controls."""

from __future__ import annotations

import dataclasses
import functools
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from depthwright import targets
from depthwright.approximation import polynomial
from depthwright.approximation.polynomial import EvenApproximation, Polynomial
from depthwright.constructions import Built, Ridge, ridge
from depthwright.distributions import UniformRadius
from depthwright.errors import EvaluationConfig, measure
from depthwright.networks import load
from depthwright.networks.ridge import RidgeNetwork
from depthwright.refusal import Refusal

QUICK = EvaluationConfig(points=20_000, attack_starts=128, attack_steps=100)


@functools.cache
def honest(target: targets.Radial, accuracy: float) -> Built:
    """Built once for all tests that change nothing of how it is built."""
    return Ridge(target, accuracy).build()


@pytest.mark.parametrize(("input_dim", "widest"), [(2, 20), (5, 450), (10, 4000), (20, 50_000)])
def test_widths_for_the_cone_at_a_tenth(input_dim: int, widest: int) -> None:
    assert Ridge(targets.Cone(input_dim=input_dim)).architecture().width <= widest


def test_claim_is_the_sum_of_its_terms_and_meets_the_accuracy() -> None:
    claim = honest(targets.Cone(input_dim=5), 0.1).claim
    assert set(claim.terms) == {"polynomial", "cubature", "piecewise_linear", "rounding"}
    assert claim.terms["cubature"] == 0
    assert 0.03 < claim.terms["polynomial"] < 0.1
    assert claim.bound >= math.fsum(claim.terms.values())
    assert claim.bound <= 0.1


@pytest.mark.parametrize(("input_dim", "accuracy"), [(5, 0.1), (10, 0.1), (5, 0.05)])
def test_each_term_covers_the_error_it_names(input_dim: int, accuracy: float) -> None:
    """Both steps apart, from the built network and a g made here; Σ abs(A_i) exceeds 1 in two."""
    construction = Ridge(targets.Cone(input_dim=input_dim), accuracy)
    built = construction.build()
    assert isinstance(built.network, RidgeNetwork)
    terms, q = built.claim.terms, construction._plan.approximation.polynomial
    r = np.linspace(0, 1, 20_001)
    polynomial = float(np.abs(r - q(r)).max())
    assert 0.999 * terms["polynomial"] <= polynomial <= terms["polynomial"]
    # g(t) = Σ a_j c_{d,j} t^{2j}, with c_{d,j} = Π_{i<j} (d + 2i)/(1 + 2i).
    g = np.zeros_like(r)
    for j, a in enumerate(q.coefficients[::2]):
        constant = math.prod((input_dim + 2 * i) / (1 + 2 * i) for i in range(j))
        g += float(a) * constant * r ** (2 * j)
    first = built.network.groups[0]
    ridge = np.maximum(r[:, None] - first.kinks, 0) @ first.turns + built.network.offset
    weights = sum(float(np.abs(group.weights).sum()) for group in built.network.groups)
    linear = weights * float(np.abs(g - ridge).max())
    assert 0.99 * terms["piecewise_linear"] <= linear <= terms["piecewise_linear"]
    assert terms["rounding"] == built.network.rounding_bound("float64") > 0


CASES = [
    (targets.Cone(input_dim=5), 0.1),
    (targets.Hat(input_dim=3), 0.05),
    (targets.RandomProfile(input_dim=5), 0.1),
]


def _attacked(network: RidgeNetwork, target: targets.Target) -> float:
    found = measure(network, target, UniformRadius(target.input_dim), QUICK, 0.1).sup_attacked
    assert found is not None
    return found


@pytest.mark.parametrize(("target", "accuracy"), CASES, ids=str)
def test_attack_stays_below_the_claim_and_close_to_it(
    target: targets.Radial, accuracy: float
) -> None:
    built = honest(target, accuracy)
    assert isinstance(built.network, RidgeNetwork)
    attacked = _attacked(built.network, target)
    assert 0.7 * built.claim.bound <= attacked <= built.claim.bound


@pytest.mark.parametrize(("target", "accuracy"), CASES, ids=str)
def test_one_changed_knot_weight_is_caught(target: targets.Radial, accuracy: float) -> None:
    """Negative control: the first knot weight of the ridge, up by a half."""
    built = honest(target, accuracy)
    assert isinstance(built.network, RidgeNetwork)
    spoilt = []
    for group in built.network.groups:
        turns = group.turns.copy()
        turns[0] *= 1.5
        spoilt.append(dataclasses.replace(group, turns=turns))
    network = RidgeNetwork(target.input_dim, spoilt, built.network.offset)
    assert _attacked(network, target) > built.claim.bound


@pytest.mark.parametrize(("target", "accuracy"), CASES, ids=str)
def test_a_missing_orbit_is_caught(target: targets.Radial, accuracy: float) -> None:
    """Negative control of the cubature: leave out its first group of directions."""
    built = honest(target, accuracy)
    assert isinstance(built.network, RidgeNetwork)
    network = RidgeNetwork(target.input_dim, built.network.groups[1:], built.network.offset)
    assert _attacked(network, target) > built.claim.bound


@pytest.mark.parametrize(("target", "accuracy"), CASES, ids=str)
@pytest.mark.parametrize("coefficient", [0, 2])
def test_a_spoilt_polynomial_is_caught(
    target: targets.Radial, accuracy: float, coefficient: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of the polynomial: the claim is of the best, the ridge of a changed one.

    All later steps serve the changed polynomial faithfully, so that no other term can notice.
    """
    faithful = ridge.ridge_function

    def spoilt(polynomial: Polynomial, dimension: int) -> Polynomial:
        changed = list(polynomial.coefficients)
        changed[coefficient] += Fraction(accuracy) * (1 if changed[coefficient] > 0 else -1)
        return faithful(Polynomial(tuple(changed)), dimension)

    monkeypatch.setattr(ridge, "ridge_function", spoilt)
    built = Ridge(target, accuracy).build()
    assert isinstance(built.network, RidgeNetwork)
    assert built.claim.bound <= accuracy
    assert _attacked(built.network, target) > built.claim.bound


def test_a_spoilt_polynomial_has_a_larger_term(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the certificate sees the change, the term says so and the claim holds again."""
    target = targets.Cone(input_dim=5)
    width = honest(target, 0.1).network.architecture.width

    def worse(self: Ridge, half_degree: int) -> EvenApproximation:
        best = polynomial.best_even_polynomial(
            target.profile, target.lipschitz, half_degree, target.breaks, target.curvature
        )
        shifted = list(best.polynomial.coefficients)
        shifted[0] += Fraction(1, 50)
        return polynomial.certified(
            Polynomial(tuple(shifted)),
            target.profile,
            target.lipschitz,
            target.breaks,
            target.curvature,
        )

    monkeypatch.setattr(Ridge, "_approximate", worse)
    monkeypatch.setattr(Ridge, "_approximations", lambda self, k, *_: ([worse(self, k)], (0.5,)))
    built = Ridge(target, 0.1).build()
    assert isinstance(built.network, RidgeNetwork)
    assert built.network.architecture.width > width
    assert _attacked(built.network, target) <= built.claim.bound <= 0.1


def test_polynomial_term_is_real() -> None:
    """At x = 0 and along a ray the network's error is the polynomial's, up to the other terms."""
    built = Ridge(targets.Cone(input_dim=3), 0.1).build()
    claim = built.claim
    r = torch.linspace(0, 1, 2001, dtype=torch.float64)
    u = torch.tensor([[0.6, 0.0, 0.8]], dtype=torch.float64)
    gap = float((built.network.evaluate(r[:, None] * u)[:, 0] - r).abs().max())
    rest = claim.terms["piecewise_linear"] + claim.terms["rounding"]
    assert abs(gap - claim.terms["polynomial"]) <= rest


def test_structured_and_dense_agree_within_the_stated_bound(generator: torch.Generator) -> None:
    built = Ridge(targets.Cone(input_dim=10), 0.1).build()
    network = built.network
    assert isinstance(network, RidgeNetwork)
    x = UniformRadius(10).sample(500, generator)
    with torch.no_grad():
        gap = float((network.to_torch()(x) - network.evaluate(x)).abs().max())
    assert gap <= network.rounding_bound("float64") + network.dense_rounding_bound("float64")
    assert gap < 1e-11


def test_monomials_need_no_polynomial_term() -> None:
    claim = Ridge(targets.Monomial(input_dim=4, power=2), 0.05).build().claim
    assert claim.terms["polynomial"] == 0


@pytest.mark.slow
def test_width_grows_polynomially_in_the_inverse_accuracy_for_fixed_dimension() -> None:
    accuracies = np.array([0.2, 0.1, 0.05])
    widths = [Ridge(targets.Cone(input_dim=2), float(a)).architecture().width for a in accuracies]
    slope = np.polyfit(np.log(1 / accuracies), np.log(widths), 1)[0]
    assert 1 < slope < 3


def test_same_arguments_same_bits(generator: torch.Generator) -> None:
    x = UniformRadius(5).sample(100, generator)
    first, second = (Ridge(targets.Cone(input_dim=5)).build() for _ in range(2))
    assert isinstance(first, Built)
    assert torch.equal(first.network.evaluate(x), second.network.evaluate(x))
    assert first.claim == second.claim


def test_claims_in_float32_hold_for_float32() -> None:
    """Claim and network name the arithmetic; the rounding term binds it, and float64 has less."""
    target = targets.Cone(input_dim=5)
    single = Ridge(target, 0.1, arithmetic="float32").build()
    double = honest(target, 0.1)
    assert single.claim.arithmetic == single.network.arithmetic == "float32"
    assert double.claim.terms["rounding"] < 1e-8 * single.claim.terms["rounding"]
    assert single.claim.bound <= 0.1
    x = UniformRadius(5).sample(20_000, torch.Generator().manual_seed(0))
    values = single.network.evaluate(x)
    assert values.dtype == torch.float32
    exact = single.network.evaluate(x, "float64")
    gap = float((values.double() - exact).abs().max())
    assert 1e-8 < gap <= single.claim.terms["rounding"]
    assert float((values.double() - target(x)).abs().max()) <= single.claim.bound
    # Control: half precision, which the term does not speak of, breaks it.
    coarse = exact.half().double()
    assert float((coarse - exact).abs().max()) > single.claim.terms["rounding"]


def test_rounding_is_planned_for() -> None:
    """Where float32 costs more than a millionth, the plan is made again with less."""
    construction = Ridge(targets.Cone(input_dim=10), 0.1, arithmetic="float32")
    built = construction.build()
    assert built.claim.terms["rounding"] > 1e-6 * 0.1
    assert construction.architecture() == built.network.architecture
    assert built.claim.bound <= 0.1
    with pytest.raises(Refusal, match="float32 rounding"):
        Ridge(targets.Monomial(input_dim=10, power=3), 1e-4, arithmetic="float32").architecture()
    with pytest.raises(Refusal, match="arithmetic='exact'"):
        Ridge(targets.Cone(input_dim=3), arithmetic="exact")


def test_files_keep_the_arithmetic(tmp_path: Path) -> None:
    network = Ridge(targets.Cone(input_dim=3), arithmetic="float32").build().network
    network.save(tmp_path / "net.safetensors")
    assert load(tmp_path / "net.safetensors").arithmetic == "float32"


@pytest.mark.slow
def test_half_degrees_of_record_are_reached() -> None:
    """K above 12 by products on S², and SES19 Theorem 3 for powers to 6."""
    assert Ridge(targets.Cone(input_dim=3), 0.02)._plan.cubature.half_degree > 12
    for power in (1, 3, 6):
        target = targets.Monomial(input_dim=3, power=power)
        built = Ridge(target, 0.2).build()
        assert _attacked(built.network, target) <= built.claim.bound <= 0.2  # type: ignore[arg-type]
