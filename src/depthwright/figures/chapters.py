"""The order of the report: which figure belongs to which chapter, and what each chapter asks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Part(NamedTuple):
    """A chapter of figures."""

    name: str
    title: str
    about: str
    figures: tuple[str, ...]


PARTS = (
    Part(
        "radial",
        "Radial functions: depth 2 against depth 3",
        "SES19 asks what separates depth 2 from depth 3. For Lipschitz functions of ‖x‖, the "
        "neurons of depth 2 are polynomial in d for fixed ε, and polynomial in 1/ε for fixed d. "
        "When both grow together, no polynomial is enough.",
        (
            *("no_polynomial_in_both", "path_norm", "radial_vs_dimension"),
            *("radial_vs_inverse_accuracy", "longer_training", "sparse_sizes"),
            *("depth_two_vs_three", "ball_indicator", "random_feature_floor"),
            *("radial_checks", "certified_checks"),
        ),
    ),
    Part(
        "narrow",
        "Narrow twins: width against depth",
        "VYS22 shows that width is less important than depth: a narrow and deep network can "
        "imitate a wide one. These figures say how deep it is, how exact, and at what cost.",
        (
            *("narrow_parameters_vs_width", "narrow_error_vs_inverse_accuracy", "narrow_scale"),
            *("bounded_weights", "digits", "misread_inputs", "precision", "narrow_checks"),
            "exact_checks",
        ),
    ),
    Part(
        "trained",
        "Trained beside constructed",
        "That a network exists does not mean that training finds it. Here networks are trained "
        "that have the shapes of which the theorems speak.",
        ("narrow_trained_vs_constructed", "lu_narrow", "triangle_waves"),
    ),
    Part(
        "speed",
        "How fast it computes",
        "Benchmarks of this package, as ratios of two times measured side by side.",
        ("exact_speed", "ridge_speed", "training_speed", "sweep_speed"),
    ),
)
OTHERS = Part("others", "Other figures", "", ())


def parts_of(names: Iterable[str]) -> list[tuple[Part, list[str]]]:
    """The chapters that have any of these figures, each with them in its order; others last."""
    left = list(names)
    found = [(part, [name for name in part.figures if name in left]) for part in PARTS]
    placed = {name for _, own in found for name in own}
    found.append((OTHERS, [name for name in left if name not in placed]))
    return [(part, own) for part, own in found if own]
