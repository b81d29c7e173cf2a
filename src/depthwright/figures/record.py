"""What an experiment leaves in its folder, and all that the report page is made of.

NAME.csv, NAME.parquet   the rows
NAME.png, NAME.svg       the figure, for paper
record.json              title, sentence, chart, command, versions, device; written last
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from depthwright.figures.chart import Chart
from depthwright.figures.paper import paper
from depthwright.refusal import Refusal
from depthwright.results import write_json
from depthwright.whole_file import whole_file

if TYPE_CHECKING:
    import polars

RECORD = "record.json"
DATA = (".csv", ".parquet")
PICTURES = (".png", ".svg")
NAMED = ("depthwright", "torch", "numpy", "scipy", "polars", "matplotlib")


@dataclass(frozen=True)
class Record:
    """One experiment at one scale."""

    name: str
    title: str
    about: str
    """The rest of its docstring."""
    scale: str
    command: str
    """That made it, from the top of a checkout."""
    sentence: str = ""
    """What the theory says, what was measured."""
    broken: tuple[str, ...] = ()
    """Promises that the rows contradict; none, one hopes."""
    error: str = ""
    """Why there is no figure."""
    chart: Chart | None = None
    columns: tuple[str, ...] = ()
    """Of the rows, for the page's table; () shows all."""
    seconds: float = 0.0
    """Of this run; what was finished before was only read."""
    device: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


def write(record: Record, rows: polars.DataFrame, folder: Path) -> None:
    """Rows, pictures, and last the record itself."""
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / f"{record.name}.csv") as partial:
        rows.write_csv(partial)
    with whole_file(folder / f"{record.name}.parquet") as partial:
        rows.write_parquet(partial)
    if record.chart:
        paper(record.chart, *(folder / f"{record.name}{suffix}" for suffix in PICTURES))
    stored = asdict(replace(record, chart=None))
    stored["chart"] = record.chart.to_json() if record.chart else None
    write_json(folder / RECORD, stored)


def read(folder: Path) -> Record:
    """The record of a finished experiment."""
    path = folder / RECORD
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        stored["chart"] = Chart.from_json(stored["chart"]) if stored["chart"] else None
        return Record(**stored | {k: tuple(stored[k]) for k in ("broken", "columns")})
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise Refusal(
            f"{path} is no record of this version ({error!r}); run the experiment"
        ) from error


def versions() -> dict[str, str]:
    """Of Python and of what the numbers come from."""
    found = {"python": platform.python_version()}
    for name in NAMED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def device() -> str:
    """The GPU if torch is at work and sees one, and the processor."""
    parts = []
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name(0))
    return ", ".join([*parts, processor()])


def processor() -> str:
    """Its name where the system tells, and how many cores this process may use."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        name = models[0] if models else name
    elif sys.platform == "darwin" and shutil.which("sysctl"):
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        name = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return f"{name}, {cores()} cores"


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
