"""What Hydra calls for one run, and for each cell of a sweep.

A run by itself shows its table and raises what went wrong. A cell says one line, and whatever
goes wrong is left in its folder, so that the sweep goes on and can be read afterwards.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
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
from depthwright.progress import Listener
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
    if watching.networks is None:  # those of a sweep would fill a disk
        watching = replace(watching, networks=HydraConfig.get().mode == RunMode.RUN)
    ready.matches()  # sizes everything: a network too large is refused before torch is imported
    folder = configs.run_folder(config)
    if not results.finished(folder, NEEDED):
        need_surroundings(watching)
        need_writable(folder)
        environment.give_cache(configs.output(config))
        compute = partial(_run, config, ready, watching, folder, console)
        if store.once(folder, compute, NEEDED):
            return True
    if not (folder / PICTURE).exists():
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
    ):
        rows = comparisons.compute(ready, folder, tracker, _OnScreen(status, console))
        if picture := _picture(folder, rows):
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

    def doing(self, what: str, *, has_bar: bool = False) -> None:
        self.status.update(what)
        if has_bar:
            self.status.stop()
        else:
            self.status.start()

    def news(self, message: str) -> None:
        self.console.print(message)


def show(folder: Path, console: Console) -> None:
    """The rows of a run as a table, where its files are, how to open the dashboard."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from depthwright.figures.style import label

    rows = results.read(folder)
    first = rows[0]
    table = Table(
        box=SIMPLE_HEAD,
        title=f"{first.target} at {first.points or first.distribution}, input_dim "
        f"{first.input_dim}: {first.construction}, accuracy {first.accuracy:g}",
    )
    table.add_column("", no_wrap=True)
    for row in rows:
        table.add_column(label(row.contender), justify="right")
    for title, value in _LINES.items():
        cells = [value(row) for row in rows]
        if title not in _RARE or set(cells) != {NOTHING}:
            table.add_row(title, *cells)
    # Wide enough for every contender, also where the output is no terminal (80 columns).
    console.width = max(console.width, 30 + 18 * len(rows))
    console.print(table)
    console.print(f"run folder  {folder}", soft_wrap=True)
    if wandb_folder := (read_text(folder / KEPT) or "").strip():
        console.print(f"dashboard   wandb leet {wandb_folder}", soft_wrap=True)
        console.print(f"to W&B      wandb sync {wandb_folder}", soft_wrap=True)


NOTHING = "—"


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4g}"


_LINES: dict[str, Callable[[Row], str]] = {
    "style": lambda row: row.style or NOTHING,
    "width": lambda row: f"{row.width:,}",
    "depth": lambda row: f"{row.depth:,}",
    "parameters": lambda row: f"{row.parameters:,}",
    "L2 error, ± 95 %": lambda row: (
        f"{row.error_l2:.4g} ± {(row.error_l2_high - row.error_l2_low) / 2:.1g}"
    ),
    "  outside the bad set": lambda row: _number(row.error_l2_good),
    "  / target's deviation": lambda row: _number(row.error_l2_relative),
    "sup error, sampled": lambda row: _number(row.error_sup_sampled),
    "  sampled outside the bad set": lambda row: _number(row.error_sup_good),
    "sup error, attacked": lambda row: _number(row.error_sup_attacked),
    "sup error, proved to be below": lambda row: _number(row.error_sup_certified),
    "error, promised": lambda row: _number(row.error_promised),
    "  for inputs": lambda row: row.promised_for or NOTHING,
    "share above accuracy": lambda row: _number(row.exceedance),
    "path norm": lambda row: _number(row.path_norm),
    "  no network's is below": lambda row: _number(row.path_norm_floor),
}
_RARE = (
    "  outside the bad set",
    "  sampled outside the bad set",
    "path norm",
    "  no network's is below",
)
"""Lines that are left out where they say nothing of anybody."""
