"""The form of an experiment: rows at three scales, a chart and a sentence made of them.

A file `experiments/NAME.py` ends in

    EXPERIMENT = Experiment(rows, chart, sentence)

    if __name__ == "__main__":
        EXPERIMENT.main(__file__)

and its docstring's first line is the figure's name; its title is its finding, the first sentence
that `sentence(rows)` makes. `python experiments/NAME.py [--scale smoke|
cpu|gpu]` computes what is missing and writes outputs/NAME/SCALE/ (figures/record.py says what);
`experiments/reproduce.py` finds all such files and makes one page of them.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import resource
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depthwright.figures.chart import Chart
from depthwright.figures.publish import publish
from depthwright.figures.record import Record, read, write
from depthwright.files import need_writable
from depthwright.machine import environment
from depthwright.machine.provenance import Provenance
from depthwright.refusal import Refusal
from depthwright.results import COLUMNS, read_rows, table, write_rows
from depthwright.runs.task import need_surroundings
from depthwright.tracking import LoggerConfig

if TYPE_CHECKING:
    import polars

    from depthwright.runs.store import Cell

SCALES = ("smoke", "cpu", "gpu")
"""smoke: seconds on a laptop; cpu: minutes on one; gpu: within its share of an hour on a large GPU.
"""

QUICK = ("training=quick", "evaluation=quick", "trainer.progress=false")
"""The overrides that make a comparison one of scale smoke."""
LOGGERS = {"none": "none", "offline": "offline", "wandb": "online"}
"""Names of conf/logger, and the modes of W&B that they stand for."""


@dataclass(frozen=True)
class Run:
    """What an experiment's `rows` receives."""

    name: str
    scale: str
    output: Path
    """Results folder; an experiment's own is output/NAME."""
    source: str = ""
    """Source of the experiment's file: cells of another version are computed again."""
    overrides: tuple[str, ...] = ()
    """KEY=VALUE for experiments that sweep comparisons; those of a launcher apply to every
    experiment."""
    logger: str = "none"
    """The logger of those comparisons: a name of conf/logger."""
    limit: float | None = None
    """Seconds after which no cell is begun; the rows are then those of the cells that are there."""
    parts: list[Provenance] = field(default_factory=list)
    """Provenance of the rows, cell by cell."""

    @property
    def folder(self) -> Path:
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
            self.parts.append(Provenance.read(cell.folder))
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

        Cells are kept, so that running again computes what is missing. One that fails leaves its
        traceback in its folder and the others continue; Incomplete is raised at the end. The
        override `launcher=joblib` (or slurm) runs them in parallel. With a `limit` they are
        computed in their order, by any number of such processes; what is not reached is left out.
        """
        import polars

        from depthwright.runs.store import complete, one_by_one
        from depthwright.runs.sweep import launcher

        for override in self.overrides:
            if not override.startswith(("launcher=", "hydra.launcher.")):
                raise Refusal(f"{self.name} sweeps no comparisons, so {override} sets nothing")
        wanted = [self._cell(cell) for cell in cells]
        points = {each.folder: point for each, point in wanted}
        found = [each for each, _ in wanted]
        compute = partial(_compute, measure, points)
        if self.limit is None:
            launch = launcher(self.overrides, compute) if self.overrides else one_by_one(compute)
            complete(self.output, found, launch)
        else:
            _within(self.limit, found, compute)
            wanted = [(each, point) for each, point in wanted if each.finished]
            if not wanted:
                raise Refusal(f"no cell of {self.name} was finished within {self.limit:g} s")
        rows: list[dict[str, Any]] = []
        for each, point in wanted:
            self.parts.append(Provenance.read(each.folder))
            rows += [{**_shown(point), **row} for row in read_rows(each.folder)]
        return polars.DataFrame(rows, infer_schema_length=None)

    def _cell(self, point: Mapping[str, Any]) -> tuple[Cell, dict[str, Any]]:
        """Its folder is named by its settings, this experiment's source and the package's."""
        from depthwright.runs.cell import identity
        from depthwright.runs.store import Cell

        name = identity({"cell": dict(point), "experiment": self.source})
        overrides = tuple(f"{key}={value}" for key, value in point.items())
        return Cell(overrides, self.output / self.name / "cells" / name), dict(point)


def _within(seconds: float, cells: Sequence[Cell], compute: Callable[[Cell], None]) -> None:
    """Compute one after the other those that have no rows; none is begun after the limit."""
    end = time.monotonic() + seconds
    for each in cells:
        if time.monotonic() >= end:
            return
        if not each.finished:
            compute(each)


def _compute(
    measure: Callable[..., Any], points: Mapping[Path, Mapping[str, Any]], cell: Cell
) -> None:
    from depthwright.runs import store

    def compute() -> None:
        found = measure(**points[cell.folder])
        rows = found if isinstance(found, list) else [found]
        if not rows:
            raise ValueError("this cell was measured and gave no rows")
        store.write_provenance(cell.folder)
        write_rows(cell.folder, rows)

    store.attempt(" ".join(cell.overrides), cell.folder, lambda: store.once(cell.folder, compute))


def _shown(point: Mapping[str, Any]) -> dict[str, Any]:
    """As columns: lists and dictionaries become JSON text."""
    return {k: json.dumps(v) if isinstance(v, (list, dict)) else v for k, v in point.items()}


def fastest(times: int, run: Callable[[], object]) -> float:
    """Seconds of the fastest of several runs."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def peak_gigabytes() -> float:
    """Peak memory of this process so far.

    Linux's getrusage counts what the process that started this one held, too; its own VmHWM does
    not. Elsewhere getrusage counts kilobytes, on macOS bytes.
    """
    status = Path("/proc/self/status")
    if status.exists() and (own := re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.M)):
        return int(own[1]) * 1024 / 1e9
    unit = 1e9 if sys.platform == "darwin" else 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def no_broken_promise(rows: polars.DataFrame) -> list[str]:
    """For experiments that only measure."""
    return []


