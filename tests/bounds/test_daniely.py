"""D17's floor: published figures, exact coefficients, and networks that respect it."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from depthwright import Refusal
from depthwright.bounds import daniely
from depthwright.bounds.daniely import GegenbauerTail
from depthwright.constructions import SparseRidge
from depthwright.distributions import SpherePairs
from depthwright.targets import Cone, Hat, Monomial, Sine, ZigZag


@pytest.mark.parametrize(("dimension", "norms"), [(5, 19), (8, 504), (10, 3.7e3), (20, 2e7)])
def test_published_figures(dimension, norms):
    """Smallest Σ‖g_j‖ for error² ≤ 10 % of ‖f‖², f = sin(4π√d·t)."""
    a = 4 * math.pi * math.sqrt(dimension)
    tail = GegenbauerTail(
        lambda r: np.sin(a * (2 * r**2 - 1)), dimension, 4 * a, curvature=4 * a + 16 * a**2
    )
    error = math.sqrt(0.1) * tail.norm
    counts = [daniely.log_dimension(dimension, n) / 2 for n in range(len(tail.tails))]
    roots, tails = np.exp(np.minimum(counts, 700)), np.maximum(tail.tails, error)
    as_printed = float(((tails - error**2 / tails) * roots / 2).max())
    assert as_printed == pytest.approx(norms, rel=0.05)
    assert as_printed < tail.norms_needed(error) < 2 * as_printed


def square(dimension):
    """φ(t) = t²."""
    return GegenbauerTail(lambda r: (2 * r**2 - 1) ** 2, dimension, lipschitz=8, curvature=40)


@pytest.mark.parametrize("dimension", [3, 4, 9, 40])
def test_tails_of_a_square_are_exact(dimension):
    """t² = 1/d + degree 2, whose norm² is E t⁴ − 1/d² = 3/(d(d+2)) − 1/d²."""
    d = dimension
    tail = square(d)
    second = 3 / (d * (d + 2)) - 1 / d**2
    assert tail.squares[:4] == pytest.approx([1 / d**2, 0, second, 0], abs=1e-12)
    assert 0 <= math.sqrt(second) - tail.tails[1] <= 2 * tail.error
    assert tail.tails[3] == 0


def exact_tail(degree):
    """‖P_n φ‖ of Hat(3): dμ is 2r dr, and P_k(2r² − 1) has rational coefficients."""

    def integral(poly):
        return sum(c * Fraction(1, 2) ** (i + 1) / (i + 1) for i, c in enumerate(poly))

    def times(p, q):
        out = [Fraction(0)] * (len(p) + len(q) - 1)
        for i, a in enumerate(p):
            for j, b in enumerate(q):
                out[i + j] += a * b
        return out

    hat, t = [Fraction(1, 2), Fraction(-1)], [Fraction(-1), Fraction(0), Fraction(2)]
    law = [Fraction(0), Fraction(2)]
    total = integral(times(times(hat, hat), law))
    previous, current = [Fraction(0)], [Fraction(1)]
    for k in range(degree):
        total -= (2 * k + 1) * integral(times(times(hat, current), law)) ** 2
        up = [Fraction(2 * k + 1, k + 1) * c for c in times(t, current)]
        for i, c in enumerate(previous):
            up[i] -= Fraction(k, k + 1) * c
        previous, current = current, up
    return math.sqrt(total)


def test_tails_of_the_hat_are_surely_below_the_true_ones():
    """At n = 24 a Gauss rule across the kink gave a tail too large by 6.7e-5 of itself."""
    tail = daniely.of_radial(Hat(3))
    for n in (0, 1, 2, 7, 24, 60):
        exact = exact_tail(n)
        by_parseval = 4 * daniely.COEFFICIENT_ROUNDING * tail.norm**2 / exact
        assert exact - 2 * tail.error - by_parseval <= tail.tails[n] <= exact
    assert tail.error <= 1e-8 * tail.norm


@pytest.mark.parametrize(
    "target", [pytest.param(Sine(3, 600), marks=pytest.mark.slow), ZigZag(3, 200)], ids=str
)
def test_the_tail_of_what_oscillates_beyond_the_degrees_is_counted(target):
    """Nearly all of it lies above degree 400: Parseval sees it, a sum of coefficients does not."""
    tail = daniely.of_radial(target)
    high = math.sqrt(float(tail.squares[100:].sum()))
    assert high < 0.9 * tail.tails[100] < 0.9 * tail.norm


@pytest.mark.parametrize("target", [Hat(5), Cone(8), Sine(6, 3), Monomial(4, 2)], ids=str)
def test_coarser_cells_err_by_no_more_than_they_say(target, monkeypatch):
    fine = daniely.of_radial(target)
    tails, error, cells = fine.tails, fine.error, fine.cells
    monkeypatch.setattr(daniely, "FEWEST_CELLS", 1 << 8)
    monkeypatch.setattr(daniely, "CELLS_A_DEGREE", 0)
    monkeypatch.setattr(daniely, "CHORD_SHARE", math.inf)
    monkeypatch.setattr(daniely, "CELL_NODES", 40)
    coarse = daniely.of_radial(target)
    assert coarse.cells < cells
    assert (coarse.tails <= tails + error).all()


@pytest.mark.parametrize("dimension", [3, 4, 7])
def test_numbers_of_harmonics(dimension):
    """Homogeneous polynomials of degree n less those of degree n − 2."""
    for n in range(8):
        count = math.comb(n + dimension - 1, n)
        count -= math.comb(n + dimension - 3, n - 2) if n > 1 else 0
        assert math.exp(daniely.log_dimension(dimension, n)) == pytest.approx(count, rel=1e-12)


def test_floor_and_need_are_inverse():
    tail = daniely.of_radial(Sine(12, 6))
    for share in (0.3, 0.5, 0.8):
        needed = tail.norms_needed(share * tail.norm)
        assert tail.error_floor(needed) == pytest.approx(share * tail.norm, rel=1e-9)
        assert tail.error_floor(2 * needed) < share * tail.norm


def test_need_grows_with_frequency_and_dimension():
    def need(d, m):
        tail = daniely.of_radial(Sine(d, m))
        return tail.norms_needed(0.5 * tail.norm) / tail.norm

    assert need(12, 4) < need(12, 8) < need(12, 16)
    assert need(8, 16) < need(12, 16) < need(20, 16)


def pair_error(network, target, count=100_000) -> float:
    """L2 error over the pair law, raised by four standard errors."""
    x = SpherePairs(target.input_dim).sample(count, torch.Generator().manual_seed(0))
    with torch.no_grad():
        gap = network(x) - target(x)
    squares = gap.square()
    return math.sqrt(float(squares.mean()) + 4 * float(squares.std()) / math.sqrt(count))


@pytest.mark.parametrize(
    "target",
    [Sine(3, 1), pytest.param(Sine(6, 2), marks=pytest.mark.slow), Monomial(5, 3)],
    ids=str,
)
def test_networks_respect_their_own_floor(target):
    module = SparseRidge(target, width=300).build().network.to_torch()
    norms = daniely.neuron_norms(module)
    floor = daniely.of_radial(target).error_floor(norms)
    assert floor <= pair_error(module, target)


def test_a_network_that_understates_its_norms_is_caught():
    """The constant 0 has error ‖f‖; claiming norm 0 for a fitting network breaks the floor."""
    target = Sine(3, 1)
    module = SparseRidge(target, width=300).build().network.to_torch()
    assert pair_error(module, target) < daniely.of_radial(target).error_floor(0.0)


def test_neuron_norms_are_those_of_samples():
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1)).double()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=p.dtype))
        x = SpherePairs(6).sample(200_000, torch.Generator().manual_seed(1))
        norms = module[1](module[0](x)).square().mean(dim=0).sqrt()
        sampled = float(norms @ module[2].weight[0].abs() + module[2].bias.abs())
    got = daniely.neuron_norms(module)
    assert sampled <= got <= sampled * 1.02


def one_neuron(dimension, kink):
    """σ(x_1 − kink)."""
    module = nn.Sequential(nn.Linear(dimension, 1), nn.ReLU(), nn.Linear(1, 1)).double()
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
        module[0].weight[0, 0] = module[2].weight[0, 0] = 1.0
        module[0].bias[0] = -kink
    return module


@pytest.mark.parametrize("kink", [0.0, 0.5, 0.9, 0.999, 0.9999, 1 - 1e-6])
def test_neurons_that_hardly_reach_the_ball_keep_their_norms(kink):
    """d = 3: u_1 and v_1 are uniform, and E((u_1 + v_1)/2 − b)₊² = (1 − b)⁴/12."""
    exact = (1 - kink) ** 2 / math.sqrt(12)
    assert exact <= daniely.neuron_norms(one_neuron(3, kink)) <= 1.02 * exact


@pytest.mark.parametrize("kink", [0.5, 0.999, 0.9999])
def test_five_dimensions_near_the_rim(kink):
    """u_1 = 1 − p and v_1 = 1 − q have density 3/4·p(2 − p), and, with h = 1 − b,
    ∫∫ p^m·q^n·(h − (p + q)/2)² over p + q < 2h is Dirichlet's integral.
    """
    h, square = Fraction(1) - Fraction(kink), Fraction(0)
    for (m, first), (n, second) in product([(1, 2), (2, -1)], repeat=2):
        powers = math.factorial(m) * math.factorial(n) * 2
        integral = (2 * h) ** (m + n + 2) * h**2 * powers / math.factorial(m + n + 4)
        square += Fraction(9, 16) * first * second * integral
    exact = math.sqrt(square)
    assert exact <= daniely.neuron_norms(one_neuron(5, kink)) <= 1.02 * exact


def test_neurons_that_are_dead_have_no_norm():
    assert daniely.neuron_norms(one_neuron(4, 1.1)) == 0


@pytest.mark.parametrize("dimension", [500, 2000])
def test_tails_in_high_dimensions(dimension):
    """Gauss–Gegenbauer weights leave float64 here; t² still has its two coefficients."""
    d = dimension
    tail = square(d)
    assert tail.norm == pytest.approx(math.sqrt(3 / (d * (d + 2))), rel=1e-9)
    exact = math.sqrt(3 / (d * (d + 2)) - 1 / d**2)
    assert tail.squares[2] == pytest.approx(exact**2, rel=1e-9)
    assert 0 <= exact - tail.tails[2] <= 2 * tail.error


def test_a_profile_that_is_not_finite_is_refused():
    with pytest.raises(Refusal, match="not finite"), np.errstate(divide="ignore"):
        GegenbauerTail(lambda r: 1 / (r - r), 5, 1.0).norms_needed(0.1)


def test_two_dimensions_are_refused():
    with pytest.raises(Refusal, match="dimension=2"):
        GegenbauerTail(np.sin, 2, 1.0)
