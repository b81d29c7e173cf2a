"""Balls against the integers, which round once."""

import numpy as np
import pytest
import torch

from depthwright.constructions import NarrowPacked
from depthwright.networks.exact import balls
from depthwright.targets import RandomNetwork


@pytest.fixture(scope="module")
def twin():
    return NarrowPacked(RandomNetwork(3, 24, 3, seed=0), 1e-2).build().network


@pytest.mark.parametrize("bits", [64, 700, 2000, None])
def test_rounded_values_are_those_of_the_integers(twin, bits):
    x = np.random.default_rng(0).uniform(-1, 1, (12, 3))
    wanted = twin.evaluate(torch.from_numpy(x), engine="integers").numpy()
    assert (balls.rounded(twin.layers, x, bits, twin.value_bits) == wanted).all()


def test_too_few_bits_leave_points_undone_and_enough_do_not(twin):
    x = np.random.default_rng(1).uniform(-1, 1, (6, 3))
    assert not balls._attempt(twin.layers, x, 200)[1].any()
    assert balls._attempt(twin.layers, x, balls.first_bits(twin.weight_bits))[1].all()
    assert balls.first_bits(twin.weight_bits) < twin.value_bits / 2


def test_every_ball_holds_the_exact_value(twin):
    from fractions import Fraction

    from depthwright.networks.exact.integers import affine, exact_values, input_slots

    x = np.random.default_rng(2).uniform(-1, 1, (5, 3))
    ((exact, power),) = exact_values(twin.layers, x)
    slots, radii = input_slots(x), [balls.NOTHING] * 3
    for i, layer in enumerate(twin.layers):
        radii = balls._carried(layer, radii)
        slots = affine(layer, slots, len(x), relu=i < len(twin.layers) - 1)
        slots, radii = balls._cut(slots, radii, 4000)
    (values, place), radius = slots[0], radii[0]
    gaps = [
        abs(int(a) * Fraction(2) ** place - int(b) * Fraction(2) ** power)
        for a, b in zip(values, exact, strict=True)
    ]
    assert radius > balls.NOTHING
    assert 0 < max(gaps) <= Fraction(2) ** int(np.ceil(radius))
