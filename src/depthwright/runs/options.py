"""What can be set at the top of a config, and the options there are: all that help needs to say.

Imports nothing that takes time.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

MISSING: Any = "???"
"""OmegaConf's mark of a value that has to be given."""


@dataclasses.dataclass
class RunConfig:
    """The top level of every config."""

    experiment_name: str = "comparison"
    """The folder of the runs and the W&B group."""
    accuracy: float = 0.1
    """The theorem's ε."""
    failure_probability: float = 0.01
    """The theorem's δ, where it has one."""
    seed: int = 0
    """Of training: points, initialisations, validation. Evaluation has its own."""
    matching: list[str] = dataclasses.field(default_factory=lambda: ["architecture"])
    """One trained contender per rule: architecture, parameters, width; [] trains nothing."""
    features: list[str] = dataclasses.field(default_factory=list)
    """One contender each with its output layer fitted: random, constructed hidden layers."""
    beside: list[str] | None = None
    """Further constructions in the same table, by name, with the same ε and δ; solved_ridge is a
    sparse ridge network of the first one's width, solved. null: that one, beside a ridge network
    that is not wide."""
    output: str = "outputs"
    """Results folder, relative to the working directory."""
    target: Any = MISSING
    distribution: Any = MISSING
    construction: Any = MISSING
    training: Any = MISSING
    evaluation: Any = MISSING
    trainer: Any = MISSING
    logger: Any = MISSING


def conf_folder() -> str:
    """The config tree: beside the package once installed, at the top of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return str(installed if installed.is_dir() else package.parents[1] / "conf")


def groups() -> dict[str, list[str]]:
    """Of the config tree: group → its options."""
    folders = sorted(path for path in Path(conf_folder()).iterdir() if path.is_dir())
    return {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in folders}
