"""Limb programs against the integers, bit for bit."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from depthwright import progress
from depthwright.constructions import (
    NarrowBits,
    NarrowBounded,
    NarrowExact,
    NarrowExactSlim,
    NarrowMinimal,
    NarrowPacked,
)
from depthwright.networks import Builder, Dyadic
from depthwright.networks.exact import integers
from depthwright.networks.exact import network as exact_network
from depthwright.networks.exact.layer import BIAS, Layer
from depthwright.networks.exact.limbs import engine
from depthwright.networks.exact.limbs.bounds import Interval
from depthwright.networks.exact.limbs.program import Slot
from depthwright.networks.exact.limbs.rows import Row, written_over
from depthwright.networks.exact.network import ExactNetwork, from_arrays
from depthwright.networks.inputs import Inputs
from depthwright.refusal import Refusal
from depthwright.targets import Network, RandomNetwork
from dyadic_networks import awkward_points, random_network


def same(network, x):
    """Both engines at `x` (batch, d), by their bits: signs of zeros count."""
    x = torch.as_tensor(x, dtype=torch.float64)
    limbs = network.evaluate(x, "exact", engine="limbs", anywhere=True)
    integers = network.evaluate(x, "exact", engine="integers", anywhere=True)
    assert torch.equal(limbs.view(torch.int64), integers.view(torch.int64))
    return limbs


def uniform(points, d, seed=0):
    return 2 * torch.rand(points, d, generator=torch.Generator().manual_seed(seed)).double() - 1


@pytest.mark.parametrize("width", [4, 8, 16])
@pytest.mark.parametrize("seed", [0, 1])
def test_packed_networks(width, seed):
    # δ = 0.3: about every third point lies inside a ramp, where bits are fractions
    for failure in (1e-2, 0.3):
        target = RandomNetwork(3, width, 3, seed=seed)
        network = NarrowPacked(target, 1e-2, failure).build().network
        corners = torch.tensor([[0.0] * 3, [1.0] * 3, [-1.0] * 3, [1.0, -1.0, 5e-324]])
        same(network, torch.cat([uniform(150, 3, seed), corners.double()]))


@pytest.mark.parametrize(
    "construction",
    [
        lambda t: NarrowBits(t, 1e-2, 1e-2),
        lambda t: NarrowBits(t, 1e-1, 1e-2, bits="paper"),
        lambda t: NarrowMinimal(t, 1e-2, 1e-2),
        lambda t: NarrowBounded(t, 1e-1, 1e-1),
        lambda t: NarrowBounded(t, 1e-1, 1e-1, scaling="neuron"),
        lambda t: NarrowPacked(t, 1e-2, grid=2.0**-9),
        NarrowExact,
        NarrowExactSlim,
    ],
)
def test_other_constructions(construction):
    network = construction(RandomNetwork(2, 3, 2, seed=0)).build().network
    same(network, torch.cat([uniform(60, 2), torch.tensor([[1.0, -1.0], [0.0, 1.0]]).double()]))


@pytest.mark.parametrize("seed", range(25))
def test_networks_from_no_construction(seed):
    rng = np.random.default_rng(seed)
    network = random_network(rng, 3, 5, int(rng.integers(1, 6)), powers=int(rng.integers(1, 60)))
    x = awkward_points(rng, 40, 3)
    top = max(
        int(v).bit_length() + power
        for values, power in integers.exact_values(network.layers, x)
        for v in values
    )
    *hidden, last = network.layers
    powers = tuple(power + min(0, 1000 - top) for power in last.powers)  # below 2^1000
    last = Layer(last.fan_in, last.fan_out, last.rows, last.columns, last.integers, powers)
    same(ExactNetwork((*hidden, last)), x)


def test_results_at_the_edges_of_float64():
    # one row per power: overflow is refused below, the rest must round as the reference does
    powers = [-1200, -1131, -1130, -1129, -1128, -1127, -1100, -1075, -1074, -1022, 0, 900, 967]
    terms = [(row, 0, 1, power) for row, power in enumerate(powers)]
    parts = zip(*terms, strict=True)
    network = ExactNetwork((Layer(1, len(powers), *(tuple(part) for part in parts)),))
    rng = np.random.default_rng(0)
    x = np.ldexp(rng.integers(-(1 << 53), 1 << 53, (400, 1)).astype(float), 3)
    ties = np.array([[1.0], [3.0], [5.0], [-1.0], [-3.0], [2.0**53 - 1], [0.0], [0.5], [-1.5]])
    values = same(network, np.concatenate([x, ties, ties * 2.0**3]))
    assert len(values[:, 3].unique()) >= 5  # among the smallest subnormals


def test_ties_are_rounded_to_even_with_far_bits_below():
    builder = Builder(1)
    (x,) = builder.values
    base = Dyadic(2**53 + 1)  # half-way between two floats
    outputs = [x * base + shift for shift in (0, Dyadic(1, -900), -Dyadic(1, -900))]
    network = builder.output([*outputs, *(-y for y in outputs)])
    values = same(network, [[1.0], [2.0], [-1.0], [3.0]])
    assert values[0].tolist()[:3] == [2.0**53, 2.0**53 + 2, 2.0**53]


def powers_of_hidden(shifts, extra=()):
    """σ(x) ↦ ±2^k σ(x) for each k, and outputs of their own."""
    terms = [(row, 0, sign, k) for k in shifts for row, sign in ((0, 1), (0, -1))]
    terms = [(row, *term[1:]) for row, term in enumerate(terms)] + list(extra)
    parts = zip(*terms, strict=True)
    relu = Layer(1, 1, (0,), (0,), (1,), (0,))
    return ExactNetwork((relu, Layer(1, len(terms), *(tuple(part) for part in parts))))


def test_outputs_that_end_in_sigma_keep_their_sign():
    # top bits at 63 mod 64 of every grid: a slot without a sign limb would read as negative
    x = [[2.0**k] for k in range(-70, 71)] + [[-0.5], [0.0], [1 / 3], [2.0**63 * 1.75]]
    values = same(powers_of_hidden([0, 1, -1, *range(-130, 131, 9)]), x)
    assert (values[:, ::2] >= 0).all()
    assert (values[:, 1::2] <= 0).all()
    assert values[70 - 1].tolist()[:2] == [0.5, -0.5]


@pytest.mark.parametrize("kind", [NarrowExact, NarrowExactSlim])
def test_narrow_twins_of_a_single_sigma(kind):
    # σ(|x|) with an output of weight 1, whose bare copy of a neuron was read with a sign
    state = {
        "0.weight": torch.tensor([[1.0], [-1.0]]), "0.bias": torch.zeros(2),
        "2.weight": torch.ones(1, 2), "2.bias": torch.zeros(1),
        "4.weight": torch.ones(1, 1), "4.bias": torch.zeros(1),
    }  # fmt: skip
    target = Network(state)
    x = [[0.0], *([sign * 2.0**k] for k in range(-64, 1) for sign in (1, -1))]
    values = same(kind(target).build().network, x)
    assert torch.equal(values, torch.tensor(x).double().abs())


def test_layers_of_zeros_and_zero_rows_at_the_end():
    none = ((), (), (), ())
    for x in ([[0.5]], [[-1.0]]):
        assert same(ExactNetwork((Layer(1, 3, *none), Layer(3, 1, *none))), x).item() == 0
    both = ((0, 1), (0, 1), (1, 1), (0, 0))
    values = same(ExactNetwork((Layer(2, 2, *both), Layer(2, 3, *both))), [[0.5, 2.0]])
    assert values.tolist() == [[0.5, 2.0, 0.0]]
    rows, columns, integers, powers = both  # the same tuples, as a pattern shares them
    one, two = Layer(2, 2, *both), Layer(2, 3, rows, columns, integers, powers)
    assert one.rows is two.rows
    after = Layer(3, 1, (0, 0, 0), (0, 1, 2), (1, 1, 1), (0, 0, 0))
    assert same(ExactNetwork((one, two, after)), [[0.5, 2.0]]).item() == 2.5


def numbered(width):
    """Rows that could be written over their main term's buffer, all in one circle or a chain."""
    eye = np.eye(width)
    chain = eye + 2.0**7 * np.roll(eye, 1, 1)
    chain[0, 1] = 0.0
    circle = eye + 2.0**9 * np.roll(eye, 3, 1)
    return [eye, chain, circle, np.ones((1, width))]


