"""`depthwright`: one comparison, or with --multirun a sweep of them.

Torch, Lightning and W&B take seconds to import, so nothing here imports them before the config
is known to be sound: help and refusals answer at once.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from depthwright import config as configs
from depthwright.config import hydra_keywords
from depthwright.sweep import Incomplete
from depthwright.task import TOLD, compare, show, task

__all__ = ["compare", "guard", "hydra_keywords", "main", "show"]


def _warn(message: Warning | str, category: type[Warning], *_: object) -> None:
    print(f"{category.__name__}: {message}", file=sys.stderr)


def _job(config: DictConfig) -> None:
    """One run or one cell; told here, before Hydra says a line of its own."""
    try:
        task(config)
    except TOLD as error:
        _refuse(error)


_hydra = hydra.main(
    config_path=configs.conf_folder(), config_name="config", **configs.hydra_keywords()
)(_job)


def _refuse(error: Exception) -> None:
    print(f"depthwright: {_sentence(error)}", file=sys.stderr)
    sys.exit(1)


def _sentence(error: Exception) -> str:
    """Hydra and OmegaConf speak in paragraphs; the first lines say what is wrong."""
    for launcher, extra in EXTRAS.items():
        if f"Could not find 'hydra/launcher/{launcher}'" in str(error):
            return f"this launcher is not installed; pip install -e '.[{extra}]'"
    lines = [line.strip() for line in str(error).splitlines()]
    stop = next((k for k, line in enumerate(lines) if line.startswith("Config search")), len(lines))
    told = [line for line in lines[:stop] if line and not line.startswith(_NOISE)]
    if isinstance(error.__cause__, OmegaConfBaseException):
        told.append(f"({str(error.__cause__).splitlines()[0]})")
    return " ".join(told).replace("options in", "options for")


EXTRAS = {"joblib": "joblib", "submitit_local": "slurm", "submitit_slurm": "slurm"}
"""Hydra launcher → the extra that brings it."""
AGAIN = "; run the same command again to go on"
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
    conf = Path(configs.conf_folder())
    groups = {
        folder.name: ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        for folder in sorted(conf.iterdir())
        if folder.is_dir()
    }
    keys = [f.name for f in dataclasses.fields(configs.RunConfig) if f.name not in groups]
    lines = [f"  {group:13} {options}" for group, options in groups.items()]
    return _HELP + "\n".join(
        [
            *lines,
            f"  keys          {', '.join(keys)}",
            "",
            "depthwright --cfg job      the whole config, to see every key and its value",
            "depthwright --hydra-help   Hydra's own flags",
        ]
    )


def main() -> None:
    """The command `depthwright`."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(_help())
        return
    if sys.argv[1:2] == ["watch"]:
        from depthwright.watch import watch

        guard(lambda: watch(sys.argv[2:]), cure="")
        return
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come here, not out as a traceback
    configs.register_schemas()
    guard(_hydra)


def guard(action: Callable[[], object], cure: str = AGAIN) -> None:
    """Run it; what is the user's to mend is told in one sentence, and the exit status is not 0."""
    warnings.showwarning = _warn  # type: ignore[assignment]
    try:
        action()
    except Incomplete:
        sys.exit(1)  # the sweep has said what is missing
    except TOLD as error:
        _refuse(error)
    except (HydraException, OmegaConfBaseException) as error:
        _refuse(error)
    except KeyboardInterrupt:
        print(f"depthwright: interrupted{cure}", file=sys.stderr)
        sys.exit(130)
