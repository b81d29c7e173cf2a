"""What the radial experiments call a broken promise: rows made by hand, right and wrong."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import polars
import pytest
from scipy.stats import linregress
from scipy.stats import t as student

from depthwright.figures.exponent import exponent, interval
from experiment_files import load


def test_exponents_are_those_of_power_laws() -> None:
    x = [2.0, 3.0, 7.0]
    assert exponent(x, [5 * a**1.5 for a in x]) == pytest.approx(1.5, rel=1e-12)
    assert exponent([*x, 9.0], [*(a**-2 for a in x), None]) == pytest.approx(-2, rel=1e-12)


def test_the_interval_of_an_exponent_is_that_of_a_regression() -> None:
    x, y = [2.0, 3.0, 5.0, 10.0, 20.0], [8.0, 12.0, 40.0, 160.0, 360.0]
    found, wanted = interval(x, y), linregress(np.log(x), np.log(y))
    half = student.ppf(0.975, 3) * wanted.stderr
    assert found.value == pytest.approx(wanted.slope, rel=1e-12)
    assert (found.low, found.high) == pytest.approx((wanted.slope - half, wanted.slope + half))
    assert str(interval(x[:2], y[:2])) == f"{math.log(1.5) / math.log(1.5):.2f}"


def line_of(contender: str, seed: int, l2: float, sup: float) -> dict[str, Any]:
    row = {"target": "Cone", "input_dim": 3, "accuracy": 0.1, "contender": contender}
    return row | {"seed": seed, "error_l2": l2, "error_sup_attacked": sup}


@pytest.mark.parametrize(
    ("changes", "kept", "clear", "told"),
    [
        ({}, 1, 1, ""),
        (
            {("solved", 1): (0.02, 0.2), ("solved", 2): (0.02, 0.2)},
            0,
            0,
            "d = 3 (sup 0.2 against 0.11)",
        ),
        ({("solved", 1): (0.02, 0.2)}, 1, 0, ""),
        ({("trained for sup", 0): (0.03, 0.1)}, 1, 1, ""),
        ({("trained", 0): (0.03, 0.01)} | {("trained", 1): (0.03, 0.01)}, 0, 0, "sup 0.1 against"),
    ],
)
def test_the_verdict_names_the_lines_that_are_lost(
    changes: dict[tuple[str, int], tuple[float, float]], kept: int, clear: int, told: str
) -> None:
    usual = {"solved": (0.01, 0.1), "trained": (0.02, 0.2), "trained for sup": (0.03, 0.11)}
    rows = [
        line_of(who, seed, *changes.get((who, seed), error))
        for who, error in usual.items()
        for seed in (range(1) if who == "trained for sup" else range(3))
    ]
    said = load("radial_contenders").verdict(polars.DataFrame(rows), ("target", "input_dim"))
    assert said.startswith(f"In {kept} of 1 cases the solved network errs no more")
    assert f"in {clear} of these cases its worst seed" in said
    assert told in said
    assert ("It errs more" in said) == bool(told)


def test_a_halved_path_norm_breaks_the_figure() -> None:
    experiment = load("path_norm")
    found = experiment.measure("cone", 3, "other", width=30)
    rows = polars.DataFrame([{"name": "cone", "input_dim": 3, **row} for row in found])
    assert len(rows) == 3
    assert experiment.broken(rows) == []
    told = experiment.sentence(rows)
    assert told.startswith("None of 3 depth-2 networks is below the floor of the path norm; ")
    assert "floor is 0" not in told
    floors = polars.Series("path_norm_floor", [0.0, *rows["path_norm_floor"][1:]])
    told = experiment.sentence(rows.with_columns(floors))
    assert told.startswith("None of 2 depth-2 networks is")
    assert "1 more network has an error so large that the floor is 0" in told
    halved = rows.with_columns(polars.col("path_norm") / 2)
    assert re.match(r"[123] of 3 depth-2 networks (is|are) below", experiment.sentence(halved))
    assert any(
        "SparseRidge" in line or "sparse_ridge" in line for line in experiment.broken(halved)
    )


def drawn(**changes: Any) -> polars.DataFrame:
    """One cell of random features, and one comparison's row."""
    cell = {"terms": 2, "neurons": 30, "mean": 0.97, "best": 0.96, "worst": 0.98, "floor": 0.9}
    row = {"terms": 2, "contender": "constructed", "error_sup_attacked": 0.01}
    row |= {"input_dim": 20, "accuracy": 0.02, "path_norm": None, "path_norm_floor": None}
    known = {"error_sup_certified": 0.02} | {k: v for k, v in changes.items() if k not in cell}
    parts = [polars.DataFrame([cell | {k: v for k, v in changes.items() if k in cell}])]
    parts.append(polars.DataFrame([row | known]))
    return polars.concat(parts, how="diagonal_relaxed")


def test_means_below_the_floor_break_the_figure() -> None:
    experiment = load("random_feature_floor")
    assert experiment.broken(drawn()) == []
    assert len(experiment.broken(drawn(mean=0.5, best=0.49, worst=0.51))) == 1
    assert len(experiment.broken(drawn(error_sup_certified=0.005))) == 1


def test_the_indicator_protocol_is_the_reported_one() -> None:
    """0.1·0.95^k reaches 1e-4 at k = 134.7; sizes as SS17 has them."""
    protocol = load("ball_indicator").PROTOCOL
    assert protocol.steps == 135_000
    assert protocol.input_dim == 100
    assert protocol.hidden == ((100, 20), (100,), (200,), (400,), (800,))


def test_stacked_networks_learn_apart() -> None:
    """A seed's errors are the same alone and beside others."""
    experiment = load("ball_indicator")
    experiment.PROTOCOL = type(experiment.PROTOCOL)(input_dim=4, validation_points=500)
    alone = experiment.measure((7, 3), 40, 1, 2000)
    experiment.points.cache_clear()
    beside = [row for row in experiment.measure((7, 3), 40, 3, 2000) if row["seed"] == 0]
    experiment.points.cache_clear()
    assert [r["rmse"] for r in alone] == pytest.approx([r["rmse"] for r in beside], rel=1e-4)
    assert alone[-1]["rmse"] < alone[0]["rmse"]
