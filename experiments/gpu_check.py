"""All that this project does on a GPU, checked and measured by one command in under eight minutes.

    python experiments/gpu_check.py [--cpu] [--part NAME …] [--limit SECONDS] [--output FOLDER]

The parts run one after the other, each in a process of its own under a time limit of its own; one
that fails or runs out of time is recorded with its last lines, and the next begins:

card       name, memory, versions; float32 multiply-adds and bytes copied a second: the limits
tests      the tests marked gpu
main       the main job on the GPU and on the processor, row by row
training   training_speed.py: this trainer recorded, unrecorded, on the processor; four others
exact      exact_speed.py: exact values in Triton, their bits, points a second
ridge      ridge_speed.py: ridge networks in dimension 100, by their structure and dense
radial     radial_vs_dimension.py, as many cells as there is time for

FOLDER/gpu_check.json holds what was found, written as it comes, FOLDER/gpu_check.log what was
printed. No network is needed, nor W&B; where only torch, Triton, JAX, Lightning and the usual
scientific libraries are installed, it lacks hydra-core, omegaconf, antlr4-python3-runtime, polars
with polars-runtime-32, and gmpy2. `--cpu` is the dry run: every part at its smallest size on the
processor.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
LIMIT, DRY_LIMIT = 460, 590
"""Seconds for all parts, and of a dry run, whose parts may take twice as long."""
LAST_LINES = 30
LARGEST_LOG = 8 << 20
"""Bytes of the log that are kept."""
TRAINED_WITHIN = 1.5
"""Main job: the errors of trained networks on the two devices, whose batches are drawn by different
generators, differ by at most this factor; constructed ones' intervals, widened twice, overlap."""
VALUES_WITHIN = 1e-4
"""Main job: a network's values on the two devices at the same points, of the largest value."""

Found = Callable[[dict[str, Any]], None]
"""Takes one row of results."""


@dataclass(frozen=True)
class Job:
    """What a part receives."""

    cpu: bool
    folder: Path
    """For its files; deleted afterwards."""
    found: Found

    @property
    def scale(self) -> str:
        return "smoke" if self.cpu else "gpu"


def card(job: Job) -> None:
    import torch

    import ridge_speed
    import training_speed
    from depthwright.experiment import fastest
    from depthwright.machine.provenance import Provenance

    here = Provenance.here()
    row: dict[str, Any] = {"device": here.device, "python": platform.python_version()}
    row |= {"versions": dict(here.versions), "commit": here.commit, "code": here.code}
    if job.cpu:
        job.found(row | {"gigaflops": training_speed.arithmetic_limit(1) / 1e9})
        return
    import triton

    asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm"]
    told = subprocess.run([*asked, "--format=csv,noheader"], capture_output=True, text=True)
    chip = torch.cuda.get_device_properties(0)
    row |= {"nvidia_smi": told.stdout.strip(), "triton": triton.__version__}
    row |= {"cuda": torch.version.cuda, "gigabytes": chip.total_memory / 1e9}
    row |= {"multiprocessors": chip.multi_processor_count}
    job.found(row)
    a = torch.empty(1 << 28, device="cuda")
    b = torch.empty_like(a)

    def copy() -> None:
        b.copy_(a)
        ridge_speed.wait("cuda")

    copy()
    bandwidth = 2 * a.nbytes / fastest(5, copy) / 1e9
    job.found({"gigaflops": training_speed.gpu_limit() / 1e9, "gigabytes_a_second": bandwidth})


def tests(job: Job) -> None:
    """The tests marked gpu; in a dry run they are skipped, and Triton's interpreter is tested."""
    marked = [p for p in (ROOT / "tests").rglob("test_*.py") if "mark.gpu" in p.read_text("utf-8")]
    _pytest(job, "gpu", marked)
    if job.cpu:
        _pytest(job, "slow", [path for path in marked if path.stem == "test_triton"])


