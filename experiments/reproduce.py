"""Every picture from one command, and one page of them all.

    python experiments/reproduce.py [NAME …] [--scale smoke|cpu|gpu] [--output outputs] [--list]
    python experiments/reproduce.py [NAME …] --scale cpu --publish

Each experiment of this folder is run as its own command: what is finished is read, what is missing
is computed. At scale smoke several run at once, one per core; those that time (`*_speed`) run by
themselves, at the end. The page, outputs/report-SCALE/report.html, needs no network and has beside
it PNG, SVG, CSV and Parquet of every figure; where some are named the others are shown as they are.
An experiment that fails is shown with its error, the others go on, and the exit status is 1. What
differs from the published rows (published.py) is listed, on the page as well; `--publish` puts the
rows in their place instead. Files
without an `EXPERIMENT` are commands (`sync`, `dashboard`, this one) and are not run.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from depthwright import published
from depthwright.cli import guard
from depthwright.experiment import LOGGERS, SCALES, described
from depthwright.figures import report
from depthwright.figures.record import RECORD, Record, read
from depthwright.figures.report import Entry
from depthwright.files import need_writable
from depthwright.machine.provenance import cores
from depthwright.published import found
from depthwright.refusal import Refusal

PUBLISHED = Path(__file__).parent / "published"
LIMITS = {"smoke": 1200.0, "cpu": 7200.0, "gpu": 7200.0}
"""Seconds after which an experiment is stopped, also on a slow machine."""
AT_ONCE = {"smoke": min(4, cores()), "cpu": 1, "gpu": 1}
"""Experiments that run at the same time; at the larger scales each uses all cores."""
LOG = "log.txt"
"""In an experiment's folder: its output."""
INTERVAL = 0.25
"""Seconds between two checks of the running experiments."""
TOLD = 40
"""Last lines of an error that the page shows."""
DOING = 60
"""Characters shown of the last line of a running experiment."""


def chosen(names: list[str]) -> list[Path]:
    known = found(Path(__file__).parent)
    for name in names:
        if name not in known:
            raise Refusal(f"{name} is no experiment; --list shows them")
    return [known[name] for name in dict.fromkeys(names)] if names else list(known.values())


@dataclass(frozen=True)
class How:
    """The options of the command line."""

    scale: str
    output: Path
    logger: str | None
    jobs: int
    limit: float

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise Refusal(f"--jobs {self.jobs} runs nothing; give 1 or more")
        if not self.limit > 0:
            raise Refusal(f"--limit {self.limit:g} leaves no time; give seconds above 0")

    def arguments(self) -> list[str]:
        """Command-line arguments of each experiment."""
        told = ["--scale", self.scale, "--output", str(self.output)]
        return told + (["--logger", self.logger] if self.logger else [])


@dataclass
class Process:
    file: Path
    how: How
    threads: int | None
    """None: the experiment decides."""
    began: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / RECORD).unlink(missing_ok=True)  # so that a later record is of this run
        told = {"OMP_NUM_THREADS": str(self.threads), "NUMBA_NUM_THREADS": str(self.threads)}
        with (self.folder / LOG).open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(self.file), *self.how.arguments()],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=(told if self.threads else {}) | os.environ,
                start_new_session=True,  # so that it is stopped with its children
            )

    @property
    def folder(self) -> Path:
        """The folder its record will be in."""
        return self.how.output / self.file.stem / self.how.scale

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began

    @property
    def said(self) -> list[str]:
        """The lines of its log."""
        return (self.folder / LOG).read_text(encoding="utf-8", errors="replace").split("\n")

    def ended(self) -> bool:
        """Whether it has exited; a process over its time limit is stopped first."""
        return self.process.poll() is not None or self.seconds > self.how.limit

    def stop(self) -> None:
        """Stop the process and its children."""
        for last in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, last)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(10)

    def entry(self) -> Entry:
        """The report's entry, also for a run that failed."""
        status = self.process.poll()
        error = ""
        if status is None:
            self.stop()
            error = f"not finished after {self.how.limit:g} s"
        elif status:
            last = [line for line in self.said if line.strip()][-TOLD:]
            error = "\n".join(last) or f"it ended with status {status}"
        try:
            record = read(self.folder)
            # The record itself names a broken claim.
            return Entry(record if record.broken else replace(record, error=error), self.folder)
        except Refusal as nothing:
            title, about = described(self.file.read_text(encoding="utf-8"))
            name, scale, error = self.file.stem, self.how.scale, error or str(nothing)
            command = f"python experiments/{self.file.name} --scale {scale}"
            return Entry(Record(name, title or name, about, scale, command, error=error))


def waves(files: Sequence[Path], at_once: int) -> Iterator[tuple[list[Path], int]]:
    """Groups that run together, with their number of workers; timings run alone."""
    timed = [file for file in files if file.stem.endswith("_speed")]
    yield [file for file in files if file not in timed], at_once
    yield timed, 1


