"""`depthwright`: one comparison, or with --multirun a sweep of them.

Torch, Lightning and W&B take seconds to import, so nothing here imports them before the config
is known to be sound: help and refusals answer at once.
"""

from __future__ import annotations

import os
import sys
import traceback
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


def _hydra_keywords() -> dict[str, Any]:
    """Hydra 1.4 deprecates version_base; before, it decides about old defaults."""
    before = tuple(int(part) for part in version("hydra-core").split(".")[:2]) < (1, 4)
    return {"version_base": "1.3"} if before else {}


def compare(config: DictConfig, console: Console) -> Path:
    """Run one comparison, or find it finished; returns its folder.

    A failure is written into the folder as well, so that a sweep can be read afterwards.
    """
    from depthwright import comparison as comparisons
    from depthwright.figures.comparison import draw
    from depthwright.tracking import track

    ready = configs.comparison(config)
    ready.matches()  # sizes everything: a network too large is refused before torch is imported
    folder = configs.run_folder(config)
    if results.finished(folder):
        console.print(f"finished before, nothing to do: {folder}")
        return folder
    error_file = folder / ERROR_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        results.write_text(folder / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
        with (
            track(
                configs.logger(config),
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
        results.write_text(error_file, traceback.format_exc())
        raise
    error_file.unlink(missing_ok=True)
    return folder


def show(folder: Path, console: Console) -> None:
    """The rows of a run as a table, where its files are, how to open the dashboard."""
    from rich.table import Table

    rows = results.read(folder)
    first = rows[0]
    table = Table(
        title=f"{first.target} on {first.distribution}, input_dim {first.input_dim}, "
        f"accuracy {first.accuracy:g}: {first.construction} beside its rivals"
    )
    for column in ("contender", "width", "depth", "parameters", "L2", "relative L2",
                   "sup, attacked", "sup, promised"):
        table.add_column(column, justify="left" if column == "contender" else "right")
    for row in rows:
        table.add_row(
            row.contender,
            f"{row.width:,}",
            f"{row.depth:,}",
            f"{row.parameters:,}",
            f"{row.error_l2:.4g} ± {(row.error_l2_high - row.error_l2_low) / 2:.1g}",
            f"{row.error_l2_relative:.3g}",
            _number(row.error_sup_attacked),
            _number(row.error_sup_certified),
        )
    console.print(table)
    console.print(f"run folder  {folder}", soft_wrap=True)
    pointer = folder / "wandb_run.txt"
    if pointer.exists():
        wandb_folder = pointer.read_text().strip()
        console.print(f"dashboard   wandb leet {wandb_folder}", soft_wrap=True)
        console.print(f"to W&B      wandb sync {wandb_folder}", soft_wrap=True)


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.4g}"


@hydra.main(config_path=configs.conf_folder(), config_name="config", **_hydra_keywords())
def _task(config: DictConfig) -> None:
    from rich.console import Console

    try:
        folder = compare(config, Console(stderr=True))
        show(folder, Console())
    except (Refusal, TrainingDiverged) as error:
        if HydraConfig.get().mode == RunMode.RUN:
            _refuse(error)
        print(f"depthwright: {error}", file=sys.stderr)
        raise  # a sweep goes on; Hydra reports at its end


def _refuse(error: Exception) -> None:
    print(f"depthwright: {error}", file=sys.stderr)
    sys.exit(1)


def main() -> None:
    """The command `depthwright`."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come here, not out as a traceback
    configs.register_schemas()
    try:
        _task()
    except (Refusal, TrainingDiverged):
        sys.exit(1)  # said where it happened
    except (HydraException, OmegaConfBaseException) as error:
        _refuse(error)
    except KeyboardInterrupt:
        print("depthwright: interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
