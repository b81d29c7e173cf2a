"""Send what was kept offline to W&B: each finished cell once, each experiment's rows and figure.

    python experiments/sync.py [FOLDER] [--project NAME] [--entity NAME]

FOLDER is a results folder (default: outputs). May be repeated at any time, while a sweep runs too:
`wandb sync` marks what it has sent, cells that are not finished wait for the next time, and of a
cell that was begun several times only the last attempt is sent. An aggregate and a figure are made
again online under their fixed ids, which replaces those that were there, and only when they have
changed. Needs a key (WANDB_API_KEY or `wandb login`).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from depthwright import results
from depthwright.aggregate import aggregate
from depthwright.cli import guard
from depthwright.figures.publish import publish
from depthwright.figures.record import RECORD
from depthwright.refusal import Refusal
from depthwright.tracking import LoggerConfig, is_offline, need_key

BATCH = 100
"""Runs per call of `wandb sync`: a command line has an end."""


def unsent(output: Path) -> list[Path]:
    """The W&B folders of finished cells that were kept offline and are not marked as sent."""
    found = []
    for finished in sorted(output.glob(f"*/*/{results.RESULTS}")):
        attempts = sorted(
            folder for folder in finished.parent.glob("wandb/*run-*") if not folder.is_symlink()
        )
        if attempts and is_offline(attempts[-1]) and not list(attempts[-1].glob("*.synced")):
            found.append(attempts[-1])
    return found


def main(arguments: list[str] | None = None) -> None:
    """Send; raises Refusal without a key, or when something could not be sent."""
    default = LoggerConfig()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("outputs"))
    parser.add_argument("--project", default=default.project)
    parser.add_argument("--entity", default=os.environ.get("WANDB_ENTITY"))
    given = parser.parse_args(arguments)
    if not given.folder.is_dir():
        raise Refusal(f"{given.folder} is no folder; give the results folder of your runs")
    waiting = unsent(given.folder)
    need_key(f"{len(waiting)} runs wait, repeat later")
    entity = ["--entity", given.entity] if given.entity else []
    for start in range(0, len(waiting), BATCH):
        batch = [str(folder) for folder in waiting[start : start + BATCH]]
        command = [sys.executable, "-m", "wandb", "sync", "--project", given.project, *entity]
        subprocess.run([*command, *batch], check=False)  # the marks tell what was sent
    left = unsent(given.folder)
    experiments = sorted({path.parents[1] for path in given.folder.glob(f"*/*/{results.RESULTS}")})
    online = LoggerConfig(mode="online", project=given.project, entity=given.entity)
    made = sum(aggregate(experiment, online) for experiment in experiments)
    figures = sorted(path.parent for path in given.folder.glob(f"*/*/{RECORD}"))
    drawn = sum(publish(figure, online) for figure in figures)
    print(
        f"{len(waiting) - len(left)} runs sent, {made} of {len(experiments)} aggregates and "
        f"{drawn} of {len(figures)} figures renewed"
    )
    if left:
        raise Refusal(f"{len(left)} runs could not be sent, {left[0]} among them; repeat later")


if __name__ == "__main__":
    guard(main)
