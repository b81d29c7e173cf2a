"""The command line, for real: small runs in a folder of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from command_line import DEPTHWRIGHT, HANGS, SMALL, rows, until
from depthwright.constructions import Ridge
from depthwright.targets import Cone
from wandb_files import read_back

pytestmark = pytest.mark.slow


def depthwright(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    return subprocess.run(
        [*DEPTHWRIGHT, *overrides],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=HANGS,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One run with everything on, and what it printed."""
    folder = tmp_path_factory.mktemp("finished")
    done = depthwright(folder, *SMALL, "matching=[architecture,parameters]")
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_main_job_shows_and_keeps_everything(finished: tuple[Path, str]) -> None:
    folder, shown = finished
    (run,) = (folder / "outputs" / "comparison").iterdir()
    assert run.name.startswith("cone-d2-ridge-acc0.3-s0-")
    for word in ("constructed", "architecture", "error that is proved", str(run), "wandb leet"):
        assert word in shown
    names = {path.name for path in run.iterdir()}
    assert names >= {
        "results.json",
        "config.yaml",
        "curves.json",
        "comparison.png",
        "wandb",
        "constructed.safetensors",
        "trained_architecture.safetensors",
        "trained_parameters.safetensors",
    }
    (table,) = rows(folder).values()
    own, architecture, parameters = table
    assert [own["contender"], architecture["contender"], parameters["contender"]] == [
        "constructed",
        "trained_architecture",
        "trained_parameters",
    ]
    assert (own["style"], architecture["style"]) == (None, "plain")
    assert own["error_sup_attacked"] <= own["error_sup_certified"] <= 0.3  # type: ignore[operator]
    claim = Ridge(Cone(input_dim=2), 0.3).build().claim
    assert own["error_sup_certified"] == own["error_promised"] == claim.bound
    for row in (architecture, parameters):  # nobody's claim: by branch and bound
        assert row["error_sup_attacked"] <= row["error_sup_certified"]  # type: ignore[operator]
        assert row["error_promised"] is None
    assert (own["width"], own["parameters"]) == (architecture["width"], architecture["parameters"])


def test_wandb_on_disk_holds_the_rows_key_by_key(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    (run,) = (folder / "outputs" / "comparison").iterdir()
    state, history = read_back(run)
    stored = json.loads((run / "results.json").read_text())
    expected = {
        f"{row['contender']}/{key}": value
        for row in stored
        for key, value in row.items()
        if value is not None
    }
    assert {key: state["summary"].get(key) for key in expected} == expected
    contenders = {row["contender"] for row in stored}
    more = {
        key
        for key in state["summary"].keys() - expected.keys()
        if key.split("/")[0] in contenders and not key.endswith("/validation_rmse")
    }
    assert all("/claim/" in key for key in more), "nothing but rows, claims and curves"
    claim = Ridge(Cone(input_dim=2), 0.3).build().claim
    terms = {f"constructed/claim/{term}": value for term, value in claim.terms.items()}
    assert {key: state["summary"][key] for key in terms} == terms
    curves = json.loads((run / "curves.json").read_text())["validation_rmse"]
    for contender, curve in curves.items():
        key = f"{contender}/validation_rmse"
        assert [[p["_step"], p[key]] for p in history if key in p] == curve
    assert state["exit_code"] == 0
    assert state["run_id"] == f"comparison-{run.name.rsplit('-', 1)[1]}"
    assert state["config"]["versions"].keys() >= {"torch", "depthwright", "python"}
    assert state["config"]["units"].keys() <= stored[0].keys()


def test_a_second_start_does_no_work(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    files = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    again = depthwright(folder, *SMALL, "matching=[architecture,parameters]")
    assert again.returncode == 0
    assert "finished before" in again.stderr
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()} == files


def test_same_config_same_rows(finished: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = finished
    done = depthwright(tmp_path, *SMALL, "matching=[architecture,parameters]", "logger=none")
    assert done.returncode == 0, done.stderr
    assert rows(tmp_path) == rows(folder)


def test_sweep_runs_every_cell_and_survives_a_bad_one(tmp_path: Path) -> None:
    done = depthwright(tmp_path, "--multirun", *SMALL, "target.input_dim=1,2,3", "matching=[]")
    assert done.returncode != 0
    assert "input_dim=1" in done.stderr
    assert "Traceback" not in done.stderr
    found = [row["input_dim"] for table in rows(tmp_path).values() for row in table]
    assert sorted(found) == [2, 3]  # type: ignore[type-var]
    assert len(list(tmp_path.glob("outputs/comparison/cone-*/wandb"))) == 2, "one W&B run each"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("output=/proc/nope", "/proc/nope cannot be written to"),
        ("output=a,b", "a sweep has one results folder and this one 2"),
        ("seed=range(0)", "the sweep has no cells"),
    ],
)
def test_a_sweep_that_cannot_begin_says_why(tmp_path: Path, override: str, told: str) -> None:
    done = depthwright(tmp_path, "--multirun", *SMALL, override)
    assert done.returncode == 1
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_killed_half_way_leaves_no_half_row(tmp_path: Path) -> None:
    command = [*DEPTHWRIGHT, *SMALL, "training.steps=1000000", "logger=none"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    until(lambda: list(tmp_path.glob("outputs/*/*/config.yaml")))
    time.sleep(1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (run,) = tmp_path.glob("outputs/*/*")
    assert not (run / "results.json").exists()
    torn = {path.name for path in run.glob("*.partial")}
    assert torn <= {".reserve.partial"}, "the place kept for the rows, taken up by the next attempt"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("failure_probability=7", "failure_probability=7.0 is not in [0, 1)"),
        ("experiment_name=../x", "is no folder name"),
        ("distribution=uniform_cube", "the target on the ball"),
        ("target.input_dim=100000", "lower input_dim"),
        ("output=/proc/nope", "/proc/nope/comparison"),
        ("output=/proc/nope", "cannot be written to"),
        ("accuracy=0", "accuracy=0.0 is not a positive number"),
        ("accuracy=nan", "accuracy=nan is not a positive number"),
        ("accuracy=abc", "could not be converted to Float"),
        ("target.input_dim=1", "Ridge needs input_dim ≥ 2"),
        ("accuracy=1e-9", "accuracy=1e-09 is below"),
        ("construction=bridge", "ridge"),
        ("target.inputdim=3", "inputdim"),
        ("trainer.devices=2", "trainer.devices is no key"),
        ("logger.mode=maybe", "none, offline, online"),
        ("training.learning_rates=[]", "learning_rates is empty"),
    ],
)
def test_bad_input_gets_one_sentence(tmp_path: Path, override: str, told: str) -> None:
    done = depthwright(tmp_path, override)
    assert done.returncode != 0
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / "outputs").exists(), "nothing was started"


