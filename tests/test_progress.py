"""Work that takes long shows itself, also where nobody says how far it is."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch

from command_line import until
from depthwright import progress
from depthwright.constructions import NarrowPacked, load_built
from depthwright.progress import Bar
from depthwright.targets import RandomNetwork


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Spinner:
    def __init__(self) -> None:
        self.moves = True

    def start(self) -> None:
        self.moves = True

    def stop(self) -> None:
        self.moves = False


def opened(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal for standard error, on which bars appear at once; no fixture, since pytest sets
    standard error anew when the test begins."""
    made = Terminal()
    monkeypatch.setattr(progress.sys, "stderr", made)
    monkeypatch.setattr(progress, "WAIT", 0)
    return made


def test_work_that_says_nothing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = opened(monkeypatch)
    with Bar("one long call"):
        until(lambda: "one long call" in screen.getvalue())
    assert Bar._screen is None


def test_bars_within_bars_stand_below_each_other_and_the_spinner_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen, spinner = opened(monkeypatch), Spinner()
    with progress.beside(spinner):
        with Bar("outer"):
            until(lambda: not spinner.moves)
            with Bar("inner") as bar:
                bar(0.4, "of it")
                until(lambda: "inner, of it" in screen.getvalue())
                assert Bar._lines == 2
            assert Bar._lines == 1
            assert not spinner.moves, "the outer one is there still"
        assert spinner.moves
    assert Bar._screen is None


def test_where_several_processes_share_a_terminal_no_bar_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = opened(monkeypatch)
    monkeypatch.setattr(Bar, "hidden", True)
    with Bar("many") as bar:
        bar(0.5)
    assert screen.getvalue() == ""


def test_a_twin_is_built_saved_loaded_and_evaluated_with_a_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: dict[str, list[float]] = {}

    def begun(bar: Bar) -> Bar:
        parts.setdefault(bar.name, [])
        return bar

    monkeypatch.setattr(Bar, "__enter__", begun)
    monkeypatch.setattr(Bar, "__call__", lambda bar, part, note="": parts[bar.name].append(part))
    recipe = NarrowPacked(RandomNetwork(2, 8, initialisation="he"), 0.1)
    depth = recipe.architecture().depth
    recipe.build().save(tmp_path / "twin.jsonl.gz")
    load_built(tmp_path / "twin.jsonl.gz").network.evaluate(torch.zeros(1, 2))
    told = {name: len(shares) for name, shares in parts.items() if shares}
    assert parts.keys() - told.keys() == {"sizing NarrowPacked", "building NarrowPacked"}
    assert {"saving twin.jsonl.gz", "loading twin.jsonl.gz", f"{depth:,} layers"} <= told.keys()
    assert "exact values, in integers" in told
    assert told["saving twin.jsonl.gz"] == depth + 1, "the header is a line, too"
    assert told["loading twin.jsonl.gz"] == depth
    assert told[f"{depth:,} layers"] >= 8, "one for each neuron that is decoded"
    for shares in parts.values():
        assert shares == sorted(shares)
        assert all(0 <= share <= 1 for share in shares)
