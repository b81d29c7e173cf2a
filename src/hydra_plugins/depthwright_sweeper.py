"""Hydra finds sweepers only in this namespace; this one is depthwright.runs.sweep."""

from __future__ import annotations

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, open_dict, read_write


class CellSweeper(BasicSweeper):
    """Hydra's grid of cells: finished ones are skipped, failing ones do not stop the others."""

    def sweep(self, arguments: list[str]) -> Any:
        """The cells, once each of them has rows; raises depthwright.runs.sweep.Incomplete."""
        from depthwright.runs.sweep import launch_with, run

        assert self.hydra_context is not None
        assert self.launcher is not None
        loader, config, launcher = self.hydra_context.config_loader, self.config, self.launcher
        parser = OverridesParser.create(config_loader=loader)
        (grid,) = self.split_arguments(parser.parse_overrides(arguments), None)
        return run(
            grid,
            compose=lambda overrides: _without_hydra(loader.load_sweep_config(config, overrides)),
            launch=lambda cells: launch_with(launcher, cells),
        )


def _without_hydra(config: DictConfig) -> DictConfig:
    """The config as the cell receives it."""
    with read_write(config), open_dict(config):
        del config["hydra"]
    return config