def _pytest(job: Job, mark: str, files: Sequence[Path]) -> None:
    report = job.folder / f"{mark}.xml"
    command = [sys.executable, "-m", "pytest", "-m", mark, "-n", "0", "-p", "no:cacheprovider"]
    subprocess.run([*command, "-rs", f"--junitxml={report}", *map(str, files)], cwd=ROOT)
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        row = {"test": case.get("name"), "state": kinds[0] if kinds else "passed"}
        if row["state"] in ("failure", "error"):
            row["message"] = str(case.find(kinds[0]).get("message"))[-2000:]  # type: ignore[union-attr]
        job.found(row | {"seconds": float(case.get("time") or 0)})


def main_job(job: Job) -> None:
    """The same command on both devices, at once; then each of its networks on both."""
    from depthwright.results import read_rows

    quick = ["training=quick", "evaluation=quick"] if job.cpu else []
    runs: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}
    for trainer in ("cpu", "auto"):
        folder = job.folder / trainer
        command = [sys.executable, "-m", "depthwright", f"trainer={trainer}", "logger=none"]
        command += ["trainer.progress=false", f"output={folder}", *quick]
        runs[trainer] = subprocess.Popen(command), folder
    folders = {}
    for trainer, (process, folder) in runs.items():
        if process.wait():
            raise SystemExit(f"the main job with trainer={trainer} ended with {process.returncode}")
        folders[trainer] = next(folder.rglob("results.json")).parent
    here, there = (
        {row["contender"]: row for row in read_rows(folders[trainer])}
        for trainer in ("cpu", "auto")
    )
    assert here.keys() == there.keys()
    for contender, wanted in here.items():
        row = _compared(wanted, there[contender])
        row["values_differ"] = _values(folders["auto"], contender, job.cpu)
        row["disagrees"] += ["values"] * (not row["values_differ"] <= VALUES_WITHIN)
        job.found(row)


def _compared(here: dict[str, Any], there: dict[str, Any]) -> dict[str, Any]:
    """One contender's two rows; `disagrees` says in what."""
    disagrees = [name for name in ("width", "parameters", "depth") if here[name] != there[name]]
    low, high = (max(r["error_l2_low"] for r in (here, there)), min(
        r["error_l2_high"] for r in (here, there)
    ))  # fmt: skip
    if here["contender"].startswith("constructed"):
        widths = sum(r["error_l2_high"] - r["error_l2_low"] for r in (here, there))
        disagrees += ["error_l2"] * (low - high > widths)
        for name in ("error_sup_certified", "path_norm", "path_norm_floor"):
            disagrees += [name] * (not _near(here[name], there[name]))
        top = there["error_sup_certified"]
        disagrees += ["error_sup_attacked"] * (there["error_sup_attacked"] > top)
    else:
        ratio = there["error_l2"] / here["error_l2"]
        disagrees += ["error_l2"] * (not 1 / TRAINED_WITHIN < ratio < TRAINED_WITHIN)
    shown = ("error_l2", "error_sup_attacked", "train_seconds", "evaluate_seconds", "device")
    both = {
        f"{name}_{k}": r.get(name) for name in shown for k, r in (("cpu", here), ("gpu", there))
    }
    return {"contender": here["contender"], "disagrees": disagrees, **both}


def _near(a: float | None, b: float | None) -> bool:
    return a == b or (a is not None and b is not None and abs(a - b) <= 1e-9 * abs(a))


def _values(folder: Path, contender: str, cpu: bool) -> float:
    """Largest difference between a network's values on the two devices, of the largest value."""
    import torch

    from depthwright.networks import load

    network = load(next(folder.glob(f"{contender}.*")))
    shape = (100_000, network.architecture.input_dim)
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0)) - 0.5
    wanted = network.evaluate(x)
    found = network.evaluate(x if cpu else x.cuda()).cpu()
    scale = float(wanted.abs().max())
    return float((found - wanted).abs().max()) / scale


def training(job: Job) -> None:
    import training_speed

    for cell in training_speed.cells(job.scale):
        for row in training_speed.measure(**cell):
            job.found(cell | row)


