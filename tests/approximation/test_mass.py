"""Averaged hinges against certified integrals; the minimal-mass program, primal against dual."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from flint import acb, arb, ctx
from scipy import optimize

from depthwright import Refusal
from depthwright.approximation import mass
from depthwright.approximation.averaged_hinge import (
    ROUNDING,
    averaged_hinge,
    hinge_and_chance,
    mean_size,
    slope,
)
from depthwright.approximation.enclosure import Samples, sup_abs
from depthwright.targets import Cone, Hat, Monomial, RandomProfile, Sine, ZigZag

EPS = np.finfo(np.float64).eps
GAP = 1e-5


def certified(knot: float, radius: float, dimension: int) -> float:
    """E max(r·abs(w_1) − b, 0) by flint's certified quadrature, in the angle w_1 = sin θ."""
    ctx.prec = 128
    b, r = arb(knot), arb(radius)
    half_pi = arb.pi() / 2
    start = (b / r).asin()

    def integrand(theta, _):
        return (acb(r) * theta.sin() - acb(b)) * theta.cos() ** (dimension - 2)

    top = acb.integral(integrand, acb(start), acb(half_pi))
    constant = (arb(dimension) / 2).gamma() / (arb.pi().sqrt() * ((arb(dimension) - 1) / 2).gamma())
    return float((2 * constant * top.real).mid())


@pytest.mark.parametrize("dimension", [2, 3, 4, 10, 57, 300, 1000])
def test_averaged_hinge_is_the_integral(dimension):
    scale = 1 / math.sqrt(dimension)
    for radius in (1.0, 0.6, 0.03):
        for share in (0.0, 0.2 * scale, scale, min(2.5 * scale, 0.9), 0.5, 0.97):
            knot = share * radius
            exact = certified(knot, radius, dimension)
            allowed = ROUNDING * (radius * mean_size(dimension) + knot)
            got = float(averaged_hinge(knot, radius, dimension))
            assert abs(got - exact) <= allowed


@pytest.mark.parametrize("dimension", [2, 3, 4, 7, 10, 57, 100, 300, 500, 700, 1000])
def test_averaged_hinge_keeps_its_bound_at_every_knot(dimension):
    """By ball arithmetic; at d = 1000 and small b/r powers of a rounded number erred by 350 eps."""
    rng, ctx.prec = np.random.default_rng(0), 300
    shares = [
        *10.0 ** rng.uniform(-18, 0, 40),
        *rng.uniform(0, 1, 40),
        *(1 - 10.0 ** rng.uniform(-16, 0, 20)),
    ]
    shares += [s for s in rng.uniform(0, 4, 80) / math.sqrt(dimension) if s < 1]
    p, half = arb(dimension - 1) / 2, arb(1) / 2
    mean = (arb(dimension) / 2).gamma() / (arb.pi().sqrt() * (p + 1).gamma())
    for radius in (1.0, 0.3712, 1e-12):
        for knot in np.array(shares) * radius:
            b, r = arb(float(knot)), arb(radius)
            y = 1 - (b / r) ** 2
            chance = y.beta_lower(p, half, regularized=1) if knot < radius else arb(0)
            reach = mean * y**p if knot < radius else arb(0)
            allowed = ROUNDING * (radius * mean_size(dimension) + knot)
            got = arb(float(averaged_hinge(knot, radius, dimension)))
            assert abs(got - (r * reach - b * chance)) < allowed
            assert abs(arb(float(hinge_and_chance(knot, radius, dimension)[1])) - chance) < ROUNDING
            got = arb(float(slope(knot, radius, dimension)))
            assert abs(got - reach) < ROUNDING * mean


def test_averaged_hinge_in_three_dimensions_is_a_square():
    r, b = np.meshgrid(np.linspace(0.01, 1, 50), np.linspace(0, 1, 50))
    exact = np.where(r > b, (r - b) ** 2 / (2 * r), 0.0)
    assert np.abs(averaged_hinge(b, r, 3) - exact).max() <= 8 * EPS


