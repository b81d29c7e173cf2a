"""Runs sent to a W&B server, by W&B's own client: once, whole, and to be repeated."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import polars
import pytest
import yaml

from command_line import DEPTHWRIGHT, SMALL, python
from depthwright.figures.chart import Chart, Panel, Series
from depthwright.figures.record import Record, write
from experiment_files import FOLDER
from wandb_server import ME, SWEEP, Server, serve

pytestmark = pytest.mark.slow

ROWS = polars.DataFrame({"d": [2, 3], "error": [0.5, 0.25]})


def sync(folder: Path, server: Server) -> str:
    done = python(folder, str(FOLDER / "sync.py"), **server.environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def figure(folder: Path, sentence: str) -> None:
    chart = Chart((Panel("d", "error", (Series("error", (2.0, 3.0), (0.5, 0.25)),)),))
    record = Record("mine", "A title", "", "smoke", "python mine.py", sentence, chart=chart)
    write(record, ROWS, folder / "outputs/mine/smoke")


def cells(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Rows by the id of the W&B run that holds them."""
    return {
        f"{path.parents[1].name}-{path.parent.name.rsplit('-', 1)[1]}": json.loads(path.read_text())
        for path in folder.glob("outputs/*/*/results.json")
    }


def numbers(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {f"{r['contender']}/{k}": v for r in rows for k, v in r.items() if v is not None}


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished cells and a figure, nothing sent."""
    folder = tmp_path_factory.mktemp("offline")
    done = python(folder, *DEPTHWRIGHT[1:], "--multirun", *SMALL, "logger.picture=true", "seed=0,1")
    assert done.returncode == 0, done.stderr
    figure(folder, "Half, then a quarter.")
    return folder


def test_what_was_kept_offline_arrives_whole_and_once(offline: Path) -> None:
    with serve() as server:
        assert "2 runs sent, 1 of 1 aggregates and 1 of 1 figures renewed" in sync(offline, server)
        found = cells(offline)
        assert server.runs.keys() == {*found, "comparison-aggregate", "mine-smoke-figure"}
        for name, rows in found.items():
            run, wanted = server.runs[name], numbers(rows)
            assert {key: run.summary.get(key) for key in wanted} == wanted
            assert (run.about["groupName"], run.about["jobType"]) == ("comparison", "comparison")
            assert (run.about["entity"], run.exit_code) == (ME, 0)
            assert set(run.about["tags"]) == {"cone", "ridge", "uniform_radius"}
            assert run.config["units"]["accuracy"] == "the unit of the target's values"
            assert any("trained_architecture/validation_rmse" in point for point in run.history)
            assert [f for f in run.files if f.startswith("media/images/comparison")]
        aggregate = server.runs["comparison-aggregate"]
        (table,) = (v for k, v in aggregate.files.items() if k.startswith("media/table/rows"))
        stored = json.loads(table)
        sent = [dict(zip(stored["columns"], row, strict=True)) for row in stored["data"]]
        assert sorted(map(str, sent)) == sorted(str(r) for rows in found.values() for r in rows)
        assert aggregate.about["jobType"] == "aggregate"
        drawn = server.runs["mine-smoke-figure"]
        assert drawn.summary["sentence"] == "Half, then a quarter."

        begun = {name: run.beginnings for name, run in server.runs.items()}
        assert "0 runs sent, 0 of 1 aggregates and 0 of 1 figures renewed" in sync(offline, server)
        assert {name: run.beginnings for name, run in server.runs.items()} == begun
        figure(offline, "Another sentence.")
        assert "0 runs sent, 0 of 1 aggregates and 1 of 1 figures renewed" in sync(offline, server)
        assert server.unknown == []
        assert drawn.summary["sentence"] == "Another sentence."
        assert drawn.beginnings == begun["mine-smoke-figure"] + 1


def test_what_cannot_be_sent_is_said_and_the_rest_is(offline: Path) -> None:
    damaged = offline / "outputs/damaged/smoke/record.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{", encoding="utf-8")
    figure(offline, "A third sentence.")
    with serve() as server:
        done = python(offline, str(FOLDER / "sync.py"), **server.environment)
        damaged.unlink()
        assert done.returncode == 1
        assert "1 of 2 figures renewed" in done.stdout
        assert "not sent: outputs/damaged/smoke/record.json is no record" in done.stderr
        assert done.stderr.splitlines()[-1].endswith("could not be sent; repeat later")
        assert server.runs["mine-smoke-figure"].summary["sentence"] == "A third sentence."


def test_an_online_run_arrives_while_it_is_computed(tmp_path: Path) -> None:
    with serve() as server:
        done = python(tmp_path, *DEPTHWRIGHT[1:], *SMALL, "logger=wandb", **server.environment)
        assert done.returncode == 0, done.stderr
        ((name, rows),) = cells(tmp_path).items()
        wanted = numbers(rows)
        assert {key: server.runs[name].summary.get(key) for key in wanted} == wanted
        assert server.runs[name].exit_code == 0
        assert "0 runs sent, 1 of 1 aggregates" in sync(tmp_path, server)


def test_the_dashboard_is_saved_as_it_was_written(tmp_path: Path) -> None:
    pytest.importorskip("wandb_workspaces", reason="extra dashboard is missing")
    script = str(FOLDER / "dashboard.py")
    assert python(tmp_path, script, "--json", "written.json").returncode == 0
    with serve() as server:
        done = python(tmp_path, script, **server.environment)
        assert done.returncode == 0, done.stderr
        assert f"dashboard  {server.url}/{ME}/depthwright" in done.stdout
        ((title, shown),) = server.views.items()
        server.forget("mutation UpsertView2")
        done = python(tmp_path, script, **server.environment)
        assert done.returncode == 1
        assert "W&B did not take the dashboard" in done.stderr.splitlines()[-1]
    written = json.loads((tmp_path / "written.json").read_text(encoding="utf-8"))
    assert title == written["displayName"]
    assert plain(shown) == plain(written["spec"])


def plain(specification: Any) -> Any:
    """Without what is drawn by chance, and without nothing."""
    if isinstance(specification, dict):
        return {k: plain(v) for k, v in specification.items() if v is not None and k != "__id__"}
    if isinstance(specification, list):
        return [plain(one) for one in specification]
    return specification


def test_agents_do_the_cells_of_the_sweep_file(tmp_path: Path) -> None:
    sweep = yaml.safe_load((FOLDER / "wandb_sweep.yaml").read_text(encoding="utf-8"))
    sweep["parameters"]["target.input_dim"]["values"] = [2]
    sweep["parameters"]["accuracy"]["values"] = [0.4, 0.3]
    quick = dict(setting.split("=") for setting in SMALL[2:] if "progress" not in setting)
    sweep["parameters"] |= {key: {"value": value} for key, value in quick.items()}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep), encoding="utf-8")
    with serve() as server:
        wandb = ("-m", "wandb")
        made = python(tmp_path, *wandb, "sweep", "sweep.yaml", **server.environment)
        assert made.returncode == 0, made.stderr
        address = f"{ME}/depthwright/{SWEEP}"
        assert f"wandb agent {address}" in made.stderr
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        done = python(tmp_path, *wandb, "agent", address, PATH=path, **server.environment)
        assert done.returncode == 0, done.stderr
        found = {rows[0]["accuracy"]: numbers(rows) for rows in cells(tmp_path).values()}
        assert found.keys() == {0.4, 0.3}
        assert server.runs.keys() == {"cell0", "cell1"}, "the ids that the server gave"
        for run in server.runs.values():
            wanted = found[run.summary["constructed/accuracy"]]
            assert {key: run.summary.get(key) for key in wanted} == wanted
            assert run.exit_code == 0
        assert server.unknown == []
