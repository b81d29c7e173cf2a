"""One page of many records, in chapters: a self-contained HTML file, the figures' files beside it.

The page holds plotly's script once and asks the network for nothing; a content security policy in
it forbids the browser to. Every figure can be hovered, zoomed, put on other axes, and its
contenders switched on and off.
"""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from depthwright import results
from depthwright.figures.chapters import parts_of
from depthwright.figures.chart import THIN
from depthwright.figures.interactive import interactive
from depthwright.figures.record import DATA, PICTURES, Record
from depthwright.figures.theorems import Chapter
from depthwright.files import write_text
from depthwright.refusal import Refusal

PAGE = "report.html"
TITLE = "Depthwright: what was promised, what was measured"


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


def write(
    entries: Sequence[Entry],
    folder: Path,
    title: str,
    note: str = "",
    theorems: Sequence[Chapter] = (),
) -> Path:
    """`report.html` in the folder, the figures' files beside it.

    With `theorems` it is the whole report: words first, theorems and columns last.
    """
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
    environment.filters |= {"exponents": exponents, "formulas": formulas}
    folder.mkdir(parents=True, exist_ok=True)
    figures = {entry.record.name: _figure(entry) for entry in entries}
    parts = [(part, [figures[name] for name in own]) for part, own in parts_of(figures)]
    proved = [_theorem(chapter) for chapter in theorems]
    for entry in entries:
        for path in entry.files:
            shutil.copyfile(path, folder / path.name)
    text = environment.get_template("report.html.jinja").render(
        title=title,
        note=note,
        parts=parts,
        theorems=proved,
        columns=results.columns() if theorems else [],
        thin=THIN,
        plotly=get_plotlyjs(),
    )
    page = folder / PAGE
    write_text(page, text)
    return page


def exponents(text: str) -> Any:
    """`10^-3`, `1e-3` and `n^(L−1)` with the exponent raised; safe in a page."""
    from markupsafe import Markup, escape

    return Markup(_set_high(str(escape(text))))


def formulas(text: str) -> Any:
    """A docstring's paragraph: exponents, indices as in x_i and n_{L−1}, and `code`."""
    from markupsafe import Markup, escape

    parts = re.split(r"``?([^`]+)``?", str(escape(text)))
    for k, part in enumerate(parts):
        if k % 2:
            parts[k] = f"<code>{part}</code>"
        else:
            parts[k] = re.sub(
                r"(?<=[^\W_])_(?:\{(.+?)\}|(\w{1,2})(?!\w))",
                lambda found: f"<sub>{found[1] or found[2]}</sub>",
                _set_high(part),
            )
    return Markup("".join(parts))


def _set_high(text: str) -> str:
    def high(found: re.Match[str]) -> str:
        return f"<sup>{_set_high(found[1] or found[2] or found[3])}</sup>"

    text = re.sub(r"\b(?:1|(\d[\d.]*))e([+-])0*(\d+)\b", _power, text)
    return re.sub(r"\^(?:\{(.+?)\}|\((.+?)\)|(O\([^()]*\)|[-−]?[\w.]*\w))", high, text)


def _power(found: re.Match[str]) -> str:
    """5.3e-14 as 5.3·10^−14, 1e-3 as 10^−3."""
    sign = "−" if found[2] == "-" else ""
    return (f"{found[1]}·" if found[1] else "") + f"10^{sign}{found[3]}"


def _theorem(chapter: Chapter) -> dict[str, Any]:
    return {"chapter": chapter, "panels": interactive(chapter.chart)}


def _figure(entry: Entry) -> dict[str, Any]:
    record = entry.record
    header, rows = _table(entry)
    heading, sentence = record.told
    return {
        "record": record,
        "heading": heading,
        "sentence": sentence,
        "panels": interactive(record.chart) if record.chart else [],
        "header": header,
        "rows": rows,
        "files": [path.name for path in entry.files],
        "failed": bool(record.error or record.broken),
        "thin": bool(record.chart and record.chart.thin),
    }


def _table(entry: Entry) -> tuple[list[tuple[str, str]], list[list[tuple[str, str]]]]:
    """Header and its units; for each cell the text that is shown and the value of the CSV."""
    path = entry.folder / f"{entry.record.name}.csv" if entry.folder else None
    if path is None or not path.exists():
        return [], []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        columns = [c for c in entry.record.columns if c in (reader.fieldnames or ())]
        columns = columns or list(reader.fieldnames or ())
        rows = [[(_shown(row[c]), row[c]) for c in columns] for row in reader]
    return [(column.replace("_", " "), _unit(column)) for column in columns], rows


def _unit(column: str) -> str:
    """In a table's head, where the column's name does not say it."""
    if column.endswith(("seconds", "gigabytes")) or column in results.SECONDS:
        return "s" if "seconds" in column else "GB"
    return results.UNITS.get(column, "")


def _shown(value: str) -> str:
    """Four digits, thousands separated."""
    try:
        number = float(value)
    except ValueError:
        return value or "—"
    if number.is_integer() and abs(number) < 1e15 and "e" not in value.lower():
        return f"{int(number):,}"
    return f"{number:.4g}"
