"""Work shared among threads: every item once, in order, in whole grains."""

import threading

import numba
import pytest

from depthwright.machine.threads import shared


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, 16, 17, 100, 1000])
def test_every_item_is_in_one_slice(monkeypatch, threads, count):
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
    parts = shared(lambda part: range(count)[part], count, 16)
    assert [item for part in parts for item in part] == list(range(count))
    assert len(parts) <= threads
    assert all(len(part) % 16 == 0 for part in parts[:-1])


def test_slices_are_worked_on_at_once(monkeypatch):
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 2)
    both = threading.Barrier(2, timeout=60)
    assert sorted(shared(lambda part: both.wait(), 2, 1)) == [0, 1]


def test_an_error_comes_out(monkeypatch):
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 2)
    with pytest.raises(ZeroDivisionError):
        shared(lambda part: 1 // part.start, 2, 1)
