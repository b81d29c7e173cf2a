"""Every kind of module is read as the function it is, or refused by name."""

from __future__ import annotations

import copy
import re
import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from depthwright.networks.reading import read
from depthwright.refusal import Refusal
from module_kinds import READ, REFUSED

EPS = float(np.finfo(np.float64).eps)


def made(name, kinds=READ):
    """A module in eval mode whose statistics are not those of a new one."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what torch calls old
        module = kinds[name][0]()
    for part in module.modules() if isinstance(module, nn.Module) else ():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
    return module


def exactly(plain, x):
    """Values of plain layers in rationals, rounded at the end, and all terms by absolute value."""
    values, sizes = [], []
    layers = list(zip(plain.weights, plain.biases, strict=True))
    for point in x:
        h, size = [Fraction(v) for v in point.tolist()], np.abs(point)
        for k, (weight, bias) in enumerate(layers):
            h = [max(v, Fraction(0)) for v in h] if k else h
            h = [
                sum((Fraction(row[j]) * h[j] for j in np.flatnonzero(row).tolist()), Fraction(b))
                for row, b in zip(weight, bias.tolist(), strict=True)
            ]
            size = np.abs(weight) @ size + np.abs(bias)
        values.append([float(v) for v in h])
        sizes.append(size)
    return np.array(values), np.array(sizes)


@pytest.mark.parametrize("name", READ)
def test_a_module_is_read_as_the_function_it_is(name):
    module = made(name).eval()
    shape = READ[name][1]
    plain = read(module, input_shape=shape)
    d = plain.widths[0]
    x = torch.randn(4, *(shape or (d,)), generator=torch.Generator().manual_seed(1)).double()
    module = made(name).eval() if name == "an overridden forward" else copy.deepcopy(module)
    with torch.no_grad():
        wanted = module.double()(x).reshape(len(x), -1).numpy()
    points = x.reshape(len(x), -1).numpy()
    got, size = exactly(plain, points)
    # a module computes in float64 what the layers are exactly: each sum of k terms is off by
    # k·eps of its terms' sizes, at most 4 times for operations that the layers have merged
    steps = 4 * sum(w.shape[1] + 2 for w in plain.weights)
    bound = np.abs(points).max(axis=0)
    allowed = steps * EPS * size + plain.deviation(-bound, bound)
    assert (np.abs(got - wanted) <= allowed).all()
    assert allowed.max() <= 1e-9 * max(1, np.abs(wanted).max())


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_such_network_is_refused_by_name(name):
    make, shape, words = REFUSED[name]
    with pytest.raises(Refusal, match=words):
        read(made(name, REFUSED) if name not in ("no module",) else make(), input_shape=shape)


class OneByOne(nn.Module):
    """Takes a batch of one alone."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x):
        return torch.relu(self.linear(x.flatten(0)))[None]


def test_a_module_for_one_input_at_a_time_is_read():
    torch.manual_seed(0)
    module = OneByOne()
    plain = read(module, input_shape=(2, 2))
    x = torch.randn(1, 2, 2)
    with torch.no_grad():
        wanted = module.double()(x.double()).numpy()
    got, size = exactly(plain, x.double().reshape(1, 4).numpy())
    assert (np.abs(got - wanted) <= 20 * EPS * size).all()
    assert plain.widths == (4, 2, 2)


SHAPES = {
    "input_shape='28' is no shape": "28",
    "input_shape=(3.0,) is no shape": (3.0,),
    "input_shape=() is no shape": (),
    "input_shape=(True,) is no shape": (True,),
    "input_shape=(-4,) holds no values": (-4,),
    "input_shape=0 holds no values": 0,
}


@pytest.mark.parametrize("words", SHAPES)
def test_shapes_are_whole_numbers(words):
    with pytest.raises(Refusal, match=re.escape(words)):
        read(nn.Linear(4, 2), input_shape=SHAPES[words])


@pytest.mark.parametrize("shape", [4, (4,), [4], np.array([4]), torch.Size([4])])
def test_a_shape_has_many_forms(shape):
    assert read(nn.Linear(4, 2), input_shape=shape).widths == (4, 2)


def test_a_shape_that_no_layer_reads_is_refused():
    with pytest.raises(
        Refusal, match=r"input_shape=\(5,\) holds 5 values, and the network reads 4"
    ):
        read({"weight": torch.ones(2, 4), "bias": torch.ones(2)}, input_shape=(5,))


def test_names_of_layers_are_for_state_dicts():
    for extra in ({"order": ["0"]}, {"like": nn.Linear(4, 2)}):
        with pytest.raises(Refusal, match="are for state dicts"):
            read(nn.Linear(4, 2), **extra)
