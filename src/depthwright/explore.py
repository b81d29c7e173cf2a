"""`depthwright explore [NAME]`: the notebooks of experiments/notebooks, as apps in the browser.

They are marimo's: plain Python files, which run as scripts too. Needs the extra `explore`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from depthwright.refusal import Refusal

FIRST = "what_depth_two_pays"
"""The one that opens where none is named."""


def folder() -> Path:
    """The notebooks: beside the package once installed, in experiments/ of a checkout."""
    package = Path(__file__).parent
    installed = package / "notebooks"
    return installed if installed.is_dir() else package.parents[1] / "experiments" / "notebooks"


def notebooks() -> dict[str, Path]:
    """Name → file."""
    return {path.stem: path for path in sorted(folder().glob("*.py"))}


def command(arguments: Sequence[str]) -> list[str]:
    """What is to be executed: options go to `marimo run` (--headless, --port 8000, …)."""
    named = bool(arguments) and not arguments[0].startswith("-")
    name, options = (arguments[0], arguments[1:]) if named else (FIRST, arguments)
    known = notebooks()
    if name not in known:
        raise Refusal(f"{name} is no notebook; choose one of {', '.join(known)}")
    missing = [module for module in ("marimo", "plotly") if find_spec(module) is None]
    if missing:
        raise Refusal(
            f"the app needs {' and '.join(missing)}; pip install -e '.[explore]' brings them"
        )
    return [sys.executable, "-m", "marimo", "run", str(known[name]), *options]


def explore(arguments: Sequence[str]) -> None:
    """Becomes marimo's server, which opens the browser and ends with Ctrl-C."""
    told = command(arguments)
    sys.stdout.flush()
    os.execv(told[0], told)
