"""What is compared: a target, constructions, rivals, points; and whether they fit together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from depthwright.constructions.construction import Construction
from depthwright.distributions import UniformBox, UniformCube
from depthwright.distributions.distribution import Distribution
from depthwright.distributions.domain import Ball, Box
from depthwright.errors.measure import EvaluationConfig
from depthwright.networks.architecture import Architecture
from depthwright.networks.inputs import Inputs
from depthwright.refusal import Refusal, need_one_of, need_positive, need_probability, need_seed
from depthwright.targets.target import Target
from depthwright.training.config import TrainerConfig, TrainingConfig
from depthwright.training.features import KINDS
from depthwright.training.matching import Match, check_rule, match
from depthwright.training.search import planned_steps

MOST_ACCURACY = 1e100
"""As large as a target may be."""
MOST_WEIGHTS = 10**10
"""Of a construction, zeros left out where their number is known: 80 GB."""
MEMORY_LIMIT = 8 * 10**9
"""Most that the points of one kind, with what is computed of them, may take, in bytes."""
MEMORY_OF_RIVALS = 100 * 10**9
"""Most that all networks in training may take, in bytes: more than the largest GPU has."""


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
        need_positive("accuracy", self.accuracy, MOST_ACCURACY)
        need_seed("seed", self.seed)
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
        need_probability("failure_probability", self.failure_probability)
        self._need_memory()
        if self.matching:
            planned_steps(self.training, self.training.trials)
        for recipe in (self.construction, *self.beside.values()):
            recipe.need(accuracy=self.accuracy, failure_probability=self.failure_probability)
            _check_law(self.distribution, recipe, self.inputs)
        for rule in self.matching:
            check_rule(rule)
        for kind in self.features:
            need_one_of("features", kind, KINDS)

    def _need_memory(self) -> None:
        """Refuse points that take too much of it."""
        training, evaluation = self.training, self.evaluation
        steps = min(training.chunk_steps, training.steps)
        item = 4 if training.dtype == "float32" else 8
        asked = {
            "evaluation.points": (evaluation.points, 1, 8),
            "evaluation.attack_starts": (evaluation.attack_starts, 1, 8),
            "training.batch_size": (training.batch_size, steps, item),
            "training.validation_points": (training.validation_points, 1, item),
        }
        for name, (count, batches, each) in asked.items():
            size = 4 * each * count * batches * self.target.input_dim
            if size > MEMORY_LIMIT:
                times = f" for chunk_steps={batches} at a time" if batches > 1 else ""
                lower = f"{name} or training.chunk_steps" if batches > 1 else name
                raise Refusal(
                    f"{name}={count} of input_dim={self.target.input_dim}{times} take "
                    f"{size / 1e9:.3g} GB (limit {MEMORY_LIMIT / 1e9:g} GB); lower {lower}"
                )

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
        for construction in self.beside.values():  # refused now, not after the training
            _need_few_weights(construction)
        architecture = _need_few_weights(self.construction)
        found = {f"trained_{rule}": match(architecture, rule) for rule in self.matching}
        shapes = {shape for each in found.values() for shape in each.shapes}
        item = 4 if self.training.dtype == "float32" else 8
        # weights, the best so far, two moments
        size = 4 * item * self.training.members * sum(Architecture.of(s).parameters for s in shapes)
        if size > MEMORY_OF_RIVALS:
            raise Refusal(
                f"{self.training.members} networks each of {len(shapes)} shapes take "
                f"{size / 1e9:.3g} GB in training (limit {MEMORY_OF_RIVALS / 1e9:g} GB); give "
                "fewer training.seeds or learning_rates"
            )
        return found


def _need_few_weights(construction: Construction) -> Architecture:
    """Refuse what no memory holds; a network of repeated layers is sized by its formula alone."""
    architecture = construction.architecture()
    weights = architecture.nonzeros or architecture.parameters
    if weights > MOST_WEIGHTS:
        raise Refusal(
            f"{type(construction).__name__} makes {weights:.3g} weights (limit "
            f"{MOST_WEIGHTS:.0e}); raise accuracy or ask for a smaller network"
        )
    return architecture


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
