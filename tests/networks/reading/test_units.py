"""Networks of standardised inputs, in the inputs' own units."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from depthwright.networks.reading import read
from depthwright.networks.reading.units import in_units
from depthwright.refusal import Refusal
from depthwright.targets import Network
from module_kinds import Dense, between

MEAN, SCALE = np.array([650.0, -0.1, 3.0]), np.array([1100.0, 0.3, -7.0])


def values(plain, point):
    """In rationals."""
    h = point
    for k, (weight, bias) in enumerate(zip(plain.weights, plain.biases, strict=True)):
        h = [max(v, Fraction(0)) for v in h] if k else h
        h = [
            sum((Fraction(w) * v for w, v in zip(row, h, strict=True)), Fraction(b))
            for row, b in zip(weight.tolist(), bias.tolist(), strict=True)
        ]
    return h


@pytest.mark.parametrize(
    "make", [lambda: between(nn.ReLU()), lambda: between(nn.BatchNorm1d(4)), Dense]
)
def test_the_network_is_that_of_the_standardised_input_within_its_deviation(make):
    torch.manual_seed(0)
    plain = read(make().eval())
    own = in_units(plain, MEAN, SCALE)
    lower, upper = MEAN - np.abs(SCALE), MEAN + np.abs(SCALE)
    allowed = own.deviation(lower, upper) + plain.deviation(np.full(3, -1.01), np.full(3, 1.01))
    assert 0 < allowed.max() < 1e-10
    for x in np.random.default_rng(0).uniform(lower, upper, (8, 3)).tolist():
        inner = [
            (Fraction(v) - Fraction(m)) / Fraction(s)
            for v, m, s in zip(x, MEAN.tolist(), SCALE.tolist(), strict=True)
        ]
        got = values(own, [Fraction(v) for v in x])
        for a, b, bound in zip(got, values(plain, inner), allowed, strict=True):
            assert abs(a - b) <= Fraction(bound)


def test_powers_of_two_round_nothing():
    torch.manual_seed(0)
    target = Network(nn.Linear(3, 2), lower=0, upper=[8, 4, 2], mean=[4, 2, 1], scale=[4, 2, 1])
    assert target.reading_error == 0
    torch.manual_seed(0)
    wanted = nn.Linear(3, 2).double()
    x = torch.tensor([[0.0, 4.0, 1.0]], dtype=torch.float64)
    exactly = wanted(torch.tensor([[-1.0, 1.0, 0.0]], dtype=torch.float64))
    assert torch.allclose(target.truth(x), exactly, rtol=0, atol=1e-15)


def test_what_was_rounded_is_in_the_claim():
    target = Network(between(nn.ReLU()), lower=0, upper=1, mean=0.1, scale=0.3)
    assert 0 < target.reading_error < 1e-13
    assert target.reading_terms


BAD = {
    "is no number": {"mean": "a"},
    "not one finite number, or one for each of 3": {"mean": [1.0, 2.0]},
    "not one finite number": {"scale": np.inf},
    r"scale=1e-320 .*too small": {"scale": 1e-320},
    r"scale=\[1.0, 1e-320, 1.0\] .*too small": {"scale": [1.0, 1e-320, 1.0]},
    r"mean=1e\+300 and scale=1e-300": {"mean": 1e300, "scale": 1e-300},
    "holds a 0": {"scale": [1.0, 0.0, 1.0]},
}


@pytest.mark.parametrize("words", BAD)
def test_other_units_are_refused(words):
    with pytest.raises(Refusal, match=words):
        Network(nn.Linear(3, 2), **BAD[words])
