"""The configs of a grid's cells, without composing each of them from the beginning.

Hydra reads the files of the chosen groups, merges them, and then applies what sets single keys, in
order. So cells that choose the same groups differ in the last step alone: Hydra composes each
choice of groups once a process, and its own last step is done on a copy for every cell. That gives
the config that Hydra gives (a test compares), in a tenth of the time, to the sweep, which asks for
each cell's folder, and to the launchers, which ask for the config that a cell is run with.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Sequence
from functools import cache
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict, read_write


class Composer:
    """A cell's overrides → its config. `config` is that of the whole sweep.

    Raises what Hydra raises.
    """

    def __init__(self, loader: ConfigLoader, config: DictConfig) -> None:
        self._loader, self._config = loader, config
        self._parser = OverridesParser.create(config_loader=loader)
        self._parsed = cache(self._parser.parse_override)
        self._chosen = cache(self._compose)
        self._bare = cache(self._without_hydra)
        self._chooses = cache(self._is_choice)

    def __call__(self, overrides: Sequence[str]) -> DictConfig:
        """The config that the task receives."""
        return self._derived(self._bare(self._choice(overrides)), overrides)

    def with_hydra(self, overrides: Sequence[str]) -> DictConfig:
        """The same with Hydra's own part, as a launcher needs it."""
        found = self._derived(self._chosen(self._choice(overrides)), overrides)
        own = [p for p in map(self._parsed, overrides) if not p.is_hydra_override()]
        job = found.hydra.job
        found.hydra.overrides.task = [override.input_line for override in own]
        job.override_dirname = get_overrides_dirname(overrides=own, **job.config.override_dirname)
        return found

    def _choice(self, overrides: Sequence[str]) -> tuple[str, ...]:
        return tuple(word for word in overrides if self._chooses(word))

    def _is_choice(self, word: str) -> bool:
        """Whether files are read for it, or it is meant for Hydra."""
        override = self._parsed(word)
        group = bool(self._loader.get_group_options(override.key_or_group))
        return override.is_hydra_override() or (group and not isinstance(override.value(), dict))

    def _compose(self, words: tuple[str, ...]) -> DictConfig:
        return self._loader.load_sweep_config(self._config, list(words))

    def _without_hydra(self, words: tuple[str, ...]) -> DictConfig:
        found = copy.deepcopy(self._chosen(words))
        with read_write(found), open_dict(found):
            del found["hydra"]
        return found

    def _derived(self, chosen: DictConfig, overrides: Sequence[str]) -> DictConfig:
        found = copy.deepcopy(chosen)
        settings: list[Override] = [
            self._parsed(word) for word in overrides if not self._chooses(word)
        ]
        ConfigLoaderImpl._apply_overrides_to_config(settings, found)
        return found


class CellLoader(ConfigLoaderImpl):
    """Hydra's loader, which derives a cell's config; launchers send it to their processes."""

    def __init__(self, loader: ConfigLoader) -> None:
        super().__init__(loader.get_search_path())
        self.sweep = uuid.uuid4().hex
        """Tells this loader's copies, in whatever process, from those of another sweep."""

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        return self.composer(master_config).with_hydra(sweep_overrides)

    def composer(self, config: DictConfig) -> Composer:
        """Of this sweep, whose config is `config`; one a process."""
        if self.sweep not in _COMPOSERS:
            _COMPOSERS.clear()  # a process works for one sweep after the other
            plain = ConfigLoaderImpl(self.get_search_path())
            _COMPOSERS[self.sweep] = Composer(plain, config)
        return _COMPOSERS[self.sweep]


_COMPOSERS: dict[str, Composer] = {}


class _Light(Callbacks):
    """Hydra's callbacks, and then a cell's configs are let go.

    Launchers keep what every cell returns to the end: three configs each, for nobody.
    """

    def __init__(self, before: Callbacks) -> None:
        super().__init__()
        self.callbacks = before.callbacks

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **others: Any) -> None:
        super().on_job_end(config, job_return, **others)
        job_return.cfg = job_return.hydra_cfg = None


def for_cells(context: HydraContext) -> HydraContext:
    """Hydra's context as the launchers of many cells are given it."""
    return HydraContext(CellLoader(context.config_loader), _Light(context.callbacks))
