import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from depthwright.distributions import Box, UniformBox, UniformCube
from depthwright.networks.torch_network import ModuleNetwork
from depthwright.refusal import Refusal
from depthwright.targets import Network, RandomNetwork
from depthwright.targets.network import spectral_bound


def model(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Linear(4, 7), nn.ReLU()), nn.Linear(7, 12, bias=False), nn.ReLU(),
        nn.Linear(12, 3),
    ).to(dtype)  # fmt: skip


def points(count, dim, radius=1.0, seed=0):
    return UniformCube(dim, radius).sample(count, torch.Generator().manual_seed(seed))


def test_a_model_is_read_as_it_is(tmp_path):
    net = model()
    target = Network(net, radius=2.0)
    x = points(50, 4, 2.0)
    assert (target(x) - net.double()(x)).abs().max() <= 1e-14
    assert target.widths == (4, 7, 12, 3)
    assert (target.input_dim, target.output_dim) == (4, 3)
    assert str(target.domain) == "cube [−2, 2]^4"
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    for other in (
        net.state_dict(),
        tmp_path / "net.safetensors",
        str(tmp_path / "net.safetensors"),
    ):
        again = Network(other, radius=2.0)
        assert torch.equal(again(x), target(x))


def test_layers_of_a_file_are_ordered_by_number(tmp_path):
    layers = [m for _ in range(6) for m in (nn.Linear(3, 3), nn.ReLU())]
    net = nn.Sequential(*layers, nn.Linear(3, 3))  # "10.weight" sorts before "2.weight"
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    x = points(10, 3)
    assert torch.equal(Network(tmp_path / "net.safetensors")(x), Network(net)(x))


def test_its_exact_twin_is_the_same_function():
    target = RandomNetwork(3, 9, 4, seed=2, output_dim=2)
    x = points(100, 3)
    assert (target.as_network().evaluate(x, "exact") - target(x)).abs().max() <= 1e-13


@pytest.mark.parametrize("initialisation", ["uniform", "he"])
def test_declared_constants_hold(initialisation):
    target = RandomNetwork(5, 30, 3, 0.5, seed=1, initialisation=initialisation, radius=1.5)
    x, y = points(4000, 5, 1.5).chunk(2)
    slope = (target(x) - target(y)).norm(dim=1) / (x - y).norm(dim=1)
    assert slope.max() <= target.lipschitz
    assert target(x).abs().max() <= target.magnitude
    for matrix, name in zip(target.weights, target.norms, strict=True):
        true = np.linalg.svd(matrix)[1][0]
        assert true <= target.norms[name] <= true * (1 + 1e-9)


def test_spectral_bound_is_above_for_flat_spectra():
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((60, 60)))[0]
    assert 1 <= spectral_bound(q) <= 1 + 1e-9


@pytest.mark.parametrize("shape", [(600, 700), (700, 600)])
def test_large_matrices_have_a_bound_within_a_percent(shape):
    matrix = np.random.default_rng(0).standard_normal(shape)
    true = np.linalg.svd(matrix, compute_uv=False)[0]
    assert true <= spectral_bound(matrix) <= true * 1.01
    assert spectral_bound(np.zeros(shape)) == 0


@pytest.mark.parametrize("power", [-1000, -565, 565, 1000])
@pytest.mark.parametrize("size", [8, 600])
def test_spectral_bounds_scale_with_the_matrix_where_squares_leave_the_range(power, size):
    matrix = np.random.default_rng(0).uniform(-1, 1, (size, 5))
    assert spectral_bound(np.ldexp(matrix, power)) == math.ldexp(spectral_bound(matrix), power)


@pytest.mark.parametrize("entries", [[5e-324, 5e-324], [1e-320, 1e-320], [1.7e308, 1.7e308]])
def test_spectral_bounds_round_up_at_the_ends_of_the_range(entries):
    bound = spectral_bound(np.array([entries]))
    assert math.isinf(bound) or Fraction(bound) ** 2 >= sum(Fraction(v) ** 2 for v in entries)


