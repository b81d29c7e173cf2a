"""Sparse ridge networks: three kinds of promise, sizes, attacks, and one control per term."""

import dataclasses
import math
import re

import numpy as np
import pytest
import torch

from depthwright import Refusal
from depthwright.approximation import covering, descent
from depthwright.approximation.averaged_hinge import mean_size
from depthwright.bounds import report, rotation_average
from depthwright.constructions import SparseRidge, sparse_ridge
from depthwright.constructions.sparse_ridge import Plan, _cheapest, _lipschitz
from depthwright.distributions import UniformRadius
from depthwright.errors import attack
from depthwright.networks import load
from depthwright.networks.network import Network
from depthwright.networks.ridge import RidgeGroup, RidgeNetwork
from depthwright.targets import Cone, Hat, Monomial, Radial, RandomProfile, Sine, ZigZag
from depthwright.targets.radial import PiecewiseLinear


def attacked(network: Network, target: Radial, starts: int = 64, steps: int = 60) -> float:
    generator = torch.Generator().manual_seed(3)
    inside = UniformRadius(target.input_dim).sample(starts, generator)
    own = network.kink_points(starts, generator)
    points = torch.cat([inside, inside / inside.norm(dim=1, keepdim=True), own])
    if isinstance(network, RidgeNetwork):
        rows = [g.dense(target.input_dim)[: starts // 2] for g in network.groups]
        points = torch.cat([points, torch.from_numpy(np.concatenate(rows))])
    return attack(network, target, points, steps)


def with_groups(network: RidgeNetwork, **changes) -> RidgeNetwork:
    groups = [
        dataclasses.replace(g, **{k: f(g) for k, f in changes.items()}) for g in network.groups
    ]
    return RidgeNetwork(network.input_dim, groups, network.offset)


@pytest.mark.parametrize(
    ("target", "accuracy"),
    [
        (Cone(2), 0.05),
        (Cone(10), 0.1),
        (Cone(50), 0.2),
        (Hat(5), 0.17),
        (Monomial(3, 1), 0.2),
    ],
    ids=str,
)
def test_probable_claims_hold(target, accuracy):
    construction = SparseRidge(target, accuracy)
    built = construction.build()
    assert built.claim.norm == "drawn"
    assert built.claim.failure_probability == 1e-3
    assert construction.architecture() == built.network.architecture
    assert attacked(built.network, target, 16, 30) <= built.claim.bound <= accuracy


@pytest.mark.parametrize(
    ("target", "accuracy", "limit"),
    [
        pytest.param(Cone(3), 0.01, 2000, marks=pytest.mark.slow),
        (Cone(2), 0.02, 40),
        pytest.param(Cone(4), 0.08, 200, marks=pytest.mark.slow),
        (Hat(3), 0.08, 400),
        (Sine(2, 1), 0.03, 400),
        (RandomProfile(2), 0.05, 400),
        (ZigZag(2), 0.3, 100),
    ],
    ids=str,
)
def test_certain_claims_hold(target, accuracy, limit):
    construction = SparseRidge(target, accuracy, failure_probability=0)
    built = construction.build()
    assert (built.claim.norm, built.claim.failure_probability) == ("sup", 0)
    assert built.network.architecture.width <= limit
    assert construction.architecture() == built.network.architecture
    assert attacked(built.network, target) <= built.claim.bound <= accuracy


@pytest.mark.parametrize(
    ("target", "width"),
    [
        (Cone(10), 400),
        pytest.param(Cone(20), 800, marks=pytest.mark.slow),
        pytest.param(Hat(20), 3000, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_budgets_reach_a_tenth(target, width):
    construction = SparseRidge(target, 0.1, width=width // 2)
    built = construction.build()
    assert (built.claim.norm, built.claim.bound) == ("none", math.inf)
    assert construction.architecture() == built.network.architecture
    assert built.network.architecture.width <= width // 2
    assert attacked(built.network, target) <= 0.1


def l2(network: Network, target: Radial) -> float:
    x = UniformRadius(target.input_dim).sample(20_000, torch.Generator().manual_seed(4))
    return float((network.evaluate(x) - target(x)).square().mean().sqrt())


@pytest.fixture(scope="module")
def solved():
    """Three networks of one width, and what is claimed of each, after a tenth of the steps."""
    kinds = ("program", "least_squares", "minimax")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(descent, "MOST_STEPS", dict.fromkeys(descent.MOST_STEPS, 800))
        return {kind: SparseRidge(Hat(3), width=40, solved=kind).build() for kind in kinds}


@pytest.mark.slow
def test_solving_lowers_what_it_is_asked_to_lower(solved):
    target = Hat(3)
    means = {kind: l2(built.network, target) for kind, built in solved.items()}
    worst = {kind: attacked(built.network, target) for kind, built in solved.items()}
    assert means["least_squares"] < 0.5 * means["program"]
    assert worst["minimax"] < 0.8 * worst["program"]
    assert worst["minimax"] < worst["least_squares"]
    assert {built.network.architecture.widths for built in solved.values()} == {(3, 40, 1)}


@pytest.mark.slow
def test_what_boxes_prove_of_a_solved_network_holds(solved):
    assert solved["program"].claim.norm == "none"
    for kind in ("least_squares", "minimax"):
        built = solved[kind]
        assert (built.claim.norm, set(built.claim.terms)) == ("sup", {"boxes", "rounding"})
        assert 0.9 * built.claim.bound <= attacked(built.network, Hat(3), 400) <= built.claim.bound
        layers = [(w.clone(), b.clone()) for w, b in built.network._layers]
        layers[1][0].mul_(1.5)
        assert attacked(type(built.network).of(layers), Hat(3)) > built.claim.bound


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr(descent, "MOST_STEPS", dict.fromkeys(descent.MOST_STEPS, 50))
    for name, value in {"FEWEST_STEPS": 50, "JUDGED_STARTS": 100}.items():
        monkeypatch.setattr(descent, name, value)


def test_nothing_is_claimed_of_a_solved_network_in_four_dimensions(few_steps):
    built = SparseRidge(Cone(4), width=12, solved="minimax").build()
    assert (built.claim.norm, built.claim.bound, built.domain) == ("none", math.inf, None)


def test_the_same_seed_solves_to_the_same_network(few_steps):
    one, two = (SparseRidge(Cone(2), width=6, solved="minimax").build().network for _ in range(2))
    x = UniformRadius(2).sample(100, torch.Generator().manual_seed(0))
    assert torch.equal(one.evaluate(x), two.evaluate(x))


@pytest.mark.slow
def test_a_hundred_dimensions_with_probability_0_999():
    construction = SparseRidge(Cone(100), 0.1)
    assert construction.architecture().width <= 20_000
    built = construction.build()
    assert attacked(built.network, Cone(100), 8, 20) <= built.claim.bound <= 0.1


@pytest.mark.parametrize("width", [4, 5, 37, 500])
def test_no_budget_is_passed(width):
    try:
        construction = SparseRidge(Hat(3), width=width)
        architecture = construction.architecture()
    except Refusal:
        assert width < 10
        return
    assert width - 3 < architecture.width <= width
    assert construction.build().network.architecture == architecture


def test_a_wider_budget_errs_less():
    errors = [attacked(SparseRidge(Hat(6), width=w).build().network, Hat(6)) for w in (40, 120)]
    assert errors[0] > 1.2 * errors[1]


def test_the_same_seed_draws_the_same_network(tmp_path):
    one, two = (SparseRidge(Hat(4), width=60).build().network for _ in range(2))
    other = SparseRidge(Hat(4), width=60, seed=1).build().network
    x = UniformRadius(4).sample(100, torch.Generator().manual_seed(0))
    assert torch.equal(one.evaluate(x), two.evaluate(x))
    assert not torch.equal(one.evaluate(x), other.evaluate(x))
    one.save(tmp_path / "net.safetensors")
    assert torch.equal(load(tmp_path / "net.safetensors").evaluate(x), one.evaluate(x))


def test_plain_module_and_structured_form_agree():
    network = SparseRidge(Hat(5), width=200).build().network
    x = UniformRadius(5).sample(500, torch.Generator().manual_seed(0))
    allowed = network.rounding_bound() + network.dense_rounding_bound()
    gap = (network.to_torch()(x).detach() - network.evaluate(x)).abs().max()
    assert float(gap) <= allowed


@pytest.mark.slow
@pytest.mark.parametrize("target", [Cone(10), Hat(10)], ids=str)
def test_mass_is_near_its_floor(target):
    built = SparseRidge(target, width=600).build()
    found = report(built.network, target)
    assert found.path_norm_floor <= found.path_norm <= 3 * found.path_norm_floor


class Level(PiecewiseLinear):
    """As flat as its values."""

    breaks = np.array([0.0, 0.5, 1.0])
    values = np.zeros(3)


class Nearly(Level):
    values = np.array([0.3, 0.3 + 1e-13, 0.3])


class Shallow(Level):
    values = np.array([2.0, 2.02, 1.99])


@pytest.mark.parametrize("fields", [{"failure_probability": 0}, {}, {"width": 50}], ids=str)
@pytest.mark.parametrize(
    "target", [Level(3), Nearly(3), Shallow(2)], ids=lambda t: type(t).__name__
)
def test_flat_profiles_are_solved_by_a_constant(target, fields):
    if "width" in fields and isinstance(target, Shallow):
        return  # a budget is spent on it
    construction = SparseRidge(target, 0.02, **fields)
    built = construction.build()
    assert built.network.architecture.width <= max(2, target.input_dim)
    assert construction.architecture() == built.network.architecture
    error = attacked(built.network, target, 8, 5)
    assert error <= (float(np.ptp(target.values)) / 2 + 1e-14)
    if "width" not in fields:
        assert error <= built.claim.bound <= error + 1e-13 + 0.1 * error


def test_rounding_above_the_accuracy_ends_the_search():
    with pytest.raises(Refusal, match="ask for a larger one"):
        SparseRidge(Nearly(2), 1e-15, failure_probability=0).build()


# ── one control per term ──────────────────────────────────────────────────────────────────────


def test_program_term_is_the_error_of_the_mean():
    """The drawn network's rotation average is the program's solution, whatever was drawn."""
    target = Hat(5)
    built = SparseRidge(target, 0.17).build()
    assert isinstance(built.network, RidgeNetwork)
    term = built.claim.terms["program"]
    exact = rotation_average(built.network).sup_distance(target)[0]
    assert exact == pytest.approx(term, rel=1e-9)
    broken = with_groups(built.network, weights=lambda g: g.weights * 3)
    assert rotation_average(broken).sup_distance(target)[0] > 1.1 * term


def test_deviation_term_needs_its_directions():
    """An eighth of the frames of the cone errs more than the whole claim allows."""
    target = Cone(10)
    construction = SparseRidge(target, 0.1)
    plan = construction._plan
    fewer = Plan(plan.program, np.array([20]), plan.terms)
    hinges = construction._draw(fewer, np.random.default_rng(0))
    rows = hinges[0]
    network = RidgeNetwork(
        10,
        [
            RidgeGroup(
                np.tile(np.arange(10), (20, 1)),
                rows.directions,
                rows.weights,
                np.array([rows.knot]),
                np.ones(1),
            )
        ],
        plan.program.primal.offset,
    )
    assert attacked(network, target) > 0.1


def test_deviation_term_covers_what_single_points_do():
    """At one fixed x, over many draws, the exponent promises far fewer exceedances than 1 in 3."""
    target, d = Cone(6), 6
    program, hinges = next(SparseRidge(target, 0.1)._programs(0.02))
    plan = _cheapest(program, hinges, 0.1, d, 1e-3)
    assert plan is not None
    primal = program.primal
    rng = np.random.default_rng(0)
    x = np.eye(d)[0]
    gaps = []
    for _ in range(200):
        value = primal.offset
        for h in SparseRidge(target, 0.1)._draw(plan, rng):
            value += float(h.values(x[None])[0])
        gaps.append(abs(value - float(primal(np.array([1.0]))[0])))
    assert max(gaps) <= plan.terms["deviation"]
    assert max(gaps) > plan.terms["deviation"] / 20


def test_directions_are_as_many_as_sampled_exponents_ask_for():
    """Cramér's rate from 4·10⁵ sampled frames, the net counted by hand, against the plan."""
    d = 10
    plan = SparseRidge(Cone(d), 0.1)._plan
    mass, terms = plan.program.primal.mass, plan.terms
    g = np.random.default_rng(0).standard_normal((400_000, d))
    frame_means = mass * np.abs(g / np.linalg.norm(g, axis=1, keepdims=True)).mean(axis=1)
    stray = frame_means - mass * mean_size(d)
    rates = []
    for sign in (1, -1):
        tilts = np.linspace(1, 60, 60)
        exponents = [math.log(np.exp(sign * m * stray).mean()) for m in tilts]
        rates.append(np.max(tilts * terms["deviation"] - exponents))
    lipschitz = mass / math.sqrt(d) + mass * mean_size(d)
    log_points = d * math.log(1 + 2 * lipschitz / terms["net"]) + math.log(1000)
    asked = d * log_points / min(rates)
    assert asked <= plan.counts.sum() <= 1.25 * asked


def test_net_term_has_the_lipschitz_constant():
    """N − P over steps of 1e-4, in many places and along the frames; frames that lean break it."""
    target = Cone(4)
    construction = SparseRidge(target, 0.15)
    built, primal = construction.build(), construction._plan.program.primal
    assert isinstance(built.network, RidgeNetwork)
    lipschitz = _lipschitz(primal)
    few = built.network.groups[0].values[:4]
    frame = RidgeNetwork(
        4,
        [
            RidgeGroup(
                np.tile(np.arange(4), (4, 1)),
                few,
                np.full(4, primal.mass / 4),
                np.zeros(1),
                np.ones(1),
            )
        ],
        0.0,
    )
    generator = torch.Generator().manual_seed(0)
    x = UniformRadius(4, 0.99).sample(50_000, generator)
    step = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    y = x + 1e-4 * step / step.norm(dim=1, keepdim=True)

    def steepest(network) -> float:
        def gap(p):
            return network.evaluate(p)[:, 0].numpy() - primal(p.norm(dim=1).numpy())

        return float(np.abs(gap(x) - gap(y)).max()) / 1e-4

    def one_way(network) -> float:
        return float((network.evaluate(x) - network.evaluate(y)).abs().max()) / 1e-4

    assert steepest(built.network) <= lipschitz
    assert steepest(frame) <= lipschitz
    assert one_way(frame) == pytest.approx(primal.mass / 2, rel=0.05)  # the bound on N, reached
    leaning = with_groups(frame, values=lambda g: np.broadcast_to(few[0], g.values.shape).copy())
    assert steepest(leaning) > lipschitz


@pytest.mark.slow
def test_covering_term_catches_a_missing_direction():
    target = Cone(3)
    built = SparseRidge(target, 0.05, failure_probability=0).build()
    assert isinstance(built.network, RidgeNetwork)
    weights = built.network.groups[0].weights.copy()
    weights[3] = 0.0
    broken = with_groups(built.network, weights=lambda g: weights)
    assert attacked(broken, target) > built.claim.bound


def test_rounding_term_is_that_of_float64():
    built = SparseRidge(Hat(5), 0.17).build()
    x = UniformRadius(5).sample(300, torch.Generator().manual_seed(0))
    exact = built.network.to_torch()(x).detach()
    gap64 = float((built.network.evaluate(x) - exact).abs().max())
    gap32 = float((built.network.evaluate(x, "float32").double() - exact).abs().max())
    assert gap64 <= 2 * built.claim.terms["rounding"] < gap32


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"target": Cone(1)}, "input_dim=1"),
        ({"target": Cone(3), "accuracy": 0.0}, "accuracy=0"),
        ({"target": Cone(3), "failure_probability": 1.0}, "failure_probability=1"),
        ({"target": Cone(5), "failure_probability": 0.0}, "input_dim=5"),
        ({"target": Cone(5), "width": 3}, "width=3"),
        ({"target": Cone(5), "seed": -1}, "seed=-1"),
    ],
    ids=str,
)
def test_bad_hypotheses_are_refused(arguments, words):
    with pytest.raises(Refusal, match=words):
        SparseRidge(**arguments)


def test_a_covering_says_how_far_it_is(monkeypatch):
    told = []

    class Seen(sparse_ridge.Bar):
        def __call__(self, part, note=""):
            told.append((part, note))

    monkeypatch.setattr(sparse_ridge, "Bar", Seen)
    SparseRidge(Cone(2), accuracy=0.1, failure_probability=0).build()
    parts = [part for part, _ in told]
    assert parts[0] == 0
    assert parts == sorted(parts)
    assert parts[-1] < 1
    assert re.search(r"error 0\.0\d+, asked 0.1, \d+ cubes$", told[-1][1])


def test_a_covering_that_would_take_too_long_is_refused(monkeypatch):
    monkeypatch.setattr(covering, "MOST_WORK", 1000)
    with pytest.raises(Refusal, match=r"where they were attacked, but proving it.*larger accuracy"):
        SparseRidge(Cone(3), accuracy=0.1, failure_probability=0).build()
