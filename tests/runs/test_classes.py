"""A user's own classes: found by their import path, typed, checked, told of as ours are."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
from hydra.types import RunMode
from omegaconf import DictConfig

from command_line import HANGS
from depthwright.refusal import Refusal
from depthwright.runs import classes, task
from depthwright.runs import config as configs
from depthwright.runs.command import arranged

MINE = """
from dataclasses import dataclass, field

import depthwright as dw


@dataclass(frozen=True, eq=False)
class Bump(dw.targets.Radial):
    height: float = 0.5
    teeth: list[int] = field(default_factory=lambda: [1])

    lipschitz = 1.0

    def profile(self, r):
        return self.height * r * r


@dataclass(frozen=True)
class Level(dw.constructions.Ridge):
    accuracy: float = 0.5


@dataclass(frozen=True)
class Law(dw.distributions.UniformRadius):
    pass


@dataclass(frozen=True, eq=False)
class Wrong(Bump):
    def __post_init__(self):
        super().__post_init__()
        return 1 / 0


@dataclass(frozen=True, eq=False)
class Late(Bump):
    def __call__(self, x):
        raise KeyError("no such point")


@dataclass(frozen=True)
class Listed(Bump):
    pass  # equal to others of equal fields, so that its lists keep it from being hashed


class Plain(dw.targets.Target):
    pass


class Stranger:
    pass
"""
NAMES = map("mine_{}".format, itertools.count())
Composed = Callable[..., DictConfig]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of that name in the working directory; each test has its own."""
    name = next(NAMES)
    (tmp_path / f"{name}.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield name
    sys.modules.pop(name, None)


def composed_of(composed: Composed, *words: str) -> DictConfig:
    return composed(*arranged(words))


@pytest.mark.parametrize("form", ["target._target_={}.Bump", "target={}.Bump", "++target={}.Bump"])
def test_a_class_is_found_and_its_fields_are_keys(form: str, mine: str, composed: Composed) -> None:
    words = form.format(mine), "target.height=0.25", "target.input_dim=3", "target.teeth=[2,3]"
    made = configs.comparison(composed_of(composed, *words))
    assert type(made.target).__name__ == "Bump"
    assert (made.target.height, made.target.input_dim) == (0.25, 3)  # type: ignore[attr-defined]
    assert made.target.teeth == [2, 3]  # type: ignore[attr-defined]
    assert made.names["target"] == f"{mine}.Bump"
    assert made.distribution.input_dim == 3


def test_laws_and_constructions_are_found_as_well(mine: str, composed: Composed) -> None:
    words = f"construction={mine}.Level", f"distribution={mine}.Law", "accuracy=0.4"
    made = configs.comparison(composed_of(composed, *words))
    kinds = type(made.construction).__name__, type(made.distribution).__name__
    assert kinds == ("Level", "Law")
    assert made.construction.target is made.target
    assert made.construction.accuracy == 0.4  # type: ignore[attr-defined]
    assert made.distribution.input_dim == 5


def test_a_sweep_may_take_several(mine: str) -> None:
    given = f"target._target_={mine}.Bump,cone,{mine}.Late"
    assert arranged([given]) == [f"target={mine}.Bump,cone,{mine}.Late"]


def test_a_file_of_one_s_own_names_a_class_without_a_schema(mine: str, composed: Composed) -> None:
    config = composed("target=cone")
    config._set_flag(["struct", "readonly"], [False, False])
    config.target = {"_target_": f"{mine}.Bump", "height": "0.25", "input_dim": 2}
    made = configs.comparison(config)
    assert made.target.height == 0.25  # type: ignore[attr-defined]
    config.target.height = "high"
    with pytest.raises(Refusal, match=r"target\.height cannot be taken: Value 'high'"):
        configs.comparison(config)
    config.target = {"_target_": f"{mine}.Bump", "heigth": 0.25}
    with pytest.raises(Refusal, match=r"target\.heigth is no key; did you mean target\.height"):
        configs.comparison(config)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("nowhere_at_all.X", "cannot be imported (No module named 'nowhere_at_all')"),
        ("MINE.Nobody", "has no Nobody"),
        ("MINE.Stranger", "is no target; let it extend depthwright.targets.Target"),
        ("MINE.Level", "is no target"),
        ("MINE.Plain", "is no dataclass"),
        ("MINE", "it is no MODULE.CLASS; write target._target_=mine.Bump"),
        ("MINE/Bump.py", "it is no MODULE.CLASS; write target._target_=mine.Bump"),
    ],
)
def test_what_is_no_class_for_it_is_refused(path: str, says: str, mine: str) -> None:
    with pytest.raises(Refusal, match=re.escape(says)):
        arranged([f"target._target_={path.replace('MINE', mine)}"])


