"""Floors on the path norm: averages against sampled rotations, and no network below its floor."""

import functools
import math
import pkgutil
import re

import numpy as np
import pytest
import torch
from scipy import optimize
from scipy.optimize import OptimizeResult
from torch import nn

from depthwright import Refusal, bounds
from depthwright.approximation import mass
from depthwright.approximation.averaged_hinge import mean_size
from depthwright.approximation.branch_and_bound import sup_error
from depthwright.approximation.covering import certify
from depthwright.approximation.levelling import Hinges
from depthwright.approximation.mass import minimum
from depthwright.bounds import (
    mass_floor,
    norm_floor,
    path_norm,
    report,
    rotation_average,
    width_floor,
)
from depthwright.constructions import RadialDepthThree, Ridge, SparseRidge
from depthwright.distributions import UniformRadius
from depthwright.errors.certified import certified_sup
from depthwright.networks.ridge import RidgeGroup, RidgeNetwork
from depthwright.networks.torch_network import ModuleNetwork
from depthwright.targets import (
    Cone,
    Hat,
    Monomial,
    Radial,
    RandomProfile,
    Sine,
    ZigZag,
)
from depthwright.targets.radial import PiecewiseLinear


def random_module(input_dim: int, width: int, seed: int = 0) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    module = nn.Sequential(nn.Linear(input_dim, width), nn.ReLU(), nn.Linear(width, 1)).double()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=p.dtype) / math.sqrt(width))
    return module


@functools.cache
def built(target, accuracy: float) -> RidgeNetwork:
    return Ridge(target, accuracy).build().network


@pytest.mark.parametrize("input_dim", [2, 3, 20])
def test_rotation_average_is_the_mean_over_rotations(input_dim):
    module = random_module(input_dim, 40)
    with torch.no_grad():
        module[0].weight[3] = 0.0  # a constant neuron,
        module[0].bias[3] = 0.7
        module[0].bias[4] = 9.0  # and one that never switches in the ball
    average = rotation_average(module)
    generator = torch.Generator().manual_seed(1)
    for radius in (0.0, 0.3, 1.0):
        u = torch.randn(200_000, input_dim, generator=generator, dtype=torch.float64)
        values = module(radius * u / u.norm(dim=1, keepdim=True)).detach()[:, 0]
        allowed = 4 * float(values.std()) / math.sqrt(len(values)) + 1e-12
        assert abs(float(average(np.array([radius]))[0]) - float(values.mean())) <= allowed


def test_average_in_one_neuron_by_hand():
    """a·σ(w·x + β) with ‖w‖ = 2, β = −0.5 in d = 3: (a/2)·‖w‖·(r − b)²/(2r), b = 1/4."""
    module = nn.Sequential(nn.Linear(3, 1), nn.ReLU(), nn.Linear(1, 1)).double()
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[0.0, 2.0, 0.0]]))
        module[0].bias.fill_(-0.5)
        module[2].weight.fill_(3.0)
        module[2].bias.fill_(0.125)
    r = np.array([0.1, 0.25, 0.5, 1.0])
    exact = 0.125 + 3.0 * np.maximum(r - 0.25, 0) ** 2 / (2 * r)
    assert np.abs(rotation_average(module)(r) - exact).max() <= 1e-15
    assert path_norm(module) == pytest.approx(6.0, rel=1e-14)


@pytest.mark.parametrize(
    "target", [pytest.param(Cone(3), marks=pytest.mark.slow), Hat(4, 1.5), Monomial(10, 1)], ids=str
)
def test_structured_and_plain_networks_report_alike(target):
    network = built(target, 0.1)
    one, other = report(network, target), report(network.to_torch(), target)
    for name in ("path_norm", "error_sup_averaged", "path_norm_floor"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-6)


@pytest.mark.parametrize(
    ("target", "accuracy"),
    [
        (Cone(2), 0.04),
        pytest.param(Cone(2), 0.01, marks=pytest.mark.slow),
        (Cone(3), 0.08),
        (Cone(10), 0.1),
        (Hat(3), 0.05),
        pytest.param(Hat(2, 4.0), 0.06, marks=pytest.mark.slow),
        (RandomProfile(3), 0.05),
        pytest.param(ZigZag(2), 0.06, marks=pytest.mark.slow),
        (Monomial(20, 1), 0.2),
    ],
    ids=str,
)
def test_no_construction_is_below_its_floor(target, accuracy):
    built = Ridge(target, accuracy).build()
    found = report(built.network, target)
    assert found.error_sup_averaged <= built.claim.bound
    assert 0 < found.path_norm_floor <= found.path_norm