@dataclass(frozen=True)
class Experiment:
    """One figure: its rows, its picture, its sentence."""

    rows: Callable[[Run], polars.DataFrame]
    chart: Callable[[polars.DataFrame], Chart]
    sentence: Callable[[polars.DataFrame], str]
    """First the finding, in one short sentence that is true of these rows, whatever they are: it is
    the title. Then what the theory says and what was measured, with numbers taken from the rows."""
    columns: tuple[str, ...] = ()
    """Columns of the page's table; () shows all."""
    broken: Callable[[polars.DataFrame], list[str]] = no_broken_promise
    """The claims that the rows contradict, one sentence each; any makes the run fail."""

    def main(self, file: str) -> None:
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
        parser.add_argument(
            "--limit", type=float, help="seconds after which no cell is begun; shows what is there"
        )
        parser.add_argument("override", nargs="*", metavar="KEY=VALUE")
        options = parser.parse_intermixed_args(arguments)
        logger = options.logger or ("none" if options.scale == "smoke" else "offline")
        overrides = tuple(options.override)
        source = "\n".join([text, *beside(file)])
        run = Run(
            file.stem, options.scale, options.output, source, overrides, logger, options.limit
        )
        need_writable(run.folder)
        need_surroundings(LoggerConfig(mode=LOGGERS[logger]))
        environment.give_cache(run.output)
        start = time.perf_counter()
        rows = stored(run) if options.redraw else self.rows(run)
        seconds, made = (
            time.perf_counter() - start,
            Provenance.together(run.parts or [Provenance.here()]),
        )
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


def beside(file: Path) -> list[str]:
    """The sources of the files in an experiment's folder that it imports."""
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
        elif isinstance(node, ast.Import):
            names += [each.name for each in node.names]
    paths = [file.parent / f"{name}.py" for name in dict.fromkeys(names)]
    return [path.read_text(encoding="utf-8") for path in paths if path.is_file()]


def least(rows: polars.DataFrame, column: str) -> float:
    """The smallest value of a numeric column."""
    return float(np.min(rows[column].drop_nulls().to_numpy()))


def largest(rows: polars.DataFrame, column: str) -> float:
    """The largest value of a numeric column."""
    return float(np.max(rows[column].drop_nulls().to_numpy()))


def _quoted(path: Path) -> str:
    """Quoted for Hydra, to which commas and brackets have a meaning."""
    text = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"


def stored(run: Run) -> polars.DataFrame:
    import polars

    path = run.folder / f"{run.name}.parquet"
    if not path.exists():
        raise Refusal(f"{path} is not there yet; run without --redraw")
    return polars.read_parquet(path)


def described(source: str) -> tuple[str, str]:
    """First line and rest of a file's docstring, the usage line in it left out; "" of no Python."""
    try:
        docstring = ast.get_docstring(ast.parse(source)) or ""
    except SyntaxError:  # whoever runs the file tells it
        docstring = ""
    first, _, rest = docstring.partition("\n")
    paragraphs = [p for p in rest.strip("\n").split("\n\n") if not p.startswith("    python")]
    return first.rstrip("."), "\n\n".join(" ".join(p.split()) for p in paragraphs)


def holds_experiment(source: str) -> bool:
    """Whether a file ends in `EXPERIMENT = Experiment(…)`; it is read, not run."""
    return re.search(r"^EXPERIMENT = Experiment\(", source, re.M) is not None
