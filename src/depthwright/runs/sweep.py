"""A grid of cells: what is finished is skipped, what fails stops nothing, the end says the rest.

`depthwright --multirun KEY=A,B …` and `sweep()` are one and the same: Hydra's grid, any Hydra
launcher, the same folders. A sweep writes down its cells, so that `depthwright watch` can show how
far they are; everything else is read from the cells' own folders (see `cell.py`), so sweeps may
be killed, repeated and run beside each other.
"""

from __future__ import annotations

import hashlib
import shlex
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from depthwright import results
from depthwright.files import need_writable, write_json
from depthwright.machine import environment
from depthwright.machine.provenance import code, code_on_disk
from depthwright.refusal import Refusal
from depthwright.runs import config as configs
from depthwright.runs import cell
from depthwright.runs import task
from depthwright.runs.aggregate import aggregate
from depthwright.runs.cell import State

if TYPE_CHECKING:
    from hydra.plugins.launcher import Launcher

SWEEPS = ".sweeps"
"""Beside the experiments: one file per sweep, with its cells."""
LOSSES = 2
"""So often may a cell come to nothing, without an error of its own, before it counts as failed."""
LOST = f"lost {LOSSES} times with its process; is there memory enough?"
CHANGED = "the package's code was changed while the sweep ran; run the same command again"

Overrides = list[str]

_ONE = threading.Lock()
"""Hydra has one state a process: of two threads that sweep, one waits for the other."""


class Incomplete(Exception):
    """The sweep is over, some cells have no rows, and that has been said."""


@dataclass(frozen=True)
class Cell:
    """One point of the grid."""

    overrides: tuple[str, ...]
    folder: Path

    @property
    def state(self) -> State:
        """How far it is."""
        return cell.state(self.folder)


def sweep(
    experiment: str, grid: Mapping[str, Sequence[Any]], overrides: Sequence[str] = ()
) -> list[Cell]:
    """Every cell of the grid, each with its rows, running those that are missing.

    `overrides` go to every cell, as on the command line; `launcher=joblib` among them runs the
    cells in parallel. Raises Incomplete after the last cell when one has no rows.
    """
    axes = [f"{key}={','.join(map(str, values))}" for key, values in grid.items()]
    configs.register_schemas()
    with _ONE, initialize_config_dir(configs.conf_folder(), **configs.hydra_keywords()):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        given = [f"experiment={experiment}", *overrides, *axes]
        cells: list[Cell] = hydra.multirun("config", task.task, given)
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
    composed = [compose(overrides) for overrides in grid]
    found = [
        Cell(tuple(overrides), configs.run_folder(config))
        for overrides, config in zip(grid, composed, strict=True)
    ]
    # A value that is given twice is one cell: two workers would want its folder at once.
    cells = list({each.folder: each for each in reversed(found)}.values())[::-1]
    outputs = {configs.output(config) for config in composed}
    if len(outputs) != 1:
        raise Refusal(
            f"a sweep has one results folder and this one {len(outputs)}; give one output"
        )
    (output,) = outputs
    need_writable(output)
    if not all(each.state == State.FINISHED for each in cells):
        task.need_surroundings(configs.logger(composed[0]))
        environment.give_cache(output)
    before = sum(each.state == State.FINISHED for each in cells)
    twice = f" ({len(found) - len(cells)} given twice)" if len(cells) < len(found) else ""
    _say(
        f"{len(cells)} cells{twice}, {before} finished before; to watch: depthwright watch {output}"
    )
    begun = _write_down(output, cells)
    try:
        _finish(cells, launch, begun)
    except KeyboardInterrupt:
        done = sum(each.state == State.FINISHED for each in cells)
        _say(f"stopped with {done} of {len(cells)} cells finished")
        raise
    for experiment in {each.folder.parent for each in cells}:
        aggregate(experiment, configs.logger(composed[0]))
    _conclude(cells)
    return cells


def _finish(
    cells: Sequence[Cell],
    launch: Callable[[Sequence[Overrides]], Sequence[str | None]],
    begun: float,
) -> None:
    """Launch what is missing until every cell has rows or an error from this sweep.

    Cells that were lost with their process are tried again each by itself: one of them may be what
    kills it, and would take the others with it.
    """
    losses: Counter[Cell] = Counter()
    missing = [each for each in cells if each.state != State.FINISHED]
    while missing:
        batch = [each for each in missing if losses[each]][:1] or missing
        try:
            fates = launch([list(each.overrides) for each in batch])
        except Exception as failure:  # a worker was killed, and the launcher with it
            lost = [each for each in batch if each.state == State.STOPPED]
            if not lost:
                raise
            _say(f"a worker died ({cell.sentence(failure)}); going on")
        else:
            for each, fate in zip(batch, fates, strict=True):
                if fate and not results.finished(each.folder):
                    cell.write_error(each.folder, fate)
            lost = [each for each in batch if each.state in (State.STOPPED, State.WAITING)]
        losses.update(lost)
        changed = bool(lost) and code_on_disk() != code()  # a worker's cells are others by now
        for each in lost:
            if changed or losses[each] >= LOSSES:
                cell.write_error(each.folder, CHANGED if changed else LOST)
        elsewhere = [each for each in missing if each.state == State.RUNNING]
        if elsewhere:
            _say(f"waiting for {len(elsewhere)} cells that another sweep is at")
            for each in elsewhere:
                cell.wait(each.folder)
        missing = [e for e in missing if not (results.finished(e.folder) or _failed(e, begun))]


def _failed(each: Cell, since: float) -> bool:
    try:
        return (each.folder / cell.ERROR).stat().st_mtime >= since
    except FileNotFoundError:
        return False


def _write_down(output: Path, cells: Sequence[Cell]) -> float:
    """The list of cells, for those who watch; the same sweep overwrites its own.

    Returns when, by the clock of the files: those of errors are compared with it.
    """
    folders = sorted(str(each.folder.relative_to(output)) for each in cells)
    name = hashlib.sha256("\n".join(folders).encode()).hexdigest()[:10]
    path = output / SWEEPS / f"{name}.json"
    write_json(
        path,
        {
            "command": shlex.join([_program(), *sys.argv[1:]]),
            "cells": [
                asdict(each) | {"folder": str(each.folder.relative_to(output))} for each in cells
            ],
        },
    )
    return path.stat().st_mtime


def _program() -> str:
    name = Path(sys.argv[0]).name
    return "depthwright" if name == "__main__.py" else name


def _conclude(cells: Sequence[Cell]) -> None:
    lacking = [each for each in cells if not results.finished(each.folder)]
    _say(f"{len(cells) - len(lacking)} of {len(cells)} cells finished")
    shared = set.intersection(*(set(each.overrides) for each in cells))
    for each in lacking:
        point = " ".join(o for o in each.overrides if o not in shared)
        told = cell.error(each.folder) or "stopped before it was done"
        _say(f"  {point or each.folder.name}: {told}")
    if lacking:
        _say(f"{len(lacking)} failed; errors in full: {cell.ERROR} in each cell's folder")
        raise Incomplete


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def launch_with(launcher: Launcher, cells: Sequence[Overrides]) -> list[str | None]:
    """By a Hydra launcher: to the end of each cell, whatever becomes of the others."""
    if hasattr(launcher, "checkpoint"):  # the submitit launchers, which stop at the first loss
        from depthwright.runs.slurm import submit

        return submit(launcher, cells)
    launcher.launch(cells, initial_job_idx=0)
    return [None] * len(cells)
