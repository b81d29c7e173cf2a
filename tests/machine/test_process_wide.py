"""Settings of the process, wanted by several at once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from depthwright.machine.process_wide import process_wide
from depthwright.networks.torch_network import full_precision
from depthwright.training import rivals


def test_the_first_makes_it_and_the_last_undoes_it() -> None:
    state = ["as it was"]

    @process_wide
    @contextmanager
    def setting() -> Iterator[None]:
        before, state[0] = state[0], "set"
        try:
            yield
        finally:
            state[0] = before

    for _ in range(2):
        first, second = ExitStack(), ExitStack()
        first.enter_context(setting())
        second.enter_context(setting())
        first.close()
        assert state == ["set"], "the second is still inside"
        second.close()
        assert state == ["as it was"]


def test_precision_is_full_for_every_thread_inside() -> None:
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    first, second = ExitStack(), ExitStack()
    first.enter_context(full_precision())
    second.enter_context(full_precision())
    first.close()
    assert matmul.fp32_precision == "ieee"
    second.close()
    assert matmul.fp32_precision == before


def test_lightning_is_quiet_for_as_long_as_anyone_trains() -> None:
    logger = logging.getLogger("pytorch_lightning")
    before = logger.level
    first, second = ExitStack(), ExitStack()
    first.enter_context(rivals.quiet())
    second.enter_context(rivals.quiet())
    first.close()
    assert logger.level == logging.ERROR
    second.close()
    assert logger.level == before
