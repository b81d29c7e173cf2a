"""State dicts and safetensors files: read where the order is fixed, else refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from depthwright.networks.reading import read
from depthwright.networks.styled_network import StyledNetwork
from depthwright.networks.torch_network import ModuleNetwork
from depthwright.refusal import Refusal
from module_kinds import Overridden


def layer(seed, bias=True):
    torch.manual_seed(seed)
    return nn.Linear(4, 4, bias=bias)


def state(*names, bias=True):
    """Layers 4 → 4 of these names, in this order."""
    return {
        f"{name}.{key}": value
        for seed, name in enumerate(names)
        for key, value in layer(seed, bias).state_dict().items()
    }


def is_chain(plain, *seeds):
    """Whether the layers are those made with these seeds."""
    wanted = [layer(seed).weight.detach().double().numpy() for seed in seeds]
    return all(np.array_equal(a, b) for a, b in zip(plain.weights, wanted, strict=True))


@pytest.mark.parametrize(
    "names",
    [
        ("0", "2", "10"),
        ("net.0", "net.2", "net.4"),
        ("blocks.0.0", "blocks.0.2", "blocks.0.4"),
        ("fc1.0", "fc2.0", "fc3.0"),
        ("fc1", "fc2", "fc3"),
        ("net.0.0", "net.1", "net.3"),
    ],
)
@pytest.mark.parametrize("written", ["in order", "reversed"])
def test_numbers_fix_the_order(tmp_path, names, written):
    tensors = state(*names)
    if written == "reversed":
        tensors = dict(reversed(tensors.items()))
    assert is_chain(read(tensors), 0, 1, 2)
    save_file(tensors, tmp_path / "net.safetensors")
    assert is_chain(read(tmp_path / "net.safetensors"), 0, 1, 2)


UNORDERED = {
    "names without numbers": ("input", "hidden", "output"),
    "a head before the body": ("head", "body"),
    "two numbers": ("blocks.0.fc1", "blocks.0.fc2", "blocks.1.fc1", "blocks.1.fc2"),
    "an adapter": ("0", "0.adapter", "2"),
    "numbers and names": ("fc1", "fc2", "out"),
    "an adapter with a number": ("0", "0.5", "2"),
    "an ensemble": ("nets.0.0", "nets.0.2", "nets.1.0", "nets.1.2"),
    "two blocks": ("0.0", "0.2", "2.0", "2.2"),
    "two towers": ("left.0", "right.1"),
    "one number twice": ("fc1", "fc01"),
}


@pytest.mark.parametrize("name", UNORDERED)
@pytest.mark.parametrize("kind", ["state dict", "file"])
def test_what_numbers_do_not_order_is_refused_with_the_order_it_would_have(tmp_path, name, kind):
    names = UNORDERED[name]
    source = state(*names)
    if kind == "file":
        save_file(source, tmp_path / "net.safetensors")
        source = tmp_path / "net.safetensors"
    with pytest.raises(Refusal, match=re.escape(f"the order {', '.join(sorted(names))},")):
        read(source)
    assert is_chain(read(source, order=names), *range(len(names)))


@pytest.mark.parametrize(
    ("names", "first", "second"),
    [
        (("0", "1"), "0", "1"),
        (("0", "1", "3"), "0", "1"),
        (("0", "2", "3"), "2", "3"),
        (("net.0", "net.1", "net.3"), "net.0", "net.1"),
        (("0.0", "0.2", "0.3"), "0.2", "0.3"),
        (("net.0", "net.1"), "net.0", "net.1"),
        (("blocks.0", "blocks.1"), "blocks.0", "blocks.1"),
        (("blocks.0.0", "blocks.1.0"), "blocks.0.0", "blocks.1.0"),
        (("layers.0", "layers.1"), "layers.0", "layers.1"),
        (("model.layers.0", "model.layers.1"), "model.layers.0", "model.layers.1"),
        (("fc1.0", "fc1.1"), "fc1.0", "fc1.1"),
    ],
)
def test_neighbours_in_a_list_show_no_relu_between_them(names, first, second):
    """torch's own state dict of Sequential(Linear, Linear) would be read with one."""
    with pytest.raises(Refusal, match=f"layers {first} and {second} are neighbours"):
        read(state(*names))
    assert is_chain(read(state(*names), order=names), *range(len(names)))
    like = nn.Sequential(layer(0), layer(1))
    assert read(like.state_dict(), like=like).widths == (4, 4)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: nn.Embedding(3, 3), [""]),
        (lambda: nn.Sequential(nn.Embedding(4, 4), nn.ReLU(), layer(0)), ["0", "2"]),
    ],
)
def test_a_first_weight_without_a_bias_may_be_an_embedding(make, names):
    weights = make().state_dict()
    with pytest.raises(Refusal, match=re.escape(f"Embedding; if it is Linear, give order={names}")):
        read(weights)
    assert len(read(weights, order=names).weights) == len(names)
    assert len(read(state("0", "2", bias=False)).weights) == 2