def test_a_lost_picture_is_drawn_again(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    (picture,) = folder.rglob("comparison.png")
    before = picture.read_bytes()
    picture.unlink()
    depthwright(folder, *SMALL, "matching=[architecture,parameters]")
    assert picture.read_bytes() == before


def test_interrupted_while_training_says_so(tmp_path: Path) -> None:
    command = [
        *DEPTHWRIGHT,
        *SMALL,
        "training.steps=1000000",
        "training.checkpoint_seconds=0",
        "logger=none",
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while not list(tmp_path.glob("outputs/*/*/training.ckpt")):  # training has begun
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    told = process.stderr.read()
    assert process.wait(HANGS) == 130
    assert "interrupted; run the same command again" in told
    assert "Traceback" not in told


def test_experiments_sweep_draw_and_tell_what_failed(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "experiments" / "random_feature_floor.py"
    quick = [*SMALL[1:], "training.learning_rates=[3e-3]", "logger=none", "matching=[architecture]"]
    command = [sys.executable, str(script), "--scale=smoke", *quick, "features=[]"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "HSSV21 proves that at least" in done.stdout
    assert (
        tmp_path / "outputs/random_feature_floor/smoke/random_feature_floor.png"
    ).stat().st_size > 10_000
    cells = {path.parts[-3] for path in tmp_path.glob("outputs/*/*/results.json")}
    assert cells == {"random_feature_floor-smoke"}, "apart from those of other scales"
    misspelt = subprocess.run(
        [*command, "acuracy=3"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert misspelt.returncode == 1
    assert len(misspelt.stderr.strip().splitlines()) == 1, misspelt.stderr


def test_all_rivals_diverging_fails_the_run_and_says_so(tmp_path: Path) -> None:
    done = depthwright(tmp_path, *SMALL, "training.learning_rates=[1e30]", "logger=none")
    assert done.returncode != 0
    assert "every rival diverged" in done.stderr
    (run,) = tmp_path.glob("outputs/*/*")
    assert "diverged" in json.loads((run / "error.json").read_text())["error"]
    assert not (run / "results.json").exists()


def test_a_launcher_that_is_not_installed_says_what_to_install(tmp_path: Path) -> None:
    """As without the extra, whose plugin brings the config that is taken away here."""
    code = (
        "from hydra.core.config_store import ConfigStore\n"
        "from hydra.core.plugins import Plugins; Plugins.instance()\n"
        "ConfigStore.instance().repo['hydra']['launcher'].pop('joblib.yaml', None)\n"
        "from depthwright.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--multirun", "launcher=joblib", "seed=0,1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install -e '.[joblib]'" in done.stderr
