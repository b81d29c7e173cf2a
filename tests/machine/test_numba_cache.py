"""Stored machine code follows every file that it is made of."""

import os
import subprocess
import sys

import numba
import pytest

from depthwright.machine.numba_cache import digest
from depthwright.networks.exact.limbs import kernel as limb_kernel
from depthwright.networks.exact.limbs import words as limb_words
from depthwright.training.step import loop

INNER = """
import numba

@numba.njit
def inner(x):
    return x + {}
"""
OUTER = """
import numba, inner as _inner
from inner import inner
from depthwright.machine.numba_cache import digest

def entries(made_of):
    @numba.njit(cache=True)
    def outer(x):
        {}
        return inner(x)
    return outer

outer = entries(digest(_inner))
print(outer(1), sum(outer.stats.cache_hits.values()))
"""


def answers(folder, numbers, line):
    (folder / "outer.py").write_text(OUTER.format(line))
    for number in numbers:
        (folder / "inner.py").write_text(INNER.format(number))
        environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / line[:1])}
        done = subprocess.run(
            [sys.executable, "-B", "outer.py"],
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment,
        )
        yield tuple(map(int, done.stdout.split())) or done.stderr


@pytest.mark.slow
def test_an_edit_of_a_file_that_is_called_is_seen(tmp_path):
    # (value, taken from the disk)
    assert list(answers(tmp_path, (1, 1, 20), "_ = made_of")) == [(2, 0), (2, 1), (21, 0)]


@pytest.mark.slow
def test_without_the_digest_it_is_not(tmp_path):
    assert list(answers(tmp_path, (1, 20), "pass")) == [(2, 0), (2, 1)]


@pytest.mark.parametrize(
    ("entries", "own", "others"),
    [
        ([limb_kernel.run], limb_kernel, [limb_words]),
        ([loop.train, loop.values], loop, loop.SOURCES),
    ],
)
def test_entries_alone_are_stored_and_know_their_files(entries, own, others):
    for entry in entries:
        assert digest(*others) in [cell.cell_contents for cell in entry.py_func.__closure__]
    stored = [
        function
        for module in (own, *others)
        for function in vars(module).values()
        if isinstance(function, numba.core.registry.CPUDispatcher)
        and type(function._cache).__name__ != "NullCache"
    ]
    assert set(stored) == set(entries)
