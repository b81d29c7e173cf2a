"""The results table: whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import polars
import pytest

import rows_by_hand
from depthwright import results
from depthwright.files import whole_file
from depthwright.refusal import Refusal
from depthwright.results import COLUMNS, NEEDED

ROW = dataclasses.replace(
    rows_by_hand.ROW, contender="constructed", error_sup_certified=0.1, train_seconds=None
)


def test_rows_come_back(tmp_path: Path) -> None:
    assert not results.finished(tmp_path)
    results.write(tmp_path, [ROW, dataclasses.replace(ROW, contender="trained_parameters")])
    assert results.finished(tmp_path)
    assert results.read(tmp_path)[0] == ROW
    frame = results.table([tmp_path, tmp_path / "nothing"])
    assert frame.columns == list(COLUMNS)
    assert frame["contender"].to_list() == ["constructed", "trained_parameters"]


def test_schema_has_the_promised_columns() -> None:
    promised = (
        "contender, construction, style, target, distribution, input_dim, accuracy, "
        "failure_probability, seed, width, depth, parameters, nonzeros, weight_bits, arithmetic, "
        "error_l2, error_l2_low, error_l2_high, error_l2_relative, error_sup_sampled, "
        "error_sup_attacked, error_sup_certified, exceedance, exceedance_upper, build_seconds, "
        "train_seconds, evaluate_seconds, device"
    )
    assert set(promised.split(", ")) <= set(COLUMNS)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    results.write(tmp_path, [ROW])
    before = (tmp_path / "results.json").read_bytes()

    def fail() -> None:
        with whole_file(tmp_path / "results.json") as partial:
            partial.write_text("half a ")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (tmp_path / "results.json").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize("damage", ["", "[{", '[{"contender": "x"}]', "7"])
def test_a_damaged_table_is_refused_by_path(tmp_path: Path, damage: str) -> None:
    (tmp_path / "results.json").write_text(damage)
    with pytest.raises(Refusal, match=r"results\.json"):
        results.read(tmp_path)


def test_columns_that_an_older_table_lacks_are_none(tmp_path: Path) -> None:
    results.write(tmp_path, [ROW])
    path = tmp_path / "results.json"
    (row,) = json.loads(path.read_text())
    row["a later column"] = 7
    added = ("path_norm", "error_sup_averaged", "path_norm_floor", "path_norm_needed")
    for name in added:
        del row[name]
    path.write_text(json.dumps([row]))
    (old,) = results.read(tmp_path)
    assert {getattr(old, name) for name in added} == {None}
    assert old.width == ROW.width
    del row["width"]
    path.write_text(json.dumps([row]))
    with pytest.raises(Refusal, match="width"):
        results.read(tmp_path)


WRONG = {
    "contender": [None, 1, [], {}],
    "style": [1, True],
    "code": [0.5, ["ab"]],
    "width": [None, 1.5, "1", True, math.nan, 2**63],
    "error_l2": [None, "0.1", False, [0.1], -(2**63) - 1],
    "train_seconds": ["1", {"s": 1}],
}
"""Values of another type than their column's, of every kind of column."""


@pytest.mark.parametrize(("column", "value"), [(c, v) for c, vs in WRONG.items() for v in vs])
def test_a_value_of_another_type_is_damage(tmp_path: Path, column: str, value: object) -> None:
    rows = [dataclasses.asdict(ROW), dataclasses.asdict(ROW) | {column: value}]
    results.write_rows(tmp_path, rows)
    assert not results.finished(tmp_path, NEEDED)
    assert results.damaged(tmp_path, NEEDED)
    with pytest.raises(Refusal, match=f"{column}="):
        results.read(tmp_path)
    results.write_rows(tmp_path, [dict(rows[1], error_l2=value)])  # a figure's may hold anything
    assert results.finished(tmp_path)


def test_numbers_without_a_fraction_and_without_an_end_are_numbers(tmp_path: Path) -> None:
    for value in (1, 0.5, math.nan, math.inf):
        results.write(tmp_path, [dataclasses.replace(ROW, error_l2=value)])
        assert results.finished(tmp_path, NEEDED)
        assert repr(results.read(tmp_path)[0].error_l2) == repr(value)


def test_json_is_plain(tmp_path: Path) -> None:
    results.write(tmp_path, [ROW])
    assert json.loads((tmp_path / "results.json").read_text())[0]["train_seconds"] is None


def test_rows_that_contradict_a_claim_are_reported_and_no_others() -> None:
    kept = {"error_sup_attacked": 0.1, "error_sup_certified": 0.1, "path_norm": 2.0}
    kept |= {"path_norm_floor": 2.0, "input_dim": 3, "accuracy": 0.2}
    silent = dict.fromkeys(kept, None) | {"input_dim": 3, "accuracy": None}
    above = {"error_sup_attacked": 0.11, "contender": "above"}
    nowhere = {"error_sup_attacked": math.nan, "contender": "nowhere"}
    below = {"path_norm": 1.9, "contender": "below"}
    rows = [{"contender": "kept"} | kept, {"contender": "silent"} | silent]
    assert results.contradictions(polars.DataFrame(rows)) == []
    rows += [kept | above, kept | nowhere, kept | below]
    told = results.contradictions(polars.DataFrame(rows))
    assert [one.split()[0] for one in told] == ["above", "nowhere", "below"]
    assert told[0].endswith("attacked sup error 0.11 above 0.1")
    assert "path norm 1.9 below its floor 2" in told[2]
