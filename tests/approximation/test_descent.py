"""Neurons that descend: closed forms against quadrature, slopes against differences."""

import itertools

import numpy as np
import pytest

from depthwright.approximation.descent import Objective, descend_largest
from depthwright.approximation.levelling import Hinges
from depthwright.approximation.neurons import Neurons, least_squares, one_sided, profile, sample
from depthwright.targets import Cone, Hat, Radial


def drawn(n: int, d: int, seed: int = 0, bias: float = 0.3) -> Neurons:
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((n, d))
    w /= np.linalg.norm(w, axis=1, keepdims=True)
    return Neurons(w, -bias * rng.random(n), rng.standard_normal(n), 0.1)


def values(neurons: Neurons, x: np.ndarray) -> np.ndarray:
    active = np.maximum(x @ neurons.weight.T + neurons.bias, 0)
    return active @ neurons.outer + neurons.offset


def product(d: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of the ball and weights of uniform radius × direction, by quadrature."""
    node, share = np.polynomial.legendre.leggauss(40)
    cuts = np.array([0, 0.5, 1])
    r = np.concatenate([(a + b) / 2 + (b - a) / 2 * node for a, b in itertools.pairwise(cuts)])
    at_r = np.concatenate([share / 4, share / 4])
    angle = np.arange(600) * 2 * np.pi / 600
    if d == 2:
        u, at_u = np.stack([np.cos(angle), np.sin(angle)], 1), np.full(600, 1 / 600)
    else:
        height, part = np.polynomial.legendre.leggauss(300)
        h, t = (a.ravel() for a in np.meshgrid(height, angle, indexing="ij"))
        flat = np.sqrt(1 - h**2)
        u, at_u = np.stack([flat * np.cos(t), flat * np.sin(t), h], 1), np.repeat(part, 600) / 1200
    keep = slice(None, None, 1 if d == 2 else 7)  # every seventh: enough for three digits
    u, at_u = u[keep], at_u[keep] / at_u[keep].sum()
    x = (r[:, None, None] * u).reshape(-1, d)
    return x, np.outer(at_r, at_u).ravel()


@pytest.mark.parametrize(("target", "off"), [(Cone(2), 1e-4), (Hat(2), 1e-4), (Hat(3), 2e-3)])
def test_closed_form_solves_what_quadrature_solves(target: Radial, off: float) -> None:
    d = target.input_dim
    start = drawn(5, d, bias=0.0)
    found = least_squares(start, target, np.zeros((1, d)), ridge=0.0)
    x, share = product(d)
    columns = np.column_stack([np.maximum(x @ start.weight.T, 0), np.ones(len(x))])
    gram = columns.T @ (columns * share[:, None])
    wanted = np.linalg.solve(gram, columns.T @ (share * profile(target, x)))
    assert [*found.outer, found.offset] == pytest.approx(wanted, rel=off, abs=off)


def test_biases_are_solved_at_the_sample() -> None:
    target, x = Hat(3), sample(4000, 3, np.random.default_rng(1))
    start = drawn(10, 3)
    found = least_squares(start, target, x, ridge=0.0)
    columns = np.column_stack([np.maximum(x @ start.weight.T + start.bias, 0), np.ones(4000)])
    wanted = np.linalg.lstsq(columns, profile(target, x), rcond=None)[0]
    assert [*found.outer, found.offset] == pytest.approx(wanted, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("d", [2, 5])
def test_one_sided_neurons_have_the_even_part_of_the_hinges(d: int) -> None:
    rng = np.random.default_rng(0)
    w = rng.standard_normal((7, d))
    w /= np.linalg.norm(w, axis=1, keepdims=True)
    hinges = [Hinges(w[:4], 0.0, np.array([1.0, -0.5, 0.3, 2.0])), Hinges(w[4:], 0.4, np.ones(3))]
    neurons = one_sided(hinges, 0.2, 12, rng)
    assert len(neurons.bias) == 12
    x = sample(200, d, rng)
    even = (values(neurons, x) + values(neurons, -x)) / 2
    assert even == pytest.approx(sum(h.values(x) for h in hinges) + 0.2, abs=1e-14)


def test_sampled_radii_are_stratified() -> None:
    radii = np.linalg.norm(sample(1000, 4, np.random.default_rng(0))[:500], axis=1)
    assert (np.floor(np.sort(radii) * 500) == np.arange(500)).all()


def test_slopes_are_those_of_the_objective() -> None:
    """Of both parts, against central differences of an objective written down again here."""
    rng = np.random.default_rng(0)
    error = rng.standard_normal(60)
    whole = Objective(np.zeros((40, 2)), np.zeros((20, 2)), Cone(2), 3.0, 12.0)

    def plain(e: np.ndarray) -> float:
        norm = float((np.abs(e[40:]) ** 12).sum() ** (1 / 12))
        return 3.0 * float(np.sqrt((e[:40] ** 2).mean())) + norm

    total, slope = whole._of(error)
    assert total == pytest.approx(plain(error), rel=1e-12)
    step = 1e-6 * np.eye(60)
    differences = [(plain(error + s) - plain(error - s)) / 2e-6 for s in step]
    assert slope == pytest.approx(np.array(differences), rel=1e-5, abs=1e-8)


def test_a_descent_ends_where_no_direction_leads_down() -> None:
    """Its value is that of the network returned, and no small change of parameters is lower."""
    target, x = Hat(2), sample(2000, 2, np.random.default_rng(0))
    start = least_squares(drawn(6, 2), target, x)
    objective = Objective(x, np.zeros((0, 2)), target, 1.0, 2.0)
    found, reached = objective.minimise(start, 200)
    root = float(np.sqrt(np.mean((values(found, x) - profile(target, x)) ** 2)))
    before = float(np.sqrt(np.mean((values(start, x) - profile(target, x)) ** 2)))
    assert reached == pytest.approx(root, rel=1e-4)
    assert root < 0.8 * before
    rng = np.random.default_rng(2)
    for _ in range(50):
        moved = Neurons(
            found.weight + 1e-2 * rng.standard_normal(found.weight.shape),
            found.bias + 1e-2 * rng.standard_normal(6),
            found.outer * (1 + 1e-2 * rng.standard_normal(6)),
            found.offset + 1e-2 * float(rng.standard_normal()),
        )
        assert np.sqrt(np.mean((values(moved, x) - profile(target, x)) ** 2)) > root


def test_the_largest_error_falls_and_is_met() -> None:
    target, rng = Cone(4), np.random.default_rng(0)
    w = drawn(24, 4).weight
    start = least_squares(Neurons(w, np.zeros(24), np.ones(24), 0.0), target, np.zeros((1, 4)))
    before = start.worst(target, start.starts(400, rng), 60)[1].max()
    found, largest = descend_largest(start, target, rng, 0.0, lambda part, note: None)
    at, heights = found.worst(target, found.starts(2000, rng), 120)
    assert np.abs(values(found, at) - profile(target, at)) == pytest.approx(heights, abs=1e-5)
    assert heights.max() <= 1.05 * largest
    assert largest < 0.8 * before
