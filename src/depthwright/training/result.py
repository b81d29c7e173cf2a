"""What training returns: per contender its best network, and every member that was tried."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Rival:
    """A contender's best member, best over its shapes, styles, seeds and learning rates."""

    network: LayerNetwork
    member: Member
    members: tuple[Member, ...]
    """All that were tried for this contender, the dropped ones included."""
    history: tuple[tuple[int, float], ...]
    """(step, root mean squared validation error of the member that was best at that step)."""
    train_seconds: float
    """Spent on its families; a family that two contenders share counts for both."""


@dataclass(frozen=True)
class TrainingResult:
    """All contenders of one run."""

    rivals: Mapping[str, Rival]
    diverged: tuple[str, ...]
    """Contenders none of whose members survived; they have no rival."""
    steps: int
    seconds: float
    """Wall time of the whole training, everything included."""
    device: str
