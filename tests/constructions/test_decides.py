"""`Built.decides`: where it says yes, the target's own label is the network's, in fractions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import independent
from depthwright.constructions import NarrowBits, NarrowExactSlim, NarrowMinimal, Ridge, SparseRidge
from depthwright.constructions.construction import Built, Claim
from depthwright.networks.exact.network import from_arrays
from depthwright.networks.inputs import Inputs
from depthwright.refusal import Refusal
from depthwright.targets import Cone, RandomNetwork

TARGET = RandomNetwork(2, 4, 3, seed=60, output_dim=3, lower=[-1.0, 0.0], upper=[1.0, 2.0])


def labels(target, x):
    """The index of the largest output, None where two are equal; for one output, its sign."""
    found = []
    for row in x.tolist():
        values = independent.network_value(target.weights, target.biases, row)
        if len(values) == 1:
            found.append((values[0] > 0) - (values[0] < 0))
        else:
            top = [k for k, v in enumerate(values) if v == max(values)]
            found.append(top[0] if len(top) == 1 else None)
    return found


RECIPES = {
    "floats": lambda: NarrowMinimal(TARGET, 0.1),
    "float32": lambda: NarrowBits(TARGET, 0.1, inputs="float32"),
    "probability": lambda: NarrowBits(TARGET, 0.1, 0.3),
    "grid": lambda: NarrowMinimal(TARGET, 0.1, grid=0.125),
    "equal": lambda: NarrowExactSlim(TARGET),
}


@pytest.mark.parametrize("name", RECIPES)
def test_decided_labels_are_the_targets_own(name):
    recipe = RECIPES[name]()
    built = recipe.build()
    rng = np.random.default_rng(0)
    x = rng.uniform(TARGET.lower, TARGET.upper, (150, 2))
    if recipe.covered is not None:
        x = recipe.covered.nearest(x)
    x = torch.from_numpy(x)
    decided = built.decides(x)
    outputs = built.network.evaluate(x)
    own = labels(TARGET, x)
    for told, output, label in zip(decided.tolist(), outputs.argmax(1).tolist(), own, strict=True):
        assert not told or output == label
    assert len(set(own)) == 3
    assert decided.double().mean() > 0.3
    if name != "equal":
        assert not decided.all(), "some inputs lie near the border of two classes"
    if name == "probability":
        bad = recipe.in_bad_set(x.numpy())
        assert bad.any()
        assert not decided.numpy()[bad].any()


def test_inputs_that_the_claim_does_not_speak_of_are_undecided():
    outside = torch.tensor([[5.0, 1.0], [0.1, 0.7], [torch.nan, 0.0]], dtype=torch.float64)
    assert NarrowBits(TARGET, 0.1).build().decides(outside).tolist()[::2] == [False, False]
    assert not NarrowBits(TARGET, 0.1, inputs="float32").build().decides(outside).any()
    assert not NarrowBits(TARGET, 0.1, grid=0.25).build().decides(outside).any()
    assert not NarrowExactSlim(TARGET).build().decides(outside)[0]


def shifted(by, bound, values):
    """The constant network `values` + `by`, said to be within `bound`."""
    network = from_arrays(
        [np.zeros((len(values), 1))],
        [np.array(values) + np.array(by)],
        "exact",
        Inputs((0.0,), (1.0,)),
    )
    return Built(network, Claim(bound, "floats", "", {"all": bound}, "exact"))


def test_a_margin_of_twice_the_bound_is_needed_and_enough():
    x = torch.zeros(1, 1, dtype=torch.float64)
    # the target is (0, 0.25); each output is off by 0.25, and the label is wrong
    wrong = shifted([0.25, -0.25], 0.25, [0.0, 0.25])
    assert wrong.network.evaluate(x).argmax() == 0
    assert not wrong.decides(x)
    assert not shifted([0, 0], 0.25, [0.5, 0.0]).decides(x), "they may be equal"
    assert shifted([0, 0], 0.25, [0.5 + 1e-9, 0.0]).decides(x)
    assert shifted([0], 0.25, [-0.26]).decides(x), "one output: its sign"
    assert not shifted([0], 0.25, [0.25]).decides(x)


def test_claims_that_may_fail_decide_nothing():
    drawn = SparseRidge(Cone(3), 0.25, failure_probability=0.1).build()
    with pytest.raises(Refusal, match='norm "drawn" decides no input for certain'):
        drawn.decides(torch.zeros(1, 3))


def test_radial_claims_end_at_the_ball():
    built = Ridge(Cone(2), accuracy=0.1).build()
    x = torch.tensor([[0.9, 0.0], [0.05, 0.0], [3.0, 3.0]])
    assert built.decides(x).tolist() == [True, False, False]
