"""A grid of comparisons in one process: what is finished is skipped, what fails is told at the end.

The cells are those of `depthwright --multirun experiment=NAME KEY=A,B …`, in the same folders.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose, initialize_config_dir

from depthwright import cli, results
from depthwright import config as configs

if TYPE_CHECKING:
    import polars


def sweep(
    experiment: str, grid: Mapping[str, Sequence[Any]], overrides: Sequence[str] = ()
) -> polars.DataFrame:
    """The rows of every cell of the grid, running those that are missing.

    `overrides` go to every cell, as on the command line. Raises SystemExit(1) after the last
    cell when one failed; its folder holds the error.
    """
    from rich.console import Console

    console = Console(stderr=True)
    cells = [
        [f"{key}={value}" for key, value in zip(grid, values, strict=True)]
        for values in product(*grid.values())
    ]
    folders: list[Path] = []
    failed: list[str] = []
    configs.register_schemas()
    with initialize_config_dir(configs.conf_folder(), **cli.hydra_keywords()):
        composed = [compose("config", [f"experiment={experiment}", *overrides, *c]) for c in cells]
    for number, (cell, config) in enumerate(zip(cells, composed, strict=True), 1):
        console.print(f"[{number}/{len(cells)}] {' '.join(cell)}", highlight=False)
        try:
            folders.append(cli.compare(config, console))
        except cli.TOLD as error:
            failed.append(f"{' '.join(cell)}: {error}")
            console.print(f"failed: {error}", highlight=False)
    if failed:
        for line in failed:
            print(f"depthwright: {line}", file=sys.stderr)
        sys.exit(1)
    return results.table(folders)
