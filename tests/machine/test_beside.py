"""A call in a process of its own: answers, failures, and an end at any time."""

from __future__ import annotations

import importlib
import os
import time
from pathlib import Path

import pytest

from depthwright.machine.beside import Beside


@pytest.mark.slow
def test_answers_and_failures_come_back_and_a_stopped_call_is_gone() -> None:
    sleeping, sum_of, wrong = Beside(time.sleep, 600), Beside(sum, [1, 2]), Beside(int, "x")
    assert sum_of.ended(60)
    assert sum_of.result() == 3
    with pytest.raises(ValueError, match="invalid literal"):
        wrong.result()
    assert not sleeping.ended()
    process = sleeping._process.pid
    assert process is not None
    sleeping.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@pytest.mark.slow
def test_the_process_steps_back_before_it_imports_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imported_beside.py").write_text(
        "import os\n\nNICE = os.nice(0)\n\n\ndef nice():\n    return NICE\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    here = importlib.import_module("imported_beside")
    assert Beside(here.nice).result() == min(here.NICE + 10, 19)


@pytest.mark.slow
def test_a_killed_call_is_no_answer() -> None:
    killed = Beside(os.abort)
    assert killed.ended(60)
    with pytest.raises(EOFError):
        killed.result()
