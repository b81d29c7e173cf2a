"""Convolutional modules put together at random are read as the functions they are."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from depthwright.networks.reading import read

EPS = float(np.finfo(np.float64).eps)


class Of(nn.Module):
    """A function of the input and of inner layers."""

    def __init__(self, function, *parts):
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, x):
        return self.function(x, *(part(x) for part in self.parts))


def norm(channels):
    layer = nn.BatchNorm2d(channels)
    layer.running_mean.normal_()
    layer.running_var.uniform_(0.3, 2)
    nn.init.normal_(layer.weight)
    return layer


def layer(draw, c, h, w):
    """One layer that reads (c, h, w); torch refuses some."""
    size = min(draw.randint(1, 3), h, w)
    pooling = {"stride": draw.randint(1, 2), "ceil_mode": draw.random() < 0.5}
    return draw.choice(
        [
            lambda: nn.Conv2d(c, draw.randint(1, 3), size, draw.randint(1, 2), draw.randint(0, 1)),
            lambda: nn.Conv2d(c, 2 * c, 2, padding=1, groups=c),
            lambda: nn.Conv2d(c, 2, 2, dilation=2, padding=2),
            lambda: nn.ConvTranspose2d(c, 2, 2, stride=2),
            lambda: nn.ReLU(inplace=draw.random() < 0.3),
            lambda: nn.LeakyReLU(draw.choice([0.1, -0.3, 2.0])),
            nn.ReLU6,
            lambda: nn.MaxPool2d(size, **pooling),
            lambda: nn.AvgPool2d(size, count_include_pad=False, **pooling),
            lambda: norm(c),
            lambda: nn.Upsample(scale_factor=2),
            lambda: Of(lambda x, y: x + F.relu(y), nn.Conv2d(c, c, 3, padding=1)),
            lambda: Of(lambda x, y: torch.cat([x, F.relu(y)], 1), nn.Conv2d(c, 1, 1)),
            lambda: Of(torch.maximum, nn.Conv2d(c, c, 1)),
            lambda: Of(lambda x: x - x.amin(1, keepdim=True)),
            lambda: Of(lambda x: x - x.mean((2, 3), keepdim=True)),
            lambda: Of(lambda x: x.abs() - x / 3),
            lambda: Of(lambda x: F.pad(x, (1, 0, 0, 1), value=0.25).clamp(-0.5, 0.75)),
            lambda: Of(lambda x: x.flip(2).transpose(2, 3)),
        ]
    )()


def module(draw):
    """Up to seven layers of at most 200 values, and the shape of an input."""
    shape = (draw.randint(1, 2), draw.randint(3, 6), draw.randint(3, 6))
    x, layers = torch.randn(1, *shape), []
    for _ in range(draw.randint(2, 7)):
        made = layer(draw, *x.shape[1:]).eval()
        try:
            y = made(x.clone())
        except RuntimeError:
            continue
        if y.numel() <= 200:
            layers.append(made)
            x = y
    if draw.random() < 0.6:
        layers += [nn.Flatten(), nn.Linear(x.numel(), 2)]
    return nn.Sequential(*layers).eval(), shape


@pytest.mark.slow
@torch.no_grad()
def test_any_module_is_read_as_the_function_it_is():
    for seed in range(200):
        draw = random.Random(seed)
        torch.manual_seed(seed)
        net, shape = module(draw)
        plain = read(net, input_shape=shape)
        x = 2 * torch.randn(10, *shape).double()
        wanted = copy.deepcopy(net).double()(x.clone()).reshape(10, -1).numpy()
        value = x.reshape(10, -1).numpy()
        size, reach, steps = np.abs(value), np.abs(value).max(axis=0), 0
        for k, (weight, bias) in enumerate(zip(plain.weights, plain.biases, strict=True)):
            value = (np.maximum(value, 0) if k else value) @ weight.T + bias
            size = size @ np.abs(weight).T + np.abs(bias)
            steps += weight.shape[1] + 2
        # two evaluations, of sums that are each off by their number of terms · eps · their sizes
        allowed = 8 * steps * EPS * size + plain.deviation(-reach, reach)
        assert (np.abs(value - wanted) <= allowed).all(), (seed, net)
