"""A network with its claim: what `build` returns, what a folder keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthwright.constructions import saved
from depthwright.constructions.claim import Claim
from depthwright.distributions.domain import Domain
from depthwright.networks.network import Network
from depthwright.networks.points import as_points
from depthwright.refusal import Refusal
from depthwright.targets.target import Target

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, repr=False)
class Built:
    """A network and its claim."""

    network: Network
    claim: Claim
    in_bad_set: Callable[[np.ndarray], np.ndarray] | None = None
    """Which points (batch, d) a claim of norm "probability" leaves out, as booleans (batch,)."""
    domain: Domain | None = None
    """Where the claim holds, if the network itself does not restrict its inputs."""
    target: Target | None = None
    construction: str = ""
    """The class that built it."""

    def __repr__(self) -> str:
        terms = ", ".join(f"{name} {term:.2g}" for name, term in self.claim.terms.items())
        promise = "no claim"
        if self.claim.norm != "none":
            promise = f"error at most {self.claim.bound:.4g} for {self.claim.words}"
        made = f" by {self.construction}" if self.construction else ""
        goal = f" for {self.target!r}" if self.target is not None else ""
        network = "\n  ".join(repr(self.network).splitlines()[:2])  # the claim says the inputs
        return f"Built{made}{goal}\n  {network}\n  {promise}\n  {terms}".rstrip()

    def save(self, path: str | Path) -> None:
        """Write the network, its claim and their digests, for `load_built` and for anyone else.

        `path` is a folder, or the name of the network's file (.jsonl.gz; .safetensors for networks
        of floats), which the others stand beside; Refusal for a file of another kind. Where
        ONNX holds the network, it is written as well, with the claim as a property that verifiers
        of networks read. `constructions.saved` says what is in the files.
        """
        saved.write(
            Path(path), self.network, self.claim, self.domain, self.target, self.construction
        )

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


def load_built(path: str | Path) -> Built:
    """The network and the claim that `Built.save` wrote there; a changed file is refused.

    Nothing in a file is executed. The target is not kept, only its digest; and of a claim of norm
    "probability" the bad set is not, so that `decides` is refused.
    """
    found = saved.read(Path(path))
    unknown = _bad_set_is_not_kept if found.claim.norm == "probability" else None
    return Built(found.network, found.claim, unknown, found.domain, None, found.construction)


def _bad_set_is_not_kept(x: np.ndarray) -> np.ndarray:
    raise Refusal(
        'the inputs that a claim of norm "probability" leaves out are not kept in files; '
        "build the network again, or with failure_probability=0"
    )
