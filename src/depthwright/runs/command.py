"""The command's words, as Hydra takes them, and what becomes of a run's errors."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Sequence
from typing import Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from depthwright.refusal import Refusal
from depthwright.runs import classes, options
from depthwright.runs import config as configs
from depthwright.runs.sentences import sentence
from depthwright.runs.task import TOLD, task

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
"""What a disk or its rights forbid: no defect of ours."""


def _job(config: DictConfig) -> None:
    """One run or one cell; told here, before Hydra says a line of its own."""
    try:
        if HydraConfig.get().mode == RunMode.RUN:
            need_used(HydraConfig.get())
            configs.run_folder(config)
            configs.logger(config)
        task(config)
    except Exception as error:
        if not for_the_user(error):
            raise
        refuse(error)


def need_used(of_hydra: Any) -> None:
    """Raises Refusal for what only a sweep would make use of."""
    configs.need_known_keys(of_hydra, "hydra.")
    if of_hydra.sweeper.params:
        axes = ", ".join(of_hydra.sweeper.params)
        raise Refusal(
            f"hydra.sweeper.params gives the axes of a sweep ({axes}); add --multirun, or leave "
            "them out"
        )
    if (launcher := of_hydra.runtime.choices.get("launcher")) not in (None, "basic"):
        raise Refusal(
            f"launcher={launcher} starts the cells of a sweep, and this is one run; add --multirun"
        )


_hydra = hydra.main(
    config_path=options.conf_folder(), config_name="config", **configs.hydra_keywords()
)(_job)


def for_the_user(error: Exception) -> bool:
    """Whether it is theirs to mend; anything else is a defect and shows its traceback."""
    of_configs = (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError)
    if isinstance(error, (*TOLD, *of_configs)):  # some of Hydra's are OSErrors as well
        return True
    if isinstance(error, OSError):
        given = str(error.filename or "")
        return error.errno in _FULL or (given != "" and any(given in word for word in sys.argv))
    return str(error).startswith(("Config group override", "Only one of --"))


def refuse(error: Exception) -> None:
    """End the process with one sentence."""
    print(f"depthwright: {sentence(error)}", file=sys.stderr)
    sys.exit(1)


def start(arguments: Sequence[str]) -> None:
    """One run, or with --multirun a sweep."""
    sys.argv[1:] = arranged(arguments)
    configs.register_schemas()
    _hydra()


def arranged(arguments: Sequence[str]) -> list[str]:
    """As Hydra takes them: flags first, whatever the order was, and groups without a plus.

    Every group has its place in the config, so `+experiment=NAME` can only mean `experiment=NAME`;
    and `~`, which Hydra's grammar keeps for itself, may begin a path.
    """
    words = [re.sub(rf"^\++({'|'.join(options.groups())})=", r"\1=", word) for word in arguments]
    words = [re.sub(r"^([\w.]+)=(~[^,'\"]*)$", r"\1='\2'", word) for word in words]
    words = [_own_class(word) for word in words]
    words = [re.sub(rf"^({_LISTS})=(?!null$)([a-z][\w.]*)$", r"\1=[\2]", word) for word in words]
    for word in words:
        if re.match(r"[+~]*=", word):
            raise Refusal(f"{word} names no key; write KEY=VALUE")
        _need_option(word)
    flags: list[str] = []
    overrides: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        own = _OVERRIDE.match(word) and before not in _WITH_VALUE
        (overrides if own else flags).append(word)
    return flags + overrides


def _own_class(word: str) -> str:
    """`target._target_=my.Class` as `target=my.Class`, an option of the group from now on."""
    groups = "|".join(classes.REGISTRIES)
    if own := re.fullmatch(
        rf"\+*({groups})(?:\.{classes.OWN}=|=(?=[\w.,]*\.))([\w.,]+|(?<=_=)[\w./,]+)", word
    ):
        group, paths = own.groups()
        for path in paths.split(","):
            if path not in classes.REGISTRIES[group]:
                classes.register(group, path)
        return f"{group}={paths}"
    return word


def _need_option(word: str) -> None:
    """Hydra's own words for a null, a number and a list do not say of which group."""
    group, _, value = word.partition("=")
    if not (known := options.groups().get(group)):
        return
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException:  # told where all words are read
        return
    swept = override.is_discrete_sweep()
    for chosen in override.sweep_iterator() if swept else [override.value()]:
        names: list[Any] = [chosen]
        if isinstance(chosen, list) and (group in _SEVERAL or len(chosen) == 1):
            names = chosen
        if not all(isinstance(name, (str, QuotedString)) for name in names):
            raise Refusal(
                f"{group}={value} chooses no {group}; leave it out, or choose one of "
                f"{', '.join(known)}"
            )


_LISTS = "matching|features|beside"
"""Keys of which one name is a list of one."""
_SEVERAL = ("experiment", "launcher")
"""Groups of which several options make sense together."""
_OVERRIDE = re.compile(r"[+~]*[\w.@/:]+=|~")
_WITH_VALUE = {"--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn"} | {
    *("--package", "-p", "--cfg", "-c", "--experimental-rerun")
}
"""Hydra's flags that the next word belongs to."""
