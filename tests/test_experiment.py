"""The form of experiments: cells that are kept, failures that are told, one page of them all."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars
import pytest

from depthwright.experiment import Run, beside, described, holds_experiment, largest, least
from depthwright.machine.provenance import Provenance
from depthwright.refusal import Refusal
from depthwright.runs import cell
from depthwright.runs.cell import State
from depthwright.runs.store import Incomplete
from depthwright.runs.watch import look

ROOT = Path(__file__).parents[1]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.py"))


def test_cells_are_computed_once_and_again_when_the_source_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def measure(n: int) -> list[dict[str, object]]:
        calls.append(n)
        return [{"power": k, "value": n**k} for k in (1, 2)]

    run = Run("x", "smoke", tmp_path, "one source")
    first = run.cells([{"n": 2}, {"n": 3}], measure)
    assert first.rows() == [(2, 1, 2), (2, 2, 4), (3, 1, 3), (3, 2, 9)]
    assert run.cells([{"n": 3}, {"n": 4}], measure)["n"].to_list() == [3, 3, 4, 4]
    assert calls == [2, 3, 4]
    Run("x", "smoke", tmp_path, "another source").cells([{"n": 2}], measure)
    assert calls == [2, 3, 4, 2]
    monkeypatch.setattr(cell, "code", lambda: "other code")
    run.cells([{"n": 2}], measure)
    assert calls == [2, 3, 4, 2, 2]


def test_after_the_limit_no_cell_is_begun_and_the_rows_are_those_that_are_there(
    tmp_path: Path,
) -> None:
    calls: list[int] = []

    def measure(n: int) -> dict[str, object]:
        calls.append(n)
        return {"value": n}

    cells = [{"n": n} for n in (1, 2, 3)]
    Run("x", "gpu", tmp_path).cells(cells[1:2], measure)
    at_once = Run("x", "gpu", tmp_path, limit=0)
    assert at_once.cells(cells, measure)["n"].to_list() == [2]
    assert len(at_once.parts) == 1
    assert calls == [2]
    with pytest.raises(Refusal, match="no cell of x was finished within 0 s"):
        at_once.cells(cells[:1], measure)
    assert Run("x", "gpu", tmp_path, limit=1e9).cells(cells, measure)["n"].to_list() == [1, 2, 3]
    assert calls == [2, 1, 3]


def test_the_source_of_an_experiment_holds_what_it_imports_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("A = 1")
    (tmp_path / "other.py").write_text("B = 2")
    (file := tmp_path / "figure.py").write_text("import helper\nfrom json import dumps")
    assert beside(file) == ["A = 1"]
    file.write_text("from other import B\nimport helper")
    assert sorted(beside(file)) == ["A = 1", "B = 2"]


def test_rows_say_with_what_they_were_computed(tmp_path: Path) -> None:
    def run() -> Run:
        found = Run("x", "smoke", tmp_path)
        found.cells([{"n": 2}], lambda n: {"value": n})
        return found

    (first,) = run().parts
    assert first == Provenance.here()
    (path,) = tmp_path.glob("x/cells/*/made.json")
    path.write_text(json.dumps({"device": "long ago", "versions": {"a": "1"}}))
    (read,) = run().parts
    assert read == Provenance("long ago", {"a": "1"})
    together = Provenance.together([read, Provenance("today", {"a": "1", "b": "2"}), read])
    assert together == Provenance("long ago / today", {"a": "1", "b": "2"})


@pytest.mark.parametrize("content", ['{"rows": [', "{}", "[1]", ""])
def test_damaged_rows_are_computed_again_and_that_is_told(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run("x", "smoke", tmp_path)
    run.cells([{"n": 2}], lambda n: {"value": n})
    (path,) = tmp_path.glob("x/cells/*/results.json")
    path.write_text(content)
    assert run.cells([{"n": 2}], lambda n: {"value": 5})["value"].to_list() == [5]
    told = capsys.readouterr().err
    assert told.count(f"{path} is damaged, so the cell is computed again") == 1


def test_a_failing_cell_is_reported_and_the_others_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harm = [True]

    def measure(n: int) -> dict[str, float]:
        if n == 0 and harm[0]:
            raise ZeroDivisionError("nothing")
        return {"value": n + 0.5}

    run = Run("x", "smoke", tmp_path)
    cells = [{"n": 0}, {"n": 1}]
    with pytest.raises(Incomplete):
        run.cells(cells, measure)
    told = capsys.readouterr().err
    assert "1 of 2 cells finished\n  n=0: nothing\n1 failed" in told
    (error,) = tmp_path.glob("x/cells/*/error.json")
    assert "ZeroDivisionError" in json.loads(error.read_text())["traceback"]
    view = look(tmp_path)
    assert sorted(view.points.values()) == ["n=0", "n=1"]
    assert (view.counts[State.FINISHED], view.counts[State.FAILED]) == (1, 1)
    harm[0] = False
    assert run.cells(cells, measure)["value"].to_list() == [0.5, 1.5]
    assert not error.exists()


def test_a_cell_that_another_process_is_at_is_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from filelock import FileLock

    run = Run("x", "smoke", tmp_path)
    run.cells([{"n": 1}], lambda n: {"value": 1})
    (rows,) = tmp_path.glob("x/cells/*/results.json")
    kept = rows.read_text()
    rows.unlink()
    mark = rows.with_name("running.json")
    mark.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "started": 0}))
    taken = threading.Event()

    def other() -> None:
        with FileLock(rows.with_name(".lock")):
            taken.set()
            time.sleep(1.0)
            rows.write_text(kept.replace("1", "7"))
            mark.unlink()

    threading.Thread(target=other).start()
    taken.wait()
    assert run.cells([{"n": 1}], lambda n: {"value": 2})["value"].to_list() == [7]
    assert "another process is at it" in capsys.readouterr().err


def test_watch_shows_a_command_that_can_be_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["experiments/x.py", "--scale", "cpu"])
    Run("x", "cpu", tmp_path).cells([{"n": 1}], lambda n: {"value": n})
    assert look(tmp_path).command == "python experiments/x.py --scale cpu"


@pytest.mark.slow
def test_cells_run_beside_each_other_with_a_launcher(tmp_path: Path) -> None:
    def measure(n: int) -> dict[str, int]:
        import os

        if n == 3:
            raise ValueError("three")
        return {"process": os.getpid()}

    launcher = ("launcher=joblib", "hydra.launcher.n_jobs=2")
    run = Run("x", "smoke", tmp_path, overrides=launcher)
    assert os.getpid() not in run.cells([{"n": k} for k in range(3)], measure)["process"].to_list()
    with pytest.raises(Incomplete):
        run.cells([{"n": k} for k in range(4)], measure)
    (error,) = tmp_path.glob("x/cells/*/error.json")
    assert json.loads(error.read_text())["error"] == "three"


def test_an_override_that_nothing_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="sweeps no comparisons, so d=3 sets nothing"):
        Run("x", "smoke", tmp_path, overrides=("d=3",)).cells([], dict)


def test_extremes_leave_gaps_out() -> None:
    rows = polars.DataFrame({"a": [2.0, None, -1.0]})
    assert (least(rows, "a"), largest(rows, "a")) == (-1.0, 2.0)


COMMANDS = [path for path in EXPERIMENTS if "__main__" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", COMMANDS, ids=lambda p: p.stem)
def test_every_experiment_has_a_title_and_names_its_command(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    title, about = described(source)
    assert 10 < len(title) < 120
    assert f"python experiments/{path.name}" not in about
    assert f"python experiments/{path.name}" in source


GOOD = '''"""Squares of small numbers.

    python experiments/good.py