def chain(*factors, radius=1.0):
    """x ↦ the product of these factors times x, a neuron a layer."""
    layers = [part for f in factors for part in (linear(f), nn.ReLU())]
    return Network(nn.Sequential(*layers[:-1]), radius=radius)


def linear(factor):
    layer = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.fill_(factor)
    return layer


@pytest.mark.parametrize(
    ("factors", "radius"),
    [((1e-200, 1e-200, 1e300, 1e200), 1.0), ((1e-200, 1e300, 1e200), 1e-200), ((1e300, 0.0), 1e9)],
)
def test_declared_constants_survive_products_that_leave_the_range(factors, radius):
    target = chain(*factors, radius=radius)
    true = math.prod(map(Fraction, factors))
    assert true <= Fraction(target.lipschitz) <= true * (1 + Fraction(1, 10**9))
    assert true * Fraction(radius) <= Fraction(target.magnitude)


def test_random_networks_are_what_they_say():
    target = RandomNetwork(4, 200, 3, 0.25, seed=0)
    assert target.widths == (4, 200, 200, 1)
    assert all(np.abs(w).max() <= 0.25 for w in target.weights + target.biases)
    assert np.abs(target.weights[1]).max() > 0.2499
    assert np.array_equal(RandomNetwork(4, 200, 3, 0.25, seed=0).weights[1], target.weights[1])
    assert not np.array_equal(RandomNetwork(4, 200, 3, 0.25, seed=1).weights[1], target.weights[1])
    he = RandomNetwork(4, 400, 3, seed=0, initialisation="he")
    # 160,000 entries of variance 2/400: relative standard error of the variance √(2/160000)
    assert he.weights[1].var() == pytest.approx(2 / 400, rel=4 * math.sqrt(2 / 160_000))
    assert not he.biases[1].any()


BAD_MODELS = {
    "Conv2d": nn.Sequential(nn.Conv2d(1, 1, 1)),
    "GELU": nn.Sequential(nn.Linear(2, 2), nn.GELU(), nn.Linear(2, 1)),
    "LayerNorm": nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 1)),
    r"layer 2 \(Linear\) fails": nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(3, 1)),
    "LSTM": nn.LSTM(2, 2),
    "is not there": "nothing.safetensors",
    "type int is not a network": 5,
    "no Linear layer": {},
    "conv.weight has 4 axes": {"conv.weight": torch.zeros(1, 1, 1, 1)},
    "1 axes": nn.BatchNorm1d(3).state_dict(),
}


@pytest.mark.parametrize("message", BAD_MODELS)
def test_other_models_are_refused_by_name(message):
    with pytest.raises(Refusal, match=message):
        Network(BAD_MODELS[message])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_layers_used_twice_are_there_twice(dtype):
    torch.manual_seed(0)
    shared, relu = nn.Linear(3, 3), nn.ReLU()
    net = nn.Sequential(shared, relu, nn.Sequential(shared, relu), nn.Linear(3, 1)).to(dtype)
    target, x = Network(net), points(50, 3)
    assert target.widths == (3, 3, 3, 1)
    # three sums of four terms below 2
    assert (target(x) - net.double()(x)).abs().max() <= 64 * torch.finfo(torch.float64).eps
    if dtype in (torch.float32, torch.float64):
        assert ModuleNetwork(net).widths == (3, 3, 3, 1)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(value):
    net = model()
    with torch.no_grad():
        net[1].weight[2, 3] = value
    with pytest.raises(Refusal, match=rf"weight of affine map 2 is {value} at \(2, 3\)"):
        Network(net)


@pytest.mark.parametrize("radius", [0.0, -1.0, math.nan, math.inf, "1", 10**400])
def test_a_radius_that_is_not_positive_is_refused(radius):
    with pytest.raises(Refusal, match="not a positive number"):
        Network(model(), radius=radius)
    with pytest.raises(Refusal, match="not a positive number"):
        RandomNetwork(radius=radius)


