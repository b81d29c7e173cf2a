"""From a Hydra config to a comparison: typed schemas, so that a misspelt key is refused.

Targets, distributions and constructions are frozen dataclasses in registries, or the user's own
(see `classes`); the schema of each is made from its fields, so a new one needs no code here.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import re
import typing
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from hydra.core.config_store import ConfigStore
from hydra.utils import to_absolute_path
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from depthwright import constructions
from depthwright.approximation.neurons import MOST_SOLVED, solvable
from depthwright.comparison import SOLVED_RIDGE, Comparison
from depthwright.constructions import Construction, Ridge, SparseRidge
from depthwright.constructions.sparse_ridge import LEAST_SQUARES, PROGRAM
from depthwright.errors.measure import EvaluationConfig
from depthwright.refusal import Refusal, misspelt
from depthwright.runs import classes
from depthwright.runs.cell import identity
from depthwright.runs.classes import REGISTRIES
from depthwright.runs.options import RunConfig, groups
from depthwright.tracking import LoggerConfig
from depthwright.training.config import TrainerConfig, TrainingConfig

CONFIG = "config.yaml"
"""In a run's folder: its config, resolved."""
WATCHING = (
    "logger",
    "output",
    "trainer.progress",
    "trainer.threads",
    "training.checkpoint_seconds",
)
"""What does not change a run's numbers, and so not its folder."""

SCHEMAS: dict[str, type] = {
    "training": TrainingConfig,
    "evaluation": EvaluationConfig,
    "trainer": TrainerConfig,
    "logger": LoggerConfig,
}
"""Groups of which every option has the same keys."""
LONGEST_NAME = 255
"""Bytes of a file's or folder's name, on most disks."""

MOST_BESIDE = 1500
"""Width up to which a solved network stands beside a ridge network without being asked for."""
INPUT_FIELDS = {"grid", "inputs"}
"""What a construction's claim speaks of; constructions of one run share it."""


def hydra_keywords() -> dict[str, Any]:
    """Hydra 1.4 deprecates version_base; before, it decides about old defaults."""
    before = tuple(int(part) for part in version("hydra-core").split(".")[:2]) < (1, 4)
    return {"version_base": "1.3"} if before else {}


def register_schemas() -> None:
    """Make the schemas known to Hydra; conf/*/*.yaml name them in their defaults."""
    store = ConfigStore.instance()
    store.store(name="schema", node=RunConfig)
    classes.register_schemas()
    for group, cls in SCHEMAS.items():
        store.store(group="schema", name=group, node=cls)


def _refuse_unknown(given: Iterable[Any], known: set[str], where: str = "") -> None:
    """`+key=value` on the command line gets past the schema, but not past this."""
    for key in given:
        if key not in known:
            raise Refusal(misspelt(f"{where}{key}", known))


def need_known_keys(config: DictConfig, where: str = "") -> None:
    """Raises Refusal for a key that nothing would read, wherever a schema says what is read."""
    if dataclasses.is_dataclass(cls := OmegaConf.get_type(config)):
        own = {"env"} if cls is HydraConf else set()  # Hydra adds to its own schema
        _refuse_unknown(config, own | {f.name for f in dataclasses.fields(cls)}, where)
    for key in config:
        if not OmegaConf.is_missing(config, key) and OmegaConf.is_dict(config._get_node(key)):
            inner = config[key]
            if inner is not None:
                need_known_keys(inner, f"{where}{key!s}.")


def need_sound(config: DictConfig) -> None:
    """Raises Refusal where a group is missing, or a key is given that nothing would read."""
    known = {f.name for f in dataclasses.fields(RunConfig)}
    for key in set(map(str, config)) - known:
        raise Refusal(misspelt(key, known | groups().keys()))
    for group in (*REGISTRIES, *SCHEMAS):
        if not OmegaConf.is_dict(config._get_node(group)) or config[group] is None:
            raise Refusal(
                f"{group} should be one of {', '.join(groups()[group])}; leave it out or say "
                f"{group}=OPTION"
            )
        if group in REGISTRIES and not {"name", classes.OWN} & set(config[group]):
            raise Refusal(f"{group}.name is missing; choose one of {', '.join(REGISTRIES[group])}")
    need_known_keys(config)


def comparison(config: DictConfig) -> Comparison:
    """Check every hypothesis and put the parts together; nothing long happens here."""
    need_sound(config)
    target = classes.make("target", config.target)
    construction = classes.make("construction", config.construction, target)
    return Comparison(
        target=target,
        distribution=classes.make("distribution", config.distribution, target),
        construction=construction,
        beside=_all_beside(config, construction),
        matching=tuple(config.matching),
        features=tuple(config.features),
        training=_object("training", config),
        evaluation=_object("evaluation", config),
        trainer=_object("trainer", config),
        seed=config.seed,
        failure_probability=config.failure_probability,
        accuracy=config.accuracy,
        names={group: classes.name_of(config[group]) for group in REGISTRIES},
    )


