"""`depthwright watch [FOLDER]`: how far a sweep is, from the files of its cells alone.

Takes the sweep of the results folder that was started last; shows cells done, running, failed and
the time left, until nothing is left to do (or Ctrl-C). Any number may watch, from any machine that
sees the folder.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwright import results
from depthwright.files import read_json
from depthwright.refusal import Refusal
from depthwright.runs import cell
from depthwright.runs.cell import State
from depthwright.runs.store import SWEEPS

if TYPE_CHECKING:
    from rich.console import Group

SHOWN = 8
"""Running and failed cells that are named, each."""
INTERVAL = 1.0
"""Seconds between two looks."""
LIST_LIMIT = 2**26
"""Bytes of a list of cells that is read: the longest sweep, 100,000 cells, takes a quarter."""
COLOURS = {
    State.FINISHED: "green",
    State.RUNNING: "cyan",
    State.FAILED: "red",
    State.STOPPED: "yellow",
    State.WAITING: "default",
}


@dataclass(frozen=True)
class View:
    """One look at a sweep."""

    command: str
    begun: float
    at: float
    cells: dict[Path, State]
    points: dict[Path, str]
    """What tells the cell from the others: its overrides that not all have."""

    @property
    def counts(self) -> Counter[State]:
        """Cells in each state."""
        return Counter(self.cells.values())

    @property
    def open(self) -> int:
        """Cells still to come to an end."""
        counts = self.counts
        return counts[State.RUNNING] + counts[State.WAITING] + counts[State.STOPPED]

    @property
    def seconds_left(self) -> float | None:
        """At the pace of this start of the sweep; None before its first cell is done."""
        since = [f for f in self.cells if self.begun <= _ended(f) <= self.at]
        return (self.at - self.begun) / len(since) * self.open if since else None


def _ended(folder: Path) -> float:
    for name in (results.RESULTS, cell.ERROR):
        with suppress(OSError):
            return (folder / name).stat().st_mtime
    return 0.0


def look(output: Path) -> View:
    """The sweep of a results folder that was started last; raises Refusal where there is none."""
    sweeps = [
        (path.stat().st_mtime, found)
        for path in (output / SWEEPS).glob("*.json")
        if (found := _list(path))
    ]
    if not sweeps:
        raise Refusal(
            f"{output} holds no sweep; give the results folder of a `depthwright --multirun`"
        )
    begun, last = max(sweeps, key=lambda sweep: sweep[0])
    points = {output / each["folder"]: " ".join(each["overrides"]) for each in last["cells"]}
    return View(
        command=last["command"],
        begun=begun,
        at=time.time(),
        cells={folder: _state(folder, begun, last["columns"]) for folder in points},
        points=points,
    )


def _list(path: Path) -> dict[str, Any] | None:
    """A list of cells as the store writes it; None where it cannot be read."""
    found = read_json(path, LIST_LIMIT)
    try:
        cells = [{k: each[k] for k in ("overrides", "folder")} for each in found["cells"]]
        texts = [found["command"], *found["columns"], *(each["folder"] for each in cells)]
        texts += [word for each in cells for word in each["overrides"]]
    except (KeyError, TypeError):
        return None
    sound = all(isinstance(text, str) and "\0" not in text for text in texts)
    return found if cells and sound else None


def _state(folder: Path, begun: float, columns: Collection[str]) -> State:
    """A failure of before this start of the sweep is to be made up for: the cell waits."""
    now = cell.state(folder, columns)
    return State.WAITING if now == State.FAILED and _ended(folder) < begun else now


def draw(view: View) -> Group:
    """For the terminal."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    counts, total = view.counts, len(view.cells)
    line = Text()
    for state in State:
        if counts[state]:
            line.append(f"{counts[state]} {state}  ", COLOURS[state])
    if view.open:
        left = view.seconds_left
        line.append("time left: " + (_clock(left) if left is not None else "not known yet"))
        if not counts[State.RUNNING]:
            line.append("  (nobody is at work)")
    lines = [Text(view.command, "dim"), line]
    for state in (State.RUNNING, State.FAILED, State.STOPPED):
        chosen = [folder for folder, now in view.cells.items() if now == state]
        for folder in chosen[:SHOWN]:
            about = cell.error(folder) if state == State.FAILED else _for(folder, view.at)
            name = view.points[folder] or folder.name
            lines.append(Text(f"  {state} {name}: {about}", COLOURS[state]))
        if len(chosen) > SHOWN:
            lines.append(Text(f"  and {len(chosen) - SHOWN} more", COLOURS[state]))
    done = total - view.open
    return Group(*lines[:2], ProgressBar(total=total, completed=done), *lines[2:])


def _for(folder: Path, now: float) -> str:
    begun = cell.started(folder)
    return "for " + _clock(now - begun) if begun else "just over"


def _clock(seconds: float) -> str:
    whole = max(0, round(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def watch(arguments: list[str]) -> None:
    """The command; where the output is no terminal, one look is printed."""
    from rich.console import Console
    from rich.live import Live

    if len(arguments) > 1:
        raise Refusal(f"watch takes one folder, not {len(arguments)}; by itself it takes outputs")
    output = Path(arguments[0] if arguments else "outputs").expanduser()
    console = Console()
    view = look(output)
    if not sys.stdout.isatty():
        console.print(draw(view))
        return
    with Live(draw(view), console=console, auto_refresh=False) as live:
        while view.open:
            time.sleep(INTERVAL)
            view = look(output)
            live.update(draw(view), refresh=True)
