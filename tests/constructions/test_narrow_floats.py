"""Boxes, and claims of norm "floats": no float of the box is misread by Theorems 2 and 5.

What the network computes is read off its file, in fractions (independent.py), and held against the
integer recursion (bits_oracle.py) at the floats next to the borders, where a bit may go wrong.
"""

import dataclasses
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch

import independent
from bits_oracle import disagreements, errors, recursion, uniform
from depthwright.constructions import NarrowBits, NarrowBounded, NarrowMinimal, NarrowPacked
from depthwright.constructions.bits.budget import Budget
from depthwright.constructions.bits.inputs import dyadic
from depthwright.distributions import UniformBox
from depthwright.networks.exact.layer import BIAS, Patterns
from depthwright.refusal import Refusal
from depthwright.targets import Network, RandomNetwork

BOTH = pytest.mark.parametrize("kind", [NarrowBits, NarrowMinimal])
FLOATS = pytest.mark.parametrize("floats", ["float64", "float32"])
SUBNORMAL = {"float64": 5e-324, "float32": 2.0**-149}


def target_on_a_box(rng, floats, input_dim):
    """A box whose ends are such floats, off centre more often than not, of any size."""
    dtype = np.dtype(floats).type
    scale = 2.0 ** rng.integers(-20, 20)
    low = dtype(scale * rng.choice([0.0, -1.0, rng.normal(), rng.normal() * 30], input_dim))
    high = dtype(low + dtype(scale) * dtype(rng.uniform(0.1, 3, input_dim)))
    return rising(low.astype(float), high.astype(float))


def rising(low, high):
    """A target that tells every cell of every coordinate from its neighbours, so no misreading
    is hidden: σ(1 + Σ_j (j + 1)·(x_j − low_j)/side_j), twice.
    """
    weight = np.arange(1, len(low) + 1) / (high - low)
    state = {
        "0.weight": np.stack([weight, weight]),
        "0.bias": np.full(2, 1 - float(weight @ low)),
        "2.weight": np.ones((1, 2)),
    }
    return Network({k: torch.from_numpy(v) for k, v in state.items()}, lower=low, upper=high)


def near_borders(recipe, floats, rng, most):
    """Rows with one coordinate at a float next to a border, zero, a subnormal or an end."""
    dtype = np.dtype(floats).type
    rows = []
    box = list(zip(recipe.target.lower.tolist(), recipe.target.upper.tolist(), strict=True))
    for j, axis in enumerate(recipe.digits):
        borders = [axis.start + k * axis.step for k in range(1, axis.top + 1)]
        if len(borders) > most:
            borders = [borders[k] for k in rng.choice(len(borders), most, replace=False)]
        tiny = SUBNORMAL[floats]
        special = [*box[j], 0.0, -0.0, tiny, -tiny]
        for border in borders:
            near = dtype(float(border))
            special += [float(v) for v in (near, *np.nextafter(near, dtype([-np.inf, np.inf])))]
        for value in special:
            if box[j][0] <= value <= box[j][1]:
                row = [float(np.clip(dtype(rng.uniform(a, b)), dtype(a), dtype(b))) for a, b in box]
                row[j] = value
                rows.append(row)
    return rows + [list(corner) for corner in itertools.product(*box)]


def misread(recipe, network, rows, path):
    """Rows where the file says something else than the recursion."""
    network.save(path)
    return [row for row in rows if independent.evaluate(path, row) != recursion(recipe, row)]


def small(kind, target, floats, c0=None):
    """The recipe, with c0 bits if given; fields are as long as proved to be enough."""
    recipe = kind(target, 0.05, inputs=floats)
    if c0 is not None:
        recipe.__dict__["budget"] = Budget(c0, recipe.intervals.fields(c0))
    return recipe


@BOTH
@FLOATS
@pytest.mark.parametrize("seed", range(4))
def test_no_float_next_to_a_border_is_misread(kind, floats, seed, tmp_path):
    rng = np.random.default_rng(seed)
    recipe = small(kind, target_on_a_box(rng, floats, 1 + seed % 3), floats, c0=3 + seed % 2)
    network = unchecked(recipe)
    rows = near_borders(recipe, floats, rng, 8)
    assert misread(recipe, network, rows, tmp_path / "n.jsonl.gz") == []
    assert not recipe.in_bad_set(np.array(rows)).any()
    values = {tuple(recursion(recipe, row)) for row in rows}
    assert len(values) >= min(recipe.digits[0].top, 8), "the target tells the cells apart"


def unchecked(recipe):
    """The network of a recipe with too few bits for its accuracy."""
    object.__setattr__(recipe, "accuracy", 1e6)
    return recipe.build().network


@BOTH
@FLOATS
def test_the_claim_for_every_float_holds(kind, floats, tmp_path):
    rng = np.random.default_rng(5)
    lower, upper = np.float32([-0.3, 2.0]), np.float32([1.1, 2.25])
    target = RandomNetwork(2, 3, 3, seed=1, lower=lower, upper=upper, output_dim=2)
    recipe = kind(target, 0.05, inputs=floats)
    built = recipe.build()
    assert built.network.architecture == recipe.architecture()
    assert (built.claim.norm, built.claim.failure_probability) == ("floats", 0.0)
    assert built.in_bad_set is None
    side = "[−0.30000001192092896, 1.100000023841858]"  # −0.3 and 1.1 as float32
    assert built.claim.domain == f"every {floats} of {side} × [2, 2.25]"
    rows = near_borders(recipe, floats, rng, 4)
    x = np.array(rows)
    assert errors(built.network, target, x).max() <= built.claim.bound <= 0.05
    assert disagreements(built.network, recipe, x) == 0
    assert misread(recipe, built.network, rows[:12], tmp_path / "n.jsonl.gz") == []


