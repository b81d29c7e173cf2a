"""Shared by all tests: seed 0, one generator, composed configs; and what `slow` and `gpu` mean."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Generator, Iterator
from typing import Any
from unittest import mock

import pytest

# Two processes test: a second thread of BLAS in each would wait for a core, and burn it meanwhile
# (13 times the processor time in the tests of daniely.py, on a busy machine).
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))

import torch
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, settings
from omegaconf import DictConfig

from command_line import HANGS
from depthwright.runs import config as configs
from depthwright.runs import options

torch.set_num_threads(1)
# Hypothesis fails where an example takes 200 ms or is slowly drawn: a slow machine is no fault.
settings.register_profile("any", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(2 * HANGS))
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="torch sees no CUDA GPU here"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Only tests that are marked so start processes, but for a question to git or the system."""
    start = subprocess.Popen.__init__

    def refuse(self: Any, command: Any, *rest: Any, **more: Any) -> None:
        what = command if isinstance(command, str) else " ".join(map(str, command))
        if what.split()[0] in ("git", "uname"):
            return start(self, command, *rest, **more)
        pytest.fail(f"mark the test with @pytest.mark.slow, for it starts {what:.60}")

    if item.get_closest_marker("slow") or item.get_closest_marker("gpu"):  # Triton calls a compiler
        return (yield)
    with mock.patch.object(subprocess.Popen, "__init__", refuse):
        return (yield)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def composed() -> Iterator[Callable[..., DictConfig]]:
    """`composed("target=hat", …)`: the config of `depthwright target=hat …`."""
    configs.register_schemas()
    with initialize_config_dir(options.conf_folder(), **configs.hydra_keywords()):
        yield lambda *overrides: compose("config", list(overrides))
