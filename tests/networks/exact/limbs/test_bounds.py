"""The intervals that size the limbs: sound, attained, and missed when they are one bit short."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from depthwright.constructions import NarrowBits, NarrowPacked
from depthwright.networks.exact import integers
from depthwright.networks.exact.layer import BIAS, Layer
from depthwright.networks.exact.limbs import (
    bounds,
    compiler,
    engine,
)
from depthwright.networks.exact.limbs.bounds import Interval
from depthwright.networks.exact.limbs.program import TENTS
from depthwright.networks.exact.network import ExactNetwork
from depthwright.networks.inputs import Inputs
from depthwright.targets import RandomNetwork
from dyadic_networks import random_network


def fraction(number):
    return Fraction(number[0]) * Fraction(2) ** number[1]


def traced(network, monkeypatch, radius=1):
    """Per layer the rows and the slots of the program for the box [−radius, radius]^d."""
    trace = []
    append = compiler.Compiler.append

    def recorded(self, rows):
        append(self, rows)
        trace.append((list(rows), list(self.slots)))

    with monkeypatch.context() as patch:
        patch.setattr(compiler.Compiler, "append", recorded)
        compiler.compiled(network.layers, network.value_bits, -64, (radius, 0))
    return trace


def values(network, x):
    """Per layer the exact values (points) of every slot."""
    for layer in integers.exact_layers(network.layers, x):
        yield [[int(v) * Fraction(2) ** power for v in column] for column, power in layer]


def extremes(network, x, monkeypatch):
    """Per layer and slot: its interval, its least and greatest value at `x`, its limbs and grid."""
    found = []
    trace = traced(network, monkeypatch)
    for (rows, slots), layer in zip(trace, values(network, x), strict=True):
        ends = len(slots) // len(layer)  # an output that has left digits out stands twice
        for row, slot, column in zip(rows, slots, layer * ends, strict=True):
            if row is None:  # read only as a difference, with the slot that holds it
                continue
            if row.kind == TENTS:
                column = [value - max(2 * value - 2**row.period, 0) for value in column]
            if slot.ceiling is not None:
                column = [min(value, fraction(slot.ceiling)) for value in column]
            found.append((slot, min(column), max(column)))
    return found


def check_sound(found):
    for slot, least, greatest in found:
        low, high = map(fraction, slot.interval)
        assert low <= least
        assert greatest <= high
        if slot.place >= 0:
            room = Fraction(2) ** (64 * slot.limbs - 1 + slot.grid)
            assert -room <= least
            assert greatest < room


def corners(d):
    return np.array(np.meshgrid(*[[-1.0, 0.0, 1.0]] * d)).reshape(d, -1).T


@pytest.mark.parametrize("seed", range(12))
def test_intervals_hold_every_value_of_networks_from_no_construction(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    network = random_network(rng, 3, 5, 4, powers=int(rng.integers(0, 40)))
    x = np.concatenate([corners(3), rng.uniform(-1, 1, (200, 3))])
    check_sound(extremes(network, x, monkeypatch))


@pytest.mark.parametrize("kind", [NarrowPacked, NarrowBits])
def test_intervals_hold_every_value_inside_ramps_too(kind, monkeypatch):
    network = kind(RandomNetwork(2, 3, 2, seed=0), 1e-1, 0.5).build().network
    rng = np.random.default_rng(0)
    near = 0.5 - rng.random((25, 2)) * 2.0 ** -rng.integers(1, 40, (25, 2))
    x = np.concatenate([corners(2), rng.uniform(-1, 1, (25, 2)), near, 2 * near - 1])
    check_sound(extremes(network, x, monkeypatch))


def test_bits_are_bits_and_bounds_of_packed_sums_are_attained(monkeypatch):
    construction = NarrowPacked(RandomNetwork(2, 4, 2, seed=1), 1e-2)
    found = extremes(construction.build().network, corners(2), monkeypatch)
    ceilings = [fraction(slot.ceiling) for slot, _, _ in found if slot.ceiling is not None]
    assert len(ceilings) == 3 * construction.sizing.bits.c  # x_1, x_1 again, x_2: a bit a layer
    assert set(ceilings) == {1}
    tight = sum(
        fraction(slot.interval.high) <= greatest * (1 + Fraction(1, 2**50))
        for slot, _, greatest in found
    )
    assert tight > len(found) // 3  # at one of the corners


def tower(bits):
    """σ(x_1), σ(x_2) ↦ σ(x_1) + (2^bits − 2)·σ(x_2), 2^bits − 1 at the corner, and one more."""
    return ExactNetwork(
        (
            Layer(2, 2, (0, 1), (0, 1), (1, 1), (0, 0)),
            Layer(2, 1, (0, 0), (0, 1), (1, (1 << bits) - 2), (0, 0)),
            Layer(1, 1, (0, 0), (0, BIAS), (1, 1), (0, 0)),
        ),
        inputs=Inputs.cube(2, 1.0),
    )


TOPS = range(58, 65)
"""With inputs on the grid 2^−64, a sum below 2^63 just fills two limbs, the sign included."""


@pytest.mark.parametrize("bits", TOPS)
def test_a_sum_attains_its_interval_and_fits(bits, monkeypatch):
    network = tower(bits)
    corner = np.array([[1.0, 1.0]])
    slot, least, greatest = extremes(network, corner, monkeypatch)[2]
    assert least == greatest == fraction(slot.interval.high) == 2**bits - 1
    limbs = network.evaluate(torch.ones(1, 2), "exact", engine="limbs")
    assert limbs.item() == 2.0**bits


def test_intervals_one_bit_short_give_wrong_values(monkeypatch):
    true = bounds.bits
    monkeypatch.setattr(bounds, "bits", lambda interval: true(interval) - 1)
    wrong = [
        bits
        for bits in TOPS
        if tower(bits).evaluate(torch.ones(1, 2), "exact", engine="limbs").item() != 2.0**bits
    ]
    assert wrong == [63, 64]  # the output, and already the sum, lack the limb of the sign
    network = NarrowPacked(RandomNetwork(2, 4, 2, seed=1), 1e-2, 1e-2).build().network
    x = torch.tensor(corners(2))
    limbs = network.evaluate(x, engine="limbs")
    assert not torch.equal(limbs, network.evaluate(x, engine="integers"))


def test_the_sum_of_functions_of_one_number_is_bounded_exactly():
    # 2σ(y) − min(σ(M(y − ½) + 1), 1), what a bit test leaves, for M that is no power of two
    for slope in (2, 3, 1000003, (1 << 200) + 1):
        test = ((-1, 0), (slope, 0), (2 - slope, -1), (1, 0))
        parts = [((2, 0), (1, 0), (0, 0), None), test]
        low, high = bounds.joint(parts, Interval((0, 0), (1, 0)))
        assert (fraction(low), fraction(high)) == (0, 1)
    rng = np.random.default_rng(0)
    for _ in range(60):
        parts = [
            (
                (int(rng.integers(-9, 10)) or 1, int(rng.integers(-3, 4))),
                (int(rng.integers(-9, 10)) or 1, int(rng.integers(-3, 4))),
                (int(rng.integers(-9, 10)), int(rng.integers(-3, 4))),
                (int(rng.integers(1, 9)), int(rng.integers(-3, 4))) if rng.random() < 0.5 else None,
            )
            for _ in range(4)
        ]
        ends = sorted(int(v) for v in rng.integers(-20, 20, 2))
        interval = Interval((ends[0], 0), (ends[1], 0))

        def f(y, parts=parts):
            total = Fraction(0)
            for c, a, b, ceiling in parts:
                z = max(fraction(a) * y + fraction(b), Fraction(0))
                total += fraction(c) * (z if ceiling is None else min(z, fraction(ceiling)))
            return total

        bends = [
            (h - fraction(b)) / fraction(a)
            for _, a, b, ceiling in parts
            for h in (Fraction(0), fraction(ceiling or (0, 0)))
        ]
        at = [f(y) for y in [*map(Fraction, ends), *bends] if ends[0] <= y <= ends[1]]
        low, high = (fraction(bound) for bound in bounds.joint(parts, interval))
        assert low <= min(at)
        assert max(at) <= high
        assert high - low <= (max(at) - min(at)) + Fraction(1, 2**20)


def test_rounded_bounds_lie_outside():
    for m in ((1 << 200) + 1, -(1 << 200) - 1, 12345, -(1 << 64) + 1, 1 << 300):
        low, high = bounds.below(m, -7), bounds.above(m, -7)
        exact = Fraction(m) / 128
        assert fraction(low) <= exact <= fraction(high)
        assert fraction(high) - fraction(low) <= abs(exact) / 2**62
        assert max(low[0].bit_length(), high[0].bit_length()) <= bounds.KEPT + 1


def test_programs_are_compiled_once(monkeypatch):
    network = tower(40)
    x = torch.rand(5, 2, generator=torch.Generator().manual_seed(0))
    wanted = network.evaluate(x, "exact", engine="limbs")
    monkeypatch.setattr(engine, "compiled", None)
    assert torch.equal(network.evaluate(x, "exact", engine="limbs"), wanted)
