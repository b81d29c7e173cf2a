"""W&B runs read back from disk, with W&B's own reader."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import wandb


def read_back(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The run kept under `folder`: its last state, and its history."""
    wandb.teardown()  # the file may still be empty before
    (path,) = folder.rglob("*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json"]
    inspected = [
        subprocess.run([*command, *flags, str(path)], capture_output=True, text=True, check=True)
        for flags in (["--summary"], [])
    ]
    records = [json.loads(line) for line in inspected[1].stdout.splitlines()]
    history = [r["history"]["item"] for r in records if r["type"] == "history"]
    return json.loads(inspected[0].stdout), history


def artifacts(folder: Path) -> dict[str, dict[str, Any]]:
    """The artifacts of type "network" of the run kept under `folder`: name → metadata, files."""
    wandb.teardown()
    (path,) = folder.rglob("*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = [json.loads(line) for line in told.splitlines()]
    kept = [one["artifact"] for one in found if one["type"] == "artifact"]
    return {
        one["name"]: {
            "metadata": json.loads(one["metadata"]),
            "files": [content["path"] for content in one["manifest"]["contents"]],
        }
        for one in kept
        if one["type"] == "network"
    }
