"""From a group's config to an object: this package's classes by name, a user's by import path.

`target._target_=my.module.Class` names a class of the user's own, for a target, a distribution or a
construction: a frozen dataclass that extends ours, in a module that can be imported from where the
command runs. Its fields are its keys, typed and checked as ours are. Its source, and every file
that a field names, counts among what makes two runs different.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import inspect
import os
import sys
import traceback
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.utils import to_absolute_path
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from depthwright import constructions, distributions, targets
from depthwright.constructions import Construction
from depthwright.distributions import Box, Distribution
from depthwright.refusal import Refusal, clipped, misspelt, need_one_of
from depthwright.targets import Target
from depthwright.targets.target import FILE, KEY

REGISTRIES: dict[str, Mapping[str, type]] = {
    "target": targets.REGISTRY,
    "distribution": distributions.REGISTRY,
    "construction": constructions.REGISTRY,
}
BASES: dict[str, type] = {
    "target": Target,
    "distribution": Distribution,
    "construction": Construction,
}
OWN = "_target_"
"""The key that names a user's class."""
FOLLOWED = ("accuracy", "failure_probability")
"""Keys of a construction that follow those of the run."""
_SCALARS = (int, float, str, bool)


def register_schemas() -> None:
    """Make the schemas of our classes known to Hydra; conf/*/*.yaml name them in their defaults."""
    for group, registry in REGISTRIES.items():
        for name, cls in registry.items():
            store = ConfigStore.instance()
            store.store(group=f"schema/{group}", name=name, node=schema(name, cls))


def register(group: str, path: str) -> None:
    """Make a user's class an option of its group, under its import path.

    A construction's ε and δ are those of the run, as in our own files of conf/construction.
    """
    follow = FOLLOWED if group == "construction" else ()
    node = schema(path, imported(group, path), {key: f"${{{key}}}" for key in follow})
    ConfigStore.instance().store(group=group, name=path, node=node)


def name_of(config: DictConfig) -> str:
    """The registry key, or the import path of a user's class."""
    return str(config[OWN] if OWN in config else config.get("name"))


def class_of(group: str, config: DictConfig) -> type:
    """The class that a group's config names."""
    name, registry = name_of(config), REGISTRIES[group]
    if "." in name:
        return imported(group, name)
    need_one_of(group, name, registry)
    return registry[name]


def imported(group: str, path: str) -> type:
    """The user's class at an import path; Refusal where it is none, or none that fits."""
    module, _, name = path.rpartition(".")
    if os.getcwd() not in sys.path:  # as `python -m` would have it
        sys.path.append(os.getcwd())
    key = f"{group}.{OWN}={path}"
    if not module or "/" in path:
        raise Refusal(
            f"{key} cannot be imported: it is no MODULE.CLASS; write {group}.{OWN}=mine.Bump for "
            "the class Bump of mine.py"
        )
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, ValueError) as error:
        raise Refusal(
            f"{key} cannot be imported ({clipped(str(error))}); give MODULE.CLASS, and start where "
            "the module lies or name its folder in PYTHONPATH"
        ) from error
    except AttributeError as error:
        raise Refusal(f"{key} is not there: {module} has no {name}") from error
    except Exception as error:
        raise Refusal(f"{key} cannot be imported: {told(error)}") from error
    base = BASES[group]
    if not (isinstance(cls, type) and issubclass(cls, base)):
        ours = f"{base.__module__.split('.')[1]}.{base.__name__}"
        raise Refusal(f"{key} is no {group}; let it extend depthwright.{ours}")
    if not dataclasses.is_dataclass(cls):
        raise Refusal(
            f"{key} is no dataclass, whose fields are its keys; write @dataclass above it"
        )
    _FILES.update(_own_files(cls))
    return cls


def schema(name: str, cls: type, instead: Mapping[str, str] | None = None) -> type:
    """A mutable dataclass with the plain fields of `cls` and its registry name."""
    plain: list[Any] = [("name", str, dataclasses.field(default=name))]
    hints = typing.get_type_hints(cls)
    for key, field in keys(cls).items():
        if field.default_factory is not dataclasses.MISSING:
            own: Any = dataclasses.field(default_factory=field.default_factory)
        else:
            default = MISSING if field.default is dataclasses.MISSING else field.default
            own = dataclasses.field(default=default)
        hint = _plain(hints[field.name])
        if issubclass(cls, Distribution) and field.name == "input_dim":
            hint, own = int | None, dataclasses.field(default=None)  # that of the target
        if instead and key in instead:
            own = dataclasses.field(default=instead[key])
        plain.append((key, hint, own))
    return dataclasses.make_dataclass(f"{cls.__name__}Config", plain)


def keys(cls: type) -> dict[str, dataclasses.Field[Any]]:
    """What a config may set: key → field."""
    fields = [f for f in dataclasses.fields(cls) if f.init and f.name != "target"]
    named = {f.metadata.get(KEY, f.name): f for f in fields}
    return {key: field for key, field in named.items() if key is not None}


