"""One W&B run per figure: its picture, its rows, its lines, its sentence.

    rows                 the table
    picture              the PNG
    panel_1, …           a chart per panel, one line per series
    summary              sentence, broken promises (their number), device

Provenance from the files of the figure alone (record.py), so that it can be sent later, by
`experiments/sync.py`. The run's id is fixed by the figure's name and scale, and it is written again
only when the figure has changed (see `tracking.renew`).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from depthwright.figures.chart import Panel
from depthwright.figures.record import Record, read
from depthwright.tracking import LoggerConfig, Point, Renewal, Tracker, renew

if TYPE_CHECKING:
    import polars

FIGURE = "figure"
"""W&B's job type of these runs."""


def publish(folder: Path, logger: LoggerConfig) -> Renewal:
    """Update a figure's run.

    `folder` holds the figure. Raises Refusal where there is none, and no error of W&B.
    """
    import polars

    record = read(folder)
    rows = polars.read_parquet(folder / f"{record.name}.parquet")
    drawn = record.chart.to_json() if record.chart else None
    content = json.dumps([record.title, record.sentence, record.broken, drawn])
    shown = (folder / f"{record.name}.csv").read_bytes() + content.encode()
    return renew(
        logger,
        folder,
        hashlib.sha256(shown).hexdigest(),
        lambda tracker: _log(tracker, record, rows, folder),
        run_id=f"{record.name}-{record.scale}-{FIGURE}",
        name=f"{record.name}: figure, {record.scale}",
        group=record.name,
        config={"experiment_name": record.name, "scale": record.scale, "command": record.command},
        tags=[record.scale],
        kind=FIGURE,
    )


def _log(tracker: Tracker, record: Record, rows: polars.DataFrame, folder: Path) -> None:
    tracker.table("rows", rows.columns, rows.rows())
    for number, panel in enumerate(record.chart.panels if record.chart else (), 1):
        title = f"{panel.y} against {panel.x}"
        tracker.lines(f"panel_{number}", panel.x, lines(panel), title)
    tracker.image("picture", folder / f"{record.name}.png")
    tracker.summary(
        {
            "title": record.title,
            "sentence": record.sentence,
            "broken": len(record.broken),
            "rows": len(rows),
            "device": record.made.device,
        }
    )


def lines(panel: Panel) -> dict[str, list[Point]]:
    """Series of a panel by name, gaps left out."""
    found: dict[str, list[Point]] = {}
    for one in panel.series:
        points = [(x, y) for x, y in zip(one.x, one.y, strict=True) if None not in (x, y)]
        found.setdefault(one.name, []).extend(points)  # type: ignore[arg-type]
    return found
