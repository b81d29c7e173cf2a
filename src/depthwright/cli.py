"""`depthwright`: one comparison, or with --multirun a sweep of them.

Torch, Lightning and W&B take seconds to import, so nothing here imports them before the config
is known to be sound: help and refusals answer at once.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from depthwright import config as configs
from depthwright import results
from depthwright.refusal import Refusal
from depthwright.training.result import TrainingDiverged

if TYPE_CHECKING:
    from rich.console import Console

    from depthwright.results import Row

ERROR_FILE = "error.txt"
TOLD = (Refusal, TrainingDiverged)
"""Failures that are told in one sentence; anything else is a defect and shows its traceback."""


def hydra_keywords() -> dict[str, Any]:
    """Hydra 1.4 deprecates version_base; before, it decides about old defaults."""
    before = tuple(int(part) for part in version("hydra-core").split(".")[:2]) < (1, 4)
    return {"version_base": "1.3"} if before else {}


class Told(Exception):
    """A failure that has been told already."""


def _warn(message: Warning | str, category: type[Warning], *_: object) -> None:
    print(f"{category.__name__}: {message}", file=sys.stderr)


def compare(config: DictConfig, console: Console) -> Path:
    """Run one comparison, or find it finished; returns its folder.

    A failure is written into the folder as well, so that a sweep can be read afterwards.
    """
    from depthwright import comparison as comparisons
    from depthwright.figures.comparison import PICTURE, draw
    from depthwright.tracking import track

    ready, watching = configs.comparison(config), configs.logger(config)
    ready.matches()  # sizes everything: a network too large is refused before torch is imported
    folder = configs.run_folder(config)
    if results.finished(folder):
        console.print(f"finished before, nothing to do: {folder}", soft_wrap=True)
        if not (folder / PICTURE).exists():
            draw(folder)
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ERROR_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise Refusal(
            f"output={config.output} cannot be written to ({error.strerror}); choose another folder"
        ) from error
    try:
        results.write_text(folder / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
        with (
            track(
                watching,
                folder,
                run_id=f"{config.experiment_name}-{configs.run_hash(config)}",
                name=folder.name,
                group=config.experiment_name,
                config=configs.resolved(config),
            ) as tracker,
            console.status("starting") as status,
        ):

            def say(message: str) -> None:
                status.update(message)
                if message == "training":
                    status.stop()  # the training bar takes the line
                elif message.startswith("measuring"):
                    status.start()
                elif message.startswith("no "):
                    console.print(message)

            comparisons.run(ready, folder, tracker, say)
            tracker.image("comparison", draw(folder))
            if tracker.folder:
                results.write_text(folder / "wandb_run.txt", f"{tracker.folder}\n")
    except BaseException:
        results.write_text(folder / ERROR_FILE, traceback.format_exc())
        raise
    return folder


def show(folder: Path, console: Console) -> None:
    """The rows of a run as a table, where its files are, how to open the dashboard."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from depthwright.figures.style import label

    rows = results.read(folder)
    first = rows[0]
    table = Table(
        box=SIMPLE_HEAD,
        title=f"{first.target} on {first.distribution}, input_dim {first.input_dim}: "
        f"{first.construction}, accuracy {first.accuracy:g}",
    )
    table.add_column("", no_wrap=True)
    for row in rows:
        table.add_column(label(row.contender), justify="right")
    for title, cell in _LINES.items():
        cells = [cell(row) for row in rows]
        if title not in _RARE or set(cells) != {NOTHING}:
            table.add_row(title, *cells)
    # Wide enough for every contender, also where the output is no terminal (80 columns).
    console.width = max(console.width, 30 + 18 * len(rows))
    console.print(table)
    console.print(f"run folder  {folder}", soft_wrap=True)
    pointer = folder / "wandb_run.txt"
    if pointer.exists():
        wandb_folder = pointer.read_text().strip()
        console.print(f"dashboard   wandb leet {wandb_folder}", soft_wrap=True)
        console.print(f"to W&B      wandb sync {wandb_folder}", soft_wrap=True)


NOTHING = "—"


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4g}"


_LINES: dict[str, Callable[[Row], str]] = {
    "style": lambda row: row.style or NOTHING,
    "width": lambda row: f"{row.width:,}",
    "depth": lambda row: f"{row.depth:,}",
    "parameters": lambda row: f"{row.parameters:,}",
    "L2 error, ± 95 %": lambda row: (
        f"{row.error_l2:.4g} ± {(row.error_l2_high - row.error_l2_low) / 2:.1g}"
    ),
    "  / target's deviation": lambda row: _number(row.error_l2_relative),
    "sup error, sampled": lambda row: _number(row.error_sup_sampled),
    "  outside the bad set": lambda row: _number(row.error_sup_good),
    "sup error, attacked": lambda row: _number(row.error_sup_attacked),
    "error, promised": lambda row: _number(row.error_promised),
    "  but with prob.": lambda row: _number(row.failure_probability),
    "share above accuracy": lambda row: _number(row.exceedance),
    "path norm": lambda row: _number(row.path_norm),
    "  no network's is below": lambda row: _number(row.path_norm_floor),
}
_RARE = ("path norm", "  no network's is below")
"""Lines that are left out where they say nothing of anybody."""


@hydra.main(config_path=configs.conf_folder(), config_name="config", **hydra_keywords())
def _task(config: DictConfig) -> None:
    from rich.console import Console

    try:
        folder = compare(config, Console(stderr=True))
        show(folder, Console())
    except TOLD as error:
        if HydraConfig.get().mode == RunMode.RUN:
            _refuse(error)
        print(f"depthwright: {error}", file=sys.stderr)
        raise Told(str(error)) from error  # a sweep goes on; Hydra reports at its end


def _refuse(error: Exception) -> None:
    print(f"depthwright: {_sentence(error)}", file=sys.stderr)
    sys.exit(1)


def _sentence(error: Exception) -> str:
    """Hydra and OmegaConf speak in paragraphs; the first lines say what is wrong."""
    lines = [line.strip() for line in str(error).splitlines()]
    stop = next((k for k, line in enumerate(lines) if line.startswith("Config search")), len(lines))
    told = [line for line in lines[:stop] if line and not line.startswith(_NOISE)]
    if isinstance(error.__cause__, OmegaConfBaseException):
        told.append(f"({str(error.__cause__).splitlines()[0]})")
    return " ".join(told).replace("options in", "options for")


_NOISE = ("To append to your config", "reference_type=", "object_type=")
_HELP = """\
depthwright: theorems about ReLU networks, as networks that run, measured against trained ones.

  depthwright                                                      one comparison
  depthwright target=hat target.input_dim=3 accuracy=0.05          another
  depthwright --multirun target.input_dim=2,3,5 accuracy=0.3,0.15  a sweep
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
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come here, not out as a traceback
    configs.register_schemas()
    guard(_task)


def guard(action: Callable[[], object]) -> None:
    """Run it; what is the user's to mend is told in one sentence, and the exit status is not 0."""
    warnings.showwarning = _warn  # type: ignore[assignment]
    try:
        action()
    except Told:
        sys.exit(1)  # where it happened
    except TOLD as error:
        _refuse(error)
    except (HydraException, OmegaConfBaseException) as error:
        _refuse(error)
    except KeyboardInterrupt:
        print("depthwright: interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
