"""Neurons that descend: closed forms against quadrature, slopes against differences."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from depthwright.approximation import descent
from depthwright.approximation.descent import (
    LIFE,
    LONGEST,
    SHORTEST,
    Climbers,
    Descent,
    Networks,
    _climbed,
    descend,
    errors,
    fresh,
    law,
    profile_and_pull,
    with_ones,
    worst,
)
from depthwright.approximation.goals import LARGEST, MEAN_SQUARE, Goal
from depthwright.approximation.levelling import Hinges
from depthwright.approximation.neurons import Neurons, least_squares, one_sided, profile, sample
from depthwright.approximation.starts import DRAWS, starts
from depthwright.targets import Cone, Hat, Radial, Sine


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


def test_points_of_the_law_are_stratified_and_even() -> None:
    x = law(3, 200, 4, torch.Generator().manual_seed(0))
    assert torch.equal(x[:, :100], -x[:, 100:])
    radii = x[:, :100].norm(dim=2).sort(dim=1).values
    assert ((radii * 100).floor() == torch.arange(100)).all()
    assert not torch.equal(x[0], x[1])


def tensors(starts: list[Neurons]) -> Networks:
    return Networks.of(starts, torch.device("cpu"))


def test_networks_as_tensors_are_the_same_networks() -> None:
    starts = [drawn(7, 3, seed) for seed in (0, 1)]
    x = torch.rand(2, 50, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    networks = tensors(starts)
    found = errors(networks, Hat(3), x)
    for k, start in enumerate(starts):
        at = x[k].double().numpy()
        wanted = values(start, at) - profile(Hat(3), at)
        assert found[k].numpy() == pytest.approx(wanted, abs=1e-5)
        again = networks.neurons(k)
        assert np.linalg.norm(again.weight, axis=1) == pytest.approx(np.ones(7), abs=1e-12)
        assert values(again, at) == pytest.approx(values(start, at), abs=1e-5)


@pytest.mark.parametrize(("law_count", "climbers"), [(40, 0), (0, 20), (40, 20)])
def test_slopes_are_those_of_the_objective(law_count: int, climbers: int) -> None:
    """In all parameters, against automatic differentiation of the objective written down again."""
    networks = tensors([drawn(6, 3, 0), drawn(6, 3, 1)])
    goal = Goal(3.0, {"cpu": law_count}, {"cpu": climbers}, {}, 0.0)
    run = Descent(networks, Hat(3), goal, torch.Generator(), 10)
    x = torch.rand(2, law_count + climbers, 3, generator=torch.Generator().manual_seed(3)) - 0.5
    ones, wanted = with_ones(x), Hat(3).profile(x.norm(dim=2))
    active = networks.active(ones)
    error = networks.values(active) - wanted
    found = list(networks.slopes(ones, active, run.slope(error, 0.0)))

    parameters = [p.double().requires_grad_() for p in (networks.inner, networks.outer)]
    offset = networks.offset.double().requires_grad_()
    z = (ones.double() @ parameters[0].mT).relu()
    e = (z * parameters[1][:, None]).sum(2) + offset - wanted.double()
    total = torch.zeros(())
    if law_count:
        total = total + 3.0 * e[:, :law_count].square().mean(dim=1).sqrt().sum()
    if climbers:
        total = total + ((e[:, law_count:].abs() ** 20).sum(dim=1) ** (1 / 20)).sum()
    exact = torch.autograd.grad(total, [*parameters, offset])
    for one, other in zip(found, exact, strict=True):
        assert one.numpy() == pytest.approx(other.numpy(), rel=1e-3, abs=1e-4)


def test_climbers_go_up_with_shrinking_steps_and_begin_anew_when_old() -> None:
    networks, target = tensors([drawn(6, 3)]), Cone(3)
    flock = Climbers(networks, target, 2 * LIFE, torch.Generator().manual_seed(0))
    for turn in range(2 * LIFE):
        oldest = slice(2 * (LIFE - 1 - turn % LIFE), 2 * (LIFE - turn % LIFE))
        assert flock.lengths[oldest].numpy() == pytest.approx(SHORTEST)
        before = flock.x.clone()
        active = networks.active(with_ones(flock.x))
        flock.move(active, networks.values(active) - flock.heights())
        way = (flock.x - before).norm(dim=2)[0]
        assert flock.lengths[oldest].numpy() == pytest.approx(LONGEST)
        kept = torch.ones(2 * LIFE, dtype=torch.bool)
        kept[oldest] = False
        once = flock.lengths[kept] * (LONGEST / SHORTEST) ** (1 / (LIFE - 1))  # a step ago
        assert (way[kept] <= once + 1e-5).all()
        assert (flock.x.norm(dim=2) <= 1 + 1e-6).all()


@pytest.mark.parametrize("target", [Cone(3), Hat(3), Sine(3)], ids=str)
def test_a_climber_goes_up_the_error(target: Radial) -> None:
    """Along the gradient of abs(N − f), by automatic differentiation, where f has no kink near."""
    networks = tensors([drawn(9, 3)])
    x = fresh(networks.inner[..., :-1], 40, torch.Generator().manual_seed(0)) * 0.9
    height, pull = profile_and_pull(target, x)
    active = networks.active(with_ones(x))
    error = networks.values(active) - height
    moved = _climbed(networks, x, active, error, pull, 1e-3) - x

    exact = x.double().requires_grad_()
    inner, outer = networks.inner.double(), networks.outer.double()
    net = ((with_ones(exact) @ inner.mT).relu() * outer[:, None]).sum(2) + 0.1
    total = (net - target.profile(exact.norm(dim=2))).abs().sum()
    (up,) = torch.autograd.grad(total, exact)
    wanted = 1e-3 * up / up.norm(dim=2, keepdim=True)
    near = (x.norm(dim=2, keepdim=True) - 0.5).abs() < 2e-3
    assert torch.where(near, 0.0, moved - wanted).abs().max() < 2e-5


def test_worst_points_have_the_errors_that_are_told() -> None:
    target, networks = Hat(4), tensors([drawn(24, 4)])
    x = fresh(networks.inner[..., :-1], 300, torch.Generator().manual_seed(0))
    at, heights = worst(networks, target, x, 40)
    places = at[0].double().numpy()
    exact = np.abs(values(drawn(24, 4), places) - profile(target, places))
    assert heights[0].numpy() == pytest.approx(exact, abs=1e-5)
    assert (heights >= errors(networks, target, x).abs() - 1e-6).all()
    assert float(heights.mean()) > 1.5 * float(errors(networks, target, x).abs().mean())


def test_climbers_begin_at_sums_of_a_few_directions() -> None:
    """Of unit vectors along the axes: one to three entries, alike in size, of either sign."""
    axes = torch.eye(6)[None] * torch.arange(1, 7)[:, None]  # of several lengths
    own = fresh(axes, 400, torch.Generator().manual_seed(0), few=3)[0, :100]
    entries = (own.abs() > 1e-6).sum(dim=1)
    assert set(entries.tolist()) - {0} == {1, 2, 3}, "the centre where a direction meets itself"
    assert own.norm(dim=1)[entries > 0].numpy() == pytest.approx(1.0, abs=1e-6)
    assert (own < -1e-6).any()
    triples = own[entries == 3].abs().amax(dim=1)
    assert triples.numpy() == pytest.approx(3**-0.5, abs=1e-6), "alike, whatever their lengths"


def test_a_start_has_the_kinks_that_suit_the_target() -> None:
    """Cones have theirs at 0; hats of slope 2 a second row near 0.7/√d."""
    rng = np.random.default_rng(0)
    assert not starts(drawn(200, 8), Cone(8), rng)[0].bias.any()
    (found,) = starts(drawn(200, 8), Hat(8), rng)
    kinks, counts = np.unique(-found.bias, return_counts=True)
    assert list(counts) == [100, 100]
    assert kinks == pytest.approx([0, 0.7 / 8**0.5], abs=0.12 / 8**0.5)
    assert len(starts(drawn(20, 3), Hat(3), rng)) == DRAWS


def quiet(part: float, note: str) -> None:
    """No progress is shown."""


def root(neurons: Neurons, target: Radial) -> float:
    x = sample(20_000, target.input_dim, np.random.default_rng(9))
    return float(np.sqrt(np.mean((values(neurons, x) - profile(target, x)) ** 2)))


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descent, "FEWEST_STEPS", 200)
    monkeypatch.setattr(descent, "MOST_STEPS", dict.fromkeys(descent.MOST_STEPS, 200))
    monkeypatch.setattr(descent, "JUDGED_STARTS", 200)


def test_the_mean_square_falls(few_steps: None) -> None:
    target, rng = Hat(3), np.random.default_rng(0)
    begun = starts(drawn(16, 3), target, rng)
    found = descend(begun, target, 0, MEAN_SQUARE, quiet)
    assert root(found, target) < 0.9 * min(root(start, target) for start in begun)


def test_the_largest_error_falls(few_steps: None) -> None:
    target = Cone(4)
    w = drawn(24, 4).weight
    start = least_squares(Neurons(w, np.zeros(24), np.ones(24), 0.0), target, np.zeros((1, 4)))
    found = descend([start], target, 0, LARGEST, quiet)
    generator = torch.Generator().manual_seed(5)
    x = fresh(tensors([start]).inner[..., :-1], 1000, generator)
    before, after = (worst(tensors([one]), target, x, 60)[1].max() for one in (start, found))
    assert after < 0.75 * before


def test_a_start_that_is_better_is_kept(few_steps: None) -> None:
    wild = replace(MEAN_SQUARE, rate=30.0)
    start = least_squares(drawn(16, 3, bias=0.0), Cone(3), np.zeros((1, 3)))
    assert descend([start], Cone(3), 0, wild, quiet) is start


def test_a_gpu_takes_the_networks_that_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descent, "best_device", lambda: torch.device("cuda"))
    assert descent.device_for(407, 5).type == "cpu"
    assert descent.device_for(1500, 100).type == "cuda"
