"""Digits that limb programs leave out: what is missing is bounded, and never changes a result."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch

from depthwright.constructions import NarrowPacked
from depthwright.networks.exact import integers
from depthwright.networks.exact.dyadic import round_to_float
from depthwright.networks.exact.limbs import bounds, compiler, engine, kernel
from depthwright.networks.exact.limbs import floors as limb_floors
from depthwright.targets import RandomNetwork
from dyadic_networks import random_network


def with_floors(network, floors, monkeypatch):
    """Its program for inputs of size ≤ 1 that leaves out digits below these floors."""
    with monkeypatch.context() as patch:
        patch.setattr(limb_floors, "worthwhile", lambda layers, bits: True)
        patch.setattr(limb_floors, "floors", lambda layers: floors)
        patch.setattr(limb_floors, "ENOUGH", -(10**9))  # however far off
        return compiler.compiled(network.layers, network.value_bits, -64, (1, 0))


def drawn(seed):
    """A network, floors that often leave not much, and points."""
    rng = np.random.default_rng(seed)
    network = random_network(rng, 2, 4, int(rng.integers(2, 6)), powers=int(rng.integers(1, 40)))
    floors = [
        [
            float(rng.integers(-150, 60)) if rng.random() < 0.7 else -np.inf
            for _ in range(layer.fan_out)
        ]
        for layer in network.layers
    ]
    x = rng.integers(-(2**53), 2**53, (40, 2)) * 2.0**-53
    return network, floors, np.concatenate([x, [[1.0, 1.0], [0.0, -1.0], [0.5, 2.0**-60]]])


def rounded(network, x):
    """The exact values, rounded once, to infinity as well."""
    columns = integers.exact_values(network.layers, x)
    return np.array(
        [[round_to_float(int(v), power) for v in column] for column, power in columns]
    ).T


def outside(program, network, x):
    """How many exact values, rounded, lie outside their ends, rounded (which keeps the order)."""
    tables = (program.rows, program.terms, program.constants, program.inputs, program.outputs)
    out = np.empty((len(x), len(program.outputs)))
    sizes = (program.input_grid, program.places, program.arena, len(x))
    kernel.run(x, tables, *sizes, out)
    low, high = np.split(out, 2, axis=1)
    assert (low <= high).all()
    exact = rounded(network, x)
    return int(((exact < low) | (exact > high)).sum())


@pytest.mark.parametrize("seed", range(25))
def test_ends_hold_the_exact_value_whatever_is_left_out(seed, monkeypatch):
    network, floors, x = drawn(seed)
    program = with_floors(network, floors, monkeypatch)
    if program.ends:
        assert outside(program, network, x) == 0
    wanted = rounded(network, x)
    found = engine.run(program, x)
    settled = ~np.isnan(found)
    assert (found[settled] == wanted[settled]).all()
    assert settled.all() or program.ends


def wrong_programs(monkeypatch):
    """How many of the drawn programs leave an exact value outside."""
    count = wrong = 0
    for seed in range(40):
        network, floors, x = drawn(seed)
        program = with_floors(network, floors, monkeypatch)
        count += program.ends
        wrong += program.ends and outside(program, network, x) > 0
    assert count > 15
    return wrong


@pytest.mark.parametrize("forgotten", ["left_out", "bound", "steepest", "nothing"])
def test_a_bound_without_one_of_its_terms_is_refuted(forgotten, monkeypatch):
    if forgotten == "left_out":  # a thousandth of what is left out
        true = compiler.Compiler.left_out

        def less(self, row, grid):
            m, e = true(self, row, grid)
            return m, e - 10

        monkeypatch.setattr(compiler.Compiler, "left_out", less)
    elif forgotten == "bound":  # what a form takes over from the slots that it reads
        whole = compiler.Compiler.bound
        exact = bounds.Form
        monkeypatch.setattr(
            compiler.Compiler, "bound", lambda self, terms: exact(whole(self, terms).interval)
        )
    elif forgotten == "steepest":
        monkeypatch.setattr(bounds, "steepest", lambda parts: (1, -40))
    wrong = wrong_programs(monkeypatch)
    assert (wrong > 0) == (forgotten != "nothing")


def test_the_steepest_slope():
    rng = np.random.default_rng(0)
    for _ in range(100):
        parts = []
        for _ in range(int(rng.integers(1, 5))):
            c, a = (int(rng.integers(-9, 10)) or 1 for _ in range(2))
            ceiling = (int(rng.integers(1, 9)), 0) if rng.random() < 0.5 else None
            parts.append(
                ((c, 0), (a, int(rng.integers(-2, 3))), (int(rng.integers(-9, 10)), -1), ceiling)
            )

        def f(y, parts=parts):
            total = Fraction(0)
            for (c, _), (a, e), (b, g), ceiling in parts:
                z = max(a * Fraction(2) ** e * y + b * Fraction(2) ** g, Fraction(0))
                total += c * (z if ceiling is None else min(z, Fraction(ceiling[0])))
            return total

        bends = sorted(
            (h - b * Fraction(2) ** g) / (a * Fraction(2) ** e)
            for _, (a, e), (b, g), ceiling in parts
            for h in [0] + ([ceiling[0]] if ceiling else [])
        )
        at = [bends[0] - 1, *bends, bends[-1] + 1]
        slopes = [abs((f(v) - f(u)) / (v - u)) for u, v in pairwise(at) if u < v]
        m, e = bounds.steepest(parts)
        assert m * Fraction(2) ** e == max(slopes)
    tent = [((1, 0), (1, 1), (0, 0), None), ((-1, 0), (1, 2), (-2, 0), None)]
    m, e = bounds.steepest(tent)
    assert m << e == 2


@pytest.fixture(scope="module")
def twin():
    return NarrowPacked(RandomNetwork(3, 12, 3, seed=0), 1e-2).build().network


def test_noise_is_left_out_and_every_point_is_settled(twin):
    x = np.random.default_rng(0).uniform(-1, 1, (60, 3))
    program = twin.programs.program(-64, twin.programs.reach(x))
    assert program.ends
    assert program.rows[:, 3].max() * 64 < twin.value_bits / 4
    wanted = rounded(twin, x)
    assert engine.run(program, x).tobytes() == wanted.tobytes()


def test_ends_that_are_not_the_same_bits_settle_nothing(twin):
    program = compiler.compiled(twin.layers, twin.value_bits, -64, (1, 0))
    ends = [[1.0, 1.0], [1.0, np.nextafter(1, 2)], [-0.0, 0.0], [-5e-324, 5e-324], [-2.0, -2.0]]
    found = program.values(np.array(ends))[:, 0]
    assert np.array_equal(found, [1.0, np.nan, np.nan, np.nan, -2.0], equal_nan=True)


def test_points_that_are_not_settled_are_left(twin, monkeypatch):
    floors = [[floor + 40 for floor in row] for row in limb_floors.floors(twin.layers)]
    program = with_floors(twin, floors, monkeypatch)
    x = np.random.default_rng(0).uniform(-1, 1, (40, 3))
    found, wanted = engine.run(program, x), rounded(twin, x)
    open_ = np.isnan(found)[:, 0]
    assert open_.any()
    monkeypatch.setattr(engine, "compiled", lambda *_: program)
    again = replace(twin)  # that has no program yet
    _, left = again.programs.evaluate(x, forced=True)
    assert (left == open_).all()
    for way in ("limbs", "auto"):
        assert (again.evaluate(torch.from_numpy(x), engine=way).numpy() == wanted).all()


def test_floors_that_leave_too_little_are_not_used(twin, monkeypatch):
    monkeypatch.setattr(limb_floors, "DIGITS", 20)
    assert not compiler.compiled(twin.layers, twin.value_bits, -64, (1, 0)).ends
