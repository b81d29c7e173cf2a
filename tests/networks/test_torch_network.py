"""Module networks: values against exact rationals, files, refusals."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from depthwright import Refusal
from depthwright.networks import torch_network
from depthwright.networks.torch_network import ModuleNetwork, full_precision, load_module

WIDTHS = (3, 7, 4, 2)


def sequential(dtype: torch.dtype = torch.float32, widths: tuple[int, ...] = WIDTHS):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            parts += [nn.Linear(a, b, dtype=dtype), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def points(count: int = 50, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(count, WIDTHS[0], generator=torch.Generator().manual_seed(0), dtype=dtype)


def by_hand(module: nn.Sequential, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Values in rationals, and the same with all terms taken by absolute value."""
    values, sizes = [], []
    for row in x.tolist():
        h, size = [Fraction(v) for v in row], [abs(Fraction(v)) for v in row]
        linears = [part for part in module if isinstance(part, nn.Linear)]
        for k, linear in enumerate(linears):
            w = [[Fraction(v) for v in r] for r in linear.weight.double().tolist()]
            b = [Fraction(v) for v in linear.bias.double().tolist()]
            h = [
                sum((p * q for p, q in zip(r, h, strict=True)), c)
                for r, c in zip(w, b, strict=True)
            ]
            size = [
                sum((abs(p) * q for p, q in zip(r, size, strict=True)), abs(c))
                for r, c in zip(w, b, strict=True)
            ]
            if k < len(linears) - 1:
                h = [max(v, Fraction(0)) for v in h]
        values.append([float(v) for v in h])
        sizes.append([float(v) for v in size])
    return np.array(values), np.array(sizes)


