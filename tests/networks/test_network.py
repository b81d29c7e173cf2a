"""A network in a notebook: called with what is at hand, shown in five lines."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import depthwright as dw
from depthwright.networks.ridge import OutsideTheBall
from depthwright.refusal import Refusal

WIDE = dw.targets.RandomNetwork(3, width=4, depth=2, output_dim=2)
CONE = dw.targets.Cone(3)
RIDGE = functools.cache(dw.constructions.Ridge(CONE, accuracy=0.3).build)
NETWORKS: dict[str, Callable[[], Any]] = {
    "exact": WIDE.as_network,
    "module": lambda: dw.networks.ModuleNetwork(WIDE.as_network().to_torch()),
    "ridge": lambda: RIDGE().network,
}
POINTS = [[0.1, -0.2, 0.3], [0.0, 0.5, 0.0]]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_called_with_tensors_arrays_and_lists(name: str) -> None:
    network = NETWORKS[name]()
    expected = network.evaluate(torch.tensor(POINTS, dtype=torch.float64))
    tensor = network(torch.tensor(POINTS, dtype=torch.float64))
    assert isinstance(tensor, torch.Tensor)
    assert torch.equal(tensor, expected)
    for given in (POINTS, np.array(POINTS)):
        values = network(given)
        assert isinstance(values, np.ndarray)
        assert values.tolist() == expected.tolist()
        assert network(given[0]).tolist() == expected[0].tolist()
    with pytest.raises(Refusal, match="do not fit"):
        network([0.1, 0.2])
    with pytest.raises(Refusal, match="inputs are"):
        network(["a", "b", "c"])


def large() -> dw.targets.Network:
    torch.manual_seed(0)
    layers = [torch.nn.Linear(64, 100), torch.nn.ReLU(), torch.nn.Linear(100, 10)]
    return dw.targets.Network(torch.nn.Sequential(*layers), lower=np.arange(64) - 1.5, upper=99)


SHOWN: dict[str, Callable[[], Any]] = {
    **NETWORKS,
    "packed": dw.constructions.NarrowPacked(WIDE, accuracy=0.1).build,
    "read": large,
    "recipe": lambda: dw.constructions.NarrowPacked(large(), 0.1, failure_probability=1e-3),
    "fitted": RIDGE,
    "profile": lambda: dw.targets.Profile(np.zeros(1000)),
}


@pytest.mark.parametrize("name", SHOWN)
def test_what_is_shown_has_five_lines_at_most(name: str) -> None:
    shown = SHOWN[name]()
    lines = repr(shown).splitlines()
    assert 1 <= len(lines) <= 5
    assert max(map(len, lines)) < 200
    assert type(shown).__name__ in lines[0]


def test_what_is_shown_is_what_it_is() -> None:
    packed = SHOWN["packed"]()
    shape, text = packed.network.architecture, repr(packed)
    assert f"width {shape.width}, depth {shape.depth:,}" in text
    assert f"{shape.parameters:,} parameters ({shape.nonzeros:,} not 0)" in text
    assert f"error at most {packed.claim.bound:.4g} for every float64 of [−1, 1]^3" in text
    assert "Built by NarrowPacked for RandomNetwork(3 → 4 → 2, on the cube [−1, 1]^3)" in text
    assert "accuracy=0.1, failure_probability=0.001)" in repr(SHOWN["recipe"]())
    assert repr(SHOWN["profile"]()) == "Profile(1000 points, input_dim=5)"
    told = repr(dw.targets.Profile(np.sin, lipschitz=1, input_dim=2))
    assert told == "Profile(a ufunc, lipschitz=1, curvature=inf, input_dim=2)"
    assert repr(dw.targets.Hat(3, slope=4)) == "Hat(input_dim=3, slope=4)"


def test_a_user_s_own_target_is_shown_by_its_fields() -> None:
    @dataclasses.dataclass(frozen=True)
    class Own(dw.targets.Cone):
        height: float = 2.0

    assert repr(Own(2)) == "Own(input_dim=2, height=2.0)"


def test_a_ridge_network_says_when_inputs_leave_its_ball() -> None:
    network = NETWORKS["ridge"]()
    x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x /= torch.linalg.vector_norm(x, dim=1, keepdim=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network.evaluate(x)
        network.evaluate(x.float())
        network.evaluate(torch.empty(0, 3))
    x[7] *= 1.5
    with pytest.warns(OutsideTheBall, match=r"1 of 500 inputs .* row 7, of norm 1\.5"):
        network.evaluate(x)
