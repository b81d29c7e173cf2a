"""Theorems about the expressive power of ReLU networks, as networks that run.

Rooms are imported on first use, so that sizes, help and refusals never wait for torch:
`dw.targets`, `dw.distributions`, `dw.networks`, `dw.constructions`, `dw.errors`, `dw.training`,
`dw.results`.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from depthwright.refusal import Refusal

# Threads that spin at a barrier while their partner waits for a busy core made training 30 times
# slower on a shared machine (7 against 210 steps a second); sleeping costs microseconds.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
__all__ = [
    "Refusal",
    "bounds",
    "constructions",
    "distributions",
    "errors",
    "load_built",
    "networks",
    "results",
    "targets",
    "training",
]


def __getattr__(name: str) -> Any:
    """Import a room, or the function `load_built` (PEP 562)."""
    if name == "load_built":
        return importlib.import_module("depthwright.constructions").load_built
    if name in __all__:
        return importlib.import_module(f"depthwright.{name}")
    raise AttributeError(f"module 'depthwright' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
