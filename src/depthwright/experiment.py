"""The form of an experiment: rows at three scales, a chart and a sentence made of them.

A file `experiments/NAME.py` ends in

    EXPERIMENT = Experiment(rows, chart, sentence)

    if __name__ == "__main__":
        EXPERIMENT.main(__file__)

and its docstring's first line is the figure's title. `python experiments/NAME.py [--scale smoke|
cpu|gpu]` computes what is missing and writes outputs/NAME/SCALE/ (figures/record.py says what);
`experiments/reproduce.py` finds all such files and makes one page of them.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depthwright.figures.chart import Chart
from depthwright.figures.publish import publish
from depthwright.figures.record import Record, read, write
from depthwright.files import need_writable, write_json, write_text
from depthwright.machine import environment
from depthwright.machine.provenance import MADE, Made
from depthwright.refusal import Refusal
from depthwright.results import COLUMNS, table
from depthwright.runs.task import need_surroundings
from depthwright.tracking import LoggerConfig

if TYPE_CHECKING:
    import polars

SCALES = ("smoke", "cpu", "gpu")
"""Seconds on a laptop; minutes on one; as large as one large GPU does in its share of an hour."""

QUICK = ("training=quick", "evaluation=quick", "trainer.progress=false")
"""What makes a comparison one of scale smoke."""
LOGGERS = {"none": "none", "offline": "offline", "wandb": "online"}
"""Names of conf/logger, and the modes of W&B that they stand for."""


@dataclass(frozen=True)
class Run:
    """What an experiment's `rows` is told."""

    name: str
    scale: str
    output: Path
    """Results folder; an experiment's own is output/NAME."""
    source: str = ""
    """Of the experiment's file: a cell computed by another version of it is computed again."""
    overrides: tuple[str, ...] = ()
    """KEY=VALUE, for those that sweep comparisons."""
    logger: str = "none"
    """What watches those comparisons: a name of conf/logger."""
    here: Made = field(default_factory=Made.here)
    """A cell computed with other code, other versions or on another processor is computed again."""
    parts: list[Made] = field(default_factory=list)
    """With what the rows were computed, as they come together."""

    @property
    def folder(self) -> Path:
        """Of this scale."""
        return self.output / self.name / self.scale

    def sweep(self, grid: Mapping[str, Sequence[Any]], *overrides: str) -> polars.DataFrame:
        """The grid of comparisons of conf/experiment/NAME.yaml; the user's overrides come last.

        An axis that rows have no column for becomes one: `target.terms` is `terms` in the rows.
        Those of scale smoke lie in output/NAME-smoke: no aggregate mixes them with the others.
        """
        import polars

        from depthwright.runs.sweep import sweep

        quick = (*QUICK, f"experiment_name={self.name}-smoke") if self.scale == "smoke" else ()
        own = (f"output={_quoted(self.output)}", f"logger={self.logger}")
        cells = sweep(self.name, grid, [*quick, *overrides, *own, *self.overrides])
        tables = []
        for cell in cells:
            made = cell.folder / MADE
            if made.exists():
                self.parts.append(Made(**json.loads(made.read_text(encoding="utf-8"))))
            place = {
                key.rpartition(".")[2]: polars.lit(value)
                for key, values in grid.items()
                for value in values
                if f"{key}={value}" in cell.overrides
            }
            added = {name: value for name, value in place.items() if name not in COLUMNS}
            tables.append(table([cell.folder]).with_columns(**added))
        return polars.concat(tables, how="diagonal_relaxed")

    def cells(
        self, cells: Iterable[Mapping[str, Any]], measure: Callable[..., Any]
    ) -> polars.DataFrame:
        """`measure(**cell)` for every cell, a row or a list of rows; each row begins with its cell.

        A cell is kept in a file of its own, so that running again computes what is missing. One
        that fails leaves its traceback there; the others go on, and SystemExit(1) names it.
        """
        import polars
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

        if self.overrides:
            raise Refusal(f"{self.name} sweeps no comparisons, so {self.overrides[0]} sets nothing")
        wanted = list(cells)
        failed: list[str] = []
        rows: list[dict[str, Any]] = []
        columns = (
            SpinnerColumn(),
            "{task.completed}/{task.total} cells",
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.description}"),
        )
        console = Console(stderr=True)
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("", total=len(wanted))
            for number, cell in enumerate(wanted, 1):
                told = " ".join(f"{key}={value}" for key, value in cell.items())
                progress.update(task, description=told)
                if not console.is_terminal:
                    print(f"{number}/{len(wanted)} {told}", file=sys.stderr, flush=True)
                try:
                    rows += self._cell(cell, measure)
                except Exception as error:
                    failed.append(f"{told}: {error}")
                progress.advance(task)
        if failed:
            raise SystemExit("\n".join([f"{len(failed)} of {len(wanted)} cells failed", *failed]))
        return polars.DataFrame(rows, infer_schema_length=None)

    def _cell(self, cell: Mapping[str, Any], measure: Callable[..., Any]) -> list[dict[str, Any]]:
        key = [dict(cell), self.source, self.here.decisive]
        what = json.dumps(key, sort_keys=True)
        path = self.output / self.name / "cells" / hashlib.sha256(what.encode()).hexdigest()[:16]
        done = path.with_suffix(".json")
        try:
            kept = json.loads(done.read_text(encoding="utf-8"))
            self.parts.append(Made(**kept["made"]))
            return list(kept["rows"])
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError) as damage:
            print(f"{done} is damaged ({damage!r}) and computed again", file=sys.stderr)
        try:
            found = measure(**cell)
        except Exception:
            write_text(path.with_suffix(".error.txt"), traceback.format_exc())
            raise
        part = found if isinstance(found, list) else [found]
        shown = {k: json.dumps(v) if isinstance(v, (list, dict)) else v for k, v in cell.items()}
        rows = [{**shown, **row} for row in part]
        made = Made.here()
        write_json(done, {"made": asdict(made), "rows": rows})
        self.parts.append(made)
        path.with_suffix(".error.txt").unlink(missing_ok=True)
        return rows