@pytest.mark.parametrize("seed", range(5))
def test_no_trained_network_is_below_its_floor(seed):
    """Output weights fitted by least squares: a trained network in one line."""
    target, module = Cone(4), random_module(4, 60, seed)
    x = UniformRadius(4).sample(5000, torch.Generator().manual_seed(seed))
    x[0] = 0
    with torch.no_grad():
        hidden = module[1](module[0](x))
        features = torch.cat([hidden, torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
        weights = torch.linalg.lstsq(features, target(x), driver="gelsd").solution
        module[2].weight.copy_(weights[:-1].T)
        module[2].bias.copy_(weights[-1])
        sampled = float((module(x) - target(x)).abs().max())
    found = report(module, target)
    assert found.error_sup_averaged <= sampled
    assert 0 < found.path_norm_floor <= found.path_norm


def test_a_path_norm_halved_by_hand_is_caught():
    """One kink at 0 on an orthonormal frame of R²: mass M_0, so half of it is below the floor."""
    angles = np.arange(40) * math.pi / 40
    rows = torch.from_numpy(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    module = nn.Sequential(nn.Linear(2, 80), nn.ReLU(), nn.Linear(80, 1)).double()
    with torch.no_grad():
        module[0].weight.copy_(torch.cat([rows, -rows]))
        module[0].bias.zero_()
        module[2].weight.fill_(1 / (40 * mean_size(2)))
        module[2].bias.zero_()
    found = report(module, Cone(2))
    assert found.error_sup_averaged <= 1e-12
    assert found.path_norm == pytest.approx(math.pi, rel=1e-12)
    assert found.path_norm_floor == pytest.approx(math.pi, rel=1e-7)
    assert found.path_norm / 2 < found.path_norm_floor


def test_the_floor_is_taken_at_an_upper_bound_of_the_error():
    """A floor at a smaller, merely sampled error would be higher, and could be false."""
    module, target = random_module(5, 30), Hat(5)
    found = report(module, target)
    radii = np.linspace(0, 1, 20_001)
    sampled = np.abs(rotation_average(module)(radii) - target.profile(radii)).max()
    assert 0 <= found.error_sup_averaged - sampled <= 1e-5 * sampled
    assert mass_floor(target, 0.02) > mass_floor(target, 0.03)


def test_unbalanced_scales_do_not_matter():
    """σ is homogeneous: moving a factor from outer to inner weights changes nothing."""
    module = random_module(6, 20)
    before = report(module, Cone(6))
    factor = torch.logspace(-3, 3, 20, dtype=torch.float64)
    with torch.no_grad():
        module[0].weight.mul_(factor[:, None])
        module[0].bias.mul_(factor)
        module[2].weight.div_(factor)
    after = report(module, Cone(6))
    assert after.path_norm == pytest.approx(before.path_norm, rel=1e-12)
    assert after.error_sup_averaged == pytest.approx(before.error_sup_averaged, rel=1e-9)


def test_float32_modules_are_reported_as_what_they_store():
    module = random_module(5, 30).float()
    same = report(ModuleNetwork(module), Cone(5))
    assert same.path_norm == pytest.approx(report(module.double(), Cone(5)).path_norm, rel=1e-12)


def test_floors_at_small_errors_are_found():
    """Where one setting of the solver answered "Not Set", and which one hung on the processor."""
    target = Sine(20, 4)
    found = minimum(target, 0.01, gap=1e-4)
    assert mass_floor(target, 0.01) == pytest.approx(2 * found.floor, rel=1e-3)
    assert mass_floor(target, 0.01) > mass_floor(target, 0.019) > 0
    assert mass_floor(target, 1.0) == 0


@pytest.mark.parametrize(
    ("input_dim", "smallest", "at_least"),
    [
        (5, 1e-3, 3e3),
        pytest.param(10, 1e-3, 1.5e6, marks=pytest.mark.slow),
        pytest.param(20, 3e-3, 6e5, marks=pytest.mark.slow),
        pytest.param(50, 3e-3, 2e7, marks=pytest.mark.slow),
    ],
)
def test_the_floor_never_falls_as_the_error_does(input_dim, smallest, at_least):
    errors = [e for e in (0.1, 0.05, 0.03, 0.01, 0.005, 0.003, 0.001) if e >= smallest]
    floors = [mass_floor(Hat(input_dim), e) for e in errors]
    assert floors == sorted(floors)
    assert floors[-1] >= at_least


def unanswered(*_, **__):
    """What `linprog` returns for "HiGHS Status 0: Not Set"."""
    return OptimizeResult(status=4, x=None, message="(HiGHS Status 0: Not Set)")


def failing_below(error, target, monkeypatch):
    """Programs with less slack than `error` have no answer."""
    least, linprog = error / float(np.ptp(target.values)), optimize.linprog

    def answers(*args, **options):
        b = options["b_ub"]
        few = (b[: len(b) // 2] + b[len(b) // 2 :])[0] / 2 < least * (1 - 1e-9)
        return unanswered() if few else linprog(*args, **options)

    monkeypatch.setattr(optimize, "linprog", answers)


def test_what_takes_long_says_how_far_it_is(monkeypatch):
    """Also where every error on the way has to be taken."""
    told = []

    class Seen(norm_floor.Bar):
        def __call__(self, part, note=""):
            told.append((part, note))

    monkeypatch.setattr(norm_floor, "Bar", Seen)
    unsettled = mass.Floor(0.0, False, (np.zeros(1), np.ones(1)))

    def at_first(target, error, *rest, report_progress):
        mass.floor(target, error, *rest, report_progress=report_progress)
        monkeypatch.setattr(norm_floor, "floor", mass.floor)
        return unsettled

    monkeypatch.setattr(norm_floor, "floor", at_first)
    mass_floor.cache_clear()
    assert mass_floor(Hat(5), 0.02) > 0
    mass_floor.cache_clear()
    parts = [part for part, _ in told]
    assert parts == sorted(parts)
    assert 0 < parts[0] < 0.1
    assert 0.7 < parts[-1] <= 1
    assert all(re.fullmatch(r"exchange \d+, about [\d.e+]+", note) for _, note in told)


def test_a_floor_at_a_larger_error_serves_where_there_is_no_answer(monkeypatch):
    target = Hat(7)
    whole = mass_floor(target, 0.02)
    mass_floor.cache_clear()
    failing_below(0.03, target, monkeypatch)
    floors = [mass_floor(target, e) for e in (0.04, 0.02, 0.01, 0.001)]
    mass_floor.cache_clear()
    assert floors == sorted(floors)
    assert 0 < floors[1] <= whole
    assert floors[1] == floors[3]


def scaled(module, factor):
    """The same function, with inner weights of another size."""
    with torch.no_grad():
        module[0].weight.mul_(factor)
        module[0].bias.mul_(factor)
        module[2].weight.div_(factor)
    return module


@pytest.mark.parametrize("power", [-560, -1000, 560, 1000])
def test_inner_weights_whose_squares_leave_float64(power):
    """‖w‖ of about 1e-170 was 0: path norm 0, and an error of 1 where the true one is 2e-4."""
    target = Cone(3)
    network = built(target, 0.1)
    before = report(network.to_torch(), target)
    after = report(scaled(network.to_torch(), 2.0**power), target)
    assert after.path_norm == pytest.approx(before.path_norm, rel=1e-9)
    assert after.error_sup_averaged == pytest.approx(before.error_sup_averaged, rel=1e-6)
    assert 0 < after.path_norm_floor <= after.path_norm


@pytest.mark.parametrize("small", [1e-170, 1e-300])
def test_small_inner_weights_count(small):
    """Σ abs(a)‖w‖ = 2·(0.75/w)·w."""
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[small, 0.0], [-small, 0.0]], dtype=torch.float64))
        module[0].bias.fill_(0.0)
        module[2].weight.fill_(1.5 / small / 2)
        module[2].bias.zero_()
    assert path_norm(module) == pytest.approx(1.5, rel=1e-12)


def test_a_neuron_beyond_float64_is_refused():
    module = random_module(3, 2)
    with torch.no_grad():
        module[0].weight.fill_(1e200)
        module[2].weight.fill_(1e200)
    with pytest.raises(Refusal, match="beyond float64"):
        report(module, Cone(3))


def test_bounded_weights_need_width():
    """Neurons of one network, balanced so that both weights are √(a·‖w‖), against the floor."""
    target = Hat(4)
    network = built(target, 0.1)
    module = network.to_torch()
    each = (module[2].weight[0].abs() * module[0].weight.norm(dim=1)).detach()
    largest = float(each.max().sqrt())
    error = report(network, target).error_sup_averaged
    floor = width_floor(target, error, largest)
    assert 0 < floor <= network.architecture.widths[1]
    assert width_floor(target, error, largest / 100) > network.architecture.widths[1]
    with pytest.raises(Refusal, match="weights=0"):
        width_floor(target, error, 0.0)


def test_other_networks_are_refused():
    deep = nn.Sequential(*(nn.Linear(3, 3), nn.ReLU()) * 2, nn.Linear(3, 1))
    with pytest.raises(Refusal, match="depth=3"):
        report(deep, Cone(3))
    with pytest.raises(Refusal, match="2 outputs"):
        report(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), Cone(3))
    with pytest.raises(Refusal, match="3 inputs"):
        report(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)), Cone(5))


