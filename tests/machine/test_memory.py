"""What does not fit into memory is refused before it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from depthwright.constructions import NarrowPacked
from depthwright.machine import memory
from depthwright.machine.memory import need_memory
from depthwright.refusal import Refusal
from depthwright.targets import RandomNetwork


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 GB free, on which the process is in a group within a group."""
    files = {
        "proc/meminfo": "MemTotal:       16000000 kB\nMemAvailable:    8000000 kB\n",
        "proc/self/cgroup": "0::/job/step\n",
        "sys/fs/cgroup/job/step/memory.max": "max\n",
        "sys/fs/cgroup/job/step/memory.current": "1000\n",
        "sys/fs/cgroup/job/memory.max": "3000000000\n",
        "sys/fs/cgroup/job/memory.current": "2500000000\n",
        "sys/fs/cgroup/job/memory.stat": "active_file 7\ninactive_file 1000000000\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "SYSTEM", tmp_path)
    return tmp_path


def test_the_tightest_limit_counts_and_what_can_be_dropped_is_free(system: Path) -> None:
    assert list(memory._free()) == [8_192_000_000, 1_500_000_000]
    need_memory(1.4e9, "this", "take less")
    with pytest.raises(Refusal, match=r"this takes about 1\.6 GB of memory, and 1\.5 GB are free;"):
        need_memory(1.6e9, "this", "take less")


def test_groups_of_older_kernels_and_limits_of_a_process_count(
    system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (system / "proc/self/cgroup").write_text("4:memory:/job\n1:cpu:/\n")
    group = system / "sys/fs/cgroup/memory/job"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text("2000000000\n")
    (group / "memory.usage_in_bytes").write_text("500000000\n")
    (system / "proc/self/statm").write_text("1000 10 1\n")
    monkeypatch.setattr(memory.resource, "getrlimit", lambda which: (10**9, 10**9))
    monkeypatch.setattr(memory.resource, "getpagesize", lambda: 4096)
    assert list(memory._free()) == [8_192_000_000, 1_500_000_000, 10**9 - 4_096_000]


def test_where_the_system_says_nothing_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "SYSTEM", tmp_path)
    need_memory(1e30, "this", "take less")


def test_this_machine_says_how_much_it_has() -> None:
    assert all(free > 10**6 for free in memory._free())


def test_a_twin_that_does_not_fit_is_refused_before_its_target_is_drawn(system: Path) -> None:
    (system / "proc/meminfo").write_text("MemAvailable:    1000 kB\n")
    target = RandomNetwork(16, 128, 3, initialisation="he")
    for recipe in (NarrowPacked(target, 0.01), NarrowPacked(target, 0.01, 0.01)):
        for action in (recipe.architecture, recipe.build):
            with pytest.raises(Refusal, match=r"network with 18,560 weights takes about 0\.0 GB"):
                action()
    assert "_matrices" not in vars(target), "no weight was drawn"
