"""A construction at a glance: its size, what it promises and its values along one ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from depthwright.constructions.construction import Claim, Construction
from depthwright.networks.architecture import Architecture
from depthwright.refusal import Refusal

MOST_BUILT = 2_000_000
"""Parameters of the largest network that is built for a glance."""


@dataclass(frozen=True)
class Glance:
    """What can be said of one construction; `refusal` says why there is nothing."""

    name: str
    architecture: Architecture | None = None
    refusal: str = ""
    claim: Claim | None = None
    values: tuple[float, ...] = ()
    """At the places that were asked for; empty where the network is too large to be built here."""


def glance(construction: Construction, at: Sequence[float] = ()) -> Glance:
    """Size by formula; built, and evaluated at x = s·u for each s of `at`, where it is small.

    u has equal coordinates and norm 1.
    """
    name = type(construction).__name__
    try:
        size = construction.architecture()
        if not at or size.parameters > MOST_BUILT:
            return Glance(name, size)
        import torch

        built = construction.build()
        ray = torch.full((1, size.input_dim), size.input_dim**-0.5, dtype=torch.float64)
        values = built.network.evaluate(torch.tensor(at, dtype=torch.float64)[:, None] * ray)
    except Refusal as refusal:
        return Glance(name, refusal=str(refusal))
    return Glance(name, size, claim=built.claim, values=tuple(values[:, 0].tolist()))
