"""Commands in surroundings that others have: each works, or says in one sentence why not.

Every case starts the real command. Cases that work are started together where they can be.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import depthwright
from command_line import HANGS, rows

pytestmark = pytest.mark.slow

SOURCE = Path(depthwright.__file__).parents[1]
ROOT = SOURCE.parent
COMMAND = (sys.executable, "-m", "depthwright")
NOTHING = (
    "target.input_dim=2",
    "accuracy=0.4",
    "matching=[]",
    "beside=[]",
    "evaluation.points=200",
    "evaluation.attack_starts=2",
    "evaluation.attack_steps=1",
    "trainer=cpu",
    "trainer.progress=false",
)
"""A comparison that trains nothing."""
UNHELPED = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""Python not repairing the locale C by itself."""


def start(folder: Path, *command: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
    """In a folder that is home as well; a variable that is None is unset."""
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "NUMBA", "MPL"))
    }
    environment |= {"HOME": str(folder), "PYTHONPATH": str(SOURCE)}
    environment |= {k: v for k, v in variables.items() if v is not None}
    for name in (name for name, value in variables.items() if value is None):
        environment.pop(name, None)
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=280,
    )


def run(folder: Path, *overrides: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
    return start(folder, *COMMAND, *overrides, **variables)


def test_a_backend_that_is_not_there_ascii_output_and_a_disabled_wandb_do_no_harm(
    tmp_path: Path,
) -> None:
    done = run(
        tmp_path,
        *NOTHING,
        "output=~/results",
        MPLBACKEND="module://matplotlib_inline.backend_not_there",
        PYTHONIOENCODING="ascii",
        WANDB_MODE="disabled",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert "L2 error, +- 95 %" in done.stdout
    (folder,) = (tmp_path / "results").glob("comparison/*")
    assert (folder / "comparison.png").stat().st_size > 10_000
    assert "wandb" not in {path.name for path in folder.iterdir()}


def test_without_a_home_wandb_is_quiet_and_offline_means_offline(tmp_path: Path) -> None:
    done = run(
        tmp_path, *NOTHING, "logger=wandb", HOME=None, XDG_CACHE_HOME=None, WANDB_MODE="offline"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "wandb sync" in done.stdout
    assert list(tmp_path.glob("outputs/comparison/*/wandb/offline-run-*"))


@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C"} | UNHELPED])
@pytest.mark.parametrize(
    "command",
    [(*COMMAND, "--help"), (sys.executable, str(ROOT / "experiments/reproduce.py"), "--list")],
)
def test_output_that_lacks_letters_gets_others(
    tmp_path: Path, command: tuple[str, ...], variables: dict[str, str]
) -> None:
    done = start(tmp_path, *command, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert not re.search(r"(?<!\w)\?", done.stdout), "no letter was lost"
    assert len(done.stdout.splitlines()) > 10


@pytest.fixture
def unwritable(tmp_path: Path) -> tuple[list[str], Path, Path]:
    """How to start a command; a package and a home that it cannot write to."""
    command = []
    if os.geteuid() == 0:  # root may write anywhere, but for this
        if not shutil.which("setpriv"):
            pytest.skip("needs setpriv (util-linux) where root runs the tests")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    package, home = tmp_path / "src", tmp_path / "home"
    shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    home.mkdir()
    for folder in [home, *(path for path in package.rglob("*") if path.is_dir()), package]:
        folder.chmod(0o555)
    probe = [*command, sys.executable, "-c", f"open({str(home / 'x')!r}, 'w')"]
    if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        pytest.skip("this user writes into folders that forbid it")
    return command, package, home


def test_package_and_home_that_cannot_be_written_to(
    tmp_path: Path, unwritable: tuple[list[str], Path, Path]
) -> None:
    command, package, home = unwritable
    places = {"HOME": str(home), "PYTHONPATH": str(package), "XDG_CACHE_HOME": None}
    trained = ("matching=[architecture]", "training=quick", "training.steps=20")
    done = start(tmp_path, *command, *COMMAND, *NOTHING, *trained, **places)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("compiling ") for line in done.stderr.splitlines()), done.stderr
    assert len(*rows(tmp_path).values()) == 2
    assert list(tmp_path.glob("outputs/.cache/numba/step_*/*.nbc")), "kept for the next time"
    code = (
        "import torch, depthwright as dw\n"
        "built = dw.constructions.Ridge(dw.targets.Cone(input_dim=2), accuracy=0.5).build()\n"
        "print(built.network.evaluate(torch.zeros(1, 2)).shape)"
    )
    done = start(tmp_path, *command, sys.executable, "-c", code, **places)
    assert done.stdout == "torch.Size([1, 1])\n", "compiled, though there is no place at all"


REFUSED = {
    "NUMBA_DISABLE_JIT": "1",
    "NUMBA_NUM_THREADS": "0",
    "WANDB_MODE": "ofline",
    "WANDB_BASE_URL": "htp:/here",
}


@pytest.mark.parametrize(("name", "value"), REFUSED.items())
def test_variables_that_forbid_the_work_are_named(tmp_path: Path, name: str, value: str) -> None:
    for flags in ((), ("--multirun", "seed=0,1")):
        done = run(tmp_path, *NOTHING, *flags, **{name: value})
        assert done.returncode == 1
        assert f"{name}={value}" in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
    assert not rows(tmp_path)


def test_numba_s_own_threads_are_not_needed(tmp_path: Path) -> None:
    done = run(tmp_path, *NOTHING, NUMBA_THREADING_LAYER="nonsense")
    assert done.returncode == 0, done.stderr
    assert len(rows(tmp_path)) == 1


def test_a_sweep_that_hydra_moves_about_with_a_cell_twice_and_flags_last(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="extra joblib is missing")
    moved = ("launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.job.chdir=true")
    done = run(tmp_path, *moved, "--multirun", *NOTHING, "logger=none", "seed=0,0,1")
    assert done.returncode == 0, done.stderr
    assert "2 cells (1 given twice)" in done.stderr
    assert "2 of 2 cells finished" in done.stderr
    assert len(rows(tmp_path)) == 2
    assert len(list(tmp_path.rglob("results.json"))) == 2, "nowhere else"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"matching: [architecture\naccuracy: 0.2\n", "line 3: expected ',' or ']'"),
        (b"target:\n\tinput_dim: 2\n", "line 3: found character"),
        (b"accuracy: 0.2 # \xe9\xff\n", "invalid continuation byte after '"),
        (b"- 1\n", "Cannot merge"),
        (b"accuracy: ${nothing}\n", "Interpolation key 'nothing' not found"),
    ],
)
def test_a_file_of_the_users_that_is_no_config(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "experiment").mkdir()
    file = tmp_path / "experiment" / "bad.yaml"
    file.write_bytes(b"# @package _global_\n" + content)
    done = run(tmp_path, f"hydra.searchpath=[file://{tmp_path}]", "experiment=bad")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert told in done.stderr
    assert str(file) in done.stderr or not told.startswith("line")


