"""The command line as a process of its own, and what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from depthwright.results import SECONDS

START = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from depthwright.cli import main; main()"
)
"""Ctrl-C is heard also where a background shell, which ignores it, started the tests."""
DEPTHWRIGHT = (sys.executable, "-c", START)
SMALL = (
    "target.input_dim=2",
    "accuracy=0.3",
    "training=quick",
    "training.steps=60",
    "evaluation=quick",
    "trainer.accelerator=cpu",
    "trainer.progress=false",
    "beside=[]",
)
"""A comparison of a second or two."""
HANGS = 900
"""Seconds that nothing takes on a slow machine either: what is not there by then never comes."""


def multirun(
    folder: Path, *overrides: str, start_new_session: bool = False, before: str = ""
) -> subprocess.Popen[str]:
    """A sweep, started; `before`: a line of Python that its process runs first."""
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", f"{before}\n{START}", "--multirun", *overrides],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=start_new_session,
    )


def python(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it in a folder, with no other W&B than that of `variables`."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment | {"HOME": str(folder)} | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS,
    )


def rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Rows per run folder of `folder`/outputs, without what a clock decides."""
    return {
        path.parent.name: [
            {k: v for k, v in row.items() if k not in SECONDS}
            for row in json.loads(path.read_text())
        ]
        for path in sorted(folder.glob("outputs/*/*/results.json"))
    }


def until(found: Callable[[], Any], seconds: float = HANGS) -> Any:
    """What it finds, once it finds something."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)
    return result
