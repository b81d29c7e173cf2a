"""Sup errors bracketed by boxes, against a grid and its Lipschitz constant, which share no code."""

import itertools

import numpy as np
import pytest

from depthwright.approximation import branch_kernel
from depthwright.approximation.branch_and_bound import Search, sup_error
from depthwright.refusal import Refusal
from depthwright.targets import Cone, Hat, Monomial, RandomProfile, Sine, ZigZag
from depthwright.targets.radial import Radial


def network(d, n, seed, bias=1.0):
    rng = np.random.default_rng(seed)
    return (
        rng.standard_normal(n) / n,
        rng.standard_normal((n, d)),
        bias * rng.uniform(-1, 1, n),
        float(rng.standard_normal()),
    )


def value(parts, x):
    outer, weight, bias, offset = parts
    return np.maximum(x @ weight.T + bias, 0) @ outer + offset


def by_grid(parts, target, steps):
    """Ends of the sup error: at grid points of the ball, and with a Lipschitz constant between."""
    d = target.input_dim
    axis = np.linspace(-1, 1, steps)
    x = np.array(list(itertools.product(axis, repeat=d)))
    radius = np.linalg.norm(x, axis=1, keepdims=True)
    x = x / np.maximum(radius, 1)  # every point of the ball has one of these within a cell
    low = np.abs(value(parts, x) - target.profile(np.linalg.norm(x, axis=1).clip(0, 1))).max()
    outer, weight, *_ = parts
    steepest = float(np.abs(outer) @ np.linalg.norm(weight, axis=1)) + target.lipschitz
    return low, low + steepest * np.sqrt(d) / (steps - 1)


class Unsmooth(Radial):
    """A profile of which nothing but its Lipschitz constant is known."""

    lipschitz = 1.0

    def profile(self, r):
        return np.abs(r - 0.5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "target",
    [
        Cone(2), Cone(3), Hat(2), Hat(3), ZigZag(2, teeth=4), Sine(2), Sine(3), Monomial(3),
        RandomProfile(2), Unsmooth(2), Cone(1),
    ],
)  # fmt: skip
def test_the_bracket_holds_the_sup(target, seed):
    parts = network(target.input_dim, 12, seed)
    found = sup_error(*parts, target, gap=0.02)
    low, high = by_grid(parts, target, {1: 20001, 2: 401, 3: 61}[target.input_dim])
    assert low <= found.upper
    assert found.lower <= high
    assert found.gap <= 0.02 + 1e-9
    assert np.linalg.norm(found.at) <= 1
    at = found.at[None]
    error = abs(value(parts, at) - target.profile(np.linalg.norm(at, axis=1)))[0]
    assert found.lower <= error <= found.upper


def excess(search):
    """The largest of error − bound over points of the ball in boxes drawn at random."""
    rng = np.random.default_rng(0)
    centre, half = rng.uniform(-0.6, 0.6, (500, 3)), 2.0 ** rng.integers(-6, -1, (500, 3))
    looked, worst = search.bounded(centre, half), -np.inf
    parts = search.outer, search.weight, search.bias, search.offset
    for _ in range(200):
        x = looked.centre + looked.half * rng.uniform(-1, 1, (len(looked.centre), 3))
        radius = np.linalg.norm(x, axis=1)
        error = np.abs(value(parts, x) - search.target.profile(radius.clip(0, 1)))
        worst = max(worst, float((error - looked.bound)[radius <= 1].max()))
    return worst


@pytest.mark.parametrize("target", [Hat(3), Sine(3), Unsmooth(3)])
def test_every_box_is_below_its_bound(target):
    assert excess(Search(*network(3, 20, 5), target)) <= 0


@pytest.mark.parametrize("part", ["chord", "neuron"])
def test_lines_that_are_no_bounds_are_caught(monkeypatch, part):
    outer, weight, bias, offset = network(3, 20, 5)
    search = Search(outer, weight, bias, offset, Hat(3))
    if part == "chord":  # a profile is told to be straight across its breaks
        search = Search(0 * outer, weight, bias, 1.0, ZigZag(3, teeth=2))
        search.breaks, search.at_breaks = search.breaks[:2], search.at_breaks[:2]
    else:  # every neuron is told to be linear: its kink is not seen
        kernel = branch_kernel.bounds

        def broken(outer, weight, bias, offset, centre, half, *rest):
            nothing = np.full_like(half, 1e-12)
            bound, found, axis = kernel(outer, weight, bias, offset, centre, nothing, *rest)
            return bound, found, axis

        monkeypatch.setattr(branch_kernel, "bounds", broken)
    assert excess(search) > 0


def test_a_spike_that_sampling_misses_is_found():
    outer, weight, bias, offset = network(3, 16, 0)
    spiked = (
        np.append(outer, 0.05 / 1e-6),
        np.concatenate([weight, [[0.0, 1.0, 0.0]]]),
        np.append(bias, -(1 - 1e-6)),
        offset,
    )  # 0.05 on a cap of height 10⁻⁶
    target = Cone(3)
    rim = np.array([[0.0, 1.0, 0.0]])
    level = float(value((outer, weight, bias, offset), rim)[0]) - 1
    shifted = (*spiked[:3], offset - level)  # exact at the rim but for the spike
    plain = sup_error(outer, weight, bias, offset - level, target, gap=0.05)
    x = np.random.default_rng(0).standard_normal((100_000, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    assert (value(shifted, x) == value((outer, weight, bias, offset - level), x)).all()
    smaller = tuple(part * (0.02 / plain.upper) for part in (outer, np.array(offset - level)))
    quiet = (np.append(smaller[0], 0.05 / 1e-6), *shifted[1:3], float(smaller[1]))
    found = sup_error(*quiet, target, gap=0.1)
    assert found.upper >= abs(float(value(quiet, rim)[0]) - 1)


def test_a_budget_leaves_an_honest_gap():
    parts, target = network(3, 40, 1), ZigZag(3, teeth=6)
    few, many = (sup_error(*parts, target, gap=1e-3, boxes=b) for b in (200, 200_000))
    assert few.boxes <= 400
    assert few.gap > many.gap
    assert many.lower >= few.lower
    assert many.upper <= few.upper


def test_goals_end_the_search():
    parts, target = network(2, 12, 0), Cone(2)
    sup = sup_error(*parts, target, gap=1e-3)
    reached = sup_error(*parts, target, goal=1.5 * sup.upper, gap=0.0)
    assert sup.lower <= reached.upper <= 1.5 * sup.upper
    assert reached.boxes < sup.boxes
    missed = sup_error(*parts, target, goal=0.5 * sup.lower, gap=0.0)
    assert missed.lower > 0.5 * sup.lower


def test_what_cannot_be_bounded_is_refused():
    with pytest.raises(Refusal, match="dimension 6 or less"):
        sup_error(*network(7, 3, 0), Cone(7))
    outer, weight, bias, offset = network(2, 3, 0)
    with pytest.raises(Refusal, match="so large"):
        sup_error(outer * 1e300, weight * 1e300, bias, offset, Cone(2))