def test_short_directions_round_the_path_norm_down():
    short = RidgeGroup(
        np.array([[0, 1]]),
        np.array([[0.6, 0.8]]) * (1 - 9e-10),
        np.ones(1),
        np.array([0.5]),
        np.ones(1),
    )
    network = RidgeNetwork(2, [short], 0.0)
    assert path_norm(network) <= path_norm(network.to_torch()) * (1 + 1e-14)


def test_no_name_of_the_package_hides_a_module():
    """`depthwright.bounds.path_norm` was a function and a module at once."""
    modules = {module.name for module in pkgutil.iter_modules(bounds.__path__)}
    assert modules.isdisjoint(bounds.__all__)


class Falsely(Radial):
    """0.3·sin²(500r) with a Lipschitz constant that is not its own."""

    lipschitz = 1e-3

    def profile(self, r):
        return 0.3 * np.sin(500 * r) ** 2


class Nowhere(Falsely):
    def profile(self, r):
        return np.where(np.asarray(r) > 0.5, np.nan, r)


class Breaking(PiecewiseLinear):
    """Values at breaks that need not be those of a profile."""

    def __init__(self, breaks, values):
        super().__init__(2)
        self.__dict__.update(_breaks=np.array(breaks), _values=np.array(values))

    breaks = property(lambda self: self._breaks)
    values = property(lambda self: self._values)