@functools.lru_cache(maxsize=256)
def _width(first: Construction) -> int:
    """Equal constructions are planned once: the cells of a sweep often share theirs."""
    return first.architecture().width


def _solved(
    first: Construction, config: DictConfig, fits: Callable[[int], bool] = solvable
) -> SparseRidge | None:
    """A solved network for the same target, as wide as `first`; None where there is none."""
    if not isinstance(first, (Ridge, SparseRidge)) or getattr(first, "solved", PROGRAM) != PROGRAM:
        return None
    width = _width(first)
    if width < 4 or not fits(width):
        return None
    shared = {field: config[field] for field in classes.FOLLOWED}
    return SparseRidge(first.target, width=width, solved=LEAST_SQUARES, **shared)


def _all_beside(config: DictConfig, first: Construction) -> dict[str, Construction]:
    """Those asked for; where nothing is said, what belongs beside the first one."""
    if config.beside is None:
        solved = _solved(first, config, lambda width: width <= MOST_BESIDE)
        return {} if solved is None else {SOLVED_RIDGE: solved}
    return {name: _beside(name, first, config) for name in config.beside}


def _beside(name: str, first: Construction, config: DictConfig) -> Construction:
    """A further construction: defaults, but the run's ε and δ, and the inputs that the first one
    claims something of, where it has such fields.
    """
    target = first.target
    if name == SOLVED_RIDGE:
        if (solved := _solved(first, config)) is not None:
            return solved
        raise Refusal(
            f"beside={name!r} stands beside ridge and sparse_ridge networks of 4 to {MOST_SOLVED} "
            "neurons that are not solved themselves; leave it out"
        )
    if name not in constructions.REGISTRY:
        known = ", ".join([*constructions.REGISTRY, SOLVED_RIDGE])
        raise Refusal(f"beside={name!r} is no construction; choose from {known}")
    cls = constructions.REGISTRY[name]
    own = {field.name for field in dataclasses.fields(cls)}
    shared = {field: config[field] for field in own & set(classes.FOLLOWED)}
    shared |= {
        field: config.construction[field]
        for field in own & INPUT_FIELDS & config.construction.keys()
    }
    return cls(target, **shared)


def logger(config: DictConfig) -> LoggerConfig:
    """What watches the run."""
    return typing.cast(LoggerConfig, _object("logger", config))


def _object(group: str, config: DictConfig) -> Any:
    """Of the group's class, also where a user's file is written without its schema."""
    _refuse_unknown(
        config[group], {f.name for f in dataclasses.fields(SCHEMAS[group])}, f"{group}."
    )
    try:
        return OmegaConf.to_object(OmegaConf.merge(SCHEMAS[group], config[group]))
    except OmegaConfBaseException as error:
        told = str(error).splitlines()[0]
        raise Refusal(f"{group}.{error.full_key} cannot be taken: {told}") from error


def resolved(config: DictConfig) -> dict[str, Any]:
    """All of the config as plain values."""
    return typing.cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


def run_folder(config: DictConfig) -> Path:
    """`output`/experiment/slug-hash: what the run is, not when it was."""
    if not re.fullmatch(r"[\w.-]*\w", config.experiment_name):
        raise Refusal(
            f"experiment_name={config.experiment_name!r} is no folder name; "
            "use letters, digits, dots and dashes"
        )
    need_sound(config)
    plain = resolved(config)
    target, construction = (classes.name_of(config[k]) for k in ("target", "construction"))
    dimension = f"-d{d}" if (d := plain["target"].get("input_dim")) else ""
    slug = f"{target}{dimension}-{construction}-acc{plain['accuracy']:g}-s{plain['seed']}"
    folder = output(config) / config.experiment_name / f"{slug}-{run_hash(config)}"
    for name in folder.parts:
        if len(name.encode()) > LONGEST_NAME:
            raise Refusal(
                f"{name[:20]}…{name[-10:]} has {len(name.encode())} bytes, above the "
                f"{LONGEST_NAME} that a folder's name may have; give a shorter output or "
                "experiment_name"
            )
    return folder


def output(config: DictConfig) -> Path:
    """The results folder: beside where the command was started, wherever a launcher moved to."""
    try:
        return Path(to_absolute_path(str(Path(config.output).expanduser())))
    except RuntimeError:  # ~name, and nobody is called so
        raise Refusal(f"output={config.output} is in nobody's home; give another folder") from None


def run_hash(config: DictConfig) -> str:
    """Ten hex digits of what determines the numbers: settings, this package's source, files."""
    return identity({**unwatched(resolved(config)), "sources": classes.sources(config)})


def unwatched(plain: dict[str, Any]) -> dict[str, Any]:
    """A resolved config without what only watches."""
    kept = copy.deepcopy(plain)
    for path in WATCHING:
        *parents, last = path.split(".")
        node = kept
        for parent in parents:
            node = node.get(parent, {})
        node.pop(last, None)
    return kept
