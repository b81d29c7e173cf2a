"""Sizes from norms against the constructions themselves, on targets that are drawn."""

from __future__ import annotations

import pytest

from depthwright.constructions import (
    NarrowBits,
    NarrowExact,
    NarrowExactSlim,
    NarrowMinimal,
    NarrowPacked,
)
from depthwright.constructions.bits.budget import Budget, printed
from depthwright.constructions.he_norms import HeNorms
from depthwright.constructions.he_sizes import (
    _theorem_2,
    _theorem_5,
    he_sizes,
    interval_budget,
)
from depthwright.targets import RandomNetwork

ACCURACY = DELTA = 1e-2


@pytest.fixture(scope="module", params=[(3, 16, 3), (12, 64, 3), (4, 24, 4)], ids=str)
def target(request: pytest.FixtureRequest) -> RandomNetwork:
    d, n, depth = request.param
    return RandomNetwork(d, n, depth, initialisation="he")


def test_the_norms_need_no_fewer_bits_than_the_network_and_few_more(target: RandomNetwork) -> None:
    norms = HeNorms(target.input_dim, target.width, target.depth, 1e-6)
    bound = interval_budget(list(norms.maps()), ACCURACY)
    own = NarrowBits(target, ACCURACY, DELTA).budget
    assert own.c0 <= bound.c0 <= own.c0 + 3 * target.depth
    assert own.c <= bound.c <= own.c + 9 * target.depth


def test_sizes_are_those_of_the_constructions_for_the_same_bits(target: RandomNetwork) -> None:
    bits, minimal = (kind(target, ACCURACY, DELTA) for kind in (NarrowBits, NarrowMinimal))
    assert _theorem_2(target.widths, bits.budget) == bits.architecture()
    assert _theorem_5(target.widths, minimal.budget) == minimal.architecture()
    longer = Budget(bits.budget.c0 + 1, bits.budget.c)
    assert _theorem_2(target.widths, longer) != bits.architecture()


def test_all_sizes_are_bounds(target: RandomNetwork) -> None:
    sizes = he_sizes(target.input_dim, target.width, target.depth, ACCURACY)
    assert sizes["narrow_exact"] == NarrowExact(target).architecture()
    assert sizes["narrow_exact_slim"] == NarrowExactSlim(target).architecture()
    made = {
        "narrow_bits": NarrowBits(target, ACCURACY, DELTA),
        "narrow_bits_paper": NarrowBits(target, ACCURACY, DELTA, bits="paper"),
        "narrow_minimal": NarrowMinimal(target, ACCURACY, DELTA),
        "narrow_packed": NarrowPacked(target, ACCURACY, DELTA),
    }
    for name, recipe in made.items():
        own = recipe.architecture()
        assert own.parameters <= sizes[name].parameters < 3 * own.parameters, name


def test_the_printed_constants_are_vys22s() -> None:
    budget = printed(1.0, HeNorms(8, 100, 3, 1e-6).largest, 100, 8, 3, ACCURACY)
    expected = _theorem_2((8, 100, 100, 1), budget)
    assert he_sizes(8, 100, 3, ACCURACY)["narrow_bits_paper"] == expected


def test_he_norms_bound_a_drawn_network() -> None:
    """Norms of the matrices and of what rounding changes, at grids coarse and fine."""
    import numpy as np

    from depthwright.constructions.packed.bounds import Facts

    drawn = RandomNetwork(8, 200, 3, seed=0, initialisation="he")
    norms = HeNorms(8, 200, 3, 1e-6)
    for fact, matrix in zip(norms.maps(), drawn.weights, strict=True):
        own = Facts.of(matrix, np.zeros(len(matrix)))
        assert own.spectral <= fact.spectral <= 4 * own.spectral
        for name in ("row_norm", "positive_norm", "negative_norm", "row_sum"):
            assert np.max(getattr(own, name)) <= np.max(getattr(fact, name))
        for bits in (1, 3, 6, 12, 20):
            ours, theirs = (f.residual(bits, np.ones(f.fan_in)) for f in (own, fact))
            assert ours.spectral <= theirs.spectral
            assert ours.row_norm.max() <= theirs.row_norm.max()
            if len(matrix) > 1 and bits > 6:  # the fine grid's bound is nearly attained
                assert theirs.spectral <= 2.5 * ours.spectral


def test_the_packed_twin_is_smaller_than_its_target_from_n_480_on() -> None:
    from depthwright.constructions.he_sizes import he_architecture
    from depthwright.networks import Architecture

    def ratio(d: int, n: int, depth: int) -> float:
        target = Architecture.of([d, *[n] * (depth - 1), 1])
        return he_architecture(d, n, depth, ACCURACY).parameters / target.parameters

    assert ratio(8, 480, 3) < 1 < ratio(8, 420, 3)
    assert ratio(8, 10**6, 3) < 0.001
    assert he_architecture(784, 512, 3, ACCURACY).parameters <= 250_000_000