@pytest.mark.parametrize("dimension", [2, 5, 100])
def test_slopes_are_derivatives(dimension):
    r = np.linspace(0.2, 1, 9)
    b, h = 0.6 / math.sqrt(dimension) * r, 1e-5
    in_r = averaged_hinge(b, r + h, dimension) - averaged_hinge(b, r - h, dimension)
    in_b = averaged_hinge(b + h, r, dimension) - averaged_hinge(b - h, r, dimension)
    # Central differences: h² times a third derivative, which is of order d/r².
    allowed = 30 * dimension * h**2 + 4 * EPS / h
    assert np.abs(in_r / (2 * h) - slope(b, r, dimension)).max() <= allowed
    assert np.abs(in_b / (2 * h) + hinge_and_chance(b, r, dimension)[1]).max() <= allowed


def test_slope_at_the_origin_is_the_mean_size():
    assert slope(0.0, 0.0, 7) == pytest.approx(mean_size(7), rel=4 * EPS)
    assert slope(0.3, 0.0, 7) == 0


def parabolas(steep: float):
    def sample(x):
        return Samples(x**2, 2 * x, steep * (x - 0.3) ** 2, 2 * steep * (x - 0.3), 0 * x)

    return sample


@pytest.mark.parametrize("steep", [0.5, 2.0, 9.0])
def test_enclosure_finds_the_largest_value_from_above(steep):
    x = np.linspace(-1, 1, 400_001)
    exact = np.abs(x**2 - steep * (x - 0.3) ** 2).max()
    bound, where = sup_abs(parabolas(steep), np.zeros_like, np.array([-1.0, 1.0]), 1e-9)
    assert 0 <= bound - exact <= 2e-9 * exact
    assert abs(abs(where**2 - steep * (where - 0.3) ** 2) - exact) <= 2e-9 * exact


def test_enclosure_ends_where_a_sample_is_above_what_is_enough():
    def sample(r):
        zero = np.zeros_like(r)
        return Samples(zero, zero, zero, zero, np.sin(3 * r))

    grid = np.linspace(0, 1, 5)
    assert sup_abs(sample, lambda h: 9 * h**2 / 8, grid, 1e-9, 0.9)[0] == math.inf
    assert sup_abs(sample, lambda h: 9 * h**2 / 8, grid, 1e-9, 1.1)[0] < 1.01


def test_enclosure_sees_a_peak_that_no_sample_shows():
    """A tooth of height 1 and width 0.002 between the first samples: only slopes betray it."""

    def sample(x):
        tooth = np.maximum(1 - np.abs(x - 0.3333) / 0.001, 0)
        return Samples(
            1000 * (np.maximum(x - 0.3323, 0) + np.maximum(x - 0.3343, 0)),
            1000.0 * ((x >= 0.3323) + 1.0 * (x >= 0.3343)),
            2000 * np.maximum(x - 0.3333, 0),
            2000.0 * (x >= 0.3333),
            0 * tooth,
        )

    bound, _ = sup_abs(sample, np.zeros_like, np.array([0.0, 1.0]), 1e-9)
    assert bound == pytest.approx(1.0, abs=1e-8)


@pytest.mark.parametrize("dimension", range(2, 51))
def test_exact_cone_costs_one_over_the_mean_size(dimension):
    found = mass.minimum(Cone(dimension), 0.0)
    assert found.floor == pytest.approx(1 / mean_size(dimension), rel=1e-8)
    assert found.primal.mass == pytest.approx(1 / mean_size(dimension), rel=1e-8)


def test_mean_size_is_known_in_low_dimensions():
    assert mean_size(2) == pytest.approx(2 / math.pi, rel=4 * EPS)
    assert mean_size(3) == pytest.approx(0.5, rel=4 * EPS)
    assert mean_size(4) == pytest.approx(4 / (3 * math.pi), rel=4 * EPS)


