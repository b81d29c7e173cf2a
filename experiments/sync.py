"""Send what was kept offline to W&B: each finished cell once, each experiment's rows and figure.

    python experiments/sync.py [FOLDER] [--project NAME] [--entity NAME]

FOLDER is a results folder (default: outputs). May be repeated at any time, while a sweep runs too:
`wandb sync` marks what it has sent, cells that are not finished wait for the next time, and of a
cell that was begun several times only the attempt that finished it is sent. An aggregate and a
figure are made again online under their fixed ids, which replaces those that were there, and only
when they have changed. What cannot be sent is said, the rest is, and the exit status is 1. Needs a
key (WANDB_API_KEY or `wandb login`).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from depthwright import results
from depthwright.cli import guard
from depthwright.figures.publish import publish
from depthwright.figures.record import RECORD
from depthwright.refusal import Refusal
from depthwright.runs.aggregate import aggregate
from depthwright.tracking import KEPT, LoggerConfig, Renewal, is_offline, need_key

BATCH = 100
"""Runs per call of `wandb sync`: the length of a command line is limited."""


def unsent(output: Path) -> list[Path]:
    """Offline W&B folders of finished cells that are not yet marked as sent."""
    found = []
    for finished in sorted(output.glob(f"*/*/{results.RESULTS}")):
        kept = finished.parent / KEPT
        if not kept.exists():
            continue
        # By name, since the results may have been moved.
        attempt = finished.parent / "wandb" / Path(kept.read_text(encoding="utf-8").strip()).name
        if attempt.is_dir() and is_offline(attempt) and not list(attempt.glob("*.synced")):
            found.append(attempt)
    return found


def renewed(folders: Iterable[Path], one: Callable[[Path], Renewal]) -> Counter[Renewal]:
    """Send each and report it; a folder with nothing to send counts as failed."""
    found: Counter[Renewal] = Counter()
    for folder in folders:
        try:
            found[one(folder)] += 1
        except (Refusal, OSError) as error:
            print(f"not sent: {error}", file=sys.stderr)
            found[Renewal.FAILED] += 1
    return found


def main(arguments: list[str] | None = None) -> None:
    """Send all; Refusal without a key, or when something could not be sent."""
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
        subprocess.run([*command, *batch], check=False)  # the marks show what was sent
    left = unsent(given.folder)
    experiments = sorted({path.parents[1] for path in given.folder.glob(f"*/*/{results.RESULTS}")})
    online = LoggerConfig(mode="online", project=given.project, entity=given.entity)
    made = renewed(experiments, lambda experiment: aggregate(experiment, online))
    figures = sorted(path.parent for path in given.folder.glob(f"*/*/{RECORD}"))
    drawn = renewed(figures, lambda figure: publish(figure, online))
    print(
        f"{len(waiting) - len(left)} runs sent, {made[Renewal.WRITTEN]} of {len(experiments)} "
        f"aggregates and {drawn[Renewal.WRITTEN]} of {len(figures)} figures renewed"
    )
    if not experiments and not figures:
        raise Refusal(f"{given.folder} holds no finished run; give the results folder of your runs")
    lost = made[Renewal.FAILED] + drawn[Renewal.FAILED]
    if left or lost:
        raise Refusal(
            f"{len(left)} runs, and {lost} aggregates and figures, could not be sent; repeat later"
        )


if __name__ == "__main__":
    guard(main)
