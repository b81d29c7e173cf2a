"""Twins of networks that were rewritten: the claim speaks of the network that was given."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from depthwright.constructions import NarrowBits, NarrowExact, NarrowExactSlim, NarrowPacked
from depthwright.refusal import Refusal
from depthwright.targets import Network

TERM = "rounding of entries that are no floats"


def given():
    """Two layers without a ReLU between them, a BatchNorm and a LeakyReLU."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(2, 3), nn.BatchNorm1d(3), nn.LeakyReLU(0.1), nn.Linear(3, 3), nn.Linear(3, 2)
    )
    net[1].running_mean.normal_()
    net[1].running_var.uniform_(0.5, 2)
    return net.double().eval()


TWINS = {
    "NarrowExact": lambda target: NarrowExact(target),
    "NarrowExactSlim": lambda target: NarrowExactSlim(target),
    "NarrowBits": lambda target: NarrowBits(target, 1e-2, 1e-3),
    "NarrowPacked": lambda target: NarrowPacked(target, 1e-2, 1e-3),
}


@pytest.mark.parametrize("name", TWINS)
def test_a_claim_counts_what_was_rounded_when_the_network_was_read(name):
    module = given()
    target = Network(module)
    assert 0 < target.reading_error <= 1e-13
    built = TWINS[name](target).build()
    assert built.claim.terms[TERM] == target.reading_error
    assert built.claim.bound <= max(built.claim.accuracy, 1e-13)
    x = torch.rand(40, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
    kept = torch.ones(len(x), dtype=torch.bool)
    if built.in_bad_set is not None:
        kept = ~torch.from_numpy(built.in_bad_set(x.numpy()))
    with torch.no_grad():
        gap = (built.network.evaluate(x) - module(x)).abs().amax(dim=1)[kept]
    # the module's own rounding: five layers of at most 4 terms below 8
    assert len(gap) >= 30
    assert gap.max() <= built.claim.bound + 200 * torch.finfo(torch.float64).eps


def test_an_exactly_read_network_adds_no_term():
    torch.manual_seed(0)
    target = Network(nn.Sequential(nn.Linear(2, 3), nn.LeakyReLU(0.25), nn.Linear(3, 1)))
    assert target.reading_error == 0
    assert TERM not in NarrowExact(target).build().claim.terms


def test_an_accuracy_below_what_was_rounded_is_refused():
    target = Network(given())
    with pytest.raises(Refusal, match="give a larger accuracy"):
        NarrowBits(target, target.reading_error / 2, 1e-3).build()
    with pytest.raises(Refusal, match="give a larger accuracy"):
        NarrowPacked(target, target.reading_error / 2, 1e-3).build()
