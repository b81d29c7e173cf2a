"""What Hydra and OmegaConf complain of, in one sentence: they speak in paragraphs."""

from __future__ import annotations

import re

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from depthwright.refusal import misspelt
from depthwright.runs import options

EXTRAS = {"joblib": "joblib", "submitit_local": "slurm", "submitit_slurm": "slurm"}
"""Hydra launcher → the extra that brings it."""
_NOISE = ("To append to your config", "reference_type=", "object_type=", "full_key:")


def sentence(error: Exception) -> str:
    """What is wrong, where, and what to write instead."""
    if isinstance(error, yaml.YAMLError):
        return _in_file(error)
    if isinstance(error, UnicodeDecodeError):
        before = error.object[max(0, error.start - 30) : error.start].decode(errors="replace")
        return f"a config file is not UTF-8: {error.reason} after {before!r}; save it as UTF-8"
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        return f"{error.filename or 'a file'} cannot be written or read ({error.strerror})"
    if not isinstance(error, (HydraException, OmegaConfBaseException)):
        return str(error)
    if isinstance(error, OverrideParseException):
        key, _, value = error.override.partition("=")
        plain = value if value and not re.search(r"['\"]", value) else "VALUE"
        cure = f"\"{key}='{plain}'\""
        return f"{error.override} cannot be read; write KEY=VALUE, as in {cure}"
    return _misspelt(error) or _of_another_type(error) or _first_lines(error)


def _misspelt(error: Exception) -> str | None:
    """A key, a group or an option that there is not, and what may have been meant."""
    where = _place(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return where + _no_option(error.missing_cfg_file, error.options or ())
    if none := re.search(r"Could not override '([\w/@.]+)'\.\s+No match in", str(error)):
        return where + misspelt(none[1].strip("/"), options.groups(), "group")
    cause = _cause(error)
    if isinstance(cause, MissingMandatoryValue):
        return f"{where}{cause.full_key} has no value; give {cause.full_key}=VALUE"
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)):
        node, key = cause.parent_node, str(cause.full_key or "")
        if isinstance(node, DictConfig) and key and not node._is_none():
            known = {str(name) for name in node}
            return where + misspelt(key, known if "." in key else known | options.groups().keys())
    return None


def _no_option(path: str, known: object) -> str:
    group, _, option = path.removesuffix(".yaml").rpartition("/")
    if group == "hydra/launcher" and option in EXTRAS:
        return f"this launcher is not installed; pip install -e '.[{EXTRAS[option]}]'"
    if not known:
        return misspelt(group, options.groups(), "group") if group else f"{path}.yaml is not there"
    return misspelt(option or "''", known, f"option for {group}")  # type: ignore[arg-type]


def _of_another_type(error: Exception) -> str | None:
    """Where a list is wanted, or a value is none of the key's type, or a key is to be taken out."""
    cause = _cause(error)
    if not isinstance(cause, OmegaConfBaseException):
        return None
    told = str(cause).splitlines()[0]
    if out := re.search(r"merging override (~[\w.]+)", str(error)):
        return f"{out[1]} takes out a key that must be there; give it another value"
    if given := re.search(r"merging override \+*([\w.]+)=(.*)", str(error)):
        key, value = given.groups()
        if "is not a ListConfig" in told:
            return f"{key}={value} is no list; write {key}=[{value}]"
        return f"{key}={value} cannot be taken: {told}"
    if (where := _place(error)) or cause.full_key not in (None, "", "_dummy_"):
        return f"{where}{cause.full_key or 'the file'} cannot be taken: {told}"
    return None


def _first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    stop = next((k for k, line in enumerate(lines) if line.startswith("Config search")), len(lines))
    told = [line for line in lines[:stop] if line and not line.startswith(_NOISE)]
    cause = _cause(error)
    if cause is not error and isinstance(cause, OmegaConfBaseException):
        told.append(f"({str(cause).splitlines()[0]})")
    return " ".join(told)


def _cause(error: Exception) -> BaseException | None:
    """OmegaConf's exception, which Hydra raises its own from, or while it handles that one."""
    if isinstance(error, OmegaConfBaseException):
        return error
    return error.__cause__ or error.__context__


def _place(error: Exception) -> str:
    """The file, where it is not the package's own first one."""
    found = re.match(r"In '([^']+)'", str(error))
    return f"in {found[1]}.yaml: " if found and found[1] not in ("config", "hydra/config") else ""


def _in_file(error: yaml.YAMLError) -> str:
    """A file that is no YAML: its name, the line, what is wrong there."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"{mark.name}, line {mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())  # not even text; it names the file