def test_wide_layers_whose_rows_wait_for_each_other():
    weights = numbered(40)
    rng = np.random.default_rng(0)
    network = from_arrays(weights, [rng.uniform(0, 1, len(m)) for m in weights])
    program = network.programs.program(-64, (1, 0))
    assert program.rows[:, 7].sum() >= 40  # most are written in place
    same(network, uniform(50, 40))


def test_rows_run_after_all_that_read_their_buffer():
    width = 3000  # quadratic work would show
    slots = [Slot(k, k, 1, 0, 0, Interval((0, 0), (1, 0))) for k in range(width)]
    for step in (1, 7):  # one circle, as 7 does not divide the width
        sums = [
            (k, Row([(k, 1, 0), ((k + step) % width, 1, 9)], [], None, (0, 0), (0, 0), (0, 0)), 0)
            for k in range(width)
        ]
        check_order(sums, slots, width - 1)
        check_order(sums[1:], slots, width - 1)


def check_order(rows, slots, wanted):
    order = written_over(rows, slots, set())
    numbers = [number for number, *_ in order]
    assert len(order) == wanted
    done = set()
    for _, row, main, place in order:
        assert place == slots[row.terms[main][0]].place
        assert not done & {slots[column].place for column, _, _ in row.terms}
        done.add(place)
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("radius", [0.0, float("inf")])
def test_boxes_that_are_a_point_or_everything(radius):
    network = from_arrays([[[3.0]], [[2.0]]], [[1.0], [-1.0]], "exact", Inputs.cube(1, radius))
    assert same(network, [[0.0], [0.5], [-7.0]])[:, 0].tolist() == [1.0, 4.0, -1.0]
    assert network.evaluate(torch.zeros(1, 1).double(), engine="limbs").item() == 1.0


