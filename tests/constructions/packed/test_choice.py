from itertools import product

import numpy as np
import pytest

from depthwright.constructions import NarrowPacked
from depthwright.constructions.he_norms import HeNorms
from depthwright.constructions.narrow_packed import layouts
from depthwright.constructions.packed import choice as narrow_packed_choice
from depthwright.constructions.packed.bounds import Bounds, Layout
from depthwright.constructions.packed.choice import Moves, Search, choose, entries, search
from depthwright.constructions.packed.widths import architecture
from depthwright.targets import RandomNetwork

TWO_LAYERS = [(3, 8, "uniform", 1e-2), (8, 64, "he", 1e-2), (2, 16, "he", 1e-6), (1, 3, "he", 0.3)]


def parameters(widths):
    return lambda sizing: architecture(widths, sizing).parameters


def point_of(layout, bits):
    """The point that says these bits."""
    below = bits.c if layout.cells and layout.ways[0] == "direct" else 0
    values = {("c", 0): bits.c}
    for level, (p, q) in enumerate(zip(bits.p, (*bits.q, 0), strict=True)):
        values |= {("f", level): p - below, ("q", level): q}
        below = q
    return tuple(values[entry] for entry in entries(layout))


@pytest.mark.parametrize(("d", "n", "initialisation", "accuracy"), TWO_LAYERS)
@pytest.mark.parametrize(
    "ways", [("exact", "tent"), ("direct", "tent"), ("exact", "read")], ids=str
)
def test_no_choice_of_bits_nearby_is_much_cheaper(d, n, initialisation, accuracy, ways):
    target = RandomNetwork(d, n, 3, initialisation=initialisation, seed=1)
    recipe, layout = NarrowPacked(target, accuracy), Layout(ways, ways[-1] == "tent")
    cost = parameters(recipe.scaled.widths)
    found = search(recipe.bounds, 1.5, cost, layout)
    assert found.error <= 1.5
    looked = Search(recipe.bounds, 1.5, cost, layout)
    centre = np.array(point_of(layout, found.bits))
    assert looked.exact(tuple(centre.tolist())).cost == cost(found)
    reach = 2 if len(centre) < 4 else 1
    steps = product(range(-reach, reach + 1), repeat=len(centre))
    points = [tuple((centre + step).tolist()) for step in steps]
    cheapest = min(looked.exact(point).cost for point in points if looked.good(point))
    assert cost(found) <= cheapest * 1.01


def he_bounds(depth, d=16, n=256):
    norms = HeNorms(d, n, depth, 1e-6)
    _, *maps = norms.maps()
    return norms.widths, Bounds(norms.first(), maps)


def looks(depth):
    widths, bounds = he_bounds(depth)
    layout = Layout(("exact", *["read"] * (depth - 3), "tent"), True)
    found = Search(bounds, 1e-2, parameters(widths), layout)
    point, moves = found.balanced(found.ample()), Moves.of(len(entries(layout)))
    while point:
        last, point = point, found.better(point, moves)
    return len(found.known), found.exact(last)


def test_exact_looks_grow_with_the_layers_and_no_faster_than_their_square():
    few, _ = looks(4)
    many, _ = looks(16)
    assert many <= 16 * few


def test_deep_targets_truncate_some_layers_and_gain_by_it():
    widths, bounds = he_bounds(6)
    cost = parameters(widths)
    found = choose(bounds, 1e-2, cost, layouts(widths, True, False))
    plain = min(
        (search(bounds, 1e-2, cost, each) for each in layouts(widths, True, False)), key=cost
    )
    assert "read" in found.layout.ways
    assert cost(found) < 0.97 * cost(plain)


def test_points_that_no_bit_may_leave_have_no_finite_moves():
    """Few bits everywhere: one less is none in each direction, for some entry of every point."""
    target = RandomNetwork(1, 1, 2, weight_bound=1e-3, seed=0)
    assert NarrowPacked(target, 0.3, grid=1.0).build().claim.bound <= 0.3


def test_a_coarse_grid_is_not_read_bit_by_bit_and_a_fine_one_is():
    target = RandomNetwork(2, 5, 3, seed=2)
    assert not NarrowPacked(target, 1e-2, grid=0.25).sizing.layout.cells
    assert NarrowPacked(target, 1e-2, grid=2.0**-40).sizing.layout.cells


def test_moves_are_the_exchanges_they_say():
    moves = Moves.of(4)
    seen = {tuple(sorted(moves[at].items())) for at in range(len(moves.entries))}
    assert len(seen) == len(moves.entries) == 4 + 3 * 12 + 12
    assert all(sum(v > 0 for _, v in move) <= 1 for move in seen)
    assert ((0, -1), (2, 1), (3, -1)) in seen


def test_a_search_that_trusts_a_wrong_model_still_keeps_the_error(monkeypatch):
    recipe = NarrowPacked(RandomNetwork(3, 8, 3, seed=0), 1e-2)
    cost, layout = parameters(recipe.scaled.widths), Layout(("exact", "tent"), True)
    right = search(recipe.bounds, 1.2, cost, layout)
    honest = Search.neighbours

    def wrong(self, point):
        errors, costs = honest(self, point)
        return errors * 0, costs  # as if no bit mattered

    monkeypatch.setattr(narrow_packed_choice.Search, "neighbours", wrong)
    found = search(recipe.bounds, 1.2, cost, layout)
    assert found.error <= 1.2
    assert cost(found) >= cost(right)
