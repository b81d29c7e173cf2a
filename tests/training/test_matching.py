"""Matching rules against their definitions."""

import itertools
import subprocess
import sys

import pytest

from depthwright import Refusal
from depthwright.networks import Architecture, Block
from depthwright.training.matching import (
    DEPTH_LIMIT,
    PARAMETERS_LIMIT,
    RULES,
    hidden_width,
    match,
)

CASES = [Architecture.of(w) for w in ((5, 900, 1), (3, 4, 1), (10, 64, 30, 2), (2, 1, 1), (7, 1))]


def parameters(widths: tuple[int, ...]) -> int:
    return sum(b * (a + 1) for a, b in itertools.pairwise(widths))


def test_architecture_keeps_every_width():
    found = match(Architecture.of((5, 900, 30, 1)), "architecture")
    assert found.shapes == ((5, 900, 30, 1),)
    assert found.note == ""


@pytest.mark.parametrize("architecture", CASES, ids=repr)
def test_parameters_are_met_from_below_as_nearly_as_equal_widths_allow(architecture):
    budget = architecture.parameters
    shapes = match(architecture, "parameters").shapes
    by_depth = {len(shape) - 1: shape for shape in shapes}
    assert set(by_depth) <= {2, 3, 4}
    assert len(by_depth) == len(shapes)
    for depth in (2, 3, 4):
        d, outputs = architecture.input_dim, architecture.output_dim
        fits = [
            w
            for n in range(2, budget + 1)
            if parameters(w := (d, *[n] * (depth - 1), outputs)) <= budget
        ]
        assert by_depth.get(depth) == (fits[-1] if fits else None)


def test_a_budget_too_small_for_two_neurons_says_so():
    found = match(Architecture.of((7, 1)), "parameters")
    assert found.shapes == ()
    assert "8 parameters are too few" in found.note


@pytest.mark.parametrize("depth", [2, 3, 4, 9])
def test_hidden_width_is_the_last_that_fits_for_huge_budgets(depth):
    for budget in (10**6, 10**12 + 7, 3 * 10**30 + 1):
        n = hidden_width(6, 2, depth, budget)

        def cost(n: int) -> int:
            return Architecture(6, [Block((n,), depth - 1)], 2).parameters

        assert cost(n) <= budget < cost(n + 1)
    assert hidden_width(6, 2, depth, 1) == 0


def test_a_deep_narrow_architecture_gets_no_straw_man():
    deepest = Architecture(5, [Block((7,), DEPTH_LIMIT - 1)])
    assert match(deepest, "architecture").shapes == (deepest.widths,)
    deep = Architecture(5, [Block((7,), 10**8)])
    assert match(deep, "architecture").shapes == ()
    assert match(Architecture(5, [Block((7,), 64)]), "architecture").note.startswith(
        "depth 65 is above 64"
    )
    assert match(Architecture(5, [Block((7,), 64)]), "parameters").shapes != ()


@pytest.mark.parametrize("rule", RULES)
def test_a_network_too_large_to_train_says_so(rule):
    found = match(Architecture.of((99, PARAMETERS_LIMIT // 101 + 1, 1)), rule)
    assert found.rule == rule
    assert found.shapes == ()
    assert "outlasts" in found.note


def test_an_unknown_rule_lists_the_known_ones():
    with pytest.raises(Refusal, match="'depth' is not a rule; choose one of architecture, para"):
        match(CASES[0], "depth")


@pytest.mark.slow
def test_matching_imports_neither_torch_nor_lightning():
    code = (
        "import sys, depthwright.training as t; t.match; t.TrainingConfig(); t.TrainerConfig();"
        "print(sorted({'torch', 'pytorch_lightning', 'lightning'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("architecture", CASES[:3], ids=repr)
def test_width_is_kept_at_every_depth_that_costs_no_more(architecture):
    shapes = match(architecture, "width").shapes
    d, n, outputs = architecture.input_dim, architecture.width, architecture.output_dim
    for depth in (2, 3, 5, 9, 17, 33):
        shape = (d, *[n] * (depth - 1), outputs)
        assert (shape in shapes) == (parameters(shape) <= architecture.parameters)
    assert len(shapes) == len(set(shapes)) >= 1
    assert {len(shape) - 1 for shape in shapes} <= {2, 3, 5, 9, 17, 33}


def test_a_deep_narrow_network_gets_rivals_of_its_width_at_all_depths():
    deep = Architecture(3, [Block((5,), 525)])
    assert match(deep, "architecture").shapes == ()
    shapes = match(deep, "width").shapes
    assert [len(shape) - 1 for shape in shapes] == [2, 3, 5, 9, 17, 33]
    assert all(shape == (3, *[5] * (len(shape) - 2), 1) for shape in shapes)
    assert len(shapes[-1]) - 1 <= DEPTH_LIMIT
    # exactly as many parameters as depth 9 has: depth 9 is in, one fewer and it is not
    nine = Architecture(3, [Block((5,), 8)])
    assert [len(shape) - 1 for shape in match(nine, "width").shapes] == [2, 3, 5, 9]
    eight = Architecture(3, [Block((5,), 7)])
    assert [len(shape) - 1 for shape in match(eight, "width").shapes] == [2, 3, 5]


def test_a_budget_too_small_for_one_layer_of_the_width_says_so():
    found = match(Architecture.of((7, 1)), "width")
    assert found.shapes == ()
    assert "8 parameters are too few for one hidden layer of width 7" in found.note


@pytest.mark.parametrize("factor", [0.5, 1.5, 2, 3])
def test_a_factor_widens_every_hidden_layer_and_allows_its_square_in_parameters(factor):
    own = Architecture.of((4, 100, 1))
    found = match(own, f"width_{factor}x").shapes
    assert [len(shape) - 1 for shape in found] == [2]
    assert found[0] == (4, round(100 * factor), 1)
    deep = Architecture.of((4, *[20] * 40, 1))
    shapes = match(deep, f"width_{factor}x").shapes
    assert {n for shape in shapes for n in shape[1:-1]} == {round(20 * factor)}
    assert all(parameters(s) <= max(1, factor**2) * deep.parameters for s in shapes)
    assert len(shapes) >= 5
    assert match(deep, "width_1x").shapes == match(deep, "width").shapes


@pytest.mark.parametrize("rule", ["width_x", "width_-2x", "width_0x", "width_1e3x", "width_9999x"])
def test_what_is_no_factor_is_refused(rule):
    with pytest.raises(Refusal, match=f"matching='{rule}'"):
        match(Architecture.of((4, 10, 1)), rule)