FALSE = {
    r"lipschitz=0\.001 is not true": Falsely(2),
    "is nan at 0": Breaking([0.0, 0.5, 1.0], [0.0, math.nan, 1.0]),
    "is nan at 0.5": Nowhere(2),
    "Breaking, .* do not rise from 0 to 1": Breaking([0.0, 0.5, 0.5, 1.0], [0.0, 1.0, 2.0, 3.0]),
    r"0\.7 0\.5 1\. \], do not rise": Breaking([0.0, 0.7, 0.5, 1.0], [0.0, 1.0, 2.0, 3.0]),
    r"2\. \], do not rise": Breaking([0.0, 0.5, 2.0], [0.0, 1.0, 2.0]),
    r"nan  1\.\], do not rise": Breaking([0.0, math.nan, 1.0], [0.0, 1.0, 2.0]),
    r"\[\], do not rise": Breaking([], []),
    "give one value at each": Breaking([0.0, 0.5, 1.0], [0.0, 1.0]),
}


@pytest.mark.parametrize("told", FALSE)
def test_no_bound_and_no_construction_believes_what_samples_refute(told):
    target = FALSE[told]
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    kinks = Hinges(np.eye(2), 0.5, np.ones(2))
    entries = (
        lambda: mass_floor(target, 0.05),
        lambda: width_floor(target, 0.05, 1.0),
        lambda: report(module, target),
        lambda: bounds.of_radial(target),
        lambda: sup_error(np.ones(1), np.ones((1, 2)), np.zeros(1), 0.0, target),
        lambda: certified_sup(ModuleNetwork(module), target),
        lambda: certify([kinks], 0.0, target, 0.1),
        lambda: mass.minimum(target, 0.05),
        lambda: mass.floor(target, 0.05, 1e-3),
        lambda: rotation_average(module).sup_distance(target),
        lambda: Ridge(target),
        lambda: SparseRidge(target),
        lambda: RadialDepthThree(target),
    )
    for entry in entries:
        with pytest.raises(Refusal, match=told):
            entry()
