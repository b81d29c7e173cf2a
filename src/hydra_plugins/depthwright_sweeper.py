"""Hydra finds sweepers only in this namespace; this one is depthwright.runs.sweep."""

from __future__ import annotations

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser


class CellSweeper(BasicSweeper):
    """Hydra's grid, of which finished cells are skipped and failing ones stop nothing."""

    def sweep(self, arguments: list[str]) -> Any:
        """The cells, when every one of them has rows; raises depthwright.runs.sweep.Incomplete."""
        from depthwright.runs.composer import composer
        from depthwright.runs.sweep import launch_with, run

        assert self.hydra_context is not None
        assert self.launcher is not None
        loader, config, launcher = self.hydra_context.config_loader, self.config, self.launcher
        parser = OverridesParser.create(config_loader=loader)
        (grid,) = self.split_arguments(parser.parse_overrides(arguments), None)
        return run(
            grid,
            compose=composer(loader, config),
            launch=lambda cells: launch_with(launcher, cells),
        )
