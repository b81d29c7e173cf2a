"""One run in this process: what its rows say of path norms."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from omegaconf import DictConfig

from depthwright import comparison, results
from depthwright.constructions import Ridge
from depthwright.distributions import UniformBox
from depthwright.progress import Listener
from depthwright.refusal import Refusal
from depthwright.results import Row
from depthwright.runs import config as configs
from depthwright.tracking import Tracker

Composed = Callable[..., DictConfig]

QUICK = (
    "accuracy=0.2",
    "training=quick",
    "training.steps=200",
    "evaluation=quick",
    "trainer.accelerator=cpu",
    "trainer.progress=false",
    "beside=[]",
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


@pytest.mark.slow
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


class Kept(Listener):
    def __init__(self, said: list[str]) -> None:
        self.said = said

    def news(self, message: str) -> None:
        self.said.append(message)


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
    rows = comparison.run(ready, tmp_path / "two", Tracker(), Kept(said))
    assert [row.contender for row in rows] == ["constructed"]
    assert any(line.startswith("no constructed_features") for line in said)


NARROW = (
    "experiment=narrow",
    "construction=narrow_bits",
    "beside=[narrow_minimal,narrow_exact_slim]",
    "matching=[]",
    "accuracy=0.1",
    "target.input_dim=2",
    "target.width=3",
    "evaluation.points=200",
)
POINTS = {
    "grid": (
        ("construction.grid=0.25",),
        "uniform_box, moved to the points −1 + 0.25·k of [−1, 1]^2",
        "the points −1 + 0.25·k of [−1, 1]^2",
    ),
    "float32": (
        ("construction.inputs=float32",),
        "uniform_box, moved to every float32 of [−1, 1]^2",
        "every float32 of [−1, 1]^2",
    ),
    "float64": (
        ("target.lower=[0,-1]", "target.upper=[2,3]"),
        "uniform_box",
        "every float64 of [0, 2] × [−1, 3]",
    ),
}


@pytest.mark.parametrize("name", POINTS)
def test_a_promise_and_the_errors_beside_it_speak_of_the_same_inputs(
    composed: Composed, tmp_path: Path, name: str
) -> None:
    overrides, points, words = POINTS[name]
    found = run(composed, tmp_path, *NARROW, *overrides)
    for contender, row in found.items():
        assert row.points == points
        everywhere = (
            "all of the " + ("box " if name == "float64" else "cube ") + words[words.index("[") :]
        )
        assert row.promised_for == (everywhere if contender.endswith("slim") else words)
        assert row.error_promised is not None
        assert row.error_l2 <= row.error_sup_sampled <= row.error_promised
        assert row.exceedance == 0
        assert (row.error_sup_good, row.error_l2_good) == (None, None)


def test_errors_stand_inside_and_outside_the_bad_set(composed: Composed, tmp_path: Path) -> None:
    found = run(composed, tmp_path, *NARROW, "failure_probability=0.2", "beside=[]")
    row = found["constructed"]
    assert row.points == "uniform_box"
    assert row.promised_for is not None
    assert row.promised_for.startswith("all but a set of probability 0.")
    assert row.error_sup_good is not None
    assert row.error_l2_good is not None
    assert row.error_promised is not None
    assert row.error_l2_good <= row.error_sup_good <= row.error_promised < row.error_sup_sampled
    assert row.error_l2_good < row.error_l2


@dataclasses.dataclass(frozen=True)
class Leaning(UniformBox):
    """Twice as dense where it is dense."""

    @property
    def density_bound(self) -> float:
        return 2 * super().density_bound


def test_a_law_that_the_claim_says_nothing_of_is_refused(composed: Composed) -> None:
    ready = configs.comparison(composed(*QUICK, *NARROW, "failure_probability=0.1"))
    law = Leaning(2)
    with pytest.raises(Refusal, match=r"laws uniform on the cube .* not under Leaning; choose"):
        dataclasses.replace(ready, distribution=law)
    bounded = {
        "construction": dataclasses.replace(ready.construction, density_bound=law.density_bound),
        "beside": {},
        "distribution": law,
    }
    assert dataclasses.replace(ready, **bounded).inputs is None
    narrow = dataclasses.replace(ready.construction, density_bound=0.4)
    with pytest.raises(Refusal, match=r"laws of density at most 0\.4,"):
        dataclasses.replace(ready, **bounded | {"construction": narrow})
    floats = dataclasses.replace(ready.construction, failure_probability=0.0)
    alone = {"construction": floats, "beside": {}, "failure_probability": 0.0}
    ready = dataclasses.replace(ready, **alone)
    assert dataclasses.replace(ready, distribution=law)
    single = dataclasses.replace(floats, inputs="float32")
    grid = dataclasses.replace(floats, grid=0.5)
    with pytest.raises(Refusal, match=r"different inputs, every float32 of .* and of the points"):
        dataclasses.replace(ready, construction=grid, beside={"narrow_bits": single})


def test_sizes_are_found_once_and_count_as_building(composed: Composed, tmp_path: Path) -> None:
    ready = configs.comparison(composed(*QUICK, "matching=[]"))
    with mock.patch.object(
        Ridge, "_narrowest", autospec=True, side_effect=Ridge._narrowest
    ) as found:
        ready.matches()
        before = ready.construction.sizing_seconds
        (row,) = comparison.run(ready, tmp_path, Tracker())
    assert found.call_count == 1
    assert row.build_seconds is not None
    assert row.build_seconds > before > 0
