"""What training returns: per contender its best network, and every member that was tried."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from depthwright.networks.torch_network import LayerNetwork


class TrainingDiverged(RuntimeError):
    """No rival is left; one sentence, for the command line to print."""


@dataclass(frozen=True)
class Member:
    """One training run among many. Errors are root mean squares on the validation points."""

    widths: tuple[int, ...]
    style: str
    """How its maps are joined; "plain" where another style would change nothing."""
    seed: int
    learning_rate: float
    best_rmse: float
    """The lowest at any validation: the snapshot that is kept."""
    final_rmse: float
    """At the last validation; not a number or huge where it diverged."""
    diverged_at: int | None = None
    """The step of the validation at which it was dropped."""
    loss: str = "l2"
    initialisation: str = "he"
    """The kind, or "constructed" for a start from the construction's weights."""
    noise: float | None = None
    """Relative, on each weight of such a start."""
    first_rmse: float = math.nan
    """Before the first step."""
    best_sup: float = math.nan
    """Largest error on the validation points of the snapshot that is kept."""
    steps: int = 0
    """Taken until it was stopped, or to the end."""
    dead: bool = False
    """Whether the network at the last validation is a constant: it gives all validation points
    the same value, to within a millionth of the target's root mean square."""


def _settings(member: Member) -> tuple[object, ...]:
    return (
        member.widths,
        member.style,
        member.learning_rate,
        member.loss,
        member.initialisation,
        member.noise,
    )


@dataclass(frozen=True)
class Rival:
    """A contender's best member, best over its shapes, styles, seeds and learning rates."""

    network: LayerNetwork
    member: Member
    members: tuple[Member, ...]
    """All members tried for this contender, the dropped ones included."""
    history: tuple[tuple[int, float], ...]
    """(step, root mean squared validation error of the member that was best at that step)."""
    train_seconds: float
    """Spent on its families; a family that two contenders share counts for both."""
    network_steps: int = 0
    """Taken by all its members together: the budget that the search has used."""

    def spread(self) -> dict[str, float]:
        """Best, median and worst over the members' lowest errors, the diverged ones included;
        and of the winner's settings alone, over its seeds."""
        alike = [m for m in self.members if _settings(m) == _settings(self.member)]
        found: dict[str, float] = {}
        for name, members in (("search", self.members), ("seeds", alike)):
            errors = sorted(m.best_rmse for m in members)
            found |= {
                f"{name}_members": len(errors),
                f"{name}_best": errors[0],
                f"{name}_median": statistics.median(errors),
                f"{name}_worst": errors[-1],
            }
        return found


@dataclass(frozen=True)
class TrainingResult:
    """All contenders of one run."""

    rivals: Mapping[str, Rival]
    diverged: tuple[str, ...]
    """Contenders without a surviving member; they have no rival."""
    steps: int
    seconds: float
    """Wall time of the whole training."""
    device: str
