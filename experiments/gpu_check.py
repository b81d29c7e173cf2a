"""All that this project does on a GPU, checked and measured by one command in under eight minutes.

    python experiments/gpu_check.py [--cpu] [--part NAME …] [--limit SECONDS] [--output FOLDER]

The parts run one after the other, each in a process of its own under a time limit of its own; one
that fails or runs out of time is recorded with its last lines, and the next begins:

card       name, memory, versions; float32 multiply-adds and bytes copied a second: the limits
tests      the tests marked gpu
main       the main job on the GPU and on the processor, row by row
training   training_speed.py: this trainer, its steps alone, its other forms, and JAX
forms      what a chunk of training takes, part by part, and the Triton step with other programs
trainers   training_speed.py: the slower trainers
exact      exact_speed.py: exact values in Triton, their bits, points a second
ridge      ridge_speed.py: ridge networks in dimension 100, by their structure and dense
radial     radial_vs_dimension.py, longer_training.py and radial_vs_inverse_accuracy.py, as many
           cells as there is time for; FOLDER/cells.tgz holds them

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
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gpu_parts import PARTS, ROOT, Job

LIMIT, DRY_LIMIT = 460, 590
"""Seconds for all parts, and of a dry run, whose parts may take twice as long."""
RESERVED = 0.05
"""The share of all seconds that is kept for each later part, whatever the earlier ones take."""
LAST_LINES = 30
LARGEST_LOG = 8 << 20
"""Bytes of the log that are kept."""


def run_part(name: str, options: argparse.Namespace) -> None:
    """In the part's own process: rows go to a file, a line each."""
    sys.path.insert(0, str(ROOT / "src"))

    def found(row: dict[str, Any]) -> None:
        with options.rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, default=float) + "\n")
        print(name, json.dumps(row, default=float)[:400], flush=True)

    with tempfile.TemporaryDirectory() as folder:
        PARTS[name].run(Job(options.cpu, Path(folder), options.output, options.limit, found))


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
    "tests": ("test", "state", "seconds", "message"),
    "main": ("contender", "disagrees", "values_differ", "error_l2_cpu", "error_l2_gpu"),
    "training": (
        *("width", "trainer", "network_steps_per_second", "slower_than_ours", "share_of_limit"),
        "largest_difference",
    ),
    "forms": ("width", "form", "network_steps_per_second", "draw", "steps", "validate"),
    "exact": (
        *("n", "limbs", "GPU", "gpu_kernel", "gpu_share", "gpu_compared", "gpu_differ"),
        "skipped",
    ),
    "ridge": ("chunk", "structured_seconds", "processor_seconds", "ratio", "difference_of_devices"),
    "radial": (
        *("target", "input_dim", "accuracy", "contender", "seed", "neurons", "error_l2"),
        *("error_sup_attacked", "build_seconds", "train_seconds", "after_seconds", "left_out"),
    ),
}


FIGURES["trainers"] = FIGURES["training"]


def table(parts: dict[str, dict[str, Any]]) -> str:
    """The first part last, where it is seen."""
    lines = []
    for name, part in reversed(parts.items()):
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
    """Whether something was looked at, and all of it is right; to be out of time is not wrong."""
    rows = [row for part in parts.values() for row in part["rows"]]
    return (
        bool(rows)
        and not any(
            row.get("state") in ("failure", "error")
            or row.get("disagrees")
            or row.get("differ")
            or row.get("gpu_differ")
            for row in rows
        )
        and all(part["state"] != "failed" for part in parts.values())
    )


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
        run_part(options.part[0], options)
        return
    limit = (DRY_LIMIT if options.cpu else LIMIT) if options.limit is None else options.limit
    report, end = Report(options.output, options.cpu), time.monotonic() + limit
    with tempfile.TemporaryDirectory() as folder:
        wanted = list(options.part or PARTS)
        for number, name in enumerate(wanted, 1):
            later = RESERVED * limit * (len(wanted) - number)
            left = end - time.monotonic() - later - 12  # an interrupted part has 10 s to stop
            if left < 5:
                break
            rows = Path(folder, f"{name}.jsonl")
            command = [sys.executable, __file__, "--part", name, "--rows", str(rows)]
            seconds = min(left, PARTS[name].seconds * (1 + options.cpu))
            command += ["--limit", str(seconds), "--output", str(options.output.absolute())]
            report.run(name, [*command, *["--cpu"] * options.cpu], seconds, rows)
    print(table(report.parts))
    if not sound(report.parts):
        raise SystemExit("not all is well: see the table above")


if __name__ == "__main__":
    main()
