"""The results table, which is the record: one row per contender, one file per finished run.

A run's folder is named by its experiment and a hash of its resolved config and this package's
source. `results.json` is written last and in one piece, so a folder that has it is finished and
one that has not is not.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwright.files import read_json, write_json
from depthwright.refusal import Refusal

if TYPE_CHECKING:
    import polars

RESULTS = "results.json"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One contender of one comparison; None where a quantity does not exist for it."""

    contender: str
    """"constructed", "constructed_NAME" for one beside it, "trained_RULE" for a rival,
    "random_features" and "constructed_features" where the output layer alone is fitted, "tuned"
    for what was trained on from the construction's own weights."""
    construction: str
    """The construction that built it, or that the rival or the features were matched with."""
    style: str | None
    """How a rival's maps are joined: plain, residual or normalised (see networks/styles.py), the
    best of those tried; None for what is constructed, which is plain by definition."""
    target: str
    distribution: str
    input_dim: int
    accuracy: float | None
    """The theorem's ε."""
    failure_probability: float | None
    """The claim's δ; 0 for one that holds everywhere."""
    seed: int
    code: str | None = None
    """The digest of the package's source that computed the row (see provenance.py)."""
    width: int
    depth: int
    parameters: int
    """Every entry of every matrix and bias, zeros counted."""
    nonzeros: int
    weight_bits: int
    """Significant bits of the longest weight: 24 in float32, 53 in float64."""
    arithmetic: str
    """What the errors below were measured in."""
    error_l2: float
    error_l2_low: float
    """95 % confidence interval."""
    error_l2_high: float
    error_l2_good: float | None = None
    """Without the points that the claim leaves out; None where it leaves out none."""
    error_l2_relative: float
    """Divided by the target's standard deviation: 1 means "learned the mean"."""
    error_sup_sampled: float
    """A lower bound on the sup error."""
    error_sup_good: float | None
    """As sampled, without the points that the claim leaves out; None where it leaves out none."""
    error_sup_attacked: float | None
    """A better lower bound."""
    error_sup_certified: float | None
    """A proved upper bound on all inputs of the claim; for a depth-2 network without a claim and a
    radial target in dimension 3 or less, by branch and bound (errors/certified.py)."""
    error_promised: float | None
    """The claim: an upper bound outside a set of probability `failure_probability`, proved."""
    promised_for: str | None = None
    """The inputs for which the claim holds, in words."""
    points: str | None = None
    """Where all errors of the row were measured: draws of `distribution`, perhaps moved to the
    nearest of the inputs for which the run's claims hold."""
    exceedance: float | None
    """Share of points with an error above `accuracy`."""
    exceedance_upper: float | None
    """Its Clopper–Pearson bound, with confidence 99.9 %."""
    path_norm: float | None = None
    """Σ abs(a_i)‖w_i‖ of a depth-2 network for a radial target (see bounds/norm_floor.py)."""
    error_sup_averaged: float | None = None
    """Sup error of its rotation average, bounded above: at most its own sup error."""
    path_norm_floor: float | None = None
    """No depth-2 ReLU network of that averaged error has a smaller path norm, proved."""
    path_norm_needed: float | None = None
    """The same at `accuracy`: the path norm that this accuracy needs, proved."""
    tried: int | None = None
    """Of how many trained networks a rival is the best; None for what is not trained."""
    build_seconds: float | None
    train_seconds: float | None
    evaluate_seconds: float
    device: str


COLUMNS = tuple(field.name for field in fields(Row))
ADDED = tuple(field.name for field in fields(Row) if field.default is not MISSING)
"""Columns that older tables lack; they are read as None."""
NEEDED = tuple(name for name in COLUMNS if name not in ADDED)
"""Columns without which there is no row of a comparison."""
SECONDS = tuple(name for name in COLUMNS if name.endswith("_seconds"))
"""The columns that differ between two runs of one config."""

