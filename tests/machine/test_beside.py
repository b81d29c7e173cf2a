"""A call in a process of its own: answers, failures, and an end at any time."""

from __future__ import annotations

import os
import time

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
def test_a_killed_call_is_no_answer() -> None:
    killed = Beside(os.abort)
    assert killed.ended(60)
    with pytest.raises(EOFError):
        killed.result()
