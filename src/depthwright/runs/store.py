"""The store of cells: what is finished is skipped, what fails stops nothing, the end says the rest.

A cell is a folder, the settings that tell it from its neighbours, and a function that leaves rows
in the folder. `complete` brings cells to their rows with any launcher; a comparison's cell comes
from a point of Hydra's grid (`sweep.py`), a figure's cell from a function (`experiment.py`). What
is being done is written down, so that `depthwright watch` can show how far it is; all the rest is
read from the cells' own folders (`cell.py`), so any of this may be killed, repeated and run beside
others.
"""

from __future__ import annotations

import hashlib
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from depthwright import results
from depthwright.files import lesser, need_writable, set_aside, write_json
from depthwright.machine import environment
from depthwright.machine.provenance import MADE, Provenance, code, code_on_disk
from depthwright.refusal import Refusal
from depthwright.runs import cell
from depthwright.runs.cell import State

SWEEPS = ".sweeps"
"""Beside the experiments: one file per list of cells that were to be brought to their rows."""
LOSSES = 2
"""So often may a cell come to nothing, without an error of its own, before it counts as failed."""
LOST = f"lost {LOSSES} times with its process; is there memory enough?"
LAUNCHES = 5
"""So often is a cell launched that comes to no end because others are at it."""
BUSY = f"launched {LAUNCHES} times, and each time another process had it and left no rows"
CHANGED = "the package's code was changed while the sweep ran; run the same command again"


class Incomplete(Exception):
    """All cells have come to an end, some have no rows, and that has been said."""


@dataclass(frozen=True)
class Cell:
    """A folder, and the settings that tell it from the other cells."""

    overrides: tuple[str, ...]
    """Its settings, each as KEY=VALUE."""
    folder: Path
    columns: tuple[str, ...] = ()
    """That every one of its rows has; where it has not, the table is damaged."""

    @property
    def state(self) -> State:
        """How far it is."""
        return cell.state(self.folder, self.columns)

    @property
    def finished(self) -> bool:
        """Whether it has its rows."""
        return results.finished(self.folder, self.columns)


Launch = Callable[[Sequence[Cell]], Sequence[str | None]]
"""Runs cells to their end, wherever, and returns for each what became of the process that ran it
(None: it came to its end)."""


def complete(
    output: Path, found: Sequence[Cell], launch: Launch, after: Callable[[], None] = lambda: None
) -> list[Cell]:
    """Run every cell that has no rows, and say at the end which have none still.

    Returns the cells, each once. `output` is the results folder above all cells; `after` is called
    when all cells have come to an end. Raises Incomplete when a cell has no rows.
    """
    # What is given twice is one cell: two workers would want its folder at once.
    cells = list({each.folder: each for each in reversed(found)}.values())[::-1]
    before = sum(each.finished for each in cells)
    twice = f" ({len(found) - len(cells)} given twice)" if len(cells) < len(found) else ""
    say(
        f"{len(cells)} cells{twice}, {before} finished before; to watch: depthwright watch {output}"
    )
    try:
        _write_down(output, cells)
    except OSError as error:
        say(f"depthwright watch will not know of this sweep: {cell.sentence(error)}")
    try:
        given_up = _finish(cells, launch)
    except BaseException:
        say(f"stopped with {sum(each.finished for each in cells)} of {len(cells)} cells finished")
        raise
    after()
    _conclude(cells, given_up)
    return cells


def _finish(cells: Sequence[Cell], launch: Launch) -> dict[Cell, str]:
    """Launch what is missing until every cell has rows, an error that is new, or is given up.

    Returns why cells were given up; their folders say it too, where they can be written to. Cells
    that were lost with their process are tried again each by itself: one of them may be what kills
    it, and would take the others with it.
    """
    before = {each: _error_file(each) for each in cells}

    def failed(each: Cell) -> bool:
        return _error_file(each) != before[each] and cell.error(each.folder) is not None

    given_up: dict[Cell, str] = {}

    def give_up(each: Cell, told: str) -> None:
        given_up[each] = told
        cell.write_error(each.folder, told)

    launches: Counter[Cell] = Counter()
    losses: Counter[Cell] = Counter()
    missing = [each for each in cells if not each.finished]
    while missing:
        batch = [each for each in missing if losses[each]][:1] or missing
        try:
            fates = launch(batch)
        except Exception as failure:  # a worker was killed, and the launcher with it
            lost = [each for each in batch if each.state == State.STOPPED]
            if not lost:
                raise
            say(f"a worker died ({cell.sentence(failure)}); going on")
        else:
            for each, fate in zip(batch, fates, strict=True):
                if fate and not each.finished:
                    give_up(each, fate)
            launches.update(batch)
            open_ = [each for each in batch if each not in given_up and not failed(each)]
            lost = [e for e in open_ if e.state not in (State.FINISHED, State.RUNNING)]
        losses.update(lost)
        changed = bool(lost) and code_on_disk() != code()  # a worker's cells are others by now
        for each in lost:
            if changed or losses[each] >= LOSSES:
                give_up(each, CHANGED if changed else LOST)
            elif told := _unwritable(each.folder):
                give_up(each, told)
        elsewhere = [e for e in missing if e not in given_up and e.state == State.RUNNING]
        if elsewhere:
            say(f"waiting for {len(elsewhere)} cells that another process is at")
            for each in elsewhere:
                cell.wait(each.folder)
                if launches[each] >= LAUNCHES and not each.finished:
                    give_up(each, BUSY)
        missing = [e for e in missing if not (e.finished or e in given_up or failed(e))]
    return given_up