More of it.
"""

from depthwright.experiment import Experiment, Run
from depthwright.figures.chart import Chart, Panel, series


def rows(run: Run):
    return run.cells(({"n": n} for n in (1, 2, 3)), lambda n: {"square": n * n})


def chart(rows):
    return Chart((Panel("n", "n²", (series(rows, "n", "square", "squares"),)),))


EXPERIMENT = Experiment(rows, chart, lambda rows: f"Nine is {rows['square'][2]}.", broken=BROKEN)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
'''
FINE = "BROKEN = lambda rows: []\n\n\ndef rows"
HARMED = 'BROKEN = lambda rows: ["two is not three"]\n\n\ndef rows'
COMMAND = '''"""A command, no experiment."""

raise SystemExit("this is not to be run")
'''


def reproduce(
    tmp_path: Path, files: dict[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Of a folder with these experiments and no others."""
    pytest.importorskip("plotly")
    folder = tmp_path / "experiments"
    folder.mkdir()
    shutil.copy(ROOT / "experiments" / "reproduce.py", folder)
    for name, source in files.items():
        (folder / f"{name}.py").write_text(source)
    paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, str(folder / "reproduce.py"), "--scale", "smoke", *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_one_command_runs_all_and_shows_what_failed(tmp_path: Path) -> None:
    good = GOOD.replace("def rows", FINE, 1)
    files = {"good": good, "harmed": GOOD.replace("def rows", HARMED, 1), "command": COMMAND}
    files |= {"wrong": good.replace("n * n", "n / (n - 2)")}
    files |= {"late": good + '    raise SystemExit("after its record")\n'}
    assert holds_experiment(good)
    assert not holds_experiment(COMMAND)
    done = reproduce(tmp_path, files)
    assert done.returncode == 1
    assert "3 of 4 experiments failed: harmed, late, wrong" in done.stderr
    page = (tmp_path / "outputs/report-smoke/report.html").read_text(encoding="utf-8")
    assert page.count("<section ") == 4
    assert "after its record" in page
    assert "Nine is 9" in page
    assert "A promise was broken: two is not three" in page
    assert "division by zero" in page
    assert "this is not to be run" not in page
    assert "python experiments/good.py --scale smoke" in page
    assert "1/3 n=1\n" in (tmp_path / "outputs/wrong/smoke/log.txt").read_text()
    record = json.loads((tmp_path / "outputs/good/smoke/record.json").read_text())
    assert record["made"]["versions"]["polars"] == polars.__version__
    assert polars.read_csv(tmp_path / "outputs/report-smoke/good.csv")["square"].to_list() == [
        1,
        4,
        9,
    ]


