"""The trained rivals: matching rules, batched ensembles, one training for all; fitted features.

Configuration, matching and results come without torch; the rest is imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from depthwright.training.config import TrainerConfig, TrainingConfig
from depthwright.training.matching import RULES, Match, match
from depthwright.training.result import Member, Rival, TrainingDiverged, TrainingResult

if TYPE_CHECKING:
    from depthwright.training.ensemble import Ensemble, EnsembleAdam
    from depthwright.training.lightning_module import RivalTraining
    from depthwright.training.rivals import train_rivals

_LAZY = {
    "Ensemble": "ensemble",
    "EnsembleAdam": "ensemble",
    "RivalTraining": "lightning_module",
    "train_rivals": "rivals",
}

__all__ = [
    "RULES",
    "Ensemble",
    "EnsembleAdam",
    "Match",
    "Member",
    "Rival",
    "RivalTraining",
    "TrainerConfig",
    "TrainingConfig",
    "TrainingDiverged",
    "TrainingResult",
    "match",
    "train_rivals",
]


def __getattr__(name: str) -> Any:
    """Import what needs torch (PEP 562)."""
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_LAZY]
