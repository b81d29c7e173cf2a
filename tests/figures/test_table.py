"""The table and the verdict say what the rows hold."""

import dataclasses
import io
import re

import pytest
from rich.console import Console

from depthwright.figures.table import name, tables, verdict
from depthwright.results import COLUMNS, Row

OWN = Row(
    **dict.fromkeys(COLUMNS, None)  # type: ignore[arg-type]
    | {"contender": "constructed", "construction": "ridge", "target": "cone"}
    | {"distribution": "uniform_radius", "input_dim": 5, "accuracy": 0.1, "width": 407, "depth": 2}
    | {"parameters": 2850, "error_l2": 0.04, "error_l2_low": 0.039, "error_l2_high": 0.041}
    | {"error_l2_relative": 0.2, "error_sup_sampled": 0.08, "error_sup_attacked": 0.09}
    | {"error_sup_certified": 0.0998, "error_promised": 0.0998, "promised_for": "all of the ball"}
    | {"exceedance": 0.0, "build_seconds": 3.0}
)
SOLVED = dataclasses.replace(
    OWN,
    contender="constructed_solved_ridge",
    construction="solved_ridge",
    error_l2=0.001,
    error_sup_attacked=0.02,
    error_sup_certified=None,
    error_promised=None,
    build_seconds=20.0,
)
TRAINED = dataclasses.replace(
    SOLVED,
    contender="trained_architecture",
    construction="ridge",
    style="plain",
    tried=6,
    error_l2=0.005,
    error_sup_attacked=0.01,
    build_seconds=None,
    train_seconds=8.0,
)


def test_every_network_has_its_line() -> None:
    told = io.StringIO()
    page = Console(file=told, width=130)
    for table in tables([OWN, SOLVED, TRAINED]):
        page.print(table)
    lines = told.getvalue().splitlines()
    (own,) = [line for line in lines if "ridge, constructed" in line]
    assert own.split()[2:] == ["407", "2", "2,850", "0.04", "0.09", "0.0998", "3"]
    (trained,) = [line for line in lines if "best of 6" in line]
    assert trained.split()[-4:] == ["0.005", "0.01", "—", "8"]
    assert name(SOLVED) == "sparse ridge, solved"
    assert not any("path norm" in line for line in lines), "nobody has one"


def test_the_verdict_names_who_is_nearest_and_who_is_sure() -> None:
    near, sure = verdict([OWN, SOLVED, TRAINED])
    assert near.startswith("Solved sparse ridge is nearest on average (0.001; next: trained")
    assert ") and trained, same architecture at the worst input found (0.01; next" in near
    both = verdict([OWN, dataclasses.replace(SOLVED, error_sup_attacked=1e-3), TRAINED])[0]
    assert re.fullmatch(
        r"Solved sparse ridge is nearest on average \(.*\) and at the worst input found \(.*\)\.",
        both,
    )
    assert sure.startswith("Ridge (error at most 0.0998 for all inputs) is alone guaranteed; ")
    assert sure.endswith("ridge 3 s, solved sparse ridge 20 s and trained, same architecture 8 s.")


def test_the_verdict_follows_the_rows() -> None:
    better = dataclasses.replace(OWN, error_l2=1e-4, error_sup_certified=None, error_promised=None)
    near, sure = verdict([better, SOLVED])
    assert near.startswith("Ridge is nearest on average (0.0001; next: solved sparse ridge 0.001)")
    assert sure.startswith("No error is guaranteed")
    assert verdict([OWN]) == []
    both = verdict([OWN, dataclasses.replace(SOLVED, error_sup_certified=0.03)])[1]
    assert "are guaranteed" in both


@pytest.mark.parametrize(
    ("contender", "shown"),
    [("trained_width", "trained, same width"), ("random_features", "random features")],
)
def test_other_contenders_keep_their_names(contender: str, shown: str) -> None:
    row = dataclasses.replace(TRAINED, contender=contender, tried=None, style=None)
    assert name(row) == shown