BOXES = {
    "both say where inputs live": {"radius": 1.0, "lower": -1.0, "upper": 2.0},
    "upper is not given": {"lower": -1.0},
    "lower is not given": {"upper": -1.0},
    r"lower has shape \(3,\) and there are 2 inputs": {"lower": [0, 0, 0], "upper": 1.0},
    "upper=nan of input 1 is not a finite number": {"lower": 0.0, "upper": [1.0, math.nan]},
    "lower=-inf of input 0 is not a finite": {"lower": -math.inf, "upper": 1.0},
    "input 1 runs from lower=1.0 to upper=1.0": {"lower": [0, 1], "upper": 1},
    "input 0 runs from lower=2.0 to upper=1.0": {"lower": [2, 0], "upper": 1},
    "apart, under which floats lose digits": {"lower": 0.0, "upper": 1e-310},
    "lower='low' is neither a number": {"lower": "low", "upper": 1.0},
}


@pytest.mark.parametrize("message", BOXES)
def test_what_is_no_box_is_refused(message):
    for make in (
        lambda box: RandomNetwork(2, **box),
        lambda box: Network(nn.Sequential(nn.Linear(2, 1)), **box),
        lambda box: UniformBox(2, **box),
    ):
        with pytest.raises(Refusal, match=message):
            make(BOXES[message])


def test_a_box_is_read_from_numbers_arrays_and_tensors():
    wanted = np.array([-1.0, 0.5, 0.0]), np.array([2.0, 2.0, 2.0])
    for lower in ([-1, 0.5, 0], np.array([-1, 0.5, 0.0]), torch.tensor([-1, 0.5, 0.0])):
        target = RandomNetwork(3, lower=lower, upper=2)
        for side, want in zip((target.lower, target.upper), wanted, strict=True):
            assert side.dtype == np.float64
            assert side.tolist() == want.tolist()
        again = dataclasses.replace(target, seed=1)
        assert again.domain == target.domain == Box((-1.0, 0.5, 0.0), (2.0, 2.0, 2.0))
        assert target.radius is None
        assert str(target.domain) == "box [−1, 2] × [0.5, 2] × [0, 2]"
    cube = RandomNetwork(3, radius=2)
    assert dataclasses.replace(cube, seed=1).domain == cube.domain == Box.of(3, 2)
    assert (cube.radius, str(cube.domain)) == (2.0, "cube [−2, 2]^3")
    assert RandomNetwork(3).domain == Box.of(3, 1.0)


def test_magnitude_bounds_the_values_on_a_box_off_the_centre():
    target = RandomNetwork(2, 5, 3, seed=2, lower=[3.0, -1.0], upper=[3.5, 7.0], output_dim=2)
    x = UniformBox(2, lower=[3.0, -1.0], upper=[3.5, 7.0]).sample(
        4000, torch.Generator().manual_seed(0)
    )
    assert target.domain.contains(x).all()
    largest = float(target(x).abs().max())
    assert largest <= target.magnitude < RandomNetwork(2, 5, 3, seed=2, radius=7.0).magnitude
    one = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)).double()
    for parameter, value in zip(one.parameters(), (-2.0, 1.0, 3.0, -1.0), strict=True):
        nn.init.constant_(parameter, value)
    # 3σ(1 − 2x) − 1 runs from −1 at 4 to 8 at −1
    exact = Network(one, lower=-1.0, upper=4.0).magnitude
    assert 8.0 <= exact <= 8.0 * (1 + 1e-10)


def test_a_subnormal_radius_is_refused():
    with pytest.raises(Refusal, match="give a larger radius"):
        RandomNetwork(radius=1e-310)


@pytest.mark.parametrize(
    "fields",
    [{"width": 0}, {"depth": 0}, {"input_dim": 0}, {"weight_bound": 0.0}, {"seed": -1},
     {"initialisation": "orthogonal"}],
)  # fmt: skip
def test_bad_fields_are_refused(fields):
    with pytest.raises(Refusal, match=f"{next(iter(fields))}="):
        RandomNetwork(**fields)
