"""The dashboard, the sweep file for agents and sync: as far as they go without a key."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from command_line import python
from depthwright import results
from depthwright.refusal import Refusal
from depthwright.runs import config as configs
from depthwright.runs.aggregate import series
from depthwright.tracking import KEPT
from experiment_files import FOLDER, load
from rows_by_hand import cell


def panels(specification: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Title → configuration of each panel."""
    sections = specification["spec"]["section"]["panelBankConfig"]["sections"]
    found = [panel["config"] for section in sections for panel in section["panels"]]
    return {panel["chartTitle"]: panel for panel in found}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of wandb-workspaces, about pydantic
def test_the_dashboard_draws_what_the_aggregate_logs(tmp_path: Path) -> None:
    pytest.importorskip("wandb_workspaces", reason="extra dashboard is missing")
    load("dashboard").main(["--json", str(tmp_path / "d.json"), "--project", "mine"])
    specification = json.loads((tmp_path / "d.json").read_text())
    assert specification["project"] == "mine"
    drawn = panels(specification)
    cells = [cell(2, 0.5, 1.0), cell(3, 0.25, 4.0)]
    for axis, name in (("input_dim", "input dimension d"), ("inverse_accuracy", "1/ε")):
        logged = {f"{axis}/{key}" for key in series(cells, axis)}
        for title, columns in (
            (f"error against {name}", ("error_l2", "error_sup_attacked")),
            (f"promised and measured sup error against {name}", ("error_promised",)),
            (f"parameters over the construction's, against {name}", ("size_ratio",)),
        ):
            panel = drawn[title]
            assert panel["xAxis"] == f"{axis}/{axis}"
            for column in columns:
                wanted = {key for key in logged if key.endswith(column)}
                assert wanted
                assert wanted <= set(panel["metrics"])
    scatter = drawn["each run: promised (x), attacked (y)"]
    axes = (scatter["xAxis"], scatter["yAxis"])
    assert axes == ("summary:constructed/error_promised", "summary:constructed/error_sup_attacked")


def sync(folder: Path, **variables: str) -> tuple[int, str]:
    done = python(folder, str(FOLDER / "sync.py"), **variables)
    return done.returncode, done.stderr


def kept(cell_folder: Path, *attempts: str) -> None:
    results.write(cell_folder, cell(2, 0.5, 1.0))
    for attempt in attempts:
        (cell_folder / "wandb" / attempt).mkdir(parents=True)
    (cell_folder / KEPT).write_text(f"/moved/since/wandb/{attempts[-1]}\n")


def test_sync_takes_the_last_attempt_of_finished_cells_once(tmp_path: Path) -> None:
    kept(tmp_path / "e" / "a", "offline-run-20260101_000000-a", "offline-run-20260102_000000-a")
    kept(tmp_path / "e" / "b", "run-20260101_000000-b")  # online already
    kept(tmp_path / "e" / "c", "offline-run-20260101_000000-c")
    (tmp_path / "e/c/wandb/offline-run-20260101_000000-c/run-c.wandb.synced").touch()
    (tmp_path / "e" / "d" / "wandb" / "offline-run-20260101_000000-d").mkdir(parents=True)
    kept(tmp_path / "e" / "f", "run-20260101_000000-f", "offline-run-20260102_000000-f")
    (tmp_path / "e/a/wandb/latest-run").symlink_to("offline-run-20260102_000000-a")
    found = [folder.name for folder in load("sync").unsent(tmp_path)]
    assert found == ["offline-run-20260102_000000-a", "offline-run-20260102_000000-f"]


@pytest.mark.slow
def test_without_a_key_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    kept(tmp_path / "outputs" / "e" / "a", "offline-run-20260101_000000-a")
    status, told = sync(tmp_path)
    assert (status, told.count("\n")) == (1, 1), told
    assert "WANDB_API_KEY" in told
    assert "1 runs wait" in told
    status, told = sync(tmp_path, WANDB_API_KEY="nonsense")
    assert status == 1
    assert "W&B cannot be reached" in told
    assert "Traceback" not in told
    with pytest.raises(Refusal, match="is no folder"):
        load("sync").main([str(tmp_path / "nowhere")])


def test_the_sweep_file_names_cells_that_compose(composed: Callable[..., DictConfig]) -> None:
    file: Any = OmegaConf.load(FOLDER / "wandb_sweep.yaml")
    raw = OmegaConf.to_container(file, resolve=False)
    assert isinstance(raw, dict)
    assert raw["command"] == ["depthwright", "${args_no_hyphens}"]
    assert raw["method"] == "grid"
    parameters = raw["parameters"]
    first = [f"{key}={_first(value)}" for key, value in parameters.items()]
    config = composed(*first)
    configs.comparison(config)
    assert configs.logger(config).mode == "online"
    folders = {
        configs.run_folder(composed(*first, f"{key}={value}"))
        for key, spec in parameters.items()
        for value in spec.get("values", [])
    }
    axes = [len(spec["values"]) for spec in parameters.values() if "values" in spec]
    assert len(folders) == sum(axes) - len(axes) + 1, "each value is a cell of its own"
    assert file.metric.name.split("/")[1] in results.COLUMNS


def _first(value: dict[str, Any]) -> str:
    chosen = value.get("value", value.get("values", [None])[0])
    return str(chosen).lower() if isinstance(chosen, bool) else str(chosen)
