"""What an experiment leaves in its folder, and all that the report page is made of.

NAME.csv, NAME.parquet   the rows
NAME.png, NAME.svg       the figure, for paper
record.json              title, sentence, chart, command, versions, device; written last
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from depthwright.figures.chart import Chart
from depthwright.figures.paper import paper
from depthwright.files import read_json, set_aside, whole_file, write_json
from depthwright.machine.provenance import Provenance
from depthwright.refusal import Refusal

if TYPE_CHECKING:
    import polars

RECORD = "record.json"
DATA = (".csv", ".parquet")
PICTURES = (".png", ".svg")


@dataclass(frozen=True)
class Record:
    """One experiment at one scale."""

    name: str
    title: str
    about: str
    """The rest of the file's docstring."""
    scale: str
    command: str
    """The command that made it, from the top of a checkout."""
    sentence: str = ""
    """What the theory says, what was measured."""
    broken: tuple[str, ...] = ()
    """Claims that the rows contradict."""
    error: str = ""
    """Why there is no figure."""
    chart: Chart | None = None
    columns: tuple[str, ...] = ()
    """Columns of the page's table; () shows all."""
    seconds: float = 0.0
    """Seconds of this run; earlier cells were only read."""
    made: Provenance = field(default_factory=Provenance)
    """Provenance of the rows, also of those that were only read."""

    @property
    def told(self) -> tuple[str, str]:
        """What heads the figure, and what is told below.

        The finding, which is the first sentence of `sentence`, and the others; the title and all of
        them where there are too few points for a finding.
        """
        if self.chart is None or self.chart.thin:
            return self.title, self.sentence
        finding, _, rest = self.sentence.partition(". ")
        return finding.rstrip(".") or self.title, rest


def draw(record: Record, folder: Path) -> None:
    """The record's pictures."""
    if record.chart:
        paths = [folder / f"{record.name}{suffix}" for suffix in PICTURES]
        paper(record.chart, *paths, title=record.told[0])


def write(record: Record, rows: polars.DataFrame, folder: Path, *, pictures: bool = True) -> None:
    """The record itself is written last: it marks the others as complete."""
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / f"{record.name}.csv") as partial:
        rows.write_csv(partial)
    with whole_file(folder / f"{record.name}.parquet") as partial:
        rows.write_parquet(partial)
    if pictures:
        draw(record, folder)
    stored = asdict(replace(record, chart=None))
    stored["chart"] = record.chart.to_json() if record.chart else None
    set_aside(folder / RECORD)
    write_json(folder / RECORD, stored)


def read(folder: Path) -> Record:
    """The record of a finished experiment."""
    path = folder / RECORD
    try:
        stored = read_json(path)
        stored["chart"] = Chart.from_json(stored["chart"]) if stored["chart"] else None
        stored["made"] = Provenance.of(stored["made"])
        return Record(**stored | {k: tuple(stored[k]) for k in ("broken", "columns")})
    except Exception as error:  # whatever is wrong with the file
        raise Refusal(
            f"{path} is no record of this version ({type(error).__name__}); run the experiment"
        ) from error
