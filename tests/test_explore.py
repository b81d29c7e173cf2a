"""`depthwright explore` finds its notebooks, and each of them runs to its end as a script."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import depthwright
from depthwright.explore import FIRST, command, folder, notebooks
from depthwright.refusal import Refusal

ROOT = Path(depthwright.__file__).parents[2]


def test_the_command_starts_marimo_with_the_notebook_and_the_options() -> None:
    pytest.importorskip("marimo", reason="extra explore is missing")
    told = command(["--headless", "--port", "8000"])
    assert told[:4] == [sys.executable, "-m", "marimo", "run"]
    assert Path(told[4]).stem == FIRST
    assert told[5:] == ["--headless", "--port", "8000"]
    with pytest.raises(Refusal, match="choose one of") as refused:
        command(["nothing_of_the_kind"])
    assert FIRST in str(refused.value)


def test_an_installed_package_has_the_notebooks_as_well() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert folder() == ROOT / "experiments/notebooks"
    assert included["experiments/notebooks"] == "depthwright/notebooks"
    for file in notebooks().values():
        assert (file.parent / "head.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(notebooks()))
def test_every_notebook_runs_as_a_script(name: str, tmp_path: Path) -> None:
    pytest.importorskip("marimo", reason="extra explore is missing")
    done = subprocess.run(
        [sys.executable, str(notebooks()[name])],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert done.stdout.count("\n") >= 4