def _plain(hint: Any) -> Any:
    """The type as OmegaConf knows it, which knows no Literal; the class itself checks the rest."""
    if typing.get_origin(hint) is typing.Literal:
        return str
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        some = [part for part in typing.get_args(hint) if part is not type(None)]
        return hint if len(some) == 1 and some[0] in _SCALARS else Any
    if typing.get_origin(hint) is list and typing.get_args(hint)[0] in _SCALARS:
        return hint
    return hint if hint in _SCALARS else Any


def make(group: str, config: DictConfig, target: Target | None = None) -> Any:
    """An object of the class that a group's config names."""
    cls = class_of(group, config)
    known = keys(cls)
    try:
        held = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise Refusal(f"{error.full_key} has no value; give {error.full_key}=VALUE") from error
    fields = dict(typing.cast(dict[str, Any], held))
    fields.pop(OWN, None)
    for key in fields.keys() - {"name"}:
        if key not in known:
            raise Refusal(misspelt(f"{group}.{key}", known))
    if not dataclasses.is_dataclass(OmegaConf.get_type(config)):  # of a file without schema
        fields = _typed(group, name_of(config), cls, fields)
    fields.pop("name", None)
    given = {known[key].name: value for key, value in fields.items()}
    for key, field in known.items():
        if field.metadata.get(FILE) and isinstance(fields.get(key), str):
            given[field.name] = _path(fields[key])
    if group == "distribution" and target is not None:
        _follow(cls, given, target)
    if group == "construction":
        given["target"] = target
    try:
        made = cls(**given)
        if group == "target":  # by which what is long to compute is kept
            hash(made)
        return made
    except Refusal:
        raise
    except Exception as error:
        if name_of(config) in REGISTRIES[group]:
            raise
        raise Refusal(f"{name_of(config)} cannot be made: {told(error)}") from error


def _typed(group: str, name: str, cls: type, fields: dict[str, Any]) -> dict[str, Any]:
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema(name, cls)), fields)
        return typing.cast(dict[str, Any], OmegaConf.to_container(merged, throw_on_missing=True))
    except OmegaConfBaseException as error:
        told = str(error).splitlines()[0]
        raise Refusal(f"{group}.{error.full_key} cannot be taken: {told}") from error


def _follow(cls: type, given: dict[str, Any], target: Target) -> None:
    """What a law leaves open is the target's: the dimension, and the sides of a box."""
    if given.get("input_dim") is None:
        given["input_dim"] = target.input_dim
    box = target.domain
    sides = given.get("radius"), given.get("lower"), given.get("upper")
    if cls is distributions.UniformBox and isinstance(box, Box) and sides == (None, None, None):
        given |= {"lower": box.lower, "upper": box.upper}


def _path(given: str) -> str:
    """Beside where the command was started, wherever a launcher moved to."""
    return to_absolute_path(os.path.expanduser(given))


# ── what makes two runs different, and whose fault an error is ─────────────────────────────────


def sources(config: DictConfig) -> dict[str, str]:
    """Digests of what lies outside the config: files that keys name, the source of own classes."""
    found = {}
    for group in REGISTRIES:
        part = config[group]
        cls = class_of(group, part)
        for key, field in keys(cls).items():
            if field.metadata.get(FILE) and isinstance(part.get(key), str):
                found[f"{group}.{key}"] = _digest([Path(_path(part[key]))])
        if name_of(part) not in REGISTRIES[group]:
            found[group] = _digest(sorted(_own_files(cls)))
    return found


def _own_files(cls: type) -> set[Path]:
    """Of a class and what it extends, as far as this is not of this package or of Python."""
    known = {"depthwright", *sys.stdlib_module_names}
    own = [c for c in cls.__mro__ if c.__module__.split(".")[0] not in known]
    return {Path(inspect.getfile(c)).absolute() for c in own}


def _digest(paths: Iterable[Path]) -> str:
    """Of the bytes; what cannot be read is refused where it is used."""
    digest = hashlib.sha256()
    for path in paths:
        if path.is_file():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


_FILES: set[Path] = set()
"""Of the users' classes that were imported."""


def theirs(error: BaseException) -> bool:
    """Whether it was raised in a user's class, or in what that class called."""
    return any(Path(f.filename) in _FILES for f in traceback.extract_tb(error.__traceback__))


def told(error: BaseException) -> str:
    """An error of a user's own code in one sentence: its type, its words, their line."""
    ours = Path(__file__).parents[1]
    frames = traceback.extract_tb(error.__traceback__)[::-1]
    own = [f for f in frames if Path(f.filename) in _FILES]
    others = [
        f for f in frames if os.path.isfile(f.filename) and ours not in Path(f.filename).parents
    ]
    at = "".join(f" ({Path(f.filename).name}, line {f.lineno})" for f in (own or others)[:1])
    return f"{type(error).__name__}: {clipped(str(error), 200)}{at}"