@pytest.mark.parametrize("arithmetic", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_values_are_those_of_exact_rationals(arithmetic, rows, monkeypatch):
    dtype = torch_network.DTYPES[arithmetic]
    monkeypatch.setitem(torch_network.BUFFER_BYTES, "cpu", rows * max(WIDTHS) * dtype.itemsize)
    module, x = sequential(), points().float().double()
    network = ModuleNetwork(module)
    exact, size = by_hand(module, x)
    got = network.evaluate(x, arithmetic)
    assert got.dtype == dtype
    # a sum of k terms is off by at most k·eps times the sum of absolute values; layers add up
    operations = sum(WIDTHS[:-1]) + 2 * len(WIDTHS)
    bound = operations * torch.finfo(dtype).eps * size
    assert (np.abs(got.double().numpy() - exact) <= bound).all()
    assert (np.abs(network.forward(x.to(dtype)).double().numpy() - exact) <= bound).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_measured_in_the_arithmetic_of_its_weights(dtype):
    network = ModuleNetwork(sequential(dtype))
    assert network.arithmetic == str(dtype).removeprefix("torch.")
    assert network.evaluate(points()).dtype == dtype


def test_size_is_counted_on_the_weights():
    module = sequential()
    with torch.no_grad():
        module[0].weight[0, :] = 0
    found = ModuleNetwork(module).architecture
    assert found.widths == WIDTHS
    assert found.parameters == 7 * 4 + 4 * 8 + 2 * 5
    assert found.nonzeros == found.parameters - 3


def test_training_the_module_on_leaves_the_network_alone():
    module = sequential()
    network = ModuleNetwork(module)
    before = network.evaluate(points())
    with torch.no_grad():
        module[0].weight.zero_()
    assert torch.equal(network.evaluate(points()), before)
    returned = network.to_torch()
    assert {p.dtype for p in returned.parameters()} == {torch.float64}
    with torch.no_grad():
        returned[0].weight.zero_()
    assert torch.equal(network.evaluate(points()), before)


def test_forward_has_the_gradient_of_the_module():
    module = sequential(torch.float64)
    x, z = points().requires_grad_(), points().requires_grad_()
    (ours,) = torch.autograd.grad(ModuleNetwork(module).forward(x).sum(), x)
    (theirs,) = torch.autograd.grad(module(z).sum(), z)
    # sums of at most 7 products per layer, three layers each way
    torch.testing.assert_close(ours, theirs, rtol=0, atol=64 * torch.finfo(torch.float64).eps)


def test_a_missing_bias_is_zero():
    module = nn.Sequential(nn.Linear(3, 2, bias=False))
    assert ModuleNetwork(module).evaluate(torch.zeros(1, 3)).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_files_give_the_same_numbers_back(tmp_path, dtype):
    network = ModuleNetwork(sequential(dtype))
    network.save(tmp_path / "a.safetensors")
    back = load_module(tmp_path / "a.safetensors")
    assert back.arithmetic == network.arithmetic
    assert torch.equal(back.evaluate(points()), network.evaluate(points()))
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_other_files_are_refused(tmp_path):
    from safetensors.torch import save_file

    network = ModuleNetwork(sequential())
    with pytest.raises(Refusal, match="does not end in"):
        network.save(tmp_path / "a.pt")
    with pytest.raises(Refusal, match="cannot be read"):
        load_module(tmp_path / "none.safetensors")
    (tmp_path / "b.safetensors").write_bytes(b"no such format")
    with pytest.raises(Refusal, match="cannot be read"):
        load_module(tmp_path / "b.safetensors")
    save_file(sequential().state_dict(), tmp_path / "c.safetensors")
    with pytest.raises(Refusal, match="is not marked"):
        load_module(tmp_path / "c.safetensors")
    for name, widths, words in (("d", "[3, 7, 2]", "holds"), ("e", "[3, 7, 4, 2, 9]", "lacks")):
        save_file(
            sequential(widths=(3, 7, 5)).state_dict() if name == "d" else sequential().state_dict(),
            tmp_path / f"{name}.safetensors",
            metadata={"format": torch_network.FORMAT, "widths": widths},
        )
        with pytest.raises(Refusal, match=words):
            load_module(tmp_path / f"{name}.safetensors")


def test_kink_points_lie_on_first_layer_hyperplanes_nearest_the_origin():
    module = sequential(torch.float64)
    with torch.no_grad():
        module[0].weight[2] = 0
    network = ModuleNetwork(module)
    found = network.kink_points(100, torch.Generator().manual_seed(0))
    assert found.shape == (6, 3)
    weight, bias = module[0].weight.detach(), module[0].bias.detach()
    for point in found:
        gaps = weight @ point + bias
        neuron = int(gaps.abs().argmin())
        scale = float((weight[neuron] * point).abs().sum() + bias[neuron].abs())
        assert abs(float(gaps[neuron])) <= 8 * torch.finfo(torch.float64).eps * scale
        # parallel to the normal: the cross product vanishes
        cross = torch.linalg.cross(weight[neuron], point)
        size = float(weight[neuron].norm() * point.norm())
        assert float(cross.abs().max()) <= 8 * torch.finfo(torch.float64).eps * size
    assert len(network.kink_points(2, torch.Generator().manual_seed(0))) <= 2
    assert len(ModuleNetwork(nn.Sequential(nn.Linear(3, 1))).kink_points(5, torch.Generator())) == 0


def test_products_keep_full_precision_whatever_the_user_has_set():
    x = torch.randn(512, 512, generator=torch.Generator().manual_seed(0))
    module = nn.Sequential(nn.Linear(512, 512, bias=False))
    with torch.no_grad():
        module[0].weight.copy_(x)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        got = ModuleNetwork(module).evaluate(x).double()
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
        with full_precision():
            assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
            assert torch.backends.cuda.matmul.fp32_precision == "ieee"
    finally:
        torch.set_float32_matmul_precision(before)
    wanted, size = x.double() @ x.double().T, x.double().abs() @ x.double().abs().T
    assert ((got - wanted).abs() <= 512 * torch.finfo(torch.float32).eps * size).all()


@pytest.mark.parametrize(
    ("module", "widths"),
    [
        (nn.Linear(2, 1), (2, 1)),
        (nn.Sequential(nn.Linear(2, 3), nn.ReLU()), (2, 3, 3)),
        (nn.Sequential(nn.Linear(2, 3), nn.LeakyReLU(0.25), nn.Linear(3, 1)), (2, 6, 1)),
    ],
)
def test_modules_that_are_rewritten_keep_their_dtype_and_their_values(module, widths):
    network = ModuleNetwork(module)
    assert network.widths == widths
    assert network.arithmetic == "float32"
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    # sums of at most 7 terms below 4
    gap = (network.evaluate(x) - module(x).detach()).abs().max()
    assert gap <= 32 * torch.finfo(torch.float32).eps


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)), r"layer 1 \(Tanh\)"),
        (nn.Sequential(), "give input_shape"),
        (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval(), "entries are no floats"),
        (nn.Sequential(nn.Linear(2, 1, dtype=torch.bfloat16)), "bfloat16"),
        (
            nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1, dtype=torch.float64)),
            "same dtype",
        ),
        (nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(2, 1)), r"layer 2 \(Linear\) fails"),
    ],
)
def test_what_is_no_such_network_is_refused_by_name(module, words):
    with pytest.raises(Refusal, match=words):
        ModuleNetwork(module)


def test_weights_that_are_not_numbers_are_refused():
    module = sequential()
    with torch.no_grad():
        module[2].bias[0] = torch.nan
    with pytest.raises(Refusal, match="the bias of affine map 2 is nan"):
        ModuleNetwork(module)


def test_inputs_and_arithmetics_that_do_not_fit_are_refused():
    network = ModuleNetwork(sequential())
    with pytest.raises(Refusal, match="3 inputs"):
        network.evaluate(torch.zeros(5, 2))
    with pytest.raises(Refusal, match="'half' is unknown"):
        network.evaluate(points(), "half")