def test_the_command_has_a_version_a_module_and_takes_a_plus(tmp_path: Path) -> None:
    assert run(tmp_path, "--version").stdout == f"depthwright {depthwright.__version__}\n"
    shown = run(tmp_path, "+experiment=narrow", "--cfg", "job")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "experiment_name: narrow" in shown.stdout


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("output=/a(b", "output=/a(b cannot be read; write KEY=VALUE, as in \"output='/a(b'\""),
        ("output=~nobody_is_called_so/x", "is in nobody's home"),
        ("target=null", "target=null chooses no target; leave it out, or choose one of cone, hat"),
        (
            "experiment=[narrow,null]",
            "chooses no experiment; leave it out, or choose one of narrow",
        ),
    ],
)
def test_overrides_that_cannot_be_read(tmp_path: Path, override: str, told: str) -> None:
    done = run(tmp_path, override)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert told in done.stderr


THREADS = """
import json, sys, threading
from pathlib import Path
from hydra import compose, initialize_config_dir
from depthwright import comparison
from depthwright.runs import config as configs, options
from depthwright.tracking import Tracker

configs.register_schemas()
with initialize_config_dir(options.conf_folder(), **configs.hydra_keywords()):
    ready = [configs.comparison(compose("config", [*sys.argv[1:], f"seed={k}"])) for k in (0, 1)]

def run(k, folder):
    comparison.run(ready[k], Path(folder, "outputs", "x", str(k)), Tracker())

both = [threading.Thread(target=run, args=(k, "together")) for k in (0, 1)]
for thread in both:
    thread.start()
for thread in both:
    thread.join()
for k in (0, 1):
    run(k, "apart")
"""


def test_two_comparisons_in_two_threads_give_what_each_gives_alone(tmp_path: Path) -> None:
    trained = (
        "matching=[architecture]",
        "training=quick",
        "training.steps=40",
        "target.input_dim=3",
    )
    done = start(tmp_path, sys.executable, "-c", THREADS, *NOTHING, *trained)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    together = rows(tmp_path / "together")
    assert len(together) == 2
    assert together == rows(tmp_path / "apart")


def test_the_record_says_which_commit_ran(tmp_path: Path) -> None:
    done = run(tmp_path, *NOTHING, "logger=none")
    assert done.returncode == 0, done.stderr
    (made,) = (json.loads(path.read_text()) for path in tmp_path.rglob("made.json"))
    asked = ["git", "rev-parse", "HEAD"]
    known = (
        shutil.which("git")
        and subprocess.run(
            asked, cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.strip()
    )
    assert made["commit"] == (known or None)
    assert made["clean"] in ((True, False) if known else (None,))


WORKER = """
import multiprocessing, time
from depthwright.machine import environment

def work():
    environment.end_with_parent()
    print("at work", flush=True)
    time.sleep(10**6)

multiprocessing.get_context("fork").Process(target=work, name="LokyProcess-1").start()
time.sleep(10**6)
"""


@pytest.mark.slow
def test_a_worker_ends_with_the_process_that_started_it() -> None:
    sweep = subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE, text=True)
    assert sweep.stdout is not None
    assert sweep.stdout.readline() == "at work\n"
    sweep.kill()
    assert sweep.communicate(timeout=HANGS) == ("", None), "the worker holds the pipe open"
