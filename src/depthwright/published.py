"""Published rows: what the figures of the gallery were drawn from, and `depthwright report`.

    experiments/published/NAME.parquet   the rows of the best scale that was run
    experiments/published/NAME.json      with what: scale, command, versions, device, commit

The page and all its pictures are drawn from them alone, by the experiments' own `chart` and
`sentence`; nothing is trained. Whoever computes a figure again learns what differs (`differences`).
"""

from __future__ import annotations

import argparse
import importlib
import math
import re
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwright.experiment import Experiment, described, holds_experiment
from depthwright.figures import record as record_files
from depthwright.figures import report as page
from depthwright.figures import theorems
from depthwright.figures.record import Record, draw, read, write
from depthwright.figures.report import Entry
from depthwright.files import need_writable, read_json, whole_file, write_json
from depthwright.machine.provenance import Provenance, cores
from depthwright.refusal import Refusal

if TYPE_CHECKING:
    import polars

KEPT = ("scale", "command", "seconds", "made")
"""Of a record, what rows alone do not say."""
TOLERANCE = 0.01
"""Largest relative difference of a number without an interval of its own."""
TRAINED = 0.3
"""The same in a row of a trained or solved network, whose steps differ between processors."""
OF_THE_MACHINE = re.compile(r"second|gigabyte|gigaflop|^code$|^device$|^threads$|^work$|gpu", re.I)
"""Columns that hold the computer and not the figure."""
DRAWS = ("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg")
"""What draws pictures."""
TOLD = 20
"""Differences of one figure that are told one by one."""


def experiments() -> Path:
    """The experiments of the checkout; Refusal where the package runs without one."""
    folder = Path(__file__).parents[2] / "experiments"
    if not folder.is_dir():
        raise Refusal(f"{folder} is not there: the figures need a checkout of the repository")
    return folder


def found(folder: Path | None = None) -> dict[str, Path]:
    """Every experiment, of the checkout or of another `folder`: name → file."""
    files = sorted((folder or experiments()).glob("*.py"))
    return {f.stem: f for f in files if holds_experiment(f.read_text(encoding="utf-8"))}


def experiment(file: Path) -> Experiment:
    """What a file of that folder ends in."""
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    found: Experiment = importlib.import_module(file.stem).EXPERIMENT
    return found


# --- keeping and reading


def keep(folder: Path, published: Path) -> None:
    """Publish the rows of a finished figure, which lies in `folder`."""
    import polars

    record = read(folder)
    if record.error or record.broken:
        raise Refusal(f"{record.name} failed or broke a promise; its rows are not published")
    rows = polars.read_parquet(folder / f"{record.name}.parquet")
    published.mkdir(parents=True, exist_ok=True)
    with whole_file(published / f"{record.name}.parquet") as partial:
        rows.write_parquet(partial, compression="zstd", compression_level=19, statistics=False)
    kept = {name: value for name, value in asdict(record).items() if name in KEPT}
    write_json(published / f"{record.name}.json", kept)


def rows_of(name: str, published: Path) -> polars.DataFrame | None:
    """The published rows of a figure; None where there are none."""
    import polars

    path = published / f"{name}.parquet"
    return polars.read_parquet(path) if path.exists() else None


def record(file: Path, published: Path) -> Record:
    """The figure of an experiment's file, made anew of its published rows.

    What is wrong with the file is told in the figure's place, and stops no other.
    """
    rows = rows_of(file.stem, published)
    kept = read_json(published / f"{file.stem}.json")
    if rows is None or not isinstance(kept, dict) or not set(KEPT) <= kept.keys():
        raise Refusal(f"{file.stem} has no published rows in {published}")
    title, about = described(file.read_text(encoding="utf-8"))
    known = {**kept, "made": Provenance.of(kept["made"])}
    plain = Record(file.stem, title or file.stem, about, **known)
    try:
        own = experiment(file)
    except (Exception, SystemExit) as error:  # whatever somebody is writing there
        return replace(plain, error=f"{file.name} cannot be imported: {error!r}")
    plain = replace(plain, columns=own.columns)
    try:
        return replace(
            plain,
            sentence=own.sentence(rows),
            broken=tuple(own.broken(rows)),
            chart=own.chart(rows),
        )
    except Exception as error:  # the experiment has changed since: its rows lack a column, say
        told = (
            f"these rows are of an older version of the experiment ({error!r}); run it, --publish"
        )
        return replace(plain, error=told)


# --- comparing


def differences(ours: polars.DataFrame, theirs: polars.DataFrame) -> list[str]:
    """What differs between computed and published rows, beyond interval or tolerance.

    Rows stand in one order, that of the figure's settings. Names, counts and truth values must be
    equal. Numbers with intervals (`X_low`, `X_high`; `low` and `high` for a row that has one) may
    differ by half of both lengths, and the intervals have to meet; others by TOLERANCE, and by
    TRAINED in a row of a trained network. Seconds, bytes and devices are not compared.
    """
    if len(ours) != len(theirs):
        return [f"{len(ours)} rows were computed and {len(theirs)} are published"]
    missing = sorted(set(theirs.columns) - set(ours.columns))
    told = [f"column {name} is published and was not computed" for name in missing]
    columns = [n for n in theirs.columns if n in ours.columns and not OF_THE_MACHINE.search(n)]
    pairs = zip(ours.to_dicts(), theirs.to_dicts(), strict=True)
    for number, (mine, published) in enumerate(pairs, 1):
        told += [
            f"row {number} ({_place(published, columns)}): {name} is {_text(mine[name])}, "
            f"published {_text(published[name])}"
            for name in _differing(mine, published, columns)
        ]
    return told


