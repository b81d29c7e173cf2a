"""`depthwright`: one comparison, or with --multirun a sweep of them.

Torch, Lightning and W&B take seconds to import, so nothing here imports them before the config
is known to be sound: help and refusals answer at once.
"""

from __future__ import annotations

import dataclasses
import errno
import re
import sys
import warnings
from collections.abc import Callable, Sequence

import hydra
import yaml
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from depthwright import __version__
from depthwright.machine import environment
from depthwright.refusal import Refusal
from depthwright.runs import config as configs
from depthwright.runs.config import hydra_keywords
from depthwright.runs.store import Incomplete
from depthwright.runs.task import TOLD, compare, show, task

__all__ = ["compare", "guard", "hydra_keywords", "main", "show"]


def _warn(message: Warning | str, category: type[Warning], *_: object) -> None:
    print(f"{category.__name__}: {message}", file=sys.stderr)


def _job(config: DictConfig) -> None:
    """One run or one cell; told here, before Hydra says a line of its own."""
    try:
        task(config)
    except Exception as error:
        if not _for_the_user(error):
            raise
        _refuse(error)


_hydra = hydra.main(
    config_path=configs.conf_folder(), config_name="config", **configs.hydra_keywords()
)(_job)


def _for_the_user(error: Exception) -> bool:
    """Whether it is theirs to mend; anything else is a defect and shows its traceback."""
    of_configs = (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError)
    if isinstance(error, (*TOLD, *of_configs)):  # some of Hydra's are OSErrors as well
        return True
    if isinstance(error, OSError):
        return error.errno in _FULL
    return "Config group override" in str(error)


def _refuse(error: Exception) -> None:
    print(f"depthwright: {_sentence(error)}", file=sys.stderr)
    sys.exit(1)


def _sentence(error: Exception) -> str:
    """Hydra and OmegaConf speak in paragraphs; the first lines say what is wrong."""
    if isinstance(error, yaml.YAMLError):
        return _in_file(error)
    if isinstance(error, UnicodeDecodeError):
        before = error.object[max(0, error.start - 30) : error.start].decode(errors="replace")
        return f"a config file is not UTF-8: {error.reason} after {before!r}; save it as UTF-8"
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        return f"{error.filename or 'a file'} cannot be written or read ({error.strerror})"
    if isinstance(error, OverrideParseException):
        key = error.override.partition("=")[0]
        return f"{error.override} cannot be read; write KEY=VALUE, as in \"{key}='VALUE'\""
    if scalar := re.search(r"override ([\w.]+)=(.*)", str(error)):
        key, value = scalar.groups()
        if "is not a ListConfig" in str(error.__cause__):
            return f"{key}={value} is no list; write {key}=[{value}]"
    for launcher, extra in EXTRAS.items():
        if f"Could not find 'hydra/launcher/{launcher}'" in str(error):
            return f"this launcher is not installed; pip install -e '.[{extra}]'"
    lines = [line.strip() for line in str(error).splitlines()]
    stop = next((k for k, line in enumerate(lines) if line.startswith("Config search")), len(lines))
    told = [line for line in lines[:stop] if line and not line.startswith(_NOISE)]
    if isinstance(error.__cause__, OmegaConfBaseException):
        told.append(f"({str(error.__cause__).splitlines()[0]})")
    return " ".join(told).replace("options in", "options for")


def _in_file(error: yaml.YAMLError) -> str:
    """A file that is no YAML: its name, the line, what is wrong there."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"{mark.name}, line {mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())  # not even text; it names the file


EXTRAS = {"joblib": "joblib", "submitit_local": "slurm", "submitit_slurm": "slurm"}
"""Hydra launcher → the extra that brings it."""
AGAIN = "; run the same command again to go on"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
"""What a disk or its rights forbid: no defect of ours."""
_NOISE = ("To append to your config", "reference_type=", "object_type=")
_HELP = """\
depthwright: theorems about ReLU networks, as networks that run, measured against trained ones.

  depthwright                                                      one comparison
  depthwright target=hat target.input_dim=3 accuracy=0.05          another
  depthwright --multirun target.input_dim=2,3,5 accuracy=0.3,0.15  a sweep
  depthwright --multirun launcher=joblib …                         its cells beside each other
  depthwright watch [FOLDER]                                       how far a sweep is
  depthwright experiment=NAME                                      a prepared one

Choose one of each group (GROUP=OPTION), override any key (KEY=VALUE):
"""


def _help() -> str:
    """What can be said without composing a config: groups, options, keys of the top level."""
    groups = {name: ", ".join(options) for name, options in configs.groups().items()}
    keys = [f.name for f in dataclasses.fields(configs.RunConfig) if f.name not in groups]
    lines = [f"  {group:13} {options}" for group, options in groups.items()]
    return _HELP + "\n".join(
        [
            *lines,
            f"  keys          {', '.join(keys)}",
            "",
            "depthwright --cfg job      the whole config, to see every key and its value",
            "depthwright --hydra-help   Hydra's own flags",
            "depthwright --version      this package's version",
        ]
    )


def main() -> None:
    """The command `depthwright`."""
    environment.prepare()
    given = sys.argv[1:]
    if {"-h", "--help"} & set(given):
        print(_help())
    elif "--version" in given:
        print(f"depthwright {__version__}")
    elif given[:1] == ["watch"]:
        from depthwright.runs.watch import watch

        guard(lambda: watch(given[1:]), cure="")
    else:
        guard(lambda: _start(given))


def _start(arguments: Sequence[str]) -> None:
    sys.argv[1:] = arranged(arguments)
    configs.register_schemas()
    _hydra()


def arranged(arguments: Sequence[str]) -> list[str]:
    """As Hydra takes them: flags first, whatever the order was, and groups without a plus.

    Every group has its place in the config, so `+experiment=NAME` can only mean `experiment=NAME`;
    and `~`, which Hydra's grammar keeps for itself, may begin a path.
    """
    words = [re.sub(rf"^\++({'|'.join(configs.groups())})=", r"\1=", word) for word in arguments]
    words = [re.sub(r"^([\w.]+)=(~[^,'\"]*)$", r"\1='\2'", word) for word in words]
    for word in words:
        _need_option(*word.partition("=")[::2])
    flags: list[str] = []
    overrides: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        own = _OVERRIDE.match(word) and before not in _WITH_VALUE
        (overrides if own else flags).append(word)
    return flags + overrides


def _need_option(group: str, value: str) -> None:
    """Hydra's own words for null do not say of which group."""
    if "null" in re.split(r"[\[\],\s]+", value) and (options := configs.groups().get(group)):
        raise Refusal(
            f"{group}={value} chooses no {group}; leave it out, or choose from {', '.join(options)}"
        )


_OVERRIDE = re.compile(r"[+~]*[\w.@/:]+=|~")
_WITH_VALUE = {"--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn"} | {
    *("--package", "-p", "--cfg", "-c", "--experimental-rerun")
}
"""Hydra's flags that the next word belongs to."""


def guard(action: Callable[[], object], cure: str = AGAIN) -> None:
    """Run it; what is the user's to mend is told in one sentence, and the exit status is not 0."""
    environment.prepare()
    warnings.showwarning = _warn  # type: ignore[assignment]
    try:
        action()
    except Incomplete:
        sys.exit(1)  # the sweep has said what is missing
    except KeyboardInterrupt:
        print(f"depthwright: interrupted{cure}", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if not _for_the_user(error):
            raise
        _refuse(error)