@BOTH
def test_a_border_moved_is_caught(kind, tmp_path):
    """One bit of the constants of layer 1: all borders move, just past the floats below them."""
    rng = np.random.default_rng(0)
    recipe = small(kind, rising(np.array([-1.0]), np.array([2.0])), "float32", c0=3)
    network = unchecked(recipe)
    rows = near_borders(recipe, "float32", rng, 100)
    path = tmp_path / "n.jsonl.gz"
    assert misread(recipe, network, rows, path) == []
    (axis,) = recipe.digits
    borders = [axis.start + k * axis.step for k in range(1, axis.top + 1)]
    floats = [Fraction(row[0]) for row in rows]
    gap = max(b - max(f for f in floats if f < b) for b in borders)
    shift = Fraction(2) ** math.ceil(math.log2(gap)) * axis.scale
    first = network.layers[0].expressions()
    for row in first:
        if 0 in row:  # reads u, times a slope, and a constant
            moved = dyadic(row[0].fraction / axis.scale * shift)
            row[BIAS] = row.get(BIAS, dyadic(Fraction(0))) + moved
    layers = (Patterns().layer(1, first), *network.layers[1:])
    moved = dataclasses.replace(network, layers=layers)
    wrong = misread(recipe, moved, rows, path)
    assert 0 < len(wrong) < len(rows) / 2


@BOTH
def test_the_theorem_on_a_box(kind):
    target = RandomNetwork(3, 3, 2, seed=3, lower=[-0.25, 5.0, -7.0], upper=[3.0, 5.5, -6.5])
    recipe = kind(target, 0.02, 0.05)
    built = recipe.build()
    assert built.network.architecture == recipe.architecture()
    assert 0 < built.claim.failure_probability <= 0.05
    x = uniform(target, 60)
    good = ~recipe.in_bad_set(x)
    assert (~good).mean() <= 5e-2 + 4 * math.sqrt(5e-2 * 0.95 / 60)
    assert errors(built.network, target, x[good]).max() <= built.claim.bound
    assert disagreements(built.network, recipe, x[good]) == 0


@BOTH
def test_a_density_bound_sharpens_the_bit_tests(kind):
    """A law twice as dense somewhere may put twice as much into the bad set."""
    target = RandomNetwork(2, 2, 2, seed=0, lower=[0.0, -1.0], upper=[2.0, 1.0])
    law = UniformBox(2, lower=[0.0, -1.0], upper=[2.0, 1.0])
    same, twice = (kind(target, 0.1, 0.1, density_bound=k * law.density_bound) for k in (1, 2))
    plain = kind(target, 0.1, 0.1)
    assert same.bad_set_probability == plain.bad_set_probability
    if kind is NarrowBits:
        assert twice.gap == plain.gap + 1
    else:
        assert twice.slopes[0].fraction == 2 * plain.slopes[0].fraction
    claim = twice.claim
    assert (claim.density_bound, claim.norm) == (2 * law.density_bound, "probability")
    with pytest.raises(Refusal, match=r"density_bound=0\.1 is no bound of a density"):
        kind(target, 0.1, 0.1, density_bound=0.1)
    with pytest.raises(Refusal, match="speaks of the law of a failure probability"):
        kind(target, 0.1, density_bound=1.0)
    with pytest.raises(Refusal, match="inputs=float32 speaks of a claim for every such float"):
        kind(target, 0.1, 0.1, inputs="float32")
    with pytest.raises(Refusal, match="unknown; choose one of float32, float64"):
        kind(target, 0.1, inputs="float16")


NARROWED = pytest.mark.parametrize("kind", [NarrowBits, NarrowMinimal, NarrowPacked, NarrowBounded])


@NARROWED
def test_a_grid_leaves_no_failure_probability(kind):
    target = RandomNetwork(2, 3, 2, seed=0)
    with pytest.raises(Refusal, match=r"failure_probability=0\.1 would mean nothing; set it to 0"):
        kind(target, 0.1, 0.1, grid=0.25)
    assert kind(target, 0.1, grid=0.25)


@NARROWED
@pytest.mark.parametrize(
    ("low", "high"),
    [(0.1, 0.1 + 1e-12), (1e-60, 2e-60), (-3e-46, -1e-50), (1e39, 2e39), (-2e39, -1e39)],
)
def test_a_box_without_a_float32_has_no_claim_for_them(kind, low, high):
    """Between two of them, below the least, beyond the largest."""
    given = {"lower": [-1.0, low], "upper": [1.0, high]}
    target = RandomNetwork(2, 3, 2, seed=0)
    state = {f"{2 * k}.weight": w for k, w in enumerate(map(torch.from_numpy, target.weights))}
    with pytest.raises(Refusal, match=r"no float32 lies in .* of coordinate 1; give a wider box"):
        kind(Network(state, **given), max(abs(high), 1.0), inputs="float32")


@NARROWED
@pytest.mark.parametrize(
    ("low", "high"), [(0.1, 0.100000002), (0.0, 1e-60), (-1e-60, 0.0), (3e38, 1e39), (-1e39, -3e38)]
)
def test_a_box_with_a_float32_has_one(kind, low, high):
    """The one above 1/10, 0, and those next to the largest."""
    state = {
        "0.weight": torch.ones(1, 1).double(),
        "2.weight": torch.ones(1, 1).double(),
    }
    target = Network(state, lower=[low], upper=[high])
    assert kind(target, max(abs(high), abs(low), 1.0), inputs="float32").covered