def _differing(mine: dict[str, Any], theirs: dict[str, Any], columns: Sequence[str]) -> list[str]:
    words = " ".join(str(v) for v in theirs.values() if isinstance(v, str))
    allowed = (
        TRAINED if re.search(r"train|tuned|solved|random|Lightning|torch", words) else TOLERANCE
    )
    # `low` and `high` belong to a number that is not named: it lies between them.
    loose = {"low", "high"} <= theirs.keys() and theirs["low"] is not None
    found = []
    for name in columns:
        a, b = mine[name], theirs[name]
        if not (isinstance(a, float) and isinstance(b, float)):
            if a != b:
                found.append(name)
            continue
        one, other = _interval(name, theirs, loose), _interval(name, mine, loose)
        if one and other:
            meet = one[0] <= other[1] and other[0] <= one[1]
            same = meet and abs(a - b) <= (one[1] - one[0] + other[1] - other[0]) / 2 + 1e-12
        else:
            same = math.isclose(a, b, rel_tol=allowed, abs_tol=1e-12) or a != a != b != b
        if not same:
            found.append(name)
    return found


def _interval(name: str, row: dict[str, Any], loose: bool) -> tuple[float, float] | None:
    base = re.sub(r"_?(low|high)$", "", name)
    for low, high in ((f"{base}_low", f"{base}_high"), ("low", "high")):
        if row.get(low) is None or row.get(high) is None:
            continue
        if low == "low" and not (loose and (not base or row["low"] <= row[name] <= row["high"])):
            continue
        return row[low], row[high]
    return None


def _place(row: dict[str, Any], columns: Sequence[str]) -> str:
    """The settings that a row begins with, as far as they are short."""
    return ", ".join(f"{n} {_text(row[n])}" for n in columns[:4] if row[n] is not None)


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def compared(folder: Path, published: Path) -> list[str]:
    """What of a finished figure differs from its published rows, in sentences; [] where nothing.

    Rows of another scale are of other settings, timings of another machine: said, not compared.
    """
    import polars

    own = read(folder)
    theirs, kept = rows_of(own.name, published), read_json(published / f"{own.name}.json")
    if theirs is None or not isinstance(kept, dict):
        return [f"{own.name}: nothing is published"]
    if own.name.endswith("_speed"):
        return [f"{own.name}: times are not compared"]
    if kept.get("scale") != own.scale:
        return [f"{own.name}: not compared, published at scale {kept.get('scale')}"]
    found = differences(polars.read_parquet(folder / f"{own.name}.parquet"), theirs)
    more = [f"{own.name}: {len(found) - TOLD} more differences"] if len(found) > TOLD else []
    return [f"{own.name}: {one}" for one in found[:TOLD]] + more


# --- the command


def report(arguments: Sequence[str]) -> None:
    """`depthwright report [--output FOLDER] [--published FOLDER]`: the page, nothing computed."""
    parser = argparse.ArgumentParser(
        prog="depthwright report", description="all figures and theorems, nothing is trained"
    )
    parser.add_argument("--output", type=Path, default=Path("outputs"))
    parser.add_argument("--published", type=Path, help="the rows; experiments/published by itself")
    options = parser.parse_args(arguments)
    page.need_page()
    published = options.published or experiments() / "published"
    folder = options.output.expanduser() / "report"
    need_writable(folder)
    files = [file for name, file in found().items() if (published / f"{name}.parquet").exists()]
    if not files:
        raise Refusal(f"{published} holds no rows; python experiments/reproduce.py --publish")
    with _drawing(files, published, folder / "figures") as entries:
        chapters = theorems.chapters(folder)
    note = f"{len(entries)} figures, drawn from published rows; each says what computed them."
    if failed := [entry.record.name for entry in entries if entry.record.error]:
        note += f" Without a picture: {', '.join(failed)}."
    print(f"page  {page.write(entries, folder, page.TITLE, note, chapters).absolute()}")


@contextmanager
def _drawing(files: Sequence[Path], published: Path, folder: Path) -> Iterator[list[Entry]]:
    """Each figure's record, rows and pictures, in a folder of its own; all there at the end.

    Matplotlib takes about half a second for each: on all cores, while the block goes on.
    """
    records = [record(file, published) for file in files]
    context = get_context("forkserver")  # the workers share one import of what draws
    context.set_forkserver_preload([record_files.__name__, *DRAWS])
    with ProcessPoolExecutor(cores(), context) as pool:
        pictures = [pool.submit(draw, one, folder / one.name) for one in records]
        for one in records:
            rows = rows_of(one.name, published)
            assert rows is not None
            write(one, rows, folder / one.name, pictures=False)
        yield [Entry(one, folder / one.name) for one in records]
        for picture in pictures:
            picture.result()
