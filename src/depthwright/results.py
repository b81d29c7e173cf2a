"""The results table, which is the record: one row per contender, one file per finished run.

A run's folder is named by its experiment and a hash of its resolved config and this package's
source. `results.json` is written last and in one piece, so a folder that has it is finished and
one that has not is not.
"""

from __future__ import annotations

import ast
import inspect
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

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
    """The function that is approximated; a name of conf/target."""
    distribution: str
    """The law of the inputs; a name of conf/distribution."""
    input_dim: int
    """d."""
    accuracy: float | None
    """The theorem's ε."""
    failure_probability: float | None
    """The claim's δ; 0 for one that holds everywhere."""
    seed: int
    """Of training; evaluation points have their own."""
    code: str | None = None
    """The digest of the package's source that computed the row (see provenance.py)."""
    width: int
    """Of the largest layer, input included, output not."""
    depth: int
    """1 for a network without hidden layers."""
    parameters: int
    """Every entry of every matrix and bias, zeros counted."""
    nonzeros: int
    """Of the parameters."""
    weight_bits: int
    """Significant bits of the longest weight: 24 in float32, 53 in float64."""
    arithmetic: str
    """What the errors below were measured in."""
    error_l2: float
    """Root of the mean squared error, estimated at random points."""
    error_l2_low: float
    """Lower end of its 95 % confidence interval."""
    error_l2_high: float
    """Upper end of it."""
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
    """Of the construction, its sizes included."""
    train_seconds: float | None
    """Of the training of all rivals together."""
    evaluate_seconds: float
    """Of one pass over the evaluation points."""
    device: str
    """Where it was trained and evaluated: cpu, or cuda:0."""


COLUMNS = tuple(field.name for field in fields(Row))
ADDED = tuple(field.name for field in fields(Row) if field.default is not MISSING)
"""Columns that older tables lack; they are read as None."""
NEEDED = tuple(name for name in COLUMNS if name not in ADDED)
"""Columns without which there is no row of a comparison."""
_TYPES: dict[str, tuple[type, ...]] = {
    name: get_args(hint) or (hint,) for name, hint in get_type_hints(Row).items()
}
"""Of the values of each column."""
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
    """Whether the run of this folder has rows that can be read, each with at least `columns`.

    Where `columns` are given, the table is a comparison's, and its values are of the types of Row.
    """
    rows = _stored(folder)
    return rows is not None and all(_sound(row, columns) for row in rows)


def _sound(row: Mapping[str, Any], columns: Collection[str]) -> bool:
    return row.keys() >= set(columns) and not (columns and _wrong(row))


def _wrong(row: Mapping[str, Any]) -> list[str]:
    """The columns of Row whose values are of another type."""
    return [name for name, types in _TYPES.items() if name in row and not _fits(row[name], types)]


def _fits(value: Any, types: Collection[type]) -> bool:
    """JSON has one kind of number: 1 stands for 1.0 as well. Integers are those of tables."""
    if isinstance(value, int):
        number = int in types or float in types
        return number and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return type(value) in types


def damaged(folder: Path, columns: Collection[str] = ()) -> bool:
    """Whether a table is there that is none: what it held is computed again."""
    return os.path.lexists(folder / RESULTS) and not finished(folder, columns)


def read(folder: Path) -> list[Row]:
    """The rows of a finished run.

    Columns that a later version added are ignored, those that an earlier one lacked are None.
    """
    stored = read_rows(folder)
    for row in stored:
        if wrong := _wrong(row):
            raise _damaged(folder, f"{wrong[0]}={row[wrong[0]]!r:.60}")
    try:
        return [Row(**{name: row[name] for name in _held(row)}) for row in stored]
    except KeyError as error:
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


def below(folder: Path) -> list[Path]:
    """The folders of all finished runs in a folder and below it, of comparisons and of figures."""
    found = sorted(path.parent for path in folder.rglob(RESULTS))
    return [path for path in found if finished(path)]


def rows_below(folder: Path) -> polars.DataFrame:
    """All their rows, one frame; `run`, the first column, is the run's folder, below `folder`.

    Columns that a row does not have are null. Raises Refusal where there is no finished run.
    """
    import polars

    rows = [
        {"run": path.relative_to(folder).as_posix(), **row}
        for path in below(folder)
        for row in read_rows(path)
    ]
    if not rows:
        raise Refusal(
            f"{folder} holds no finished run; give a folder that a run or a sweep has filled, "
            "as outputs"
        )
    return polars.DataFrame(rows, infer_schema_length=None, strict=False)


@dataclass(frozen=True)
class Column:
    """What a column of the table means."""

    name: str
    kind: str
    """Its Python type."""
    unit: str
    meaning: str


def columns() -> list[Column]:
    """Every column of a comparison's rows, read from the schema above."""
    body = ast.parse(inspect.getsource(Row)).body[0]
    assert isinstance(body, ast.ClassDef)
    found = []
    for at, following in zip(body.body, [*body.body[1:], None], strict=True):
        if not (isinstance(at, ast.AnnAssign) and isinstance(at.target, ast.Name)):
            continue
        told = ""
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            told = " ".join(str(following.value.value).split())
        name, kind = at.target.id, ast.unparse(at.annotation)
        found.append(Column(name, kind, UNITS.get(name, ""), told))
    return found


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