def test_a_module_that_does_not_run_is_told_with_its_line(tmp_path: Path, mine: str) -> None:
    (tmp_path / f"{mine}_bad.py").write_text("x = 1\ny = x / 0\n")
    with pytest.raises(Refusal, match=rf"ZeroDivisionError: .* \({mine}_bad.py, line 2\)"):
        arranged([f"target={mine}_bad.X"])


def test_an_error_of_a_class_is_one_sentence_with_its_line(mine: str, composed: Composed) -> None:
    with pytest.raises(Refusal, match=rf"{mine}.Wrong cannot be made: Zero.* \({mine}.py, line 3"):
        configs.comparison(composed_of(composed, f"target={mine}.Wrong"))


def test_what_cannot_be_hashed_is_refused(mine: str, composed: Composed) -> None:
    with pytest.raises(Refusal, match="Listed cannot be made: TypeError: unhashable"):
        configs.comparison(composed_of(composed, f"target={mine}.Listed"))


def test_an_error_while_a_run_computes_is_the_class_s_own(
    mine: str, composed: Composed, tmp_path: Path
) -> None:
    from rich.console import Console

    quick = ("logger=none", "training=quick", "evaluation=quick", "matching=[]", "accuracy=0.5")
    config = composed_of(composed, f"target={mine}.Late", "target.input_dim=2", *quick)
    alone = SimpleNamespace(mode=RunMode.RUN)
    with (
        mock.patch.object(task.HydraConfig, "get", return_value=alone),
        pytest.raises(Refusal, match=rf"KeyError: 'no such point' \({mine}.py, line \d+\)"),
    ):
        task.compare(config, Console(quiet=True))
    (error,) = tmp_path.rglob("error.json")
    assert "no such point" in json.loads(error.read_text())["error"]


def test_a_run_s_name_sees_the_class_its_fields_and_its_source(
    mine: str, composed: Composed, tmp_path: Path
) -> None:
    found = [
        configs.run_hash(composed_of(composed, *words))
        for words in (
            (f"target={mine}.Bump",),
            (f"target={mine}.Bump", "target.height=0.25"),
            (f"target={mine}.Late",),
        )
    ]
    source = tmp_path / f"{mine}.py"
    source.write_text(source.read_text() + "\n# another\n")
    found.append(configs.run_hash(composed_of(composed, f"target={mine}.Bump")))
    assert len(set(found)) == 4
    assert not classes.theirs(ValueError("ours"))


@pytest.mark.slow
@pytest.mark.timeout(HANGS)
def test_a_sweep_s_workers_find_the_class(mine: str, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="an extra is missing")
    words = (
        "--multirun launcher=joblib hydra.launcher.n_jobs=2"
        f" target._target_={mine}.Bump,{mine}.Late target.input_dim=2 accuracy=0.5"
        " logger=none matching=[] evaluation=quick"
    )
    src = Path(classes.__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-m", "depthwright", *words.split()],
        env={**os.environ, "PYTHONPATH": str(src), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    finished = list(tmp_path.rglob("results.json"))
    assert len(finished) == 1, ended.stderr
    assert f"{mine}.Bump" in finished[0].parent.name
    (error,) = tmp_path.rglob("error.json")
    assert f"KeyError: 'no such point' ({mine}.py" in json.loads(error.read_text())["error"]
