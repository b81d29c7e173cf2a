"""One run in this process: what its rows say of path norms."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig

from depthwright import comparison, results
from depthwright import config as configs
from depthwright.results import Row
from depthwright.tracking import Tracker

Composed = Callable[..., DictConfig]

QUICK = (
    "accuracy=0.2",
    "training=quick",
    "training.steps=200",
    "evaluation=quick",
    "trainer.accelerator=cpu",
    "trainer.progress=false",
)


def run(composed: Composed, folder: Path, *overrides: str) -> dict[str, Row]:
    ready = configs.comparison(composed(*QUICK, *overrides))
    rows = comparison.run(ready, folder, Tracker())
    assert results.read(folder) == rows
    return {row.contender: row for row in rows}


def below_floor(row: Row) -> bool:
    """What would refute the floor, or the network."""
    assert row.path_norm is not None
    assert row.path_norm_floor is not None
    return row.path_norm < row.path_norm_floor


def test_no_row_lies_below_its_floor(composed: Composed, tmp_path: Path) -> None:
    found = run(
        composed,
        tmp_path,
        "target.input_dim=3",
        "beside=[sparse_ridge,radial_depth_three]",
        "matching=[architecture,width]",
        "features=[random,constructed]",
    )
    deep = found.pop("constructed_radial_depth_three")
    assert (deep.path_norm, deep.error_sup_averaged, deep.path_norm_floor) == (None, None, None)
    assert {row.depth for row in found.values()} == {2}
    assert len(found) == 6
    sparse = found["constructed_sparse_ridge"]
    assert sparse.path_norm_needed is not None
    assert sparse.path_norm is not None
    assert 0 < sparse.path_norm_needed <= sparse.path_norm, "it is within the accuracy"
    for row in found.values():
        assert row.path_norm_floor is not None
        assert row.path_norm_floor > 0
        assert not below_floor(row)
        assert row.path_norm_needed == sparse.path_norm_needed
        claim = row.error_promised
        assert row.error_sup_averaged is not None
        assert claim is None or row.error_sup_averaged <= claim
    halved = dataclasses.replace(sparse, path_norm=sparse.path_norm / 2)
    assert below_floor(halved), "the floor is within a factor 2, so half of it is caught"


def test_targets_that_are_not_radial_have_no_floor(composed: Composed, tmp_path: Path) -> None:
    found = run(
        composed,
        tmp_path,
        "target=random_network",
        "target.input_dim=2",
        "target.width=3",
        "distribution=uniform_cube",
        "construction=narrow_exact_slim",
        "matching=[]",
    )
    assert {row.path_norm for row in found.values()} == {None}


def test_features_are_contenders_or_it_is_said_why_not(composed: Composed, tmp_path: Path) -> None:
    overrides = ("target.input_dim=3", "matching=[]", "features=[random,constructed]")
    found = run(composed, tmp_path / "one", *overrides)
    assert list(found) == ["constructed", "random_features", "constructed_features"]
    assert {row.width for row in found.values()} == {found["constructed"].width}
    assert found["constructed_features"].error_l2 < found["constructed"].error_l2
    assert {found[f"{kind}_features"].error_promised for kind in ("random", "constructed")} == {
        None
    }
    said: list[str] = []
    ready = configs.comparison(
        composed(
            *QUICK,
            "target=random_network",
            "distribution=uniform_cube",
            "construction=narrow_packed",
            "evaluation.points=10",
            "matching=[]",
            "features=[constructed]",
        )
    )
    rows = comparison.run(ready, tmp_path / "two", Tracker(), said.append)
    assert [row.contender for row in rows] == ["constructed"]
    assert any(line.startswith("no constructed_features") for line in said)