def run(files: Sequence[Path], how: How) -> list[Entry]:
    """Run all, showing progress; results in the order of `files`."""
    entries: dict[Path, Entry] = {}
    console = Console(stderr=True, highlight=False)
    look = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[doing]}"),
    )
    running: dict[TaskID, Process] = {}
    with Progress(*look, console=console, disable=not console.is_terminal) as progress:
        try:
            for wave, at_once in waves(files, how.jobs):
                waiting = list(wave)
                threads = max(1, cores() // at_once) if at_once > 1 else None
                while waiting or running:
                    while waiting and len(running) < at_once:
                        file = waiting.pop(0)
                        task = progress.add_task(file.stem, doing="")
                        running[task] = Process(file, how, threads)
                    time.sleep(INTERVAL)
                    for task, process in list(running.items()):
                        doing = next((line for line in reversed(process.said) if line.strip()), "")
                        progress.update(task, doing=doing[:DOING])
                        if not process.ended():
                            continue
                        entry = entries[process.file] = process.entry()
                        progress.remove_task(task)
                        del running[task]
                        console.print(
                            f"[{len(entries)}/{len(files)}] {process.file.stem}: "
                            f"{'failed' if failed(entry) else 'done'}, {process.seconds:.1f} s"
                        )
        finally:
            for process in running.values():
                process.stop()
    return [entries[file] for file in files]


def beside(files: Sequence[Path], how: How) -> list[Entry]:
    """Records of other experiments at this scale."""
    entries = []
    for name, file in found(Path(__file__).parent).items():
        if file not in files:
            with suppress(Refusal):
                folder = how.output / name / how.scale
                entries.append(Entry(read(folder), folder))
    return entries


def failed(entry: Entry) -> bool:
    """Whether there is no record, or a promise was broken."""
    return bool(entry.record.error or entry.record.broken)


def against_published(entries: Sequence[Entry]) -> list[str]:
    """What of these figures differs from what is published, in sentences."""
    told: list[str] = []
    for entry in entries:
        if entry.folder and not failed(entry):
            told += published.compared(entry.folder, PUBLISHED)
    return told


def publish(entries: Sequence[Entry]) -> None:
    """The rows of all figures that came to their end become the published ones."""
    for entry in entries:
        if entry.folder and not failed(entry):
            published.keep(entry.folder, PUBLISHED)
            print(f"published  {entry.record.name}, scale {entry.record.scale}")


def overview() -> Table:
    table = Table(box=None, show_header=False)
    for name, file in found(Path(__file__).parent).items():
        table.add_row(name, described(file.read_text(encoding="utf-8"))[0])
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments; all where none")
    parser.add_argument("--scale", choices=SCALES, default="smoke")
    parser.add_argument("--output", type=Path, default=Path("outputs"))
    parser.add_argument("--limit", type=float, help="seconds for one experiment")
    parser.add_argument("--jobs", type=int, help="experiments at once; timings stay alone")
    parser.add_argument("--logger", choices=LOGGERS, help="W&B; as for one experiment")
    parser.add_argument("--publish", action="store_true", help="keep the rows beside the gallery")
    parser.add_argument("--list", action="store_true", help="the experiments, nothing is run")
    options = parser.parse_args()
    if options.list:
        Console().print(overview())
        return
    report.need_page()
    start = time.perf_counter()
    jobs = AT_ONCE[options.scale] if options.jobs is None else options.jobs
    limit = LIMITS[options.scale] if options.limit is None else options.limit
    how = How(options.scale, options.output, options.logger, jobs, limit)
    need_writable(options.output)
    files = chosen(options.names)
    entries = run(files, how)
    bad = [entry.record.name for entry in entries if failed(entry)]
    note = (
        f"{len(entries)} experiment{'s' * (len(entries) > 1)} at scale {options.scale}, "
        f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC, {time.perf_counter() - start:.0f} s"
    )
    note += f"; failed: {', '.join(bad)}" if bad else ""
    told = [] if options.publish else against_published(entries)
    if options.publish:
        publish(entries)
    note += "".join(f"; {one}" for one in told)
    folder = options.output / f"report-{options.scale}"
    shown = sorted([*entries, *beside(files, how)], key=lambda entry: entry.record.name)
    page = report.write(shown, folder, report.TITLE, note)
    print("\n".join(["against the published rows", *(told or ["nothing differs"])]))
    print(f"page  {page.absolute()}")
    if bad:
        sys.exit(f"{len(bad)} of {len(entries)} experiments failed: {', '.join(bad)}")


if __name__ == "__main__":
    os.environ.setdefault("WANDB_SILENT", "true")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # runs `finally`
    guard(main)
