"""From expressions to layers: what is carried, what it costs, what rounding does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flint import arb, ctx
from torch import nn

from depthwright.networks.reading import read
from depthwright.networks.reading.expressions import Tape
from depthwright.networks.reading.layers import plain_network
from depthwright.refusal import Refusal
from module_kinds import Dense, Digits, Residual, Stream, between


def test_a_plain_chain_is_itself():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3))
    plain = read(net)
    assert plain.exact
    assert plain.widths == (4, 7, 5, 3)
    for layer, weight, bias in zip(net[::2], plain.weights, plain.biases, strict=True):
        assert np.array_equal(layer.weight.detach().double(), weight)
        assert np.array_equal(layer.bias.detach().double(), bias)


WIDTHS = {
    # x and 9 neurons a block; x is carried as σ(x) and σ(−x) beside them
    "stream": (Stream, None, (3, 15, 15, 15, 15, 3)),
    # the first x has both signs (8), later ones are carried as they are (4)
    "residual": (Residual, None, (4, 14, 4, 10, 4, 10, 4, 4)),
    "dense": (Dense, None, (3, 10, 14, 18, 15)),
    # leaky: σ(x) and σ(−x)
    "leaky": (lambda: between(nn.LeakyReLU()), None, (3, 8, 2)),
    # max of 4: two differences beside two values, then one beside one
    "max": (lambda: nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), (1, 2, 2), (4, 4, 4, 2, 1)),
    # dropout, flatten, pooling by averages: nothing
    "none": (lambda: nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(4, 2)), (2, 2), (4, 2)),
    "clamp": (lambda: between(nn.Hardtanh()), None, (3, 8, 2)),
}


@pytest.mark.parametrize("name", WIDTHS)
def test_as_few_neurons_as_the_rewriting_needs(name):
    make, shape, widths = WIDTHS[name]
    assert read(make().eval(), input_shape=shape).widths == widths


def test_a_long_stream_does_not_grow():
    class Long(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList(between(nn.ReLU(), 4, 4) for _ in range(30))
            self.back = nn.Linear(2, 3)

        def forward(self, x):
            for block in self.blocks:
                x = x + self.back(block(x))
            return x

    plain = read(Long())
    assert max(plain.widths) == 4 + 2 * 3
    assert len(plain.weights) == 31


def test_sizes_before_and_after():
    assert read(Digits().eval(), input_shape=(1, 8, 8)).sizes == (
        "Digits with 368 parameters → plain layers of width 192, depth 6, 69,842 parameters"
    )


def test_the_same_maximum_and_the_same_relu_are_made_once():
    tape = Tape(3)
    a, b, _ = tape.inputs
    first = tape.maximum(np.array([a, a]), np.array([b, b]))
    second = tape.relu(np.array([a, b, a]))
    assert first[0] == first[1]
    assert second[0] == second[2]
    assert plain_network(tape, tape.relu(tape.relu(tape.inputs)), "").widths == (3, 3, 3)


@pytest.mark.parametrize("module", [nn.BatchNorm1d, nn.BatchNorm2d])
def test_a_batch_norm_is_within_its_bound(module):
    """True factors by ball arithmetic of 200 bits; the bound holds and is no more than 8 times."""
    torch.manual_seed(0)
    norm = module(50).double().eval()
    norm.running_var.uniform_(1e-4, 3)
    norm.running_mean.normal_(0, 10)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    shape = (50,) if module is nn.BatchNorm1d else (50, 1, 1)
    plain = read(norm, input_shape=shape)
    ctx.prec = 200
    factors = zip(*(t.tolist() for t in (norm.weight, norm.running_var)), strict=True)
    worst = 0.0
    for k, (gamma, variance) in enumerate(factors):
        factor = arb(gamma) / (arb(variance) + arb(norm.eps)).sqrt()
        off = abs(arb(plain.weights[0][k, k]) - factor)
        assert off <= arb(plain.weight_errors[0][k, k])
        shift = arb(norm.bias[k].item()) - arb(norm.running_mean[k].item()) * factor
        assert abs(arb(plain.biases[0][k]) - shift) <= arb(plain.bias_errors[0][k])
        worst = max(worst, float((off / arb(plain.weight_errors[0][k, k])).mid()))
    assert worst > 1 / 8
    assert plain.weight_errors[0][0, 1] == 0


def test_the_deviation_holds_for_every_choice_within_the_errors():
    """Weights at random ends of their intervals, values in extended precision."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4), nn.Linear(4, 2)
    ).eval()  # fmt: skip
    plain = read(net)
    lower, upper = np.array([-1.0, 0.0, 2.0]), np.array([1.0, 3.0, 5.0])
    bound = plain.deviation(lower, upper)
    # errors a million times as large, so that extended precision sees them
    wide = type(plain)(
        plain.weights, plain.biases,
        tuple(None if e is None else e * 2.0**20 for e in plain.weight_errors),
        tuple(None if e is None else e * 2.0**20 for e in plain.bias_errors),
    )  # fmt: skip
    wider = wide.deviation(lower, upper)
    assert (wider >= bound * 2**19).all()
    rng = np.random.default_rng(0)
    most = np.zeros(2)
    for _ in range(300):
        x = rng.uniform(lower, upper).astype(np.longdouble)
        h, true = x, x
        layers = zip(wide.weights, wide.biases, wide.weight_errors, wide.bias_errors, strict=True)
        for k, (weight, bias, weight_error, bias_error) in enumerate(layers):
            h, true = (np.maximum(v, 0) if k else v for v in (h, true))
            ends = [
                0 if e is None else e * rng.choice([-1, 1], e.shape)
                for e in (weight_error, bias_error)
            ]
            h = weight.astype(np.longdouble) @ h + bias
            true = (weight.astype(np.longdouble) + ends[0]) @ true + bias + ends[1]
        most = np.maximum(most, np.abs(h - true).astype(np.float64))
    assert (most <= wider).all()
    assert (most >= wider / 100).all()


def test_what_does_not_fit_into_memory_is_refused_before_it_is_made():
    net = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 8, 3))
    with pytest.raises(
        Refusal, match=r"the plain layers of this network need matrices of .* entries"
    ):
        read(net, input_shape=(3, 40, 40))
