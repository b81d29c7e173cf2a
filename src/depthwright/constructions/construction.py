"""The contract of every construction: sizes without building, a network with its claim."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from depthwright.distributions.domain import Domain
from depthwright.networks.architecture import Architecture
from depthwright.networks.arithmetic import Arithmetic
from depthwright.networks.inputs import Inputs
from depthwright.networks.network import Network
from depthwright.networks.points import as_points
from depthwright.refusal import Refusal
from depthwright.targets.target import Target

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Claim:
    """What a construction promises of the network it built. Proved, never sampled.

    norm "sup": abs(network − target) ≤ bound on all of `domain`.
    norm "floats": the same at every float64 (or float32, as `domain` says) of it: all inputs that
    a computer can represent.
    norm "probability": the same outside a set whose probability is at most `failure_probability`
    under `domain`'s uniform law, or any of density at most `density_bound`.
    norm "drawn": as "sup", with probability at least 1 − `failure_probability` over the draw of
    the network itself (a seed is one draw); no input is excepted.
    norm "none": no claim; the network is only measured.
    """

    accuracy: float
    """The theorem's ε; 0 for constructions that are equal."""
    norm: Literal["sup", "floats", "probability", "drawn", "none"]
    domain: str
    terms: Mapping[str, float]
    """Each source of error with its rigorous bound; the claim is their sum."""
    arithmetic: Arithmetic = "float64"
    """The arithmetic of the evaluation for which the claim holds."""
    failure_probability: float = 0.0
    density_bound: float | None = None
    """VYS22's β of the law under which norm "probability" is meant; None: the uniform law."""

    @property
    def words(self) -> str:
        """The inputs for which it holds, in words."""
        if self.norm == "probability":
            law = (
                f"any density up to {self.density_bound:g}" if self.density_bound else "uniform law"
            )
            return f"all but a set of probability {self.failure_probability:.2g} ({law})"
        if self.norm == "drawn":
            return f"all, with probability {1 - self.failure_probability:g} of the draw"
        if self.norm == "none":
            return "none"
        whole = self.norm == "sup" and not self.domain.startswith("the")
        return f"all of the {self.domain}" if whole else self.domain

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
    in_bad_set: Callable[[np.ndarray], np.ndarray] | None = None
    """Which points (batch, d) a claim of norm "probability" leaves out, as booleans (batch,)."""
    domain: Domain | None = None
    """Where the claim holds, if the network itself does not restrict its inputs."""

    def decides(self, x: torch.Tensor, *, smallest: bool = False) -> torch.Tensor:
        """For which rows of `x` (batch, d) the claim alone decides the target's label: (batch,).

        There the target's largest output is the network's, by a margin above twice the claim's
        bound, roundings included; with one output, the sign is the same. `smallest`: the label is
        the smallest output, as where outputs are costs. False means that the claim does not decide,
        also because it does not hold for this input.
        """
        import torch

        if self.claim.norm in ("drawn", "none"):
            raise Refusal(
                f'a claim of norm "{self.claim.norm}" decides no input for certain; '
                "build with failure_probability=0"
            )
        x = as_points(x, self.network.architecture.input_dim)
        rows = x.detach().cpu().double().numpy()
        covered = np.isfinite(rows).all(axis=1)
        if self.network.inputs is not None:
            covered &= ~(self.network.inputs.outside(rows) | self.network.inputs.others(rows))
        if self.domain is not None:
            covered &= self.domain.contains(x.detach().double()).cpu().numpy()
        if self.in_bad_set is not None:
            covered[covered] = ~self.in_bad_set(rows[covered])
        known = torch.from_numpy(covered).to(x.device)
        decided = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        if covered.any():
            values = self.network.evaluate(x[known], self.claim.arithmetic)
            values = -values if smallest else values
            decided[known] = self._clear(values.double().cpu().numpy()).to(x.device)
        return decided

    def _clear(self, values: np.ndarray) -> torch.Tensor:
        """Where the margin of `values` (batch, outputs) is large enough.

        Rounding of the difference changes nothing: at most the float 2ε is rounded to at most 2ε.
        """
        import torch

        if values.shape[1] == 1:
            return torch.from_numpy(np.abs(values[:, 0]) > self.claim.bound)
        second, first = np.sort(values, axis=1)[:, -2:].T
        return torch.from_numpy(first - second > 2 * self.claim.bound)


@dataclass(frozen=True)
class Construction(ABC):
    """A recipe that builds a network from a target, after one theorem.

    Subclasses are frozen dataclasses whose fields are the theorem's parameters; creating one
    checks the hypotheses and raises `Refusal` naming the one that fails.
    """

    theorem: ClassVar[str]
    """The result it realises, with its source key."""
    target: Target

    def need(self, **own: float) -> None:
        """Refusal where one of its fields, if it has it, differs from that of the run.

        A run has one ε and one δ: those of its claims, rows, exceedances and floors.
        """
        for field, value in own.items():
            given = getattr(self, field, value)
            if given != value:
                raise Refusal(
                    f"construction.{field}={given:g} is not that of the run ({value:g}); "
                    f"say {field}={given:g} instead, which the construction follows"
                )

    @abstractmethod
    def architecture(self) -> Architecture:
        """The size, from formulas; no network is built."""

    @property
    def covered(self) -> Inputs | None:
        """The inputs for which the claim holds; None: all of the target's domain.

        Where it is all real numbers of a box, a bad set is excluded: no network reads their bits.
        """
        return None

    @property
    def density_bound(self) -> float | None:
        """Bound on the density of the law behind a bad set's probability; None: it is uniform."""
        return None

    @abstractmethod
    def build(self) -> Built:
        """The network and its claim."""