ENDLESS = '''"""An experiment that starts a child and never ends.

    python experiments/endless.py
"""

import subprocess
import time

if __name__ == "__main__":
    print(subprocess.Popen(["sleep", "1000"]).pid, file=open("child", "w"), flush=True)
    time.sleep(1000)

EXPERIMENT = Experiment(None, None, None)
'''


@pytest.mark.slow
def test_an_experiment_beyond_its_limit_is_stopped_with_what_it_started(tmp_path: Path) -> None:
    done = reproduce(tmp_path, {"endless": ENDLESS}, "endless", "endless", "--limit", "5")
    assert done.returncode == 1
    assert "1 of 1 experiments failed: endless" in done.stderr
    assert "not finished after 5 s" in (tmp_path / "outputs/report-smoke/report.html").read_text()
    child = int((tmp_path / "child").read_text())
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


PICTURE = re.compile(
    r'\[<img src="experiments/gallery/(\w+)\.png" width="\d+" alt="\1">\]'
    r"\(experiments/\1\.py\)<br>[^|<]{10,120}"
)


def test_the_gallery_shows_every_experiment() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    gallery = readme.partition("\n## Gallery\n")[2].partition("\n## ")[0]
    _, rule, *lines = [line for line in gallery.splitlines() if line.startswith("|")]
    assert re.fullmatch(r"(\|-+){2,3}\|", rule)
    cells = [cell for line in lines for cell in line.strip("| ").split(" | ")]
    shown = [PICTURE.fullmatch(cell.strip()) for cell in cells]
    assert all(shown), [cell for cell, found in zip(cells, shown, strict=True) if not found]
    known = {path.stem for path in EXPERIMENTS if holds_experiment(path.read_text())}
    assert sorted(found[1] for found in shown if found) == sorted(known)
    assert readme.count("experiments/gallery/") == len(known) + 1
    drawn = {path.stem for path in (ROOT / "experiments/gallery").glob("*.png")}
    assert drawn == known | {"main_job"}
    assert "](experiments/gallery/main_job.png)" in readme


@pytest.mark.slow
def test_the_peak_of_memory_is_that_of_the_process_itself() -> None:
    """On Linux getrusage counts what the process that starts another one held as well."""
    held = bytearray(500_000_000)
    code = "from depthwright.experiment import peak_gigabytes; print(peak_gigabytes())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.02 < float(told.stdout) < len(held) / 1e9
