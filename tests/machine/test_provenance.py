"""The commit of a checkout, and no other's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from depthwright.machine import provenance
from depthwright.machine.provenance import Provenance

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="needs git")


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    command = ["git", *who, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is taken for the package's, and is in no checkout yet."""
    folder = tmp_path / "src" / "depthwright"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("# the package\n")
    monkeypatch.setattr(provenance, "PACKAGE", folder)
    monkeypatch.setenv("GIT_DIR", "/somebody/else/s")  # as in a hook of another repository
    return folder


def checkout() -> tuple[str | None, bool | None]:
    return provenance.checkout.__wrapped__()


def test_commit_and_state_of_the_tree(
    asked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checkout() == (None, None)
    monkeypatch.delenv("GIT_DIR")
    git(tmp_path, "init", "-q")
    assert checkout() == (None, None), "an environment inside somebody's checkout is none of it"
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "all")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    monkeypatch.setenv("GIT_DIR", "/somebody/else/s")
    assert checkout() == (commit, True)
    (tmp_path / "new.py").write_text("")
    assert checkout() == (commit, False)
    (tmp_path / "new.py").unlink()
    for result in ("published", "gallery"):
        (tmp_path / "experiments" / result).mkdir(parents=True)
        (tmp_path / "experiments" / result / "rows").write_text("what a figure before wrote")
    assert checkout() == (commit, True)
    (asked / "__init__.py").write_text("# changed\n")
    assert checkout() == (commit, False)
    monkeypatch.setenv("PATH", str(tmp_path))  # no git there
    assert checkout() == (None, None)


def test_differences_between_places_are_listed() -> None:
    one = Provenance("a", {"x": "1"}, "c0de", "c1", True)
    assert Provenance.together([one, one]) == one
    both = Provenance.together([one, Provenance("a", {"x": "2"}, "c0de", "c2", False)])
    assert both == Provenance("a", {"x": "1 / 2"}, "c0de", "c1 / c2", False)
    assert Provenance.together([one, Provenance("a", {"x": "1"}, "c0de")]).clean is None
