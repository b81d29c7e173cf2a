"""Triangles upon triangles as one instruction: where the pattern holds, and where it does not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from depthwright.networks import Builder, Dyadic
from depthwright.networks.exact.limbs import compiler, engine
from depthwright.networks.exact.limbs import rows as limb_rows
from depthwright.networks.exact.limbs.program import TENTS
from depthwright.networks.inputs import Inputs
from dyadic_networks import random_integer

EDGES = [0.0, -0.0, 1.0, 0.5, 0.25, 0.75, -1.0, -0.5, 1 / 3, 2.0**-52, 1 - 2.0**-53, 5e-324]


def tent(r, power=0, height=1):
    """2r or 2 − 2r, for r up to 2^power."""
    return [r << 1, (r << 2) - (Dyadic(height) << power + 1)]


def closed(builder, outputs, radius=1.0):
    """For inputs from −radius to radius."""
    network = builder.output(outputs)
    return replace(network, inputs=Inputs.cube(network.layers[0].fan_in, radius))


def chain(steps, power=0, radius=1.0):
    """φ∘…∘φ of x·2^power, on which φ has height 2^power."""
    builder = Builder(1)
    r = builder.values[0] << power
    for _ in range(steps):
        a, b = builder.relu(tent(r, power))
        r = a - b
    return closed(builder, [r], radius)


def instructions(network, radius=1.0):
    """How many rows of the program are triangles."""
    program = network.programs.program(-64, network.programs.reach(np.array([radius])))
    return int((program.rows[:, 0] == TENTS).sum())


def same(network, x):
    """By both engines, bit for bit; the values."""
    x = torch.as_tensor(x, dtype=torch.float64).reshape(-1, network.layers[0].fan_in)
    limbs = network.evaluate(x, "exact", engine="limbs", anywhere=True)
    integers = network.evaluate(x, "exact", engine="integers", anywhere=True)
    assert torch.equal(limbs.view(torch.int64), integers.view(torch.int64))
    return limbs[:, 0]


def points(seed=0, radius=1.0):
    rng = np.random.default_rng(seed)
    drawn = rng.uniform(-radius, radius, 100)
    grid = rng.integers(-(2**20), 2**20, 100) * 2.0**-20
    near = [np.nextafter(v, d) for v in EDGES for d in (-1, 1)]
    return np.concatenate([EDGES, drawn, grid * radius, np.clip(near, -radius, radius)])


@pytest.mark.parametrize("power", [0, 1, -1, 63, -64, 130, -700])
@pytest.mark.parametrize("steps", [1, 2, 3, 52, 63, 64, 65, 130])
def test_a_chain_is_one_instruction(steps, power):
    network = chain(steps, power)
    assert instructions(network) == 1
    values = same(network, points()) * 2.0**-power
    assert ((values >= 0) & (values <= 1)).all()
    x = torch.tensor([0.0, 1.0, 0.5, 0.25, -1.0, 3 * 2.0**-20], dtype=torch.float64)
    position = torch.where(x < 0, 0.0, x) * 2.0**steps % 2  # the triangle wave of period 2
    wave = torch.minimum(position, 2 - position)
    assert torch.equal(same(network, x) * 2.0**-power, wave)


def test_sums_that_attain_the_height():
    builder = Builder(2)
    x, y = builder.values
    r = (x + y * 3) >> 2
    for _ in range(70):
        a, b = builder.relu(tent(r))
        r = a - b
    network = closed(builder, [r])
    assert instructions(network) == 1
    grid = np.linspace(-1, 1, 33)
    values = same(network, np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2))
    assert values[-1] == 0


@pytest.mark.parametrize("radius", [1.0 + 2.0**-52, 2.0, 1000.0])
def test_values_above_the_height_are_no_triangle(radius):
    assert instructions(chain(1, radius=radius), radius) == 0
    network = chain(5, radius=radius)
    assert instructions(network, radius) == 1  # from the second step on
    values = same(network, [*points(radius=radius), radius, 1.5, 1.25])
    assert (values == 0).any()


def test_taken_above_the_height_it_would_be_wrong(monkeypatch):
    bent = chain(1, radius=2.0)
    assert same(bent, [1.75]).item() == -1.5
    monkeypatch.setattr(limb_rows, "fits", lambda row, beta: True)
    bent = chain(1, radius=2.0)
    assert instructions(bent, 2.0) == 1
    limbs = bent.evaluate(torch.tensor([[1.75]]), "exact", engine="limbs")
    assert limbs.item() != -1.5


def test_a_period_one_bit_off_is_seen():
    network = chain(9)
    x = points()[:, None]
    wanted = network.evaluate(torch.tensor(x), engine="integers").numpy()
    for shift in (-1, 0, 1):
        program = compiler.compiled(network.layers, network.value_bits, -64, (1, 0))
        program.rows[program.rows[:, 0] == TENTS, 10] += shift
        on_grid = np.abs(x[:, 0]) > 2.0**-10
        differ = engine.run(program, x[on_grid]) != wanted[on_grid]
        assert differ.any() == (shift != 0)


def test_a_neuron_that_is_read_elsewhere_stays():
    for finish in (
        lambda b: [b[0] - b[1] * 3],
        lambda b: [b[0] - b[1], b[1]],
        lambda b: [b[0] + b[1]],
        lambda b: [b[0], b[1]],
    ):
        builder = Builder(1)
        network = closed(builder, finish(builder.relu(tent(builder.values[0]))))
        assert instructions(network) == 0
        same(network, points())


def test_biases_that_are_no_power_of_two_and_other_slopes():
    for first, second in (((1, 0, 0), (2, 0, 3)), ((1, 0, 0), (3, 0, 2)), ((1, 0, 1), (2, 0, 2))):
        builder = Builder(1)
        (x,) = builder.values
        a, b = builder.relu([(x * w << p) - c for w, p, c in (first, second)])
        network = closed(builder, [a - b])
        assert instructions(network) == 0
        same(network, points())


def test_a_copy_that_is_kept_is_not_overwritten():
    builder = Builder(1)
    (r,) = builder.relu(builder.values)
    kept = []
    for step in range(12):
        *kept, a, b = builder.relu([*kept, *([r] if step % 4 == 0 else []), *tent(r)])
        r = a - b
    network = closed(builder, [r, *kept, *(copy - (r >> 1) for copy in kept)])
    assert instructions(network) == 3
    same(network, points())


def test_steps_of_other_heights_start_anew():
    builder = Builder(1)
    r = builder.values[0]
    for height in (0, 0, 1, 1, 3, 2, 2):  # φ up to 2^height of what is at most 1
        a, b = builder.relu(tent(r, height))
        r = a - b
    network = closed(builder, [r])
    assert 1 < instructions(network) < 7
    same(network, points())


@pytest.mark.parametrize("seed", range(30))
def test_drawn_networks_of_triangles_and_sums(seed):
    rng = np.random.default_rng(seed)
    builder = Builder(2)
    x, y = builder.values
    r, others = (x + y) >> 1, [x]
    for _ in range(int(rng.integers(5, 40))):
        a, b, *others = builder.relu([*tent(r), *others])
        r = a - b
        kind = rng.random()
        if kind < 0.1:
            others.append(r)
        elif kind < 0.2:
            r = r - b * Dyadic(random_integer(rng, 60), -200)
        elif kind < 0.3:
            r = (r >> 1) + (others[-1] >> int(rng.integers(1, 5)))
        elif kind < 0.35:
            r = r << int(rng.integers(-2, 3))
    network = closed(builder, [r, *others])
    rows = np.stack([rng.choice(points(seed), 60), rng.choice(points(seed + 1), 60)], 1)
    same(network, rows)


def test_a_neuron_of_a_bit_test_is_not_taken_twice():
    builder = Builder(1)
    u = builder.values[0]
    test, both, fold = builder.relu([(u << 1) + 1, u << 1, (u << 2) - 2])
    network = closed(builder, [test - both + fold])
    assert instructions(network) == 0
    same(network, points())
