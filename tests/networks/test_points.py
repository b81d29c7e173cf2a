"""Numpy arrays and lists where torch tensors are taken."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from depthwright.constructions import Ridge
from depthwright.networks.torch_network import ModuleNetwork
from depthwright.refusal import Refusal
from depthwright.targets import Cone, Network, SineRidge

X = np.random.default_rng(0).uniform(-0.5, 0.5, (6, 2))


def module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1)).double()


@cache
def ridge():
    return Ridge(Cone(input_dim=2), accuracy=0.2).build()


TAKERS = {
    "module": lambda: ModuleNetwork(module()).evaluate,
    "module, forward": lambda: ModuleNetwork(module()).forward,
    "exact": lambda: ModuleNetwork(module()).to_exact().evaluate,
    "ridge": lambda: ridge().network.evaluate,
    "target": lambda: Network(module()),
    "truth": lambda: Network(module()).truth,
    "exact, forward": lambda: ModuleNetwork(module()).to_exact().forward,
    "ridge, forward": lambda: ridge().network.forward,
    "ridge, decides": lambda: ridge().decides,
    "cone": lambda: Cone(input_dim=2),
    "cone, truth": lambda: Cone(input_dim=2).truth,
    "sine ridge": lambda: SineRidge(input_dim=2, terms=2),
    "in a ball": lambda: Cone(input_dim=2).domain.contains,
    "in a box": lambda: Network(module()).domain.contains,
}
FORMS = {
    "array": X,
    "Fortran order": np.asfortranarray(X),
    "reversed rows": X[::-1][::-1],
    "big-endian": X.astype(">f8"),
    "read-only": np.broadcast_to(X, X.shape),
    "lists": X.tolist(),
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("form", FORMS)
def test_values_are_those_of_tensors(taker, form):
    take = TAKERS[taker]()
    assert torch.equal(take(FORMS[form]), take(torch.from_numpy(X)))


@pytest.mark.parametrize("taker", ["module", "exact", "target"])
def test_float32_arrays_stay_float32_and_whole_numbers_are_numbers(taker):
    take = TAKERS[taker]()
    short = X.astype(np.float32)
    assert torch.equal(take(short), take(torch.from_numpy(short)))
    assert torch.equal(take([[0, 1], [1, 0]]), take(torch.eye(2).double().flip(0)))


BAD = {
    "complex128": X * 1j,
    "object": np.array([[None, 1]]),
    "<U1": [["a", "b"]],
    "no array": [[1.0, 2.0], [3.0]],
    "sparse_coo": torch.eye(2).to_sparse(),
    "complex64": torch.eye(2) * 1j,
    "meta": torch.ones(2, 2, device="meta"),
    "masked array": np.ma.masked_array(X, mask=X > 0),
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("words", BAD)
def test_what_are_no_real_numbers_is_refused(taker, words):
    with pytest.raises(Refusal, match=words):
        TAKERS[taker]()(BAD[words])


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("x", [X[0], X[:, :1], 0.5, X[None]])
def test_other_shapes_are_refused(taker, x):
    with pytest.raises(Refusal, match=r"inputs of shape .* do not fit"):
        TAKERS[taker]()(x)


@pytest.mark.parametrize("taker", TAKERS)
def test_tensors_of_whole_numbers_are_numbers(taker):
    take = TAKERS[taker]()
    if taker == "module, forward":  # in the dtype of its inputs
        return
    whole = torch.tensor([[0, 0], [0, 1]])
    assert torch.equal(take(whole).double(), take(whole.double()).double())