def test_an_order_names_each_layer_once():
    for order in (
        ["input"],
        ["input", "hidden", "hidden"],
        ["input", "hidden", "output", "more"],
        "input",
    ):
        with pytest.raises(Refusal, match="does not name each of the layers"):
            read(state("input", "hidden", "output"), order=order)


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (["body"], "head is missing"),
        (["body", "tail", "head"], "tail is no layer"),
        (["body", "head", "body"], "body is there twice"),
    ],
)
def test_an_order_is_refused_with_the_name_at_fault(order, words):
    with pytest.raises(Refusal, match=f"once: {words}"):
        read(state("head", "body"), order=order)


def test_the_prefix_of_a_parallel_module_is_named_with_the_cure():
    like = nn.Sequential(layer(0), nn.ReLU(), layer(1))
    weights = nn.DataParallel(like).state_dict()
    with pytest.raises(Refusal, match=r"begins with module\., .*removeprefix\('module\.'\)"):
        read(weights, like=like)
    assert is_chain(read(weights), 0, 1)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.output, self.input = layer(1), layer(0)

    def forward(self, x):
        return self.output(torch.relu(self.input(x)) + x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_module_tells_everything(tmp_path, dtype):
    torch.manual_seed(1)
    tensors = {k: torch.randn_like(v, dtype=dtype) for k, v in Residual().state_dict().items()}
    save_file(tensors, tmp_path / "net.safetensors")
    like = Residual()
    plain = read(tmp_path / "net.safetensors", like=like)
    assert plain.widths == (4, 12, 4)
    like.double().load_state_dict(tensors)
    again = read(like)
    assert all(np.array_equal(a, b) for a, b in zip(plain.weights, again.weights, strict=True))


def test_a_module_is_left_alone_by_the_weights_it_is_like():
    like, before = Residual(), Residual().state_dict()
    read({k: torch.ones_like(v) for k, v in before.items()}, like=like)
    assert all(torch.equal(v, before[k]) for k, v in like.state_dict().items())
    with pytest.raises(Refusal, match="does not fit like=Residual"):
        read(state("input"), like=like)


def test_a_module_with_a_forward_of_its_own_is_read_with_the_weights_given():
    """A copy of it would go on to call the original's layers."""
    torch.manual_seed(0)
    given, like = Overridden.make(), Overridden.make()
    like.train()
    own = {name: value.clone() for name, value in like.state_dict().items()}
    parameters = list(like.parameters())
    plain, wanted = read(given.state_dict(), like=like), read(given)
    pairs = zip([*plain.weights, *plain.biases], [*wanted.weights, *wanted.biases], strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    assert like.training
    assert all(torch.equal(value, own[name]) for name, value in like.state_dict().items())
    assert all(a is b for a, b in zip(like.parameters(), parameters, strict=True))


def test_a_module_is_left_alone_where_the_weights_do_not_fit_or_are_refused():
    like, before = Residual(), {k: v.clone() for k, v in Residual().state_dict().items()}
    part = {"output.weight": torch.ones(4, 4), "output.bias": torch.ones(5)}
    bad = {name: torch.full_like(value, torch.inf) for name, value in before.items()}
    for weights, words in ((part, "does not fit"), (bad, "finite weights")):
        with pytest.raises(Refusal, match=words):
            read(weights, like=like)
        assert all(torch.equal(v, before[k]) for k, v in like.state_dict().items())


NO_TENSORS = {"list": [[1.0]], "str": "1.0", "NoneType": None}


@pytest.mark.parametrize("kind", NO_TENSORS)
def test_what_is_no_tensor_is_refused_beside_a_module_too(kind):
    with pytest.raises(Refusal, match=f"weight is a {kind}; weights are arrays or tensors"):
        read({"weight": NO_TENSORS[kind]}, like=nn.Linear(1, 1, bias=False))


def test_names_are_strings():
    with pytest.raises(Refusal, match="0 is no name of a weight"):
        read({0: torch.ones(2, 2)})


def test_files_of_this_package_are_distinguished(tmp_path):
    layers = [(layer(seed).weight.detach(), layer(seed).bias.detach()) for seed in range(3)]
    ModuleNetwork.of(layers).save(tmp_path / "plain.safetensors")
    assert is_chain(read(tmp_path / "plain.safetensors"), 0, 1, 2)
    StyledNetwork(layers, "residual").save(tmp_path / "styled.safetensors")
    with pytest.raises(Refusal, match="marked depthwright-styled"):
        read(tmp_path / "styled.safetensors")


ONE = {"0.bias": torch.zeros(2)}
BAD = {
    "0.weight is complex64; the networks": torch.ones(2, 2) * 1j,
    "0.weight is complex128; the": np.ones((2, 2)) * 1j,
    "0.weight is sparse (sparse_coo)": torch.eye(2).to_sparse(),
    "0.weight is sparse (sparse_csr)": torch.eye(2).to_sparse_csr(),
    "0.weight is quantised": torch.quantize_per_tensor(torch.eye(2), 0.1, 0, torch.qint8),
    "0.weight lies on the meta device": torch.ones(2, 2, device="meta"),
    "0.weight is int64, which weights": torch.ones(2, 2, dtype=torch.int64),
    "0.weight is int32, which weights": np.ones((2, 2), dtype=np.int32),
    "0.weight is bool, which weights": torch.ones(2, 2, dtype=torch.bool),
    "0.weight has shape (0, 2)": torch.ones(0, 2),
    "0.weight is a list": [[1.0, 2.0], [3.0, 4.0]],
    "0.weight is object, which weights": np.array([[None, 1], [1, 1]]),
    "0.weight is a masked array": np.ma.masked_array(np.ones((2, 2)), mask=np.eye(2)),
    "0.weight is a nested tensor": torch.nested.nested_tensor([torch.ones(2), torch.ones(1)]),
}


@pytest.mark.filterwarnings("ignore")  # of what torch finds unfinished: sparse, quantised
@pytest.mark.parametrize("words", BAD)
def test_what_is_no_dense_array_of_floats_is_refused_by_name(words):
    with pytest.raises(Refusal, match=re.escape(words)):
        read({"0.weight": BAD[words], **ONE})


@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_a_complex_bias_is_refused_too():
    with pytest.raises(Refusal, match=r"0.bias is complex64"):
        read({"0.weight": torch.eye(2), "0.bias": torch.zeros(2) * 1j})


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_numpy_arrays_are_weights(dtype):
    weight = np.array([[0.5, -0.25], [1.0, 3.0]], dtype=dtype)
    plain = read({"weight": weight, "bias": np.array([1, 2], dtype=dtype)})
    assert np.array_equal(plain.weights[0], weight)
    assert plain.biases[0].tolist() == [1.0, 2.0]


CHECKPOINTS = {
    "give checkpoint['state_dict']": {"epoch": 3, "state_dict": state("0")},
    "give checkpoint['model']": {"model": state("0"), "optimizer": {}},
    "model._orig_mod": {f"_orig_mod.{k}": v for k, v in state("0").items()},
    "prune.remove": {"0.weight_orig": torch.eye(2), "0.weight_mask": torch.eye(2)},
    "remove_weight_norm": {"0.weight_g": torch.eye(2), "0.weight_v": torch.eye(2)},
    "remove_parametrizations": {"0.parametrizations.weight.original0": torch.eye(2)},
    "1.running_mean belongs to no Linear layer": {**state("0"), "1.running_mean": torch.ones(4)},
    "like=module": {"0.weight": torch.ones(2, 1, 3, 3)},
    "0.bias has shape (3,)": {"0.weight": torch.ones(2, 2), "0.bias": torch.ones(3)},
    "layer 1 reads 3 values, and layer 0 before it gives 2": {
        "0.weight": torch.ones(2, 2),
        "1.weight": torch.ones(2, 3),
    },
}


@pytest.mark.parametrize("words", CHECKPOINTS)
def test_other_mappings_are_refused_with_the_cure(words):
    with pytest.raises(Refusal, match=re.escape(words)):
        read(CHECKPOINTS[words])


def test_files_that_are_none_are_refused(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"no such format")
    with pytest.raises(Refusal, match="is damaged"):
        read(tmp_path / "a.safetensors")
    (tmp_path / "a.pt").write_bytes(b"")
    with pytest.raises(Refusal, match=re.escape("a.pt is no .safetensors, .onnx or .nnet file")):
        read(tmp_path / "a.pt")
    with pytest.raises(Refusal, match=r"a\.pt .*load it with torch\.load"):
        read(tmp_path / "a.pt")
    with pytest.raises(Refusal, match="is no file"):
        read(tmp_path)
    with pytest.raises(Refusal, match="is not there"):
        read(tmp_path / "b.onnx")


def test_real_checkpoints_are_read(tmp_path):
    """Trained with momentum, saved by torch with epoch and optimizer, loaded as users do."""
    torch.manual_seed(0)
    for name, make in (
        ("chain", lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))),
        ("norms", lambda: nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.LeakyReLU(), nn.Linear(8, 2))),
        ("residual", Residual),
    ):  # fmt: skip
        module = make()
        optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
        for _ in range(5):
            x = torch.randn(32, 4)
            loss = (module(x)[:, :2] - x[:, :2].abs()).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        path = tmp_path / f"{name}.ckpt"
        saved = {"epoch": 5, "state_dict": module.state_dict(), "opt": optimizer.state_dict()}
        torch.save(saved, path)
        checkpoint = torch.load(path, weights_only=True)
        with pytest.raises(Refusal, match=r"checkpoint\['state_dict'\]"):
            read(checkpoint)
        weights = checkpoint["state_dict"]
        if name != "chain":
            with pytest.raises(Refusal, match="like=module"):
                read(weights)
        plain = read(weights, like=make())
        x = torch.randn(20, 4).double()
        with torch.no_grad():
            wanted = module.eval().double()(x).numpy()
        got = x.numpy()
        for k, (weight, bias) in enumerate(zip(plain.weights, plain.biases, strict=True)):
            got = (np.maximum(got, 0) if k else got) @ weight.T + bias
        # sums of at most 17 terms below 10
        assert np.abs(got - wanted).max() <= 1000 * np.finfo(np.float64).eps
