"""Shared by all tests: seed 0, one generator, configs composed as the command line does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from depthwright import cli
from depthwright import config as configs

torch.set_num_threads(1)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def composed() -> Iterator[Callable[..., DictConfig]]:
    """`composed("target=hat", …)`: the config of `depthwright target=hat …`."""
    configs.register_schemas()
    with initialize_config_dir(configs.conf_folder(), **cli.hydra_keywords()):
        yield lambda *overrides: compose("config", list(overrides))