_OF_THE_TARGET = "the unit of the target's values"
UNITS: dict[str, str] = {
    "input_dim": "coordinates",
    "accuracy": _OF_THE_TARGET,
    "failure_probability": "probability",
    "width": "neurons",
    "depth": "affine maps",
    "parameters": "matrix and bias entries",
    "nonzeros": "matrix and bias entries",
    "weight_bits": "bits",
    "error_l2_relative": "the target's standard deviation",
    "exceedance": "share of points",
    "tried": "networks",
    "exceedance_upper": "probability",
} | {
    name: "s" if name in SECONDS else _OF_THE_TARGET
    for name in COLUMNS
    if name in SECONDS or (name.startswith("error_") and name != "error_l2_relative")
}
"""Units of the columns; the other columns are names and seeds."""


ROOM = 2**16
"""Bytes that are kept for the rows while they are computed; ten contenders need a sixth."""
RESERVE = ".reserve.partial"


@contextmanager
def room(folder: Path) -> Iterator[None]:
    """Keeps some place on the disk for the rows, which may become full while they are computed."""
    reserve = folder / RESERVE
    try:
        with reserve.open("wb") as file:
            file.write(bytes(ROOM))
        yield
    finally:
        reserve.unlink(missing_ok=True)


def write(folder: Path, rows: Iterable[Row]) -> None:
    """Write the rows, which mark a run as finished."""
    write_rows(folder, [asdict(row) for row in rows])


def write_rows(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Finish a run or a figure's cell, in the place that was kept for it."""
    (folder / RESERVE).unlink(missing_ok=True)
    write_json(folder / RESULTS, rows)


def finished(folder: Path, columns: Collection[str] = ()) -> bool:
    """Whether the run of this folder has rows that can be read, each with at least `columns`."""
    rows = _stored(folder)
    return rows is not None and all(row.keys() >= set(columns) for row in rows)


def damaged(folder: Path, columns: Collection[str] = ()) -> bool:
    """Whether a table is there that is none: what it held is computed again."""
    return os.path.lexists(folder / RESULTS) and not finished(folder, columns)


def read(folder: Path) -> list[Row]:
    """The rows of a finished run.

    Columns that a later version added are ignored, those that an earlier one lacked are None.
    """
    stored = read_rows(folder)
    try:
        return [Row(**{name: row[name] for name in _held(row)}) for row in stored]
    except (KeyError, TypeError) as error:
        raise _damaged(folder, error) from error


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Rows as they are stored, a comparison's or a figure's."""
    stored = _stored(folder)
    if stored is None:
        raise _damaged(folder, "it holds no rows")
    return stored


def _stored(folder: Path) -> list[dict[str, Any]] | None:
    """At least one row; None where there is no table, or a damaged one."""
    stored = read_json(folder / RESULTS)
    sound = isinstance(stored, list) and stored and all(isinstance(row, dict) for row in stored)
    return stored if sound else None


def _damaged(folder: Path, error: object) -> Refusal:
    return Refusal(
        f"{folder / RESULTS} is not a results table of this version ({error}); "
        "delete the folder to run it again"
    )


def _held(row: dict[str, Any]) -> list[str]:
    """The columns to take from a stored row: all, except added ones that it lacks."""
    return [name for name in COLUMNS if name in row or name not in ADDED]


def table(folders: Iterable[Path]) -> polars.DataFrame:
    """The rows of all finished runs among `folders`, one frame."""
    import polars

    rows = [asdict(row) for folder in folders if finished(folder) for row in read(folder)]
    return polars.DataFrame(rows, infer_schema_length=None)


def contradictions(rows: polars.DataFrame) -> list[str]:
    """Claims that rows contradict: attacked sup errors above them, path norms below the floor."""

    def place(row: dict[str, Any]) -> str:
        return f"{row['contender']} in dimension {row['input_dim']} at accuracy {row['accuracy']}: "

    return [
        f"{place(row)}attacked sup error {row['error_sup_attacked']:.6g} above "
        f"{row['error_sup_certified']:.6g}"
        for row in rows.drop_nulls(["error_sup_attacked", "error_sup_certified"]).to_dicts()
        if not row["error_sup_attacked"] <= row["error_sup_certified"]
    ] + [
        f"{place(row)}path norm {row['path_norm']:.6g} below its floor {row['path_norm_floor']:.6g}"
        for row in rows.drop_nulls(["path_norm", "path_norm_floor"]).to_dicts()
        if not row["path_norm"] >= row["path_norm_floor"]
    ]
