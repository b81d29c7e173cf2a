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
from depthwright.constructions.bit_budget import Budget, printed
from depthwright.constructions.he_sizes import (
    _theorem_2,
    _theorem_5,
    he_sizes,
    interval_budget,
)
from depthwright.constructions.narrow_packed_bits import he_facts
from depthwright.targets import RandomNetwork

ACCURACY = DELTA = 1e-2


@pytest.fixture(scope="module", params=[(3, 16, 3), (12, 64, 3), (4, 24, 4)], ids=str)
def target(request: pytest.FixtureRequest) -> RandomNetwork:
    d, n, depth = request.param
    return RandomNetwork(d, n, depth, initialisation="he")


def test_the_norms_need_no_fewer_bits_than_the_network_and_few_more(target: RandomNetwork) -> None:
    facts = he_facts(target.input_dim, target.width, target.depth)
    bound = interval_budget(facts, ACCURACY)
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
    facts = he_facts(8, 100, 3)
    budget = printed(1.0, max(fact.weight_max for fact in facts), 100, 8, 3, ACCURACY)
    expected = _theorem_2((8, 100, 100, 1), budget)
    assert he_sizes(8, 100, 3, ACCURACY)["narrow_bits_paper"] == expected
