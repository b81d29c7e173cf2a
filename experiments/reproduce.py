"""Every picture from one command, and one page of them all.

    python experiments/reproduce.py [NAME …] [--scale smoke|cpu|gpu] [--output outputs] [--list]

Each experiment of this folder is run as its own command, one after the other: what is finished is
read, what is missing is computed. The page, outputs/report-SCALE/report.html, needs no network and
has beside it PNG, SVG, CSV and Parquet of every figure. An experiment that fails is shown with its
error, the others go on, and the exit status is 1. Files without an `EXPERIMENT` are commands
(`sync`, `dashboard`, this one) and are not run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from depthwright.cli import guard
from depthwright.experiment import SCALES, described, holds_experiment
from depthwright.figures import report
from depthwright.figures.record import RECORD, Record, read
from depthwright.figures.report import Entry
from depthwright.refusal import Refusal

FOLDER = Path(__file__).parent
LIMITS = {"smoke": 120.0, "cpu": 1800.0, "gpu": 3600.0}
"""Seconds after which one experiment is given up."""
TOLD = 40
"""Last lines of an error that the page shows."""


def found() -> dict[str, Path]:
    """Every experiment of this folder, by name."""
    files = sorted(FOLDER.glob("*.py"))
    return {f.stem: f for f in files if holds_experiment(f.read_text(encoding="utf-8"))}


def chosen(names: list[str]) -> list[Path]:
    """Those named, or all of them."""
    known = found()
    for name in names:
        if name not in known:
            raise Refusal(f"{name} is no experiment; --list shows them")
    return [known[name] for name in names] if names else list(known.values())


def run(file: Path, scale: str, output: Path, limit: float) -> Entry:
    """Run one experiment; whatever happens, there is something to show."""
    title, about = described(file.read_text(encoding="utf-8"))
    command = [sys.executable, str(file), "--scale", scale, "--output", str(output)]
    said = f"python experiments/{file.name} --scale {scale}"
    folder = output / file.stem / scale
    (folder / RECORD).unlink(missing_ok=True)  # what is there afterwards is of this run
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
        error, status = done.stderr, done.returncode
    except subprocess.TimeoutExpired:
        error, status = f"not finished after {limit:g} s", 1
    tail = "\n".join(error.strip().splitlines()[-TOLD:]) if status else ""
    error = tail or (f"it ended with status {status}" if status else "")
    made = Record(file.stem, title, about, scale, said, error=error)
    try:
        record = read(folder)
    except Refusal as nothing:
        return Entry(replace(made, error=made.error or str(nothing)))
    return Entry(record, folder)


def overview() -> Table:
    """Name and title of each."""
    table = Table(box=None, show_header=False)
    for name, file in found().items():
        table.add_row(name, described(file.read_text(encoding="utf-8"))[0])
    return table


def main() -> None:
    """Run, collect, write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments; all where none")
    parser.add_argument("--scale", choices=SCALES, default="smoke")
    parser.add_argument("--output", type=Path, default=Path("outputs"))
    parser.add_argument("--limit", type=float, help="seconds for one experiment")
    parser.add_argument("--list", action="store_true", help="the experiments, nothing is run")
    options = parser.parse_args()
    console = Console(stderr=True, highlight=False)
    if options.list:
        Console().print(overview())
        return
    files = chosen(options.names)
    entries = []
    start = time.perf_counter()
    for number, file in enumerate(files, 1):
        with console.status(f"[{number}/{len(files)}] {file.stem}"):
            began = time.perf_counter()
            limit = options.limit or LIMITS[options.scale]
            entry = run(file, options.scale, options.output, limit)
        failed = entry.record.error or entry.record.broken
        console.print(
            f"[{number}/{len(files)}] {file.stem}: {'failed' if failed else 'done'}, "
            f"{time.perf_counter() - began:.1f} s"
        )
        entries.append(entry)
    bad = [e.record.name for e in entries if e.record.error or e.record.broken]
    note = (
        f"{len(entries)} experiment{'s' * (len(entries) > 1)} at scale {options.scale}, "
        f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC, {time.perf_counter() - start:.0f} s"
    )
    note += f"; failed: {', '.join(bad)}" if bad else ""
    folder = options.output / f"report-{options.scale}"
    page = report.write(entries, folder, "Depthwright: what was promised, what was measured", note)
    print(f"page  {page.absolute()}")
    if bad:
        sys.exit(f"{len(bad)} of {len(entries)} experiments failed: {', '.join(bad)}")


if __name__ == "__main__":
    os.environ.setdefault("WANDB_SILENT", "true")
    guard(main)