def _error_file(each: Cell) -> tuple[int, int] | None:
    """Tells an error from the one before; clocks, which may be wrong, are only compared for it."""
    try:
        found = (each.folder / cell.ERROR).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _unwritable(folder: Path) -> str | None:
    """Why nothing can be written into a folder, where that is so."""
    try:
        need_writable(folder)
    except Refusal as refusal:
        return str(refusal)
    return None


def _write_down(output: Path, cells: Sequence[Cell]) -> None:
    """The list of cells, for those who watch; the same list overwrites its own."""
    folders = sorted(str(each.folder.relative_to(output)) for each in cells)
    name = hashlib.sha256("\n".join(folders).encode()).hexdigest()[:10]
    path = output / SWEEPS / f"{name}.json"
    shared = _shared(cells)
    set_aside(path)
    write_json(
        path,
        {
            "command": shlex.join([*_program(), *sys.argv[1:]]),
            "columns": sorted({column for each in cells for column in each.columns}),
            "cells": [
                {
                    "overrides": [word for word in each.overrides if word not in shared],
                    "folder": str(each.folder.relative_to(output)),
                }
                for each in cells
            ],
        },
    )


def _shared(cells: Sequence[Cell]) -> set[str]:
    """What all cells set alike."""
    found = set(cells[0].overrides) if cells else set()
    for each in cells:
        found.intersection_update(each.overrides)
    return found


def _program() -> list[str]:
    """What a user types to start this program again."""
    path = Path(sys.argv[0])
    if path.name == "__main__.py":
        return ["depthwright"]
    return ["python", str(path)] if path.suffix == ".py" else [path.name]


def _conclude(cells: Sequence[Cell], given_up: Mapping[Cell, str]) -> None:
    lacking = [each for each in cells if not each.finished]
    say(f"{len(cells) - len(lacking)} of {len(cells)} cells finished")
    shared = _shared(cells)
    for each in lacking:
        point = " ".join(o for o in each.overrides if o not in shared)
        told = given_up.get(each) or cell.error(each.folder) or "stopped before it was done"
        say(f"  {point or each.folder.name}: {told}")
    if lacking:
        say(
            f"{len(lacking)} failed; errors in full: {cell.ERROR} in each cell's folder; the same "
            "command tries them again"
        )
        raise Incomplete


def say(message: str) -> None:
    """To whoever started this."""
    print(message, file=sys.stderr, flush=True)


# --- one cell


def attempt(name: str, folder: Path, compute: Callable[[], bool]) -> None:
    """Compute a cell, and say in a line what became of it; a failure is left in its folder.

    `compute` says whether there was anything to do.
    """
    environment.end_with_parent()
    start = time.perf_counter()
    try:
        computed = compute()
    except cell.Busy:
        told = "another process is at it"
    except Exception as failure:
        cell.write_error(folder, failure)  # also where it was refused before it was begun
        told = f"failed: {cell.sentence(failure)}"
    else:
        told = f"{time.perf_counter() - start:.1f} s" if computed else "finished by another process"
    say(f"{name}: {told}")


def once(folder: Path, compute: Callable[[], None], columns: Collection[str] = ()) -> bool:
    """Call `compute`, which leaves rows in the folder, unless they are there; True if called.

    A table without `columns`, or one that cannot be read, holds no rows, which is said. Raises Busy
    where another process is at it. A failure is written into the folder.
    """
    if results.finished(folder, columns):
        return False
    if results.damaged(folder, columns):
        say(f"{folder / results.RESULTS} is damaged, so the cell is computed again")
    with cell.hold(folder):
        if results.finished(folder, columns):  # by someone who was quicker
            return False
        with results.room(folder):
            compute()
    return True


def write_provenance(folder: Path) -> None:
    """With what the cell's numbers are computed; a warning where the disk does not take it."""
    with lesser(MADE):
        write_json(folder / MADE, asdict(Provenance.here()))


def one_by_one(compute: Callable[[Cell], None]) -> Launch:
    """Launches cells in this process, one after the other, naming each before its work."""

    def launch(cells: Sequence[Cell]) -> Sequence[str | None]:
        for number, each in enumerate(cells, 1):
            say(f"{number}/{len(cells)} {' '.join(each.overrides)}")
            compute(each)
        return [None] * len(cells)

    return launch
