"""Numpy arrays and lists where torch tensors are taken."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from depthwright.constructions import Ridge
from depthwright.networks.torch_network import ModuleNetwork
from depthwright.refusal import Refusal
from depthwright.targets import Cone, Network

X = np.random.default_rng(0).uniform(-0.5, 0.5, (6, 2))


def module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1)).double()


RIDGE = Ridge(Cone(input_dim=2), accuracy=0.5).build().network
TAKERS = {
    "module": lambda: ModuleNetwork(module()).evaluate,
    "module, forward": lambda: ModuleNetwork(module()).forward,
    "exact": lambda: ModuleNetwork(module()).to_exact().evaluate,
    "ridge": lambda: RIDGE.evaluate,
    "target": lambda: Network(module()),
    "truth": lambda: Network(module()).truth,
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
}


@pytest.mark.parametrize("taker", ["module", "exact", "ridge", "target"])
@pytest.mark.parametrize("words", BAD)
def test_what_are_no_real_numbers_is_refused(taker, words):
    with pytest.raises(Refusal, match=words):
        TAKERS[taker]()(BAD[words])