def exact(job: Job) -> None:
    import exact_speed

    for cell in exact_speed.cells(job.scale):
        job.found(cell | exact_speed.measure(**cell))


def ridge(job: Job) -> None:
    import ridge_speed

    for cell in ridge_speed.cells(job.scale):
        for row in ridge_speed.measure(**cell):
            job.found(cell | row)


def radial(job: Job) -> None:
    """Cells are kept as they finish, and reported here."""
    script = ROOT / "experiments" / "radial_vs_dimension.py"
    options = ["--scale", job.scale, "--output", str(job.folder), "--logger", "none"]
    process = subprocess.Popen([sys.executable, str(script), *options])
    seen: set[Path] = set()
    start = time.monotonic()
    while True:
        ended = process.poll() is not None
        for path in sorted(job.folder.rglob("results.json")):
            if path not in seen:
                seen.add(path)
                for row in json.loads(path.read_text("utf-8")):
                    job.found(_shown(row) | {"after_seconds": time.monotonic() - start})
        if ended:
            break
        time.sleep(0.5)
    if process.returncode:
        raise SystemExit(f"radial_vs_dimension ended with {process.returncode}")


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    names = ("input_dim", "contender", "width", "error_l2", "error_sup_attacked")
    names += ("error_sup_certified", "train_seconds", "device")  # type: ignore[assignment]
    return {name: row.get(name) for name in names}


@dataclass(frozen=True)
class Part:
    run: Callable[[Job], None]
    seconds: int
    """Its time limit."""


PARTS = {
    "card": Part(card, 45),
    "tests": Part(tests, 120),
    "main": Part(main_job, 80),
    "training": Part(training, 190),
    "exact": Part(exact, 90),
    "ridge": Part(ridge, 75),
    "radial": Part(radial, 400),
}


def run_part(name: str, cpu: bool, rows: Path) -> None:
    """In the part's own process: rows go to a file, a line each."""
    sys.path.insert(0, str(ROOT / "src"))

    def found(row: dict[str, Any]) -> None:
        with rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, default=float) + "\n")
        print(name, json.dumps(row, default=float)[:400], flush=True)

    with tempfile.TemporaryDirectory() as folder:
        PARTS[name].run(Job(cpu, Path(folder), found))


def supervise(command: Sequence[str], seconds: float, log: Path, news: Callable[[], None]) -> str:
    """Run until the end or the limit: "finished", "failed" or "out of time"."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(
            [str(ROOT / "src"), str(ROOT / "experiments"), os.environ.get("PYTHONPATH", "")]
        ).strip(os.pathsep),
        "PYTHONUNBUFFERED": "1",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # JAX would take most of the memory
    }
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
    end, stopped = time.monotonic() + seconds, False
    try:
        while process.poll() is None:
            news()
            if time.monotonic() > end:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL if stopped else signal.SIGINT)
                end, stopped = time.monotonic() + 10, True
            time.sleep(0.2)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it started
        news()
    return "out of time" if stopped else "failed" if process.returncode else "finished"


class Report:
    """The JSON file, whole after every change."""

    def __init__(self, folder: Path, cpu: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.log = folder / "gpu_check.json", folder / "gpu_check.log"
        self.log.write_bytes(b"")
        self.parts: dict[str, dict[str, Any]] = {}
        self.head = {"began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "dry": cpu}

    def write(self) -> None:
        partial = self.path.with_suffix(".partial")
        text = json.dumps(self.head | {"parts": self.parts}, indent=1)
        partial.write_text(text, encoding="utf-8")
        partial.replace(self.path)

    def run(self, name: str, command: Sequence[str], seconds: float, rows: Path) -> None:
        found = {"state": "running", "seconds": 0.0, "limit": round(seconds), "rows": []}
        self.parts[name] = found
        self._mark(f"===== {name}, at most {seconds:.0f} s\n")
        start, before = time.monotonic(), self.log.stat().st_size

        def news() -> None:
            lines = rows.read_text("utf-8").splitlines() if rows.exists() else []
            if len(lines) != len(found["rows"]):  # type: ignore[arg-type]
                found["rows"] = list(_whole(lines))
                self.write()

        found["state"] = supervise(command, seconds, self.log, news)
        found["seconds"] = round(time.monotonic() - start, 1)
        if found["state"] != "finished":
            with self.log.open("rb") as file:
                file.seek(max(before, self.log.stat().st_size - (1 << 16)))
                last = file.read().decode(errors="replace").splitlines()[-LAST_LINES:]
            found["last_lines"] = last
        if self.log.stat().st_size > LARGEST_LOG:
            os.truncate(self.log, LARGEST_LOG)
        self._mark(f"===== {name}: {found['state']} after {found['seconds']} s\n")
        self.write()
        print(f"{name}: {found['state']} after {found['seconds']} s", flush=True)

    def _mark(self, line: str) -> None:
        with self.log.open("a", encoding="utf-8") as file:
            file.write(line)


def _whole(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows; a last line that is still being written is left for the next time."""
    for line in lines:
        with suppress(json.JSONDecodeError):
            yield json.loads(line)


