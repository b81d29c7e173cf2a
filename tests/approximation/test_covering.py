"""Coverings bound the error of a network from above; levelling brings it down."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from depthwright.approximation.covering import MOST_CUBES, TooFine, _bounds, _tangent, certify
from depthwright.approximation.directions import even_circle, even_spiral
from depthwright.approximation.levelling import Hinges, level
from depthwright.targets import Cone, Hat, Monomial, Sine
from depthwright.targets.radial import Radial


def network(target, knots=(0.0, 0.3), seed=0):
    directions = even_circle(9) if target.input_dim == 2 else even_spiral(40)
    rng = np.random.default_rng(seed)
    return [
        Hinges(directions, b, rng.uniform(-1, 1, len(directions)) * 2 / len(directions))
        for b in knots
    ]


def sampled(hinges, offset, target, count=400_000):
    x = np.random.default_rng(5).standard_normal((count, target.input_dim))
    x *= np.random.default_rng(6).random((count, 1)) / np.linalg.norm(x, axis=1, keepdims=True)
    gaps = [
        np.abs(
            sum(h.values(p) for h in hinges) + offset - target.profile(np.linalg.norm(p, axis=1))
        )
        for p in np.split(x, 20)
    ]
    return max(float(g.max()) for g in gaps)


@pytest.mark.parametrize("target", [Cone(2), Hat(2), Sine(2, 1), Monomial(2), Hat(3)], ids=str)
def test_a_covering_is_never_below_the_error_and_refuses_what_is(target):
    hinges, offset = network(target), 0.1
    seen = sampled(hinges, offset, target)
    goal = 1.1 * seen
    assert seen <= certify(hinges, offset, target, goal) <= goal
    assert certify(hinges, offset, target, 0.97 * seen) == math.inf


def test_one_wrong_neuron_is_found():
    """Negative control: a spike of height 0.2 in one direction of 40."""
    target, directions = Cone(3), even_spiral(40)
    hinges = [Hinges(directions, 0.0, np.full(40, 2 / 40))]
    assert certify(hinges, 0.0, target, 0.05) <= 0.05
    spike = np.zeros(40)
    spike[7] = 0.4
    assert certify([*hinges, Hinges(directions, 0.5, spike)], 0.0, target, 0.05) == math.inf


def test_cubes_are_given_up_before_they_fill_the_memory():
    """A profile so low that the allowance for its slope is far above the accuracy."""
    flat, seen = [Hinges(np.array([[1.0, 0.0]]), 0.5, np.zeros(1))], []
    with pytest.raises(TooFine):
        certify(flat, 0.0, Low(2), 1e-20, seen.append)
    assert 10_000 < max(seen) <= MOST_CUBES


def test_levelling_lowers_the_error():
    target, directions = Cone(3), even_spiral(12)
    drawn = [Hinges(directions, 0.0, np.full(12, 2 / 12))]
    levelled, offset, worst = level(drawn, 0.0, target, np.random.default_rng(0))
    assert sampled(levelled, offset, target) < 0.9 * sampled(drawn, 0.0, target)
    assert worst == pytest.approx(sampled(levelled, offset, target), rel=0.02)


@dataclass(frozen=True)
class Low(Radial):
    """A smooth profile of height 1e-20."""

    lipschitz: ClassVar[float] = 1e-20
    curvature: ClassVar[float] = 1e-20

    def profile(self, r):
        return 1e-20 * np.sin(np.asarray(r))


@dataclass(frozen=True)
class Raised(Radial):
    """ϕ(r) = HEIGHT + SLOPE·r, whose difference quotient in float64 is all rounding."""

    HEIGHT: ClassVar[float] = 1e8
    SLOPE: ClassVar[float] = 3e-3
    lipschitz: ClassVar[float] = SLOPE
    curvature: ClassVar[float] = 0.0

    def profile(self, r):
        """Rounded to 1.5e-8."""
        return self.HEIGHT + self.SLOPE * np.asarray(r)


def test_high_profiles_allow_for_the_rounding_of_their_slope():
    target, reach = Raised(2), 0.25
    flat = [Hinges(np.array([[1.0, 0.0]]), 0.5, np.zeros(1))]
    centres = np.array([[r, 0.0] for r in np.linspace(0.3, 0.7, 30)])
    bound, _ = _bounds(flat, target.HEIGHT, target, centres, reach)
    assert (bound >= target.SLOPE * (centres[:, 0] + reach)).all()


@dataclass(frozen=True)
class Tooth(Radial):
    """0 but for a tooth of height 0.05 around ½, declared by its breaks."""

    lipschitz: ClassVar[float] = 1.0
    curvature: ClassVar[float] = 0.0

    @property
    def breaks(self):
        return np.array([0.0, 0.45, 0.5, 0.55, 1.0])

    def profile(self, r):
        return np.maximum(0.05 - np.abs(np.asarray(r) - 0.5), 0)


def test_breaks_of_a_profile_that_is_not_given_by_values_are_seen():
    flat = [Hinges(np.array([[1.0, 0.0]]), 0.5, np.zeros(1))]
    assert certify(flat, 0.0, Tooth(2), 0.04) == math.inf
    assert 0.05 <= certify(flat, 0.0, Tooth(2), 0.051) <= 0.051


@dataclass(frozen=True)
class Steep(Raised):
    """ϕ(r) = 10⁶·(r − ½), computed by a difference of large numbers."""

    HEIGHT: ClassVar[float] = -5e5
    SLOPE: ClassVar[float] = 1e6
    lipschitz: ClassVar[float] = SLOPE


def test_profiles_that_cross_zero_allow_for_the_rounding_of_what_they_are_elsewhere():
    """The slope is off by the rounding of 10⁶·r, also where ϕ itself is small."""
    target = Steep(2)
    for r in 0.5 + np.linspace(-1e-7, 1e-7, 21):
        _, slope, turning = _tangent(target, np.array([r]), 1e-3)
        assert abs(float(slope[0]) - target.SLOPE) * 1e-3 <= turning[0]


@dataclass(frozen=True)
class Clamped(Cone):
    """ϕ(r) = r, and 1 beyond the sphere, where nobody asks."""

    def profile(self, r):
        return np.minimum(r, 1.0)


def test_beyond_the_sphere_a_broken_line_goes_on():
    """On a cube whose centre is outside: x_1 − 0.2 is off ‖x‖ by 0.2 at (1, 0)."""
    hinges = [Hinges(np.array([[1.0, 0.0]]), 0.0, np.ones(1))]
    for target in (Cone(2), Clamped(2)):
        bound, _ = _bounds(hinges, -0.2, target, np.array([[1.2, 0.0]]), 0.25)
        assert bound[0] >= 0.2


def test_the_allowance_for_rounding_covers_sums_in_any_order():
    """At reach 0 it is all that the bound adds to the error at the centres."""
    count = 20_000
    hinges = [Hinges(even_circle(count), 0.0, np.full(count, 1.0))]
    bound, error = _bounds(hinges, 0.0, Cone(2), np.array([[0.3, 0.1]]), 0.0)
    assert bound[0] - error[0] >= count * 2.0**-53 * count
    assert bound[0] - error[0] <= 1e-6
