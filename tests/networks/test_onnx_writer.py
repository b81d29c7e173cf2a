"""Networks as ONNX files: onnxruntime's values, and ours read back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from depthwright import networks
from depthwright.constructions import NarrowPacked, Ridge
from depthwright.networks import Builder, Dyadic
from depthwright.networks.torch_network import ModuleNetwork
from depthwright.refusal import Refusal
from depthwright.targets import Cone, RandomNetwork

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


NETWORKS = {
    "module in float32": lambda: ModuleNetwork(module(torch.float32)),
    "module in float64": lambda: ModuleNetwork(module(torch.float64)),
    "exact": lambda: ModuleNetwork(module(torch.float32)).to_exact(),
    "ridge": lambda: Ridge(Cone(input_dim=3), accuracy=0.2).build().network,
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
