"""What is compared: a target, constructions, rivals, points; and whether they fit together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from depthwright.constructions.construction import Construction
from depthwright.distributions import UniformBox, UniformCube
from depthwright.distributions.distribution import Distribution
from depthwright.distributions.domain import Ball, Box
from depthwright.errors.measure import EvaluationConfig
from depthwright.networks.inputs import Inputs
from depthwright.refusal import Refusal
from depthwright.targets.target import Target
from depthwright.training.config import TrainerConfig, TrainingConfig
from depthwright.training.features import check_kind
from depthwright.training.matching import Match, check_rule, match

MEMORY_LIMIT = 8 * 10**9
"""Limit in bytes for the evaluation points and the values computed at them."""


@dataclass(frozen=True)
class Comparison:
    """One target, one construction, its rivals, one set of evaluation points."""

    target: Target
    distribution: Distribution
    construction: Construction
    beside: Mapping[str, Construction]
    """Further constructions for the same target, by registry name; rivals match the first one."""
    matching: tuple[str, ...]
    """One trained contender per rule."""
    features: tuple[str, ...]
    """One contender each: hidden layers random or constructed, the output layer fitted."""
    training: TrainingConfig
    evaluation: EvaluationConfig
    trainer: TrainerConfig
    seed: int
    failure_probability: float
    """The δ of the run, for the constructions that have one."""
    accuracy: float
    """The ε of the run, for the constructions that have one; exceedances of all count against it.
    """
    names: Mapping[str, str]
    """The registry names of target, distribution and construction, for the rows."""

    def __post_init__(self) -> None:
        if self.distribution.input_dim != self.target.input_dim:
            raise Refusal(
                f"distribution.input_dim={self.distribution.input_dim} is not that of the target "
                f"({self.target.input_dim}); leave it out to have it follow"
            )
        given, needed = self.distribution.domain, self.target.domain
        if given != needed:
            if isinstance(needed, Ball):
                cure = "uniform_radius or uniform_ball with distribution.radius="
                cure += f"{needed.radius:g}"
            else:
                cure = "uniform_box, which follows the target"
            raise Refusal(
                f"the distribution lives on the {given} and the target on the {needed}; choose "
                f"distribution={cure}"
            )
        if not 0 <= self.failure_probability < 1:
            raise Refusal(
                f"failure_probability={self.failure_probability} is not in [0, 1); "
                "ask for example for 0.01"
            )
        size = 4 * 8 * self.evaluation.points * self.target.input_dim
        if size > MEMORY_LIMIT:
            raise Refusal(
                f"evaluation.points={self.evaluation.points} of input_dim={self.target.input_dim} "
                f"take {size / 1e9:.3g} GB (limit {MEMORY_LIMIT / 1e9:g} GB); "
                "lower evaluation.points"
            )
        for recipe in (self.construction, *self.beside.values()):
            recipe.need(accuracy=self.accuracy, failure_probability=self.failure_probability)
            _check_law(self.distribution, recipe, self.inputs)
        for rule in self.matching:
            check_rule(rule)
        for kind in self.features:
            check_kind(kind)
        if self.seed < 0:
            raise Refusal(f"seed={self.seed} is negative; seeds start at 0")

    @property
    def inputs(self) -> Inputs | None:
        """Inputs to which every point is moved, so that all claims hold; None: points stay.

        For claims on the whole box, or on every float64 of it, no point has to move.
        """
        recipes = (self.construction, *self.beside.values())
        covered = [recipe.covered for recipe in recipes]
        few = {i for i in covered if i and (i.grid is not None or i.numbers == "float32")}
        if len(few) > 1:
            raise Refusal(
                f"the claims speak of different inputs, {' and of '.join(sorted(map(str, few)))}; "
                "compare such constructions in runs of their own"
            )
        return few.pop() if few else None

    def matches(self) -> dict[str, Match]:
        """Contender → what its rule makes of the construction's size; nothing is built."""
        for construction in self.beside.values():
            construction.architecture()  # refuses what is too large before the training
        architecture = self.construction.architecture()
        return {f"trained_{rule}": match(architecture, rule) for rule in self.matching}


def _check_law(law: Distribution, recipe: Construction, moved: Inputs | None) -> None:
    """The probability of a bad set holds under the law given to the construction, and no other."""
    covered, bound = recipe.covered, recipe.density_bound
    if covered is None or covered.numbers != "real" or covered.grid is not None:
        return
    name = type(recipe).__name__
    if moved is not None:
        raise Refusal(
            f"{name} claims something of random points of a box, and {moved} are what another "
            "claim speaks of; ask for failure_probability=0, or compare them in two runs"
        )
    box = Box(covered.lower, covered.upper)
    uniform = type(law) in (UniformBox, UniformCube) and law.domain == box
    if not (uniform or (bound is not None and law.density_bound <= bound)):
        laws = f"uniform on the {box}" if bound is None else f"of density at most {bound:g}"
        raise Refusal(
            f"the failure probability of {name} is one under laws {laws}, not under "
            f"{type(law).__name__}; choose distribution=uniform_box, or give "
            "construction.density_bound, or ask for failure_probability=0"
        )
