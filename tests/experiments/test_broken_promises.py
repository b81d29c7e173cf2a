"""What every experiment calls a broken promise: rows made by hand, kept and broken one by one."""

from __future__ import annotations

import math
from typing import Any

import polars
import pytest

from depthwright.experiment import holds_experiment, no_broken_promise
from experiment_files import FOLDER, load

Changes = dict[str, Any]
COMPARED = {
    "contender": "constructed",
    "input_dim": 3,
    "accuracy": 0.2,
    "error_sup_attacked": 0.1,
    "error_sup_certified": 0.1,
    "path_norm": 2.0,
    "path_norm_floor": 2.0,
}
FEATURES = {"terms": 2, "neurons": 30, "mean": 0.97, "best": 0.97, "worst": 0.97, "floor": 0.9}
ABOVE, BELOW = {"error_sup_attacked": 0.11}, {"path_norm": 1.9}
NO_ERROR, NO_NORM = {"error_sup_attacked": math.nan}, {"path_norm": math.nan}

# Per experiment: a row that keeps its promises, and changes of it that break one each.
EXAMPLES: dict[str, tuple[Changes, list[Changes]]] = {
    "bounded_weights": (
        {"inner": "narrow_bits", "scaling": "one C", "largest_weight": 2.0, "value_gap": 0.0},
        [{"largest_weight": 2.5}, {"value_gap": 1e-9}, {"value_gap": math.nan}],
    ),
    "certified_checks": (
        {"target": "Cone", "input_dim": 2, "width": 64, "seed": 0, "network": "as trained"}
        | {"error_sup_attacked": 0.1, "error_at_spike": 0.05, "error_sup_certified": 0.1},
        [ABOVE, NO_ERROR, {"error_at_spike": 0.2}, {"error_sup_certified": math.nan}],
    ),
    "digits": (
        {"same": True, "error": 0.1, "error_promised": 0.1},
        [{"same": False}, {"error": 0.2}, {"error": math.nan}],
    ),
    "exact_checks": ({"network": "a", "points": 9, "differ": 0}, [{"differ": 1}]),
    "exact_speed": (
        {"n": 4, "compared": 9, "differ": 0, "gpu_compared": None, "gpu_differ": None},
        [{"differ": 1}, {"gpu_compared": 9, "gpu_differ": 1}],
    ),
    "longer_training": (COMPARED, [ABOVE, NO_ERROR, BELOW, NO_NORM]),
    "lu_narrow": (
        {"contender": "a", "d": 1, "k": 3, "error_sup_sampled": 0.1, "promised": 0.1},
        [{"error_sup_sampled": 0.2}, {"error_sup_sampled": math.nan}],
    ),
    "misread_inputs": (
        {"data": "iris", "reading": "borders between floats"}
        | {"largest_error": 0.001, "error_promised": 0.001},
        [{"largest_error": 0.002}, {"largest_error": math.nan}],
    ),
    "narrow_checks": (
        {"construction": "a", "d": 2, "n": 4, "target_depth": 2, "formula_right": True}
        | {"width": 5, "width_allowed": 5, "exceedance_lower": 0.01, "failure_probability": 0.01}
        | {"error_good": 0.005, "error_promised": 0.005},
        [
            {"formula_right": False},
            {"width": 6},
            {"exceedance_lower": 0.02},
            {"error_good": 0.006},
            {"error_good": math.nan},
            {"error_promised": 0.5},
        ],
    ),
    "narrow_error_vs_inverse_accuracy": (
        {"construction": "a", "accuracy": 0.1, "error_good": 0.1, "error_promised": 0.1},
        [{"error_good": 0.2}, {"error_promised": 0.2}, {"error_good": math.nan}],
    ),
    "narrow_parameters_vs_width": (
        {"target_width": 9, "ratio_built": 2.0, "error_good": 0.1, "error_promised": 0.1},
        [{"error_good": 0.2}, {"error_good": math.nan}],
    ),
    "narrow_scale": (
        {"width": 9, "formula_right": True, "same_network": True, "same_values": True}
        | {"error": 0.1, "error_promised": 0.1},
        [
            {"formula_right": False},
            {"same_network": False},
            {"same_values": False},
            {"error": 0.2},
            {"error": math.nan},
        ],
    ),
    "narrow_trained_vs_constructed": (
        {"contender": "constructed", "style": "", "depth": 8, "best": 1e-12},
        [{"best": 1e-6}, {"best": math.nan}],
    ),
    "path_norm": (
        {"contender": "a", "neurons": 9, "name": "cone", "input_dim": 3}
        | {"path_norm": 2.0, "path_norm_floor": 2.0},
        [BELOW, NO_NORM],
    ),
    "precision": (
        {"construction": "a", "mantissa_bits": 53, "value_bits": 53, "error_rounding": 0.0}
        | {"error_target": 0.1, "promised": 0.1},
        [
            {"error_rounding": 1e-9},
            {"error_rounding": math.nan},
            {"error_target": 0.2},
            {"error_target": math.nan},
        ],
    ),
    "radial_checks": (
        {"construction": "a", "target": "cone", "input_dim": 3, "accuracy": 0.1}
        | {"error_sup_attacked": 0.1, "error_promised": 0.1, "formula_right": True}
        | {"verdict": "holds"},
        [{"verdict": "broken"}],
    ),
    "radial_vs_dimension": (COMPARED, [ABOVE, NO_ERROR, BELOW, NO_NORM]),
    "radial_vs_inverse_accuracy": (COMPARED, [ABOVE, NO_ERROR, BELOW, NO_NORM]),
    "random_feature_floor": (COMPARED | FEATURES, [ABOVE, BELOW, {"floor": 1.1}]),
    "ridge_speed": (
        {"difference": 1e-9, "rounding_bound": 1e-9}
        | {"difference_of_devices": 1e-9, "rounding_bound_of_devices": 1e-9},
        [
            {"difference": 2e-9},
            {"difference": math.nan},
            {"difference_of_devices": 2e-9},
            {"difference_of_devices": math.nan},
        ],
    ),
    "sparse_sizes": (
        {"target": "cone", "input_dim": 9, "promise": "none", "neurons": 400, "of_record": 400}
        | {"error_sup_attacked": 0.1, "limit": 0.1, "error_promised": None},
        [{"neurons": 401}, ABOVE, NO_ERROR, ABOVE | {"of_record": None, "error_promised": 0.1}],
    ),
    "triangle_waves": (
        {"width": 0, "depth": 4, "wrong": 0.0, "floor": 0.0},
        [{"wrong": 0.1}, {"width": 9, "wrong": 0.1, "floor": 0.2}],
    ),
}


def promising() -> set[str]:
    """The experiments that can break a promise."""
    files = [f for f in FOLDER.glob("*.py") if holds_experiment(f.read_text(encoding="utf-8"))]
    return {f.stem for f in files if load(f.stem).EXPERIMENT.broken is not no_broken_promise}


def test_every_experiment_that_promises_has_its_examples() -> None:
    assert set(EXAMPLES) == promising()


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_kept_promise_is_silent_and_each_broken_one_is_reported(name: str) -> None:
    kept, harms = EXAMPLES[name]
    broken = load(name).EXPERIMENT.broken
    assert broken(polars.DataFrame([kept])) == []
    for harm in harms:
        (told,) = broken(polars.DataFrame([kept | harm]))
        assert len(told) > 10, harm
