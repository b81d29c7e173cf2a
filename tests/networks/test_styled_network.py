"""Styled networks: values written out by hand, the plain twin, files, refusals."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from depthwright import Refusal
from depthwright.networks import load, torch_network
from depthwright.networks.styled_network import StyledNetwork, load_styled
from depthwright.networks.torch_network import DTYPES, Layers, load_module

WIDTHS = (3, 6, 6, 4, 4, 2)
"""Residual maps: the second and the fourth."""
STYLED = ("residual", "normalised", "normalised_residual")
EPS = float(np.finfo(np.float64).eps)


def layers(dtype: torch.dtype = torch.float64, widths: tuple[int, ...] = WIDTHS) -> Layers:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    return [(draw(b, a) / math.sqrt(a), draw(b)) for a, b in itertools.pairwise(widths)]


def points(count: int = 50) -> torch.Tensor:
    # representable in float32, so that both arithmetics start from the same points
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, WIDTHS[0], generator=generator).double()


def normal(h: list[float]) -> list[float]:
    mean = sum(h) / len(h)
    square = sum((v - mean) ** 2 for v in h) / len(h)
    return [(v - mean) / math.sqrt(square + 1e-5) for v in h]


def apply(layer: tuple[torch.Tensor, torch.Tensor], z: list[float]) -> list[float]:
    weight, bias = layer
    return [
        sum(w * v for w, v in zip(row, z, strict=True)) + b
        for row, b in zip(weight.tolist(), bias.tolist(), strict=True)
    ]


def rectified(h: list[float]) -> list[float]:
    return [max(v, 0.0) for v in h]


def plus(a: list[float], b: list[float]) -> list[float]:
    return [p + q for p, q in zip(a, b, strict=True)]


def by_hand(style: str, maps: Layers, x: torch.Tensor) -> np.ndarray:
    """The five maps of WIDTHS, one line each, in Python floats."""
    first, second, third, fourth, last = maps
    values = []
    for row in x.tolist():
        h = apply(first, row)
        if style == "residual":
            h = plus(h, apply(second, rectified(h)))
            h = apply(third, rectified(h))
            h = plus(h, apply(fourth, rectified(h)))
        elif style == "normalised_residual":
            h = plus(h, apply(second, rectified(normal(h))))
            h = apply(third, rectified(h))
            h = plus(h, apply(fourth, rectified(normal(h))))
        else:
            h = apply(second, rectified(normal(h)))
            h = apply(third, rectified(normal(h)))
            h = apply(fourth, rectified(normal(h)))
        values.append(apply(last, rectified(h)))
    return np.array(values)


def bound(values: np.ndarray, eps: float = EPS) -> float:
    """Roundings of sums of at most 6 terms in five maps, grown by the maps and by three divisions
    by a spread: 2^12 leaves room for both, and the tests see that other networks are far above.
    """
    return 2**12 * eps * float(np.abs(values).max())


@pytest.mark.parametrize("style", STYLED)
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_values_are_those_written_out_by_hand(style, rows, monkeypatch):
    monkeypatch.setitem(torch_network.BUFFER_BYTES, "cpu", rows * max(WIDTHS) * 8)
    maps, x = layers(), points()
    network = StyledNetwork(maps, style)
    expected, before = by_hand(style, maps, x), x.clone()
    assert np.abs(network.evaluate(x).numpy() - expected).max() <= bound(expected)
    assert np.abs(network.forward(x).numpy() - expected).max() <= bound(expected)
    assert torch.equal(x, before)
    for name in set(STYLED) - {style}:
        other = by_hand(name, maps, x)
        # the check tells styles apart
        assert np.abs(other - expected).max() > 1e6 * bound(expected)


@pytest.mark.parametrize("style", STYLED)
def test_float32_is_float64_rounded(style):
    maps, x = layers(torch.float32), points()
    network = StyledNetwork(maps, style)
    assert network.arithmetic == "float32"
    got, better = network.evaluate(x), network.evaluate(x, "float64")
    assert (got.dtype, better.dtype) == (torch.float32, torch.float64)
    allowed = bound(better.numpy(), torch.finfo(torch.float32).eps)
    assert 0 < float((got - better).abs().max()) <= allowed


@pytest.mark.parametrize("style", STYLED)
def test_size_is_that_of_the_matrices_and_biases(style):
    found = StyledNetwork(layers(), style).architecture
    assert found.widths == WIDTHS
    assert found.parameters == 6 * 4 + 6 * 7 + 4 * 7 + 4 * 5 + 2 * 5 == found.nonzeros


@pytest.mark.parametrize("style", STYLED)
def test_forward_has_the_gradient_of_differences(style):
    network = StyledNetwork(layers(), style)
    x = points().requires_grad_()
    (gradient,) = torch.autograd.grad(network.forward(x).sum(), x)
    step = 1e-6
    with torch.no_grad():
        for k in range(WIDTHS[0]):
            move = step * torch.eye(WIDTHS[0], dtype=torch.float64)[k]
            both = [network.forward(x + s * move).sum(dim=1) for s in (1, -1)]
            # kinks within 1e-6 of a point are rare: at most one of the fifty
            off = ((both[0] - both[1]) / (2 * step) - gradient[:, k]).abs() > 1e-5
            assert int(off.sum()) <= 1


def test_the_residual_network_is_a_plain_one_of_twice_the_width():
    maps, x = layers(), points()
    network = StyledNetwork(maps, "residual")
    module = network.to_torch()
    assert [type(part) for part in module] == [nn.Linear, nn.ReLU] * 4 + [nn.Linear]
    # the layers before residual maps are carried twice, the others once
    assert [part.out_features for part in module[::2]] == [12, 6, 8, 4, 2]
    expected = by_hand("residual", maps, x)
    assert np.abs(module(x).detach().numpy() - expected).max() <= bound(expected)
    for position in (0, 4):  # without the second half of a layer, σ(−h), it is another network
        with torch.no_grad():
            half = len(module[position].bias) // 2
            module[position].weight[half:] = 0
            module[position].bias[half:] = 0
        assert np.abs(module(x).detach().numpy() - expected).max() > 1e6 * bound(expected)
        module = network.to_torch()


def test_two_residual_maps_in_a_row_have_a_plain_twin():
    maps = layers(widths=(3, 5, 5, 5, 5, 1))
    network = StyledNetwork(maps, "residual")
    module, x = network.to_torch(), points()
    assert [part.out_features for part in module[::2]] == [10, 10, 10, 5, 1]
    expected = network.evaluate(x).numpy()
    assert np.abs(module(x).detach().numpy() - expected).max() <= bound(expected)
    assert network.to_torch(torch.float32)[0].weight.dtype == torch.float32


def test_the_normalised_network_has_no_plain_twin_and_says_why():
    with pytest.raises(Refusal, match="layer norm divides by the spread"):
        StyledNetwork(layers(), "normalised").to_torch()


@pytest.mark.parametrize("style", STYLED)
@pytest.mark.parametrize("arithmetic", ["float32", "float64"])
def test_files_give_the_same_numbers_back(tmp_path, style, arithmetic):
    network = StyledNetwork(layers(DTYPES[arithmetic]), style)
    network.save(tmp_path / "a.safetensors")
    back = load(tmp_path / "a.safetensors")
    assert isinstance(back, StyledNetwork)
    assert (back.style, back.arithmetic, back.widths) == (style, arithmetic, WIDTHS)
    assert torch.equal(back.evaluate(points()), network.evaluate(points()))
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
    with pytest.raises(Refusal, match="is not marked depthwright-module"):
        load_module(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"style": "dense"}, "style='dense' is unknown"),
        ({"style": None}, "style='of no name' is unknown"),
        ({"widths": None}, "lacks"),
        ({"widths": "[3, 6, 6, 4, 4]"}, "says widths"),
        ({"widths": "[3, 6, 6, 4, 4, 2, 2]"}, "lacks"),
        ({"format": "depthwright-styled-9"}, "is not marked"),
    ],
)
def test_damaged_files_are_refused(tmp_path, change, words):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    path = tmp_path / "a.safetensors"
    StyledNetwork(layers(), "residual").save(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() | change
    save_file(load_file(path), path, metadata={k: v for k, v in metadata.items() if v})
    with pytest.raises(Refusal, match=words):
        load_styled(path)


@pytest.mark.parametrize("style", STYLED)
def test_kink_points_lie_on_kinks_of_the_first_layer(style):
    maps = layers(widths=(3, 6, 6, 1))
    network = StyledNetwork(maps, style)
    found = network.kink_points(100, torch.Generator().manual_seed(0))
    assert found.shape == (6, 3)
    (weight, bias), _, _ = maps
    for point in found:
        h = weight @ point + bias
        level = float(h.mean()) if style != "residual" else 0.0
        assert float((h - level).abs().min()) <= 16 * EPS * float(h.abs().max() + bias.abs().max())


def test_what_comes_in_is_copied():
    maps = layers()
    network = StyledNetwork(maps, "residual")
    before = network.evaluate(points())
    maps[0][0].zero_()
    assert torch.equal(network.evaluate(points()), before)


def test_bad_layers_and_inputs_are_refused():
    maps = layers()
    maps[1][1][0] = torch.inf
    with pytest.raises(Refusal, match="affine map 1 has weights that are not finite"):
        StyledNetwork(maps, "residual")
    with pytest.raises(Refusal, match="'dense' is unknown"):
        StyledNetwork(layers(), "dense")
    network = StyledNetwork(layers(), "residual")
    with pytest.raises(Refusal, match="3 inputs"):
        network.evaluate(torch.zeros(5, 2))
    with pytest.raises(Refusal, match="'half' is unknown"):
        network.evaluate(points(), "half")
    with pytest.raises(Refusal, match="layer norm divides"):
        StyledNetwork(layers(), "normalised").evaluate(points(), "exact")


def test_exact_values_are_those_of_the_residual_network_or_refused():
    maps = [(w.mul(64).round() / 64, b) for w, b in layers()]  # W + 1 is a float64
    network, x = StyledNetwork(maps, "residual"), points()
    expected = by_hand("residual", maps, x)
    assert np.abs(network.evaluate(x, "exact").numpy() - expected).max() <= bound(expected)
    maps[3][0][2, 2] = 1e-30
    with pytest.raises(Refusal, match="residual map 3 has weights whose sum with 1 is no float64"):
        StyledNetwork(maps, "residual").evaluate(x, "exact")
