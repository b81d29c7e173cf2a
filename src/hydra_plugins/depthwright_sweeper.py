"""Hydra finds sweepers only in this namespace; this one is depthwright.runs.sweep."""

from __future__ import annotations

from itertools import islice
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

MOST_CELLS = 100_000


class CellSweeper(BasicSweeper):
    """Hydra's grid of cells: finished ones are skipped, failing ones do not stop the others."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from depthwright.runs.composer import for_cells

        super().setup(
            hydra_context=for_cells(hydra_context), task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """The cells, once each of them has rows; raises depthwright.runs.sweep.Incomplete."""
        from depthwright.runs.composer import CellLoader
        from depthwright.runs.slurm import need_cluster
        from depthwright.runs.sweep import launch_with, run

        assert self.hydra_context is not None
        assert self.launcher is not None
        assert self.config is not None
        loader, config, launcher = self.hydra_context.config_loader, self.config, self.launcher
        assert isinstance(loader, CellLoader)  # by setup
        parser = OverridesParser.create(config_loader=loader)
        self._need_used()
        need_cluster(launcher)
        given = parser.parse_overrides([*self._parse_config(), *arguments])
        _need_few(given)
        (grid,) = self.split_arguments(given, None)  # of one key's values, the last are taken
        return run(
            grid,
            compose=loader.composer(config),
            launch=lambda cells: launch_with(launcher, cells),
        )

    def _need_used(self) -> None:
        """Raises Refusal for what is asked of Hydra and has no use here."""
        from depthwright.refusal import Refusal
        from depthwright.runs.config import need_known_keys

        assert self.config is not None
        need_known_keys(self.config.hydra, "hydra.")
        if self.max_batch_size is not None:
            raise Refusal(
                f"hydra.sweeper.max_batch_size={self.max_batch_size} is not used here, for a sweep "
                "goes on where it was stopped; leave it out"
            )


def _need_few(overrides: list[Override]) -> None:
    """Raises Refusal for more cells than anybody waits for."""
    from depthwright.refusal import Refusal

    count = 1
    for axis in overrides:
        if axis.is_sweep_override() and not axis.is_discrete_sweep():
            raise Refusal(
                f"{axis.input_line} has no end of values; list some, or write range(FROM,TO,STEP)"
            )
        if axis.is_discrete_sweep():
            count *= sum(1 for _ in islice(axis.sweep_iterator(), MOST_CELLS + 1))
        if count > MOST_CELLS:
            raise Refusal(
                f"the sweep has more than {MOST_CELLS} cells; give fewer values of "
                f"{axis.key_or_group}"
            )
