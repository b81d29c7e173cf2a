"""W&B offline, read back from disk; and W&B failing, which must cost nothing."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import wandb

from depthwright.refusal import Refusal
from depthwright.tracking import LoggerConfig, Tracker, need_key, need_sound, track
from wandb_files import artifacts, read_back


def start(folder: Path, mode: str = "offline", run_id: str = "a") -> Any:
    folder.mkdir(exist_ok=True)
    return track(LoggerConfig(mode=mode), folder, run_id, "name", "group", {"accuracy": 0.1})


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # and none in ~/.netrc


@pytest.mark.slow
def test_offline_run_holds_curves_numbers_and_picture(tmp_path: Path) -> None:
    from depthwright.figures.style import figure, save

    with start(tmp_path) as tracker:
        for step in (0, 10):
            tracker.log(step, {"trained_architecture/validation_rmse": 1.0 / (step + 1)})
        tracker.summary({"constructed/error_l2": 0.25, "constructed/train_seconds": None})
        tracker.image("comparison", save(figure(1)[0], tmp_path / "picture.png"))
        assert tracker.folder is not None
        assert tracker.folder.parent.parent == tmp_path
    state, history = read_back(tmp_path)
    assert state["exit_code"] == 0
    assert state["config"]["accuracy"] == 0.1
    assert state["summary"]["constructed/error_l2"] == 0.25
    assert "constructed/train_seconds" not in state["summary"]
    assert state["summary"]["comparison"]["_type"] == "image-file"
    curve = [
        (point["_step"], point["trained_architecture/validation_rmse"])
        for point in history
        if "trained_architecture/validation_rmse" in point
    ]
    assert curve == [(0, 1.0), (10, 1 / 11)]


@pytest.mark.slow
def test_networks_are_artifacts_with_their_claims_where_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "constructed.safetensors"
    file.write_bytes(b"a network")
    about = {"width": 3, "claim": {"norm": "sup", "terms": {"rounding": math.inf}}}
    for networks in (True, False, None):
        folder = tmp_path / str(networks)
        folder.mkdir()
        logger = LoggerConfig(networks=networks)
        with track(logger, folder, "a", "name", "group", {}) as tracker:
            tracker.network("constructed", file, about)
            assert not tracker.failed
    about["claim"]["terms"]["rounding"] = None  # type: ignore[index]
    kept = {"metadata": about, "files": [file.name]}
    assert artifacts(tmp_path / "True") == {"a-constructed": kept}
    assert artifacts(tmp_path / "False") == artifacts(tmp_path / "None") == {}


@pytest.mark.slow
def test_a_failing_run_is_closed_as_failed_and_the_next_one_is_its_own(tmp_path: Path) -> None:
    def fail() -> None:
        with start(tmp_path / "first") as tracker:
            tracker.summary({"number": 1})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert wandb.run is None
    with start(tmp_path / "second", run_id="b") as tracker:
        tracker.summary({"number": 2})
    first, _ = read_back(tmp_path / "first")
    second, _ = read_back(tmp_path / "second")
    assert (first["exit_code"], first["summary"]["number"]) == (1, 1)
    assert (second["exit_code"], second["summary"]["number"]) == (0, 2)


@pytest.mark.slow
def test_online_without_a_key_is_kept_offline_and_said(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="no key"), start(tmp_path, "online") as tracker:
        tracker.summary({"number": 3})
    assert read_back(tmp_path)[0]["summary"]["number"] == 3


@pytest.mark.slow
def test_online_with_a_bad_key_or_no_network_is_kept_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr("depthwright.tracking.INIT_TIMEOUT", 10)
    with pytest.warns(UserWarning, match="offline"), start(tmp_path, "online") as tracker:
        tracker.summary({"number": 4})
    assert read_back(tmp_path)[0]["summary"]["number"] == 4


def test_a_failure_in_the_middle_is_said_once_and_goes_no_further() -> None:
    class Broken:
        dir = "x/files"

        def log(self, *_: Any, **__: Any) -> None:
            raise ConnectionError("wandb-core is gone\nand more")

        finish = log

    tracker = Tracker(Broken())  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="wandb-core is gone$"):
        tracker.log(0, {"a": 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracker.log(1, {"a": 1.0})
        tracker.summary({"b": 2.0})
        tracker.finish(failed=False)


def test_none_is_nothing(tmp_path: Path) -> None:
    with start(tmp_path, "none") as tracker:
        tracker.log(0, {"a": 1.0})
        assert tracker.folder is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("variable", "kept"),
    [
        ("disabled", ("none", "none", "none")),
        ("offline", ("none", "offline", "offline")),
        ("dryrun", ("none", "offline", "offline")),
        ("online", ("none", "offline", "online")),
    ],
)
def test_wandb_s_own_variable_lowers_what_is_asked_for(
    variable: str, kept: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", variable)
    assert tuple(LoggerConfig(mode).mode for mode in ("none", "offline", "online")) == kept
    if variable == "offline":
        with pytest.raises(Refusal, match="WANDB_MODE=offline keeps W&B offline; unset it"):
            need_key("or do without")


def test_variables_that_wandb_does_not_understand_are_named_but_for_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("WANDB_MODE", "ofline"), ("WANDB_BASE_URL", "foo")):
        monkeypatch.setenv(name, value)
        with pytest.raises(Refusal, match=f"{name}={value} "):
            need_sound(LoggerConfig())
        need_sound(LoggerConfig("none"))
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_API_KEY", "a b")
    need_sound(LoggerConfig())  # no key is shown; W&B itself refuses it where it needs one


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(Refusal, match="none, offline, online"):
        LoggerConfig(mode="disabled")


LOST = """
import os, subprocess, sys, types, warnings
from pathlib import Path
from wandb.sdk.lib.import_hooks import notify_module_loaded
from depthwright.tracking import LoggerConfig, track
with track(LoggerConfig(), Path(sys.argv[1]), "a", "name", "group", {}) as tracker:
    subprocess.run(["pkill", "-KILL", "-P", str(os.getpid()), "wandb-core"], check=True)
    for name in ("torch", "pytorch_lightning", "numpy"):
        notify_module_loaded(types.ModuleType(name))  # as an import does
    for step in range(1000):
        tracker.log(step, {"a": 1.0})
with track(LoggerConfig(), Path(sys.argv[1]) / "next", "b", "name", "group", {}) as tracker:
    tracker.summary({"number": 2})
print("went on")
"""


@pytest.mark.slow
def test_wandb_killed_under_a_run_costs_only_the_view(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOST, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert "went on" in done.stdout, done.stderr
    assert done.stderr.count("W&B failed and is left out") == 1
    state, _ = read_back(tmp_path / "next")
    assert (state["run_id"], state["summary"]["number"]) == ("b", 2), "a run of its own"


@pytest.mark.slow
def test_a_run_of_the_callers_own_is_left_alone(tmp_path: Path) -> None:
    with wandb.init(mode="offline", dir=tmp_path, settings=wandb.Settings(silent=True)) as own:
        with start(tmp_path / "ours") as tracker:
            tracker.summary({"number": 3})
        own.log({"mine": 1.0})
    assert read_back(tmp_path / "ours")[0]["summary"] == {"number": 3} | _runtime(tmp_path)


def _runtime(folder: Path) -> dict[str, Any]:
    return {k: v for k, v in read_back(folder / "ours")[0]["summary"].items() if k[0] == "_"}
