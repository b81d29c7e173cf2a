"""What Hydra calls for one run, and for each cell of a sweep.

A run by itself shows its table and raises what went wrong. A cell says one line, and whatever
goes wrong is left in its folder, so that the sweep goes on and can be read afterwards.
"""

from __future__ import annotations

import os
import shutil
import warnings
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from depthwright import results
from depthwright.files import lesser, need_writable, read_text, write_text
from depthwright.machine import environment
from depthwright.progress import Bar, Listener, beside
from depthwright.refusal import Refusal
from depthwright.results import NEEDED
from depthwright.runs import cell, classes, store
from depthwright.runs import config as configs
from depthwright.tracking import KEPT, need_sound
from depthwright.training.result import TrainingDiverged

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from depthwright.comparison import Comparison
    from depthwright.results import Row
    from depthwright.tracking import LoggerConfig

TOLD = (Refusal, TrainingDiverged, cell.Busy)
"""Failures that are told in one sentence; anything else is a defect and shows its traceback."""


def task(config: DictConfig) -> None:
    """One run, or one cell of a sweep."""
    from rich.console import Console

    # Without bars where several cells share the terminal: the launchers switch them off.
    # Paths are printed as they are: "[x]" and ":x:" are no markup in them.
    plain: Any = {"markup": False, "emoji": False}
    terminal = None if config.trainer.progress else False
    console = Console(stderr=True, force_terminal=terminal, **plain)
    Bar.hidden = not config.trainer.progress
    if HydraConfig.get().mode == RunMode.RUN:
        show(compare(config, console), Console(**plain))
        return
    folder = configs.run_folder(config)
    store.attempt(folder.name, folder, lambda: _compute(config, console))


def compare(config: DictConfig, console: Console) -> Path:
    """Run one comparison, or find it finished; returns its folder.

    Raises cell.Busy where another process is at it. A failure is written into the folder.
    """
    if not _compute(config, console):
        console.print(
            f"finished before, nothing to do: {configs.run_folder(config)}", soft_wrap=True
        )
    return configs.run_folder(config)


def _compute(config: DictConfig, console: Console) -> bool:
    """Whether there was anything to do; what goes wrong in a user's class is told as ours is."""
    try:
        return _computed(config, console)
    except TOLD:
        raise
    except Exception as error:
        if not classes.theirs(error):
            raise
        raise Refusal(classes.told(error)) from error


def _computed(config: DictConfig, console: Console) -> bool:
    from depthwright.figures.comparison import PICTURE

    ready, watching = configs.comparison(config), configs.logger(config)
    alone = HydraConfig.get().mode == RunMode.RUN
    if watching.networks is None:  # those of a sweep would fill a disk
        watching = replace(watching, networks=alone)
    if watching.picture is None:  # a sweep would spend half its time on small cells' pictures
        watching = replace(watching, picture=alone)
    ready.matches()  # sizes everything: a network too large is refused before torch is imported
    folder = configs.run_folder(config)
    if not results.finished(folder, NEEDED):
        need_surroundings(watching)
        need_writable(folder)
        environment.give_cache(configs.output(config))
        compute = partial(_run, config, ready, watching, folder, console)
        if store.once(folder, compute, NEEDED):
            return True
    if watching.picture and not (folder / PICTURE).exists():
        _picture(folder, results.read(folder))
    return False


def _picture(folder: Path, rows: list[Row]) -> Path | None:
    """Drawn where that can be done: the rows are worth more than their picture."""
    from depthwright.figures.comparison import draw

    try:
        return draw(folder, rows)
    except Exception as error:
        warnings.warn(f"no picture: {cell.sentence(error)}", stacklevel=1)
    return None


def need_surroundings(watching: LoggerConfig) -> None:
    """Raises Refusal where the environment's variables forbid what a run needs.

    Neither numba nor W&B is imported where none of their variables is set.
    """
    given = {name: os.environ[name] for name in environment.COMPILER & os.environ.keys()}
    if given:
        try:
            from depthwright.machine.numba_cache import need_compiler
        except ValueError as error:  # numba itself reads them when it is imported
            told = " ".join(f"{name}={value}" for name, value in sorted(given.items()))
            raise Refusal(f"numba does not start with {told} ({error}); unset it") from error
        need_compiler()
    need_sound(watching)


def _run(
    config: DictConfig,
    ready: Comparison,
    watching: LoggerConfig,
    folder: Path,
    console: Console,
) -> None:
    from depthwright import comparison as comparisons
    from depthwright.tracking import track

    shutil.rmtree(folder / "wandb", ignore_errors=True)  # of an attempt that was killed
    (folder / KEPT).unlink(missing_ok=True)
    write_text(folder / configs.CONFIG, OmegaConf.to_yaml(config, resolve=True))
    with (
        track(
            watching,
            folder,
            run_id=f"{config.experiment_name}-{configs.run_hash(config)}",
            name=folder.name,
            group=config.experiment_name,
            config=configs.resolved(config),
            tags=[classes.name_of(config[group]) for group in classes.REGISTRIES],
        ) as tracker,
        console.status("starting") as status,
        beside(status),
    ):
        rows = comparisons.compute(ready, folder, tracker, _OnScreen(status, console))
        if watching.picture and (picture := _picture(folder, rows)):
            tracker.image("comparison", picture)
        store.write_provenance(folder)
        if tracker.folder:
            with lesser(KEPT):
                write_text(folder / KEPT, f"{tracker.folder}\n")
    comparisons.finish(folder, rows)  # last: W&B has finished, so nothing is left to be lost


@dataclass(frozen=True)
class _OnScreen(Listener):
    """The step as a spinner, news as lines."""

    status: Status
    console: Console

    def doing(self, what: str) -> None:
        self.status.update(what)

    def news(self, message: str) -> None:
        self.console.print(message)


def show(folder: Path, console: Console) -> None:
    """The rows of a run as tables with a verdict, its files, how to open the dashboard."""
    from depthwright.figures.comparison import PICTURE
    from depthwright.figures.table import tables, verdict

    rows = results.read(folder)
    # Wide enough for every column, also where the output is no terminal (80 columns).
    console.width = max(console.width, 140, 50 + 18 * len(rows))
    for table in tables(rows):
        console.print(table)
    for sentence in verdict(rows):
        console.print(sentence, soft_wrap=True)
    if (folder / PICTURE).exists():
        console.print(f"picture     {folder / PICTURE}", soft_wrap=True)
    console.print(f"run folder  {folder}", soft_wrap=True)
    if wandb_folder := (read_text(folder / KEPT) or "").strip():
        console.print(f"dashboard   wandb leet {wandb_folder}", soft_wrap=True)
        console.print(f"to W&B      wandb sync {wandb_folder}", soft_wrap=True)
