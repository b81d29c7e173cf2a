"""Networks as ONNX files: onnxruntime's values, and ours read back."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from depthwright import networks
from depthwright.constructions import (
    NarrowExactSlim,
    NarrowPacked,
    RadialDepthThree,
    Ridge,
    SingleRidge,
    SparseRidge,
)
from depthwright.networks import Builder, Dyadic
from depthwright.networks.exact.floats import PrecisionLoss
from depthwright.networks.torch_network import ModuleNetwork
from depthwright.refusal import Refusal
from depthwright.targets import Cone, RandomNetwork, SineRidge

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def run(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def module(dtype):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 5), nn.ReLU(), nn.Linear(5, 2)
    ).to(dtype)  # fmt: skip


@cache
def ridge():
    construction = Ridge(Cone(input_dim=3), accuracy=0.2)
    return construction, construction.build()


def built(construction):
    return lambda: (construction, construction.build())


NETWORKS = {
    "module in float32": lambda: ModuleNetwork(module(torch.float32)),
    "module in float64": lambda: ModuleNetwork(module(torch.float64)),
    "exact": lambda: ModuleNetwork(module(torch.float32)).to_exact(),
    "ridge": lambda: ridge()[1].network,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_files_have_the_network_s_values_in_onnxruntime_and_here(tmp_path, name):
    network = NETWORKS[name]()
    network.save(tmp_path / "net.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]
    dtype = torch.float32 if network.arithmetic == "float32" else torch.float64
    x = torch.rand(200, 3, generator=torch.Generator().manual_seed(0), dtype=dtype) - 0.5
    plain = network.to_torch(dtype)
    wanted = network.to_exact().evaluate(x, "exact").numpy()
    size, depth = x.double().abs(), 0
    with torch.no_grad():
        for part in plain:
            if isinstance(part, nn.Linear):
                size = size @ part.weight.double().abs().T + part.bias.double().abs()
                depth += part.in_features + 3
    got = run(tmp_path / "net.onnx", x.numpy())
    assert got.dtype == x.numpy().dtype
    # sums of k terms are off by k·eps of their sizes
    bound = depth * torch.finfo(dtype).eps * size.numpy()
    assert (np.abs(got - wanted) <= bound).all()
    back = networks.load(tmp_path / "net.onnx")
    assert torch.equal(back.evaluate(x, "exact"), network.to_exact().evaluate(x, "exact"))


def test_a_network_that_floats_do_not_hold_is_refused_with_its_bits(tmp_path):
    twin = NarrowPacked(RandomNetwork(3, 6, 3), accuracy=1e-2, failure_probability=1e-3).build()
    bits = twin.network.value_bits
    assert bits > 53
    with pytest.raises(Refusal, match=rf"its values need {bits} bits and float64 holds 53.*jsonl"):
        twin.network.save(tmp_path / "twin.onnx")
    builder = Builder(input_dim=1)
    long = builder.output([builder.values[0] * Dyadic(2**59 + 1, -59)])
    with pytest.raises(Refusal, match="its weights need 60 bits and float64 holds 53"):
        long.save(tmp_path / "long.onnx")
    assert not list(tmp_path.iterdir())


FLOATS = {
    "ridge": ridge,
    "sparse ridge": built(SparseRidge(Cone(input_dim=3), accuracy=0.3)),
    "depth three": built(RadialDepthThree(Cone(input_dim=3), accuracy=0.1)),
    "single ridge": built(SingleRidge(SineRidge(input_dim=3, terms=2), accuracy=0.1)),
}


@pytest.mark.parametrize("name", FLOATS)
def test_the_claim_holds_of_onnxruntime_s_values(tmp_path, name):
    """In whatever order it adds: rounding is a term of the claim."""
    construction, made = FLOATS[name]()
    made.network.save(tmp_path / "net.onnx")
    x = 2 * torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)).double() - 1
    x = x[construction.target.domain.contains(x)]
    got = run(tmp_path / "net.onnx", x.numpy())
    assert np.abs(got - construction.target.truth(x).numpy()).max() <= made.claim.bound
    exact = made.network.to_exact().evaluate(x[:50], "exact").numpy()
    assert 0 < np.abs(got[:50] - exact).max() <= made.claim.terms["rounding"]


def test_a_claim_in_exact_arithmetic_is_not_one_of_floats(tmp_path):
    """The network's weights are floats and its values are not: that is said."""
    target = RandomNetwork(3, 6, 3)
    made = NarrowExactSlim(target).build()
    with pytest.warns(PrecisionLoss, match="evaluated in float64 its values are rounded"):
        made.network.save(tmp_path / "net.onnx")
    x = 2 * torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)).double() - 1
    off = np.abs(run(tmp_path / "net.onnx", x.numpy()) - target.truth(x).numpy()).max()
    assert off > made.claim.bound