FIGURES = {
    "card": ("device", "nvidia_smi", "gigaflops", "gigabytes_a_second"),
    "tests": ("test", "state", "seconds"),
    "main": ("contender", "disagrees", "values_differ", "error_l2_cpu", "error_l2_gpu"),
    "training": (
        *("width", "trainer", "network_steps_per_second", "slower_than_ours", "share_of_limit"),
        "largest_difference",
    ),
    "exact": ("n", "limbs", "GPU", "gpu_kernel", "gpu_share", "gpu_compared", "gpu_differ"),
    "ridge": ("chunk", "structured_seconds", "processor_seconds", "ratio", "difference_of_devices"),
    "radial": ("input_dim", "contender", "width", "error_l2", "train_seconds", "after_seconds"),
}


def table(parts: dict[str, dict[str, Any]]) -> str:
    lines = []
    for name, part in parts.items():
        lines.append(f"\n{name}: {part['state']}, {part['seconds']} of {part['limit']} s")
        for row in part["rows"]:
            shown = [_text(row[key]) for key in FIGURES[name] if row.get(key) is not None]
            lines.append("  " + "  ".join(shown))
        lines += [f"  | {line}" for line in part.get("last_lines", ())[-6:]]
    return "\n".join(lines)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return re.sub(r"\s+", " ", str(value))


def sound(parts: dict[str, dict[str, Any]]) -> bool:
    """Whether all that was looked at is right; a part out of time has not been wrong."""
    rows = [row for part in parts.values() for row in part["rows"]]
    return not any(
        row.get("state") in ("failure", "error")
        or row.get("disagrees")
        or row.get("differ")
        or row.get("gpu_differ")
        for row in rows
    ) and all(part["state"] != "failed" for part in parts.values())


def main() -> None:
    first = (__doc__ or "").split("\n", 1)[0]
    parser = argparse.ArgumentParser(description=first)
    parser.add_argument("--cpu", action="store_true", help="dry run on the processor")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; repeatable")
    parser.add_argument("--limit", type=float, help="seconds for all parts")
    parser.add_argument("--output", type=Path, default=Path("outputs/gpu_check"))
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rows:
        run_part(options.part[0], options.cpu, options.rows)
        return
    limit = options.limit or (DRY_LIMIT if options.cpu else LIMIT)
    report, end = Report(options.output, options.cpu), time.monotonic() + limit
    with tempfile.TemporaryDirectory() as folder:
        for name in options.part or PARTS:
            left = end - time.monotonic() - 12  # an interrupted part gets 10 seconds to stop
            if left < 5:
                break
            rows = Path(folder, f"{name}.jsonl")
            command = [sys.executable, __file__, "--part", name, "--rows", str(rows)]
            command += ["--cpu"] * options.cpu
            report.run(name, command, min(left, PARTS[name].seconds * (1 + options.cpu)), rows)
    print(table(report.parts))
    if not sound(report.parts):
        raise SystemExit("not all is well: see the table above")


if __name__ == "__main__":
    main()
