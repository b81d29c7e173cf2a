"""One page of many records: a self-contained HTML file, with the figures' files beside it.

The page holds plotly's script once and asks the network for nothing; a content security policy in
it forbids the browser to. Every figure can be hovered, zoomed, put on other axes, and its
contenders switched on and off.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from depthwright.figures.interactive import interactive, legend
from depthwright.figures.record import DATA, PICTURES, Record
from depthwright.files import write_text
from depthwright.refusal import Refusal

PAGE = "report.html"


@dataclass(frozen=True)
class Entry:
    """A record and its folder; the record is None for an experiment that failed."""

    record: Record
    folder: Path | None = None

    @property
    def files(self) -> list[Path]:
        """Files shown beside the page, those that exist."""
        if not self.folder:
            return []
        found = (self.folder / f"{self.record.name}{s}" for s in (*PICTURES, *DATA))
        return [path for path in found if path.exists()]


def need_page() -> None:
    """Refusal where the libraries of the page are not installed."""
    missing = [name for name in ("jinja2", "plotly") if find_spec(name) is None]
    if missing:
        raise Refusal(
            f"the page needs {' and '.join(missing)}; pip install -e '.[report]' brings them"
        )


def write(entries: Sequence[Entry], folder: Path, title: str, note: str = "") -> Path:
    """`report.html` in the folder, the figures' files beside it."""
    need_page()
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    folder.mkdir(parents=True, exist_ok=True)
    figures = [_figure(entry) for entry in entries]
    for entry in entries:
        for path in entry.files:
            shutil.copyfile(path, folder / path.name)
    text = environment.get_template("report.html.jinja").render(
        title=title, note=note, figures=figures, plotly=get_plotlyjs()
    )
    page = folder / PAGE
    write_text(page, text)
    return page


def _figure(entry: Entry) -> dict[str, Any]:
    record = entry.record
    header, rows = _table(entry)
    return {
        "record": record,
        "panels": interactive(record.chart) if record.chart else [],
        "legend": legend(record.chart) if record.chart else [],
        "header": header,
        "rows": rows,
        "files": [path.name for path in entry.files],
        "failed": bool(record.error or record.broken),
    }


def _table(entry: Entry) -> tuple[list[str], list[list[tuple[str, str]]]]:
    """Header, and for each cell the text that is shown and the value of the CSV."""
    path = entry.folder / f"{entry.record.name}.csv" if entry.folder else None
    if path is None or not path.exists():
        return [], []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        columns = [c for c in entry.record.columns if c in (reader.fieldnames or ())]
        columns = columns or list(reader.fieldnames or ())
        rows = [[(_shown(row[c]), row[c]) for c in columns] for row in reader]
    return [column.replace("_", " ") for column in columns], rows


def _shown(value: str) -> str:
    """Four digits, thousands separated."""
    try:
        number = float(value)
    except ValueError:
        return value or "—"
    if number.is_integer() and abs(number) < 1e15 and "e" not in value.lower():
        return f"{int(number):,}"
    return f"{number:.4g}"