TWENTY = [
    *((Cone(d), e) for d, e in ((2, 0.05), (3, 0.01), (10, 0.1), (50, 0.02), (1000, 0.1))),
    *((Hat(d), e) for d, e in ((2, 0.02), (3, 0.025), (10, 0.03), (20, 0.05), (100, 0.03))),
    *((ZigZag(d), e) for d, e in ((2, 0.05), (3, 0.03), (10, 0.05), (100, 0.06))),
    *((Sine(d), e) for d, e in ((3, 0.02), (20, 0.03))),
    *((RandomProfile(d), e) for d, e in ((2, 0.02), (20, 0.05))),
    *((Monomial(d), e) for d, e in ((3, 0.1), (30, 0.1))),
]


@pytest.mark.parametrize(("target", "error"), TWENTY, ids=str)
def test_primal_and_dual_agree(target, error):
    found = mass.minimum(target, error)
    assert abs(found.primal.mass - found.floor) <= 1e-6 * found.floor
    assert abs(found.error - error) <= 1e-6 * error


def test_mass_falls_with_the_error_and_rises_with_the_dimension():
    in_error = [mass.minimum(Hat(5), e).floor for e in (0.02, 0.03, 0.05, 0.1)]
    in_dimension = [mass.minimum(Hat(d), 0.03).floor for d in (2, 3, 5, 10, 30)]
    assert in_error == sorted(in_error, reverse=True)
    assert in_dimension == sorted(in_dimension)


def test_nothing_to_do_costs_nothing():
    found = mass.minimum(Hat(4), 0.26)
    assert found.floor == 0
    assert found.primal.mass <= 1e-12


@pytest.mark.parametrize("target", [Hat(6), Sine(6, 3), Monomial(6), ZigZag(6)], ids=str)
def test_residual_is_bounded_from_above_and_not_by_much(target):
    primal = mass.minimum(target, 0.04, gap=1e-3).primal
    radii = np.linspace(0, 1, 200_001)
    sampled = np.abs(primal(radii) - target.profile(radii)).max()
    assert 0 <= primal.sup_distance(target)[0] - sampled <= 1e-6 * sampled


def test_an_infeasible_dual_is_scaled_down():
    """Doubling the measure doubles its value and its constraint: the floor must not move."""
    target = Hat(6)
    found = mass.minimum(target, 0.04)
    twice = mass._Dual.of(target, 0.04, found.radii, 2 * found.measure).floor()
    assert twice == pytest.approx(found.floor, rel=1e-8)
    tilted = found.measure * np.where(found.radii > 0.5, 1.1, 1.0)
    tilted_floor = mass._Dual.of(target, 0.04, found.radii, tilted).floor()
    assert tilted_floor < found.floor * (1 - 1e-3)


def test_only_duals_that_may_serve_are_certified(monkeypatch):
    """Where the exchange is cut short, the best floor of all is found all the same."""
    target, error = Hat(5), 0.005
    answers = list(mass._answers(target, error, mass._ones, 1e-5))[:-1]
    duals = [mass._Dual.of(target, error, a.rows, a.measure) for a in answers]
    floors = [dual.floor() for dual in duals]
    assert all(0 <= f <= d.at_most for f, d in zip(floors, duals, strict=True))
    certified = []

    def counted(*arguments):
        certified.append(sup_abs(*arguments))
        return certified[-1]

    monkeypatch.setattr(mass, "sup_abs", counted)
    monkeypatch.setattr(mass, "_answers", lambda *_: iter(answers))
    heard = []
    found = mass.floor(target, error, 1e-5, report_progress=lambda *news: heard.append(news))
    assert not found.settled
    assert found.value == max(floors)
    assert 0 < len(certified) < len(answers) / 2
    assert [number for number, _ in heard] == list(range(1, len(answers) + 1))


def test_a_price_moves_the_knots():
    plain = mass.minimum(ZigZag(5), 0.06)
    priced = mass.minimum(ZigZag(5), 0.06, price=lambda b: 1 + 10 * b)
    assert priced.primal.mass > plain.primal.mass
    assert priced.cost < float((1 + 10 * plain.primal.knots) @ np.abs(plain.primal.weights))
    assert priced.floor == 0