def fastest(times: int, run: Callable[[], object]) -> float:
    """Seconds of the fastest of several runs."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def no_broken_promise(rows: polars.DataFrame) -> list[str]:
    """For experiments that only measure."""
    return []


@dataclass(frozen=True)
class Experiment:
    """One figure: its rows, its picture, its sentence."""

    rows: Callable[[Run], polars.DataFrame]
    chart: Callable[[polars.DataFrame], Chart]
    sentence: Callable[[polars.DataFrame], str]
    """What the theory says, what was measured, with numbers taken from the rows."""
    columns: tuple[str, ...] = ()
    """Of the page's table; () shows all."""
    broken: Callable[[polars.DataFrame], list[str]] = no_broken_promise
    """The promises that the rows contradict, one sentence each; any makes the run fail."""

    def main(self, file: str) -> None:
        """The command line of the file that holds this experiment."""
        from depthwright.cli import guard

        guard(lambda: self._main(Path(file), sys.argv[1:]))

    def _main(self, file: Path, arguments: Sequence[str]) -> None:
        text = file.read_text(encoding="utf-8")
        title, about = described(text)
        parser = argparse.ArgumentParser(prog=file.name, description=title)
        parser.add_argument("--scale", choices=SCALES, default="cpu")
        parser.add_argument(
            "--output", type=lambda path: Path(path).expanduser(), default="outputs"
        )
        parser.add_argument(
            "--redraw", action="store_true", help="draw the rows that are there, compute nothing"
        )
        parser.add_argument(
            "--logger", choices=LOGGERS, help="W&B; none at scale smoke, else offline"
        )
        parser.add_argument("override", nargs="*", metavar="KEY=VALUE")
        options = parser.parse_intermixed_args(arguments)
        logger = options.logger or ("none" if options.scale == "smoke" else "offline")
        overrides = tuple(options.override)
        run = Run(file.stem, options.scale, options.output, text, overrides, logger)
        need_writable(run.folder)
        need_surroundings(LoggerConfig(mode=LOGGERS[logger]))
        environment.give_cache(run.output)
        start = time.perf_counter()
        rows = stored(run) if options.redraw else self.rows(run)
        seconds, made = time.perf_counter() - start, Made.together(run.parts or [run.here])
        if options.redraw:
            before = read(run.folder)
            seconds, made = before.seconds, before.made
        record = Record(
            name=run.name,
            title=title,
            about=about,
            scale=run.scale,
            command=shlex.join(
                ["python", f"experiments/{file.name}", "--scale", run.scale, *run.overrides]
            ),
            sentence=self.sentence(rows),
            broken=tuple(self.broken(rows)),
            chart=self.chart(rows),
            columns=self.columns,
            seconds=seconds,
            made=made,
        )
        write(record, rows, run.folder)
        publish(run.folder, LoggerConfig(mode=LOGGERS[logger]))
        print(record.sentence)
        print(f"picture  {(run.folder / run.name).absolute()}.png")
        if record.broken:
            raise SystemExit("\n".join(["a promise was broken", *record.broken]))


def least(rows: polars.DataFrame, column: str) -> float:
    """The smallest value of a numeric column."""
    return float(np.min(rows[column].drop_nulls().to_numpy()))


def largest(rows: polars.DataFrame, column: str) -> float:
    """The largest value of a numeric column."""
    return float(np.max(rows[column].drop_nulls().to_numpy()))


def _quoted(path: Path) -> str:
    """For Hydra, to which commas and brackets mean something."""
    text = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"


def stored(run: Run) -> polars.DataFrame:
    """The rows of the last run."""
    import polars

    path = run.folder / f"{run.name}.parquet"
    if not path.exists():
        raise Refusal(f"{path} is not there yet; run without --redraw")
    return polars.read_parquet(path)


def described(source: str) -> tuple[str, str]:
    """First line and rest of a file's docstring, the usage line in it left out."""
    first, _, rest = (ast.get_docstring(ast.parse(source)) or "").partition("\n")
    paragraphs = [p for p in rest.strip().split("\n\n") if not p.startswith("    python")]
    return first.rstrip("."), "\n\n".join(" ".join(p.split()) for p in paragraphs)


def holds_experiment(source: str) -> bool:
    """Whether a file ends in `EXPERIMENT = Experiment(…)`; it is read, not run."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            made = node.value.func
            if isinstance(made, ast.Name) and made.id == "Experiment":
                return True
    return False
