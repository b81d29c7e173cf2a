"""How rivals are trained, and on what. Plain fields: these are Hydra's schemas as well.

The dataclasses are not frozen, because Hydra makes a frozen schema read-only and then refuses
every override of it; treat them as values all the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from depthwright.networks.styles import PLAIN, check_style
from depthwright.refusal import Refusal

ACCELERATORS = ("auto", "cpu", "gpu", "mps")
"""`auto` takes a CUDA GPU where there is one, and the CPU otherwise."""

DTYPES = ("float32", "float64")


def _whole(name: str, value: int, least: int) -> None:
    if value < least:
        raise Refusal(f"{name}={value} is below {least}; give a whole number of at least {least}")


@dataclass
class TrainingConfig:
    """Every shape gets styles × seeds × learning_rates members, all on the same batches.

    Adam with linear warm-up, then cosine decay to 0; squared loss; fresh points at every step.
    """

    steps: int = 4000
    batch_size: int = 256
    learning_rates: list[float] = field(default_factory=lambda: [1e-3, 3e-3, 1e-2])
    """Peak rates; the best is chosen by validation error."""
    seeds: int = 2
    """How many initialisations."""
    warmup: float = 0.05
    """Share of the steps."""
    validation_points: int = 4096
    chunk_steps: int = 100
    """Steps between two validations; nothing waits for the device in between."""
    dtype: str = "float32"
    styles: list[str] = field(default_factory=lambda: [PLAIN])
    """How the maps are joined: plain, residual, normalised (see networks/styles.py). A style that
    changes nothing at a shape is trained there as plain, once."""

    def __post_init__(self) -> None:
        _whole("steps", self.steps, 1)
        _whole("batch_size", self.batch_size, 1)
        _whole("seeds", self.seeds, 1)
        _whole("validation_points", self.validation_points, 1)
        _whole("chunk_steps", self.chunk_steps, 1)
        if not self.learning_rates:
            raise Refusal("learning_rates is empty; give at least one, for example [1e-3]")
        for rate in self.learning_rates:
            if not (math.isfinite(rate) and rate > 0):
                raise Refusal(f"learning_rates holds {rate}; every rate is a positive number")
        if not self.styles or len(set(self.styles)) < len(self.styles):
            raise Refusal(f"styles={self.styles} should name at least one style, each once")
        for style in self.styles:
            check_style(style)
        if not 0 <= self.warmup < 1:
            raise Refusal(f"warmup={self.warmup} is not a share of the steps in [0, 1)")
        if self.dtype not in DTYPES:
            raise Refusal(f"dtype={self.dtype!r} is unknown; choose one of {', '.join(DTYPES)}")


@dataclass
class TrainerConfig:
    """Where training runs and what it shows."""

    accelerator: str = "auto"
    devices: int = 1
    progress: bool = True
    """Show the bar."""
    threads: int = 0
    """CPU threads while training; 0 leaves torch's own number."""

    def __post_init__(self) -> None:
        if self.accelerator not in ACCELERATORS:
            raise Refusal(
                f"accelerator={self.accelerator!r} is unknown; "
                f"choose one of {', '.join(ACCELERATORS)}"
            )
        if self.devices != 1:
            raise Refusal(
                f"devices={self.devices}: one run trains all its rivals on one device; "
                "use devices=1 and spread a sweep over devices with a Hydra launcher"
            )
        _whole("threads", self.threads, 0)
