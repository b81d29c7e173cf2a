"""False declarations are refuted by samples, in one sentence; true ones pass."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from depthwright.bounds import of_radial
from depthwright.constructions import RadialDepthThree, Ridge, SparseRidge
from depthwright.constructions import SingleRidge as SingleRidgeNetwork
from depthwright.refusal import Refusal
from depthwright.targets import REGISTRY, Profile, Radial, Sine, SineRidge
from depthwright.targets.declared import check_radial, check_single_ridge
from depthwright.targets.single_ridge import SingleRidge


@dataclasses.dataclass(frozen=True, eq=False)
class Bent(Radial):
    """abs(r − ½), declared as the fields say."""

    lipschitz: float = 1.0
    curvature: float = 0.0
    breaks: Any = (0.0, 0.5, 1.0)
    even_polynomial: Any = None
    values: Any = None

    def profile(self, r):
        return abs(r - 0.5)


class Root(Bent):
    def profile(self, r):
        return np.sqrt(r)


class Hole(Bent):
    def profile(self, r):
        return 1 / (r - 0.5)


class Tall(Bent):
    def profile(self, r):
        return 1e200 * r


FALSE = [
    (Bent(2, lipschitz=0.01), r"lipschitz=0\.01 is not true of Bent: between r = .* at least 1"),
    (Bent(2, breaks=(0.0, 1.0)), r"curvature=0 is not true of Bent: near r = 0\.5"),
    (Bent(2, breaks=(0.0, 0.5)), "breaks of Bent.* do not rise from 0 to 1"),
    (Bent(2, breaks=(0.0, 0.5, 0.5, 1.0)), "do not rise"),
    (Bent(2, lipschitz=float("nan")), "lipschitz=nan"),
    (Bent(2, lipschitz=float("inf")), "lipschitz=inf"),
    (Bent(2, curvature=-1.0), "curvature=-1"),
    (Bent(2, even_polynomial=(0, 1)), r"even_polynomial of Bent is off its profile by 0\.5"),
    (Bent(2, values=(0.5, 0.1, 0.5)), r"values of Bent is off its profile by 0\.1 at r = 0\.5"),
    (Bent(2, values=(0.5, 0.5)), r"values of shape \(2,\) at 3 breaks"),
    (Root(2, lipschitz=100.0, curvature=float("inf")), "lipschitz=100 is not true of Root"),
    (Hole(2, lipschitz=1e9, curvature=float("inf")), "profile of Hole is inf at 0.5"),
    (Tall(2, lipschitz=1e200), "profile of Tall is .*e.* finite and at most"),
]


@pytest.mark.parametrize(("target", "says"), FALSE)
@pytest.mark.parametrize("kind", [RadialDepthThree, Ridge, SparseRidge])
def test_false_declarations_are_refused_by_every_construction(kind, target, says):
    with pytest.raises(Refusal, match=says):
        kind(target, 0.1)


def test_true_declarations_pass():
    for cls in REGISTRY.values():
        for d in (1, 7):
            if issubclass(cls, Radial) and cls is not Profile:  # checks itself when it is made
                check_radial(cls(input_dim=d))
    for target in (
        Bent(3),
        Bent(3, curvature=float("inf"), breaks=(0.0, 1.0)),
        Bent(1, 5.0),
        Bent(2, values=(0.5, 0, 0.5)),
    ):
        check_radial(target)
    for terms in (1, 7):
        check_single_ridge(SineRidge(8, terms, 1e-50))


def test_breaks_may_be_a_tuple():
    assert RadialDepthThree(Bent(2), 0.2).build().claim.bound <= 0.2
    assert of_radial(Bent(3)).breaks == Bent.breaks


@dataclasses.dataclass(frozen=True, eq=False)
class Line(SingleRidge):
    """sin(w·x), declared as the fields say."""

    input_dim: int = 2
    w: tuple[float, ...] = (3.0, 4.0)
    lipschitz: float = 5.0
    curvature: float = 1.0

    @property
    def direction(self):
        return np.array(self.w)

    def profile(self, t):
        return np.sin(t)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"lipschitz": 4.9}, "lipschitz=0.98 is not true of Line"),
        ({"curvature": 0.5}, "curvature=0.5 is not true of Line"),
        ({"w": (0.0, 0.0)}, "sizes that add up to 0"),
        ({"w": (float("inf"), 0.0)}, "sizes that add up to inf"),
    ],
)
def test_false_declarations_of_single_ridges_are_refused(fields, says):
    check_single_ridge(Line())
    with pytest.raises(Refusal, match=says):
        SingleRidgeNetwork(Line(**fields))


@pytest.mark.parametrize("frequency", [*range(1, 40), 64, 100, 600, 1000])
def test_true_constants_of_fast_profiles_are_not_refuted(frequency):
    # values of 1/(4πm) whose argument, 2πm·r², is rounded: more than units in their own last place
    check_radial(Sine(3, frequency))
