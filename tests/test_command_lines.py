"""Some 250 command lines: what each ends with, and in which words.

They run in this process, through the command's own functions, up to where a comparison would
begin: nothing is trained. `python tests/test_command_lines.py` prints them all, with the seconds.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from command_line import python
from depthwright import cli
from depthwright.runs import command, sweep
from depthwright.runs import config as configs
from depthwright.runs.store import Cell, Launch

TABLE = Path(__file__).with_name("command_lines.txt")
OWN = {
    "experiment/axes": "hydra: {sweeper: {params: {seed: '0,1', accuracy: '0.3,0.4'}}}",
    "experiment/axis_of_no_key": "hydra: {sweeper: {params: {sead: '0,1'}}}",
    "experiment/key": "acuracy: 0.2",
    "experiment/key_inside": "training: {stepz: 7}",
    "experiment/key_of_hydra": "hydra: {sweper: 1}",
    "experiment/group": "defaults: [override /targt: hat]",
    "experiment/another_group": "defaults: [/tarrget: hat]",
    "experiment/group_twice": "defaults: [/target: hat]",
    "experiment/option": "defaults: [override /target: hta]",
    "experiment/type": "accuracy: abc",
    "experiment/list": "[a]",
    "experiment/list_of_keys": "training: [1]",
    "experiment/no_target": "target: null",
    "experiment/three": "target: 3",
    "experiment/no_trainer": "trainer: null",
    "experiment/word": "logger: x",
    "experiment/seed": "evaluation: {seed: -1}",
    "experiment/unclosed": "a: [1",
    "experiment/nothing": "",
    "target/own": "defaults: [/schema/target/hat@_here_, _self_]\nslop: 3",
    "target/no_schema": "name: hat\ninput_dim: 2\nslope: 3",
    "target/no_such_key": "name: hat\ninput_dim: 2\nslop: 3",
    "target/no_name": "input_dim: 2\nslope: 3",
    "training/no_schema": "steps: 5",
    "training/no_such_key": "stepz: 5",
    "training/type": "steps: abc",
}
"""The user's files, in the folder `mine`."""
LONG = "x" * 300
""" "LONG" in the table: no file system takes such a name."""


@dataclass(frozen=True)
class Line:
    """A line of the table: `status | words after depthwright | of the sentence`."""

    status: int
    words: str
    told: str


def table() -> list[Line]:
    text = TABLE.read_text(encoding="utf-8").replace("LONG", LONG)
    lines = (line.split(" | ") for line in text.splitlines() if line)
    return [Line(int(status), words, told.strip()) for status, words, told in lines]


def lay_out(folder: Path) -> None:
    """The user's files."""
    for name, text in OWN.items():
        path = folder / "mine" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        head = "# @package _global_\n" if name.startswith("experiment/") else ""
        path.write_text(f"{head}{text}\n", encoding="utf-8")


def ready(config: DictConfig) -> None:
    """All that is checked before a run begins."""
    configs.comparison(config).matches()
    configs.logger(config)
    configs.run_folder(config)


def launched(output: Path, found: Sequence[Cell], launch: Launch, after: object) -> list[Cell]:
    """In place of `complete`: no cell is finished."""
    launch(found)
    return []


@contextlib.contextmanager
def no_run() -> Iterator[None]:
    """Runs end where they would begin; a sweep launches its cells once and reads no rows."""
    with (
        mock.patch.object(command, "task", ready),
        mock.patch.object(sweep, "complete", launched),
        mock.patch("depthwright.runs.slurm.shutil.which", return_value=None),  # no Slurm
        mock.patch.object(warnings, "showwarning"),
        mock.patch.dict(os.environ),
    ):
        try:
            yield
        finally:
            GlobalHydra.instance().clear()


def start(words: str) -> tuple[int, str]:
    """The exit status of `depthwright WORDS`, and what is on its standard error."""
    error = io.StringIO()
    with (
        no_run(),
        mock.patch.object(sys, "argv", ["depthwright", *shlex.split(words)]),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(error),
    ):
        try:
            cli.main()
        except SystemExit as ended:
            return int(ended.code or 0), error.getvalue()
    return 0, error.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("command_lines")
    lay_out(made)
    return made


QUICK, SLOW = 10, 3
"""Every so many-th line is in the quick and in the slow suite; this file as a script runs all."""
LINES = [
    pytest.param(line, id=line.words[:60], marks=[] if k % QUICK == 0 else pytest.mark.slow)
    for k, line in enumerate(table())
    if k % QUICK == 0 or k % SLOW == 0
]


@pytest.mark.parametrize("line", LINES)
def test_every_line_ends_as_the_table_says(
    line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    status, told = start(line.words)
    assert status == line.status, told
    assert line.told in told
    if status == 1:
        lines = [
            line for line in told.splitlines() if not line.startswith("UserWarning: provider=")
        ]
        assert len(lines) == 1, told
        assert lines[0].startswith("depthwright: ")
    if not status:
        assert not told


def test_the_table_is_long_and_says_nothing_twice() -> None:
    words = [line.words for line in table()]
    assert len(words) == len(set(words)) >= 200


def test_axes_in_a_file_make_cells_and_the_command_line_comes_before_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    found: list[tuple[str, ...]] = []
    for given in ("", "seed=5"):
        with mock.patch.object(command, "task"), no_run():
            monkeypatch.setattr(
                sweep, "complete", lambda _, cells, *__: found.extend(c.overrides for c in cells)
            )
            words = ["--config-dir", "mine", "--multirun", "experiment=axes", *given.split()]
            monkeypatch.setattr(sys, "argv", ["depthwright", *words])
            cli.main()
    points = [dict(word.split("=") for word in cell) for cell in found]
    assert [(each["seed"], each["accuracy"]) for each in points] == [
        ("0", "0.3"),
        ("0", "0.4"),
        ("1", "0.3"),
        ("1", "0.4"),
        ("5", "0.3"),
        ("5", "0.4"),
    ]


MAIN = (
    "import sys\nfrom depthwright.cli import main\n"
    "try:\n    main()\nfinally:\n    print('torch imported:', 'torch' in sys.modules)"
)


@pytest.mark.slow
def test_lines_as_processes_are_refused_before_torch_is_imported(folder: Path) -> None:
    refused = [line for line in table() if line.status == 1]
    for line in refused[:: len(refused) // 10]:
        done = python(folder, "-c", MAIN, *shlex.split(line.words))
        assert done.returncode == 1, line
        assert line.told in done.stderr
        assert "torch imported: False" in done.stdout


def _short(text: str) -> str:
    return re.sub(r"(.)\1{30,}", r"\1…\1", text)


def main() -> None:
    """Print the table: exit status, seconds, words, sentence."""
    tracebacks, slowest = 0, 0.0
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        lay_out(Path(name))
        for line in table():
            before = time.perf_counter()
            try:
                status, told = start(line.words)
            except Exception:
                status, told, tracebacks = 99, traceback.format_exc(), tracebacks + 1
            seconds = time.perf_counter() - before
            slowest = max(slowest, seconds)
            wrong = "" if status == line.status and line.told in told else "  <- WRONG"
            print(f"{status} {seconds:5.2f} s  depthwright {_short(line.words)}{wrong}", flush=True)
            if told:
                print(f"            {_short(told.splitlines()[-1])}")
    print(f"{len(table())} lines, {tracebacks} tracebacks, slowest {slowest:.2f} s")
    print("torch was imported" if "torch" in sys.modules else "torch was not imported")


if __name__ == "__main__":
    main()
