"""Cells by Hydra: a grid of comparisons, and any Hydra launcher for cells of either kind.

`depthwright --multirun KEY=A,B …` and `sweep()` are one and the same: Hydra's grid, any Hydra
launcher, the same folders.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from depthwright.files import need_writable
from depthwright.machine import environment
from depthwright.refusal import Refusal
from depthwright.results import NEEDED
from depthwright.runs import config as configs
from depthwright.runs import options, task
from depthwright.runs.aggregate import aggregate
from depthwright.runs.cell import sentence
from depthwright.runs.composer import for_cells
from depthwright.runs.store import Cell, Incomplete, Launch, complete
from depthwright.runs.table import conclude
from depthwright.tracking import LoggerConfig

if TYPE_CHECKING:
    from hydra.plugins.launcher import Launcher

Overrides = list[str]

_BY_FIGURE: ContextVar[bool] = ContextVar("by_figure", default=False)
"""Whether a figure's sweep runs, which shows its rows itself."""
_ONE = threading.Lock()
"""Hydra has one state a process: of two threads that sweep, one waits for the other."""


def sweep(
    experiment: str, grid: Mapping[str, Sequence[Any]], overrides: Sequence[str] = ()
) -> list[Cell]:
    """Every cell of the grid, each with its rows, running those that are missing.

    `overrides` go to every cell, as on the command line; `launcher=joblib` among them runs the
    cells in parallel. Raises Incomplete after the last cell when one has no rows.
    """
    axes = [f"{key}={','.join(map(str, values))}" for key, values in grid.items()]
    configs.register_schemas()
    with _ONE, initialize_config_dir(options.conf_folder(), **configs.hydra_keywords()):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        given = [f"experiment={experiment}", *overrides, *axes]
        mark = _BY_FIGURE.set(True)
        try:
            cells: list[Cell] = hydra.multirun("config", task.task, given)
        finally:
            _BY_FIGURE.reset(mark)
    return cells


def run(
    grid: Sequence[Overrides],
    compose: Callable[[Overrides], DictConfig],
    launch: Callable[[Sequence[Overrides]], Sequence[str | None]],
) -> list[Cell]:
    """Run every cell of the grid that has no rows, and say at the end which have none still.

    `launch` runs cells to their end, wherever, and returns for each what became of the process
    that ran it (None: it came to its end). Raises Incomplete when a cell has no rows.
    """
    if not grid:
        raise Refusal("the sweep has no cells: one of its axes is empty; give it values")
    found: list[Cell] = []
    outputs: set[Path] = set()
    logger: LoggerConfig | None = None
    for overrides in grid:
        config = compose(overrides)  # not kept: a hundred kilobytes
        found.append(Cell(tuple(overrides), configs.run_folder(config), NEEDED))
        outputs.add(configs.output(config))
        logger = logger or configs.logger(config)
    assert logger is not None
    if len(outputs) != 1:
        raise Refusal(
            f"a sweep has one results folder and this one {len(outputs)}; give one output"
        )
    (output,) = outputs
    need_writable(output)
    if not all(each.finished for each in found):
        task.need_surroundings(logger)
        environment.give_cache(output)

    def aggregate_all() -> None:
        for experiment in {each.folder.parent for each in found}:
            aggregate(experiment, logger)

    def launch_each(cells: Sequence[Cell]) -> Sequence[str | None]:
        return launch([list(each.overrides) for each in cells])

    shown = not _BY_FIGURE.get()
    try:
        done = complete(output, found, launch_each, aggregate_all)
    except Incomplete:
        if shown:
            _show([each for each in dict.fromkeys(found) if each.finished])
        raise
    if shown:
        _show(done)
    return done


def _show(cells: Sequence[Cell]) -> None:
    """The rows are there whatever goes wrong here."""
    from rich.console import Console

    if not cells:
        return
    try:
        conclude(cells, Console(markup=False, emoji=False))
    except Exception as error:
        warnings.warn(f"the sweep is not shown: {sentence(error)}", stacklevel=2)


def launch_with(launcher: Launcher, cells: Sequence[Overrides]) -> list[str | None]:
    """By a Hydra launcher: to the end of each cell, whatever becomes of the others."""
    if hasattr(launcher, "checkpoint"):  # the submitit launchers, which stop at the first loss
        from depthwright.runs.slurm import submit

        return submit(launcher, cells)
    launcher.launch(cells, initial_job_idx=0)
    return [None] * len(cells)


def launcher(overrides: Sequence[str], compute: Callable[[Cell], None]) -> Launch:
    """A Hydra launcher for cells that are computed by a function: `overrides` choose and set it.

    The function is pickled by value where the launcher starts processes.
    """

    def launch(cells: Sequence[Cell]) -> Sequence[str | None]:
        configs.register_schemas()
        with _ONE, initialize_config_dir(options.conf_folder(), **configs.hydra_keywords()):
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            config = hydra.compose_config(
                "config", list(overrides), RunMode.MULTIRUN, with_log_configuration=False
            )
            context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks())
            chosen = Plugins.instance().instantiate_launcher(
                hydra_context=for_cells(context),
                task_function=_Numbered(tuple(cells), compute),
                config=config,
            )
            own = [word for word in overrides if not word.startswith("hydra.")]
            return launch_with(chosen, [[*own, f"+cell={k}"] for k in range(len(cells))])

    return launch


@dataclass(frozen=True)
class _Numbered:
    """What a launcher calls: the cell of a number."""

    cells: tuple[Cell, ...]
    compute: Callable[[Cell], None]

    def __call__(self, config: DictConfig) -> None:
        self.compute(self.cells[config.cell])