def test_a_network_keeps_the_programs_used_last():
    network = from_arrays([[[3.0]]], [[1.0]])
    first = network.programs.program(-64, (1, 0))
    for power in range(1, engine.PROGRAMS + 5):
        network.programs.program(-64, (1, power))
        assert network.programs.program(-64, (1, 0)) is first
    kept = network.programs.kept
    assert len(kept) == engine.PROGRAMS
    assert (-64, (1, 1)) not in kept


FORKED = """
import os, torch
from depthwright.networks.exact.network import from_arrays
network = from_arrays([[[3.0]]], [[1.0]])
x = torch.tensor([[0.5], [0.25]], dtype=torch.float64)
wanted = network.evaluate(x, "exact", engine="limbs")
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(network.evaluate(x, "exact", engine="limbs"), wanted) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_gives_the_same_values():
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True)
    assert done.stdout.strip() == "0", done.stderr[-2000:]


def test_overflow_names_the_row():
    network = from_arrays([np.array([[2.0**1000]])], [np.zeros(1)])
    x = torch.tensor([[1.0], [1e-300], [2.0**24]], dtype=torch.float64)
    for chosen in ("limbs", "integers"):
        with pytest.raises(Refusal, match="row 2 exceeds"):
            network.evaluate(x, "exact", engine=chosen)


def test_rows_of_zeros_and_one_huge_weight_among_small_ones():
    layers = (
        Layer(2, 4, (0, 2, 2, 3), (0, 0, 1, BIAS), (1, 1, -3, 1), (0, 9000, -3, -9000)),
        Layer(4, 3, (0, 0, 0, 0), (0, 1, 2, 3), (-5, 7, 1, 1), (2, 4000, -9000, 9000)),
        Layer(3, 2, (0, 0, 0), (0, 1, 2), (3, 1, 1), (1, 0, 0)),
    )
    rng = np.random.default_rng(0)
    values = same(ExactNetwork(layers), awkward_points(rng, 200, 2).clip(-1e9, 1e9))
    assert (values[:, 1] == 0).all()
    assert values[:, 0].abs().max() > 0


def test_no_points_and_one_point():
    network = NarrowPacked(RandomNetwork(2, 3, 2, seed=0), 1e-1, 1e-1).build().network
    assert same(network, np.zeros((0, 2))).shape == (0, 1)
    for chosen in ("auto", "limbs"):
        x = uniform(1, 2)
        assert torch.equal(network.evaluate(x, engine=chosen), same(network, x))


def test_points_are_grouped_by_their_lowest_bit():
    x = np.array([[0.0, 0.5], [2.0**-64, 1e30], [2.0**-65, 1.0], [5e-324, 0.0], [1 / 3, 0.0]])
    found = {grid: rows.tolist() for grid, rows in engine.groups(x)}
    assert found == {-64: [0, 1, 4], -128: [2], -1088: [3]}


def test_few_points_are_left_to_the_integers_and_many_are_not():
    network = NarrowPacked(RandomNetwork(2, 4, 2, seed=0), 1e-1, 1e-1).build().network
    assert not network.programs.worth_compiling(5, known=False)
    assert network.programs.worth_compiling(100_000, known=False)
    x = uniform(4, 2)
    _, left = network.programs.evaluate(x.numpy())
    assert left.all() != network.programs.worth_compiling(4, known=False)


def test_small_batches_are_compiled_once_integers_have_taken_as_long(monkeypatch):
    """By seconds spent, not by points: a call has costs of its own."""
    ticks = iter(range(10**6))
    monkeypatch.setattr(exact_network, "perf_counter", lambda: float(next(ticks)))
    network = NarrowPacked(RandomNetwork(2, 4, 2, seed=0), 1e-1, 1e-1).build().network
    x = uniform(1, 2)
    calls = [bool(network.programs.kept) for _ in range(4) if network.evaluate(x) is not None]
    assert calls == [False, True, True, True]
    again = NarrowPacked(RandomNetwork(2, 4, 2, seed=0), 1e-1, 1e-1).build().network
    monkeypatch.setattr(exact_network, "perf_counter", lambda: 0.0)
    assert torch.equal(again.evaluate(x), network.evaluate(x))
    assert not again.programs.kept


def test_engines_are_named():
    network = from_arrays([[[3.0]]], [[1.0]])
    with pytest.raises(Refusal, match="choose one of auto, integers, limbs"):
        network.evaluate(torch.zeros(1, 1), "exact", engine="gpu")


class Terminal:
    def __init__(self, terminal):
        self.terminal, self.text = terminal, ""

    def isatty(self):
        return self.terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize(("terminal", "wait", "drawn"), [(1, 0, 1), (0, 0, 0), (1, 100, 0)])
def test_a_bar_is_drawn_on_a_terminal_after_a_while(monkeypatch, terminal, wait, drawn):
    stream = Terminal(bool(terminal))
    monkeypatch.setattr(progress.sys, "stderr", stream)
    monkeypatch.setattr(progress, "WAIT", wait)
    with progress.Bar("exact values") as bar:
        bar(0.1)
        bar(0.9)
    assert bool("exact values" in stream.text) == bool(drawn)
