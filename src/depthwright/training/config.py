"""How rivals are trained, and on what. Plain fields: these are Hydra's schemas as well.

The dataclasses are not frozen, because Hydra makes a frozen schema read-only and then refuses
every override of it; treat them as values all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from depthwright.networks.styles import PLAIN, STYLES
from depthwright.refusal import Refusal, need_one_of, need_whole
from depthwright.training.losses import L2, LOSSES

ACCELERATORS = ("auto", "cpu", "gpu")
"""`auto` takes a CUDA GPU where there is one, and the CPU otherwise."""

DTYPES = ("float32", "float64")

HE, LECUN, SPREAD = "he", "lecun", "spread"
INITIALISATIONS = (HE, LECUN, SPREAD)
"""See `ensemble.Ensemble`."""

ADAM, ADAMW, SGD = "adam", "adamw", "sgd"
OPTIMISERS = (ADAM, ADAMW, SGD)

CRITERIA = ("l2", "sup")
"""Root mean squared error, or largest error, on the validation points."""


MOST_STEPS = 10**9
MOST_POINTS = 10**8
"""Most points of one batch."""
MOST_MEMBERS = 10_000
"""Networks of one shape."""
MOST_NOISE = 1e3
"""Relative: what was there before is long gone."""
RATES = 1e-30, 1e30
"""Outside, float32 knows no such rate or no such step."""
MOST_THREADS = 4096


def _each_once(name: str, values: list[Any]) -> None:
    if not values or len(set(values)) < len(values):
        raise Refusal(f"{name}={values} should name at least one, each once")


@dataclass
class TrainingConfig:
    """Every shape gets styles × seeds × initialisations × losses × learning_rates members.

    All are trained on the same batches, with linear warm-up, then cosine decay to 0, on fresh
    points at every step. With `halving` the members of a family compete: see `search`.
    """

    steps: int = 4000
    """Steps of a member that is trained to the end; see `budget`."""
    batch_size: int = 256
    learning_rates: list[float] = field(default_factory=lambda: [1e-3, 3e-3, 1e-2])
    """Peak rates; the best is chosen by validation error."""
    optimiser: str = ADAM
    """adam, adamw (Adam with `weight_decay`) or sgd (gradient descent with `momentum`), as torch
    has them; all in the compiled step, on a GPU adam alone in the fastest (Triton) one."""
    weight_decay: float = 0.01
    """Of adamw: the share of itself, times the learning rate, that a weight loses in a step."""
    momentum: float = 0.9
    """Of sgd."""
    seeds: int = 2
    """Number of initialisations of each kind."""
    initialisations: list[str] = field(default_factory=lambda: [HE])
    """Kinds: he, lecun, spread (see `ensemble.Ensemble`)."""
    losses: list[str] = field(default_factory=lambda: [L2])
    """l2, l8, smooth_maximum (see `losses`)."""
    criterion: str = "l2"
    """The criterion of selection: the lowest root mean square (l2) or the lowest largest error
    (sup) on the validation points."""
    halving: int = 0
    """0: all members are trained to the end. h ≥ 2: one in h is kept at each rung."""
    rungs: int = 3
    """Number of rungs: after steps/h^rungs, …, steps/h steps."""
    budget: int = 0
    """Network-steps for each family, rungs counted; sets `steps` to the most that it allows (for
    `tuned` as well, whose members may be more or fewer). 0: as `steps` says."""
    warmup: float = 0.05
    """Share of the steps."""
    validation_points: int = 4096
    chunk_steps: int = 100
    """Steps between two validations; the device is not waited for in between."""
    dtype: str = "float32"
    styles: list[str] = field(default_factory=lambda: [PLAIN])
    """How the maps are joined: plain, residual, normalised, normalised_residual (see
    networks/styles.py). A style that changes nothing at a shape is trained there once, as plain."""
    tuned_noises: list[float] = field(default_factory=list)
    """The contender `tuned` starts from the construction's own weights, each multiplied by
    1 + noise·N(0, 1); a member per noise, seed, loss and learning rate. Empty: no such contender.
    """
    checkpoint_seconds: float = 20.0
    """Seconds of work that may be lost when a run is killed; 0 saves after every chunk."""

    def __post_init__(self) -> None:
        for name, (least, most) in _WHOLE.items():
            need_whole(name, getattr(self, name), least, most)
        if self.halving == 1:
            raise Refusal(
                f"halving={self.halving} keeps nobody or everybody; give 0 for no search, or 2 or "
                "more to keep one in so many"
            )
        if self.halving and self.halving**self.rungs > MOST_STEPS:
            raise Refusal(
                f"halving={self.halving} with rungs={self.rungs} begins after "
                f"1/{self.halving}^{self.rungs} of the steps (at most {MOST_STEPS} have a sense); "
                "give fewer rungs"
            )
        need_one_of("criterion", self.criterion, CRITERIA)
        need_one_of("optimiser", self.optimiser, OPTIMISERS)
        if not 0 <= self.weight_decay <= 1:
            raise Refusal(f"weight_decay={self.weight_decay} is not a number in [0, 1]")
        if not 0 <= self.momentum < 1:
            raise Refusal(f"momentum={self.momentum} is not a number in [0, 1)")
        if not self.checkpoint_seconds >= 0:
            raise Refusal(f"checkpoint_seconds={self.checkpoint_seconds} is not 0 or more")
        for noise in self.tuned_noises:
            if not 0 <= noise <= MOST_NOISE:
                raise Refusal(
                    f"tuned_noises holds {noise}; every noise is a number from 0 to {MOST_NOISE:g}"
                )
        if self.tuned_noises:
            _each_once("tuned_noises", self.tuned_noises)
        _each_once("losses", self.losses)
        _each_once("initialisations", self.initialisations)
        for loss in self.losses:
            need_one_of("loss", loss, LOSSES)
        for name in self.initialisations:
            need_one_of("initialisation", name, INITIALISATIONS)
        if not self.learning_rates:
            raise Refusal("learning_rates is empty; give at least one, for example [1e-3]")
        for rate in self.learning_rates:
            if not RATES[0] <= rate <= RATES[1]:
                raise Refusal(
                    f"learning_rates holds {rate}; every rate is a positive number, from "
                    f"{RATES[0]:g} to {RATES[1]:g}"
                )
        _each_once("learning_rates", self.learning_rates)
        _each_once("styles", self.styles)
        for style in self.styles:
            need_one_of("style", style, STYLES)
        if not 0 <= self.warmup < 1:
            raise Refusal(f"warmup={self.warmup} is not a share of the steps in [0, 1)")
        need_one_of("dtype", self.dtype, DTYPES)
        if self.members > MOST_MEMBERS:
            raise Refusal(
                f"training asks for {self.members} networks of every shape, one for each "
                "combination of styles, seeds, initialisations, losses and learning_rates; "
                f"the limit is {MOST_MEMBERS}, so give fewer of one of them"
            )

    @property
    def trials(self) -> int:
        """Networks of one shape and style: one for each combination of the other settings."""
        starts = self.seeds * len(self.initialisations)
        return starts * len(self.losses) * len(self.learning_rates)

    @property
    def members(self) -> int:
        """Networks of one shape."""
        return len(self.styles) * self.trials


_WHOLE = {
    "steps": (1, MOST_STEPS),
    "batch_size": (1, MOST_POINTS),
    "seeds": (1, MOST_MEMBERS),
    "validation_points": (1, MOST_POINTS),
    "chunk_steps": (1, MOST_STEPS),
    "rungs": (1, MOST_STEPS.bit_length()),
    "budget": (0, MOST_STEPS * MOST_MEMBERS),
    "halving": (0, MOST_STEPS),
}
"""Field → least and most."""


@dataclass
class TrainerConfig:
    """Where training runs and what it shows.

    One run trains all its rivals on one device; a sweep is spread over devices by a launcher.
    """

    accelerator: str = "auto"
    progress: bool = True
    """Show a progress bar, where standard error is a terminal."""
    threads: int = 0
    """CPU threads while training; 0 leaves torch's own number."""

    def __post_init__(self) -> None:
        need_one_of("accelerator", self.accelerator, ACCELERATORS)
        need_whole("threads", self.threads, 0, MOST_THREADS)
