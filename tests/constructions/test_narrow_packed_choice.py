from itertools import product

import numpy as np
import pytest

from depthwright.constructions import NarrowPacked, narrow_packed_choice
from depthwright.constructions.narrow_packed import packed_architecture, read_inputs
from depthwright.constructions.narrow_packed_bits import Bounds, he_facts
from depthwright.constructions.narrow_packed_choice import Moves, Search, choose
from depthwright.targets import RandomNetwork

TWO_LAYERS = [(3, 8, "uniform", 1e-2), (8, 64, "he", 1e-2), (2, 16, "he", 1e-6), (1, 3, "he", 0.3)]


def parameters(widths):
    return lambda sizing: packed_architecture(widths, sizing).parameters


@pytest.mark.parametrize(("d", "n", "initialisation", "accuracy"), TWO_LAYERS)
def test_no_choice_of_bits_for_two_layers_is_cheaper(d, n, initialisation, accuracy):
    target = RandomNetwork(d, n, 2, initialisation=initialisation, seed=1)
    recipe = NarrowPacked(target, accuracy, 1e-2)
    error = 0.999 * accuracy
    found = choose(recipe.bounds, error, parameters(target.widths))
    assert found.error <= error
    search = Search(recipe.bounds, error, parameters(target.widths))
    c, p, q = found.bits.c, found.bits.p[0], found.bits.q[0]
    near = product(range(-4, 5), repeat=3)
    points = [(c + i, p - c + j, q + k) for i, j, k in near]
    cheapest = min(search.exact(point).cost for point in points if search.good(point))
    assert search.exact((c, p - c, q)).cost <= cheapest * 1.002


def test_three_layers_within_a_percent_of_every_choice_nearby():
    target = RandomNetwork(3, 8, 3, seed=0)
    recipe = NarrowPacked(target, 1e-2, 1e-2)
    found = choose(recipe.bounds, 1e-2, parameters(target.widths))
    search = Search(recipe.bounds, 1e-2, parameters(target.widths))
    (c, p, q) = found.bits.c, found.bits.p, found.bits.q
    centre = np.array([c, p[0] - c, q[0], p[1] - q[0], q[1]])
    points = [tuple((centre + step).tolist()) for step in product(range(-1, 2), repeat=5)]
    cheapest = min(search.exact(point).cost for point in points if search.good(point))
    assert search.exact(tuple(centre.tolist())).cost <= 1.01 * cheapest


def looks(depth):
    bounds = Bounds(he_facts(16, 256, depth), read_inputs(16, 1, None))
    search = Search(bounds, 1e-2, parameters((16, *[256] * (depth - 1), 1)))
    point, moves = search.balanced(search.ample()), Moves.of(2 * depth - 1)
    while point:
        last, point = point, search.better(point, moves)
    return len(search.known), search.exact(last)


def test_exact_looks_grow_with_the_layers_and_no_faster_than_their_square():
    few, _ = looks(4)
    many, _ = looks(16)
    assert many <= 16 * few


def test_the_search_improves_on_equal_bits_everywhere():
    bounds = Bounds(he_facts(16, 256, 6), read_inputs(16, 1, None))
    search = Search(bounds, 1e-2, parameters((16, *[256] * 5, 1)))
    ample = search.ample()
    assert looks(6)[1].cost < 0.8 * search.exact(ample).cost


def test_points_that_no_bit_may_leave_have_no_finite_moves():
    """Few bits everywhere: one less is none in each direction, for some entry of every point."""
    target = RandomNetwork(1, 1, 2, weight_bound=1e-3, seed=0)
    recipe = NarrowPacked(target, 0.3, grid=1.0)
    assert recipe.build().claim.bound <= 0.3


def test_grid_bits_are_never_exceeded():
    target = RandomNetwork(2, 5, 3, seed=2)
    recipe = NarrowPacked(target, 1e-2, grid=0.25)
    assert recipe.sizing.bits.c == recipe.inputs.grid_bits == 4


def test_moves_are_the_exchanges_they_say():
    moves = Moves.of(4)
    seen = {tuple(sorted(moves[at].items())) for at in range(len(moves.entries))}
    assert len(seen) == len(moves.entries) == 4 + 3 * 12 + 12
    assert all(sum(v > 0 for _, v in move) <= 1 for move in seen)
    assert ((0, -1), (2, 1), (3, -1)) in seen


def test_a_search_that_trusts_a_wrong_model_still_keeps_the_error(monkeypatch):
    target = RandomNetwork(3, 8, 3, seed=0)
    recipe = NarrowPacked(target, 1e-2, 1e-2)
    right = choose(recipe.bounds, 1e-2, parameters(target.widths))
    honest = Search.neighbours

    def wrong(self, point):
        errors, costs = honest(self, point)
        return errors * 0, costs  # as if no bit mattered

    monkeypatch.setattr(narrow_packed_choice.Search, "neighbours", wrong)
    found = choose(recipe.bounds, 1e-2, parameters(target.widths))
    cost = parameters(target.widths)
    assert found.error <= 1e-2
    assert cost(found) >= cost(right)
