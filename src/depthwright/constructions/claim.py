"""What a construction promises, proved; and as plain values, for files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from depthwright.networks.arithmetic import Arithmetic

Norm = Literal["sup", "floats", "probability", "drawn", "none"]


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
    norm: Norm
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

    def plain(self) -> dict[str, Any]:
        """As JSON holds it; floats are written so that they come back the same."""
        return {**asdict(self), "terms": dict(self.terms)}

    @classmethod
    def of(cls, plain: Any) -> Claim | None:
        """From what JSON held; None where that is no claim."""
        if not isinstance(plain, dict) or plain.keys() != {f.name for f in fields(cls)}:
            return None
        terms = plain["terms"]
        sound = (
            _size(plain["accuracy"])
            and plain["norm"] in get_args(Norm)
            and isinstance(plain["domain"], str)
            and isinstance(terms, dict)
            and all(map(_size, terms.values()))
            and plain["arithmetic"] in get_args(Arithmetic)
            and _size(plain["failure_probability"])
            and plain["failure_probability"] <= 1
            and (plain["density_bound"] is None or _size(plain["density_bound"]))
        )
        return cls(**plain) if sound else None


def _size(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf
