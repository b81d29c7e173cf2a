"""A convolutional network trained on scikit-learn's digits, read, and its narrow twin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from depthwright.constructions import NarrowPacked
from depthwright.targets import Network

datasets = pytest.importorskip("sklearn.datasets")


@pytest.mark.slow
def test_a_convolutional_network_and_its_twin_give_every_digit_one_label():
    digits = datasets.load_digits()
    images = torch.from_numpy(digits.images / 16).float()[:, None]
    labels = torch.from_numpy(digits.target)
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 10)
    )
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(20):
        for rows in torch.randperm(1400).split(100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images[rows]), labels[rows]).backward()
            optimizer.step()
    wide = Network(net.eval(), lower=0, upper=1, input_shape=(1, 8, 8))
    twin = NarrowPacked(wide, accuracy=0.1).build()
    points = images.reshape(-1, 64).numpy()[::3]
    values = twin.network.evaluate(points).numpy()
    with torch.no_grad():
        wanted = net.double()(images.double()[::3]).numpy()
    # float64 sums of at most 36 terms, far below the bound
    assert np.abs(values - wanted).max() <= twin.claim.bound + 1e-12
    decided = twin.decides(points).numpy()
    assert (values.argmax(axis=1) == wanted.argmax(axis=1))[decided].all()
    assert decided.mean() > 0.9
    assert (wanted.argmax(axis=1) == digits.target[::3]).mean() > 0.9
    assert twin.network.architecture.width == 66