@pytest.mark.parametrize("input_dim", [5, pytest.param(10, marks=pytest.mark.slow)])
def test_primal_and_dual_agree_where_the_mass_explodes(input_dim):
    """Refused before: the first knots cannot reach the error, and the solver said so."""
    found = mass.minimum(Hat(input_dim), 1e-3, gap=1e-4)
    assert found.floor <= found.primal.mass <= 1.01 * found.floor
    assert found.error == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("rungs", [1, 2, 3, 5])
@pytest.mark.parametrize("how", ["not set", "not finite"])
def test_any_rung_of_the_ladder_will_do(rungs, how, monkeypatch):
    """The first rungs fail, as they do on some processors: the next answers alike."""
    expected, linprog = mass.minimum(Hat(6), 0.01, gap=GAP), optimize.linprog
    tried = []

    def fails(*args, **options):
        tried.append((options["method"], options["options"]))
        found = linprog(*args, **options)
        if (len(tried) - 1) % (rungs + 1) < rungs:
            found.x = np.full_like(found.x, np.nan)
            found.status = 4 if how == "not set" else 0
        return found

    monkeypatch.setattr(optimize, "linprog", fails)
    found = mass.minimum(Hat(6), 0.01, gap=GAP)
    assert len({str(rung) for rung in tried}) == rungs + 1
    assert found.floor == pytest.approx(expected.floor, rel=4 * GAP)
    assert found.primal.mass == pytest.approx(expected.primal.mass, rel=4 * GAP)


def test_no_rung_at_all_is_refused(monkeypatch):
    monkeypatch.setattr(
        optimize, "linprog", lambda *_, **__: optimize.OptimizeResult(status=4, x=None)
    )
    with pytest.raises(Refusal, match="no setting of HiGHS"):
        mass.minimum(Hat(6), 0.01)


def test_what_was_found_before_the_solver_failed_is_still_a_floor(monkeypatch):
    whole, linprog, calls = mass.minimum(Hat(6), 0.01).floor, optimize.linprog, []

    def tires(*args, **options):
        calls.append(1)
        return linprog(*args, **options) if len(calls) <= 8 else optimize.OptimizeResult(status=4)

    monkeypatch.setattr(optimize, "linprog", tires)
    found = mass.floor(Hat(6), 0.01, 1e-5)
    assert not found.settled
    assert 0.1 * whole < found.value <= whole


@pytest.mark.parametrize("height", [1e-200, 1e-12, 1e12])
def test_a_profile_of_any_height(height):
    @dataclass(frozen=True)
    class Scaled(Hat):
        @property
        def values(self):
            return super().values * height

    found, plain = mass.minimum(Scaled(6), 0.03 * height), mass.minimum(Hat(6), 0.03)
    assert found.floor == pytest.approx(plain.floor * height, rel=1e-6)
    assert found.primal.mass == pytest.approx(plain.primal.mass * height, rel=1e-6)


def test_bad_hypotheses_are_refused():
    with pytest.raises(Refusal, match="input_dim=1"):
        mass.minimum(Cone(1), 0.1)
    with pytest.raises(Refusal, match="error=-1"):
        mass.minimum(Cone(3), -1.0)


@dataclass(frozen=True)
class Off(Cone):
    """ϕ(r) = r, computed as far off it as samples of a profile are allowed to be."""

    def profile(self, r):
        return np.asarray(r) + np.where(np.asarray(r) > 0, 1, -1) * 30 * 2.0**-52


def test_a_floor_counts_what_its_profile_rounds():
    """Of the measure (1, 1) at ½ and 1, balanced at 0: ∫ϕ dμ = 3/2, the mass of μ is 4."""
    dual = mass._Dual.of(Off(3), 0.25, np.array([0.5, 1.0]), np.ones(2))
    assert dual.value <= 0.5
    assert dual.value == pytest.approx(0.5, abs=1e-12)
