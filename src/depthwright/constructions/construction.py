"""The contract of every construction: sizes without building, a network with its claim."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from depthwright.networks.architecture import Architecture
from depthwright.networks.network import Arithmetic, Network
from depthwright.targets.target import Target


@dataclass(frozen=True)
class Claim:
    """What a construction promises of the network it built. Proved, never sampled.

    norm "sup": abs(network − target) ≤ bound on all of `domain`.
    norm "floats": the same at every float64 (or float32, as `domain` says) of it, which are all
    inputs that a computer can hand over.
    norm "probability": the same outside a set whose probability is at most `failure_probability`
    under `domain`'s uniform law, or any of density at most `density_bound`.
    norm "drawn": as "sup", with probability at least 1 − `failure_probability` over the draw of
    the network itself (a seed is one draw); no input is excepted.
    norm "none": nothing is promised; the network is only measured.
    """

    accuracy: float
    """The accuracy asked for (the theorem's ε); 0 for constructions that are equal."""
    norm: Literal["sup", "floats", "probability", "drawn", "none"]
    domain: str
    terms: Mapping[str, float]
    """Each source of error with its rigorous bound; the claim is their sum."""
    arithmetic: Arithmetic = "float64"
    """The arithmetic of the evaluation that the claim speaks of."""
    failure_probability: float = 0.0
    density_bound: float | None = None
    """VYS22's β, of a law that norm "probability" speaks of; None: the uniform one."""

    @property
    def bound(self) -> float:
        """The sum of the terms, rounded up; inf where nothing is promised."""
        if self.norm == "none":
            return math.inf
        try:
            total = math.fsum(self.terms.values())
        except OverflowError:  # finite terms, a sum beyond float64
            return math.inf
        return math.nextafter(total, math.inf) if self.terms else 0.0


@dataclass(frozen=True)
class Built:
    """A network and its claim."""

    network: Network
    claim: Claim
    fails: Callable[[np.ndarray], np.ndarray] | None = None
    """Which points (batch, d) a claim of norm "probability" leaves out, as booleans (batch,)."""


@dataclass(frozen=True)
class Construction(ABC):
    """A recipe that builds a network from a target, after one theorem.

    Subclasses are frozen dataclasses whose fields are the theorem's parameters; creating one
    checks the hypotheses and raises `Refusal` naming the one that fails.
    """

    theorem: ClassVar[str]
    """The result it realises, with its source key."""
    target: Target

    @abstractmethod
    def architecture(self) -> Architecture:
        """The size, from formulas; no network is built."""

    @abstractmethod
    def build(self) -> Built:
        """The network and its claim."""
