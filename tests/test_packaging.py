"""What others read of the package: limits, types, how it is cited."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

import depthwright
from depthwright.machine.environment import PLAIN
from depthwright.runs.command import arranged

SOURCE = Path(depthwright.__file__).parent
ROOT = SOURCE.parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_pythons_that_hydra_cannot_start_on_are_refused() -> None:
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert [v for v in ("3.10.9", "3.11.0", "3.12.1", "3.13.9", "3.14.0") if v in allowed] == [
        "3.11.0",
        "3.12.1",
        "3.13.9",
    ]


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == depthwright.__version__ == PROJECT["version"]
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()


def test_the_package_says_that_it_is_typed() -> None:
    assert (SOURCE / "py.typed").exists()


def letters(path: Path) -> set[str]:
    """Of a file's strings that may be shown: all but the docstrings of the package."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and path.is_relative_to(SOURCE)
    }
    strings = (n for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in docs)
    return {letter for n in strings if isinstance(n.value, str) for letter in n.value}


def test_every_letter_that_is_shown_has_a_plain_form() -> None:
    files = [*SOURCE.rglob("*.py"), *(ROOT / "experiments").glob("*.py")]
    shown = {letter for path in files for letter in letters(path) if not letter.isascii()}
    assert len(shown) > 15
    assert {letter for letter in shown if _plain(letter) in ("", "?")} == set()
    assert all(form.isascii() for form in PLAIN.values())


def _plain(letter: str) -> str:
    from depthwright.machine import environment

    error = UnicodeEncodeError("ascii", letter, 0, 1, "no such letter")
    return environment._plain(error)[0]


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("launcher=joblib --multirun seed=0,1", "--multirun launcher=joblib seed=0,1"),
        ("seed=0 -m ~features --cfg job", "-m --cfg job seed=0 ~features"),
        ("+experiment=narrow ++target=hat", "experiment=narrow target=hat"),
        ("+target.x=3", "+target.x=3"),
        ("output=~/x logger=none", "output='~/x' logger=none"),
        ("output=x/y~z seed=1", "output=x/y~z seed=1"),
        ("--config-dir a=b seed=1", "--config-dir a=b seed=1"),
    ],
)
def test_arguments_are_put_as_hydra_takes_them(given: str, taken: str) -> None:
    assert arranged(given.split()) == taken.split()
