"""The parts of gpu_check.py: each reports rows as it finds them, in a process of its own."""

from __future__ import annotations

import contextlib
import copy
import os
import platform
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
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
    kept: Path
    """For files that stay."""
    seconds: float
    """Its time limit."""
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

    small = ["target.input_dim=2", "accuracy=0.3", "training=quick", "evaluation=quick"]
    quick = small if job.cpu else []  # at its own size the solved network takes a minute
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
    """This trainer, its steps alone, torch in its place, and the fastest of the others."""
    import training_speed as speed

    _trainers(job, (speed.OURS, speed.STEPS, speed.RECORDED, "JAX"))


def trainers(job: Job) -> None:
    """The other trainers, beside this one."""
    import training_speed as speed

    names = ("torch.func", "bare loop", "one Lightning run each")
    _trainers(job, (speed.OURS, speed.UNRECORDED, speed.COMPILED, *names))


def _trainers(job: Job, chosen: Sequence[str]) -> None:
    import training_speed

    for cell in training_speed.cells(job.scale):
        for row in training_speed.measure(**cell, chosen=chosen):
            job.found(cell | row)


FORMS: tuple[dict[str, Any], ...] = (
    *({}, {"EACH": 32}, {"EACH": 128}, {"COLUMNS": 16}, {"COLUMNS": 4}),
    *({"ELEMENTS": 1 << 15}, {"ELEMENTS": 1 << 13}, {"SHARE": 64}, {"SHARE": 256}),
    *({"TILE": {"J": 16, "R": 64, "C": 4}}, {"TILE": {"J": 8, "R": 128, "C": 4}}),
)
"""Other constants of training/step/triton.py."""


def forms(job: Job) -> None:
    """What a chunk of this trainer takes, and the Triton step with other programs."""
    import training_speed as speed

    for cell in speed.cells(job.scale):
        size = speed.Size(cell["members"], cell["width"], cell["batch"])
        config = speed.TrainingConfig(
            steps=10**6, batch_size=size.batch, learning_rates=[speed.RATE], seeds=size.members
        )
        chunk = Chunk(speed.Work(size, config, cell["device"]))
        job.found({"width": size.width, "form": "milliseconds of a chunk"} | chunk.milliseconds())
        if job.cpu:
            continue
        from depthwright.training.step import triton

        known: set[Any] = set()
        for changes in FORMS:
            with mock.patch.multiple(triton, **changes) if changes else contextlib.nullcontext():
                form = triton.form_of(size.members, size.batch, size.width, speed.INPUT_DIM, 4)
                same = (form, None if form and form.whole else (triton.SHARE, str(triton.TILE)))
                if same in known:
                    continue
                known.add(same)
                taken = chunk.fresh()
                taken()
                rate = size.members * speed.POOL / speed.fastest(20, taken)
            row = {"width": size.width, "form": str(changes or "as it is"), "of": str(form)}
            job.found(row | {"network_steps_per_second": rate})


class Chunk:
    """The work of one chunk of a training, part by part."""

    def __init__(self, work: Any) -> None:
        import torch

        self.work, self.device = work, torch.device(work.device)
        self.shape = (work.x.shape[2], work.size.width, 1)

    def fresh(self) -> Callable[[], None]:
        """Takes POOL steps of a copy of the networks, and waits."""
        from training_peers import wait

        family = copy.deepcopy(self.work.module.family(self.shape)).to(self.device)
        taken, work = family.executor(self.device), self.work
        taken.prepare(work.size.batch)

        def take() -> None:
            taken.train(work.x, work.y, [1.0] * len(work.x))
            wait(work)

        return take

    def milliseconds(self) -> dict[str, float]:
        import torch

        from depthwright.experiment import fastest
        from training_peers import wait

        work, module = self.work, self.work.module
        count = module.config.chunk_steps
        family = copy.deepcopy(module.family(self.shape)).to(self.device)
        generator = torch.Generator(self.device).manual_seed(0)

        def draw() -> Any:
            drawn = module.distribution.sample(count * work.size.batch, generator, torch.float32)
            values = module._truth(drawn)[torch.float32]
            wait(work)
            return drawn, values

        x, y = (part.view(count, work.size.batch, -1) for part in draw())
        points = module.config.validation_points
        given, truth = x.reshape(-1, x.shape[2])[:points], y.reshape(-1, 1)[:points]

        def step() -> None:
            family.train_on(x, y, [1.0] * count)

        def validate() -> None:
            family.validate(given, truth, 0)

        parts = {"draw": draw, "steps": step, "validate": validate}
        for part in parts.values():
            part()
        return {name: 1e3 * fastest(5, part) for name, part in parts.items()}


def exact(job: Job) -> None:
    import exact_speed

    for cell in exact_speed.cells(job.scale):
        job.found(cell | exact_speed.measure(**cell))


def ridge(job: Job) -> None:
    import ridge_speed

    for cell in ridge_speed.cells(job.scale):
        for row in ridge_speed.measure(**cell):
            job.found(cell | row)


CENTRAL = {
    "radial_vs_dimension": 0.6,
    "longer_training": 0.7,
    "radial_vs_inverse_accuracy": 1.0,
}
"""Figure → the share of the time at whose end no cell of it is begun."""
ENDING = 30
"""Seconds before the end in which no cell is begun."""
MOST_PROCESSES = 12


def radial(job: Job) -> None:
    """The central figures by many processes that share their cells, which are kept as they end.

    `job.kept`/cells.tgz holds all of them: unpacked into the results folder of the same code, the
    figures' own commands find them.
    """
    from depthwright.machine.provenance import cores

    output, begun, seen = job.folder / "outputs", time.monotonic(), set[Path]()
    count = min(MOST_PROCESSES, cores())
    job.kept.mkdir(parents=True, exist_ok=True)
    given = (job, output, begun + job.seconds - ENDING, str(max(1, cores() // count)))
    workers = [threading.Thread(target=_compute, args=given, daemon=True) for _ in range(count)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        time.sleep(1)
        _report(job, output, seen, begun)
    _report(job, output, seen, begun)


def _compute(job: Job, output: Path, end: float, threads: str) -> None:
    """One process after the other, each until its share of the time is over."""
    whole = end - time.monotonic()
    environment = os.environ | {"OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}
    for name, share in CENTRAL.items():
        left = end - (1 - share) * whole - time.monotonic()
        script = [sys.executable, str(ROOT / "experiments" / f"{name}.py"), "--scale", job.scale]
        options = ["--output", str(output), "--logger", "none", "--limit", str(left)]
        if left > 0:
            subprocess.run([*script, *options], env=environment, check=False)


def _report(job: Job, output: Path, seen: set[Path], begun: float) -> None:
    """New rows, and all cells in one file, whole at every moment."""
    from depthwright.machine.provenance import MADE
    from depthwright.results import read_rows

    fresh = [path for path in sorted(output.rglob("cells/*/results.json")) if path not in seen]
    for path in fresh:
        seen.add(path)
        for row in read_rows(path.parent):
            job.found(row | {"after_seconds": time.monotonic() - begun})
    if fresh:
        partial = job.kept / "cells.partial"
        with tarfile.open(partial, "w:gz") as packed:
            for path in sorted(seen):
                for file in (path, path.with_name(MADE)):
                    packed.add(file, file.relative_to(output))
        partial.replace(job.kept / "cells.tgz")


@dataclass(frozen=True)
class Part:
    run: Callable[[Job], None]
    seconds: int
    """Its time limit."""


PARTS = {
    "card": Part(card, 45),
    "tests": Part(tests, 140),
    "main": Part(main_job, 80),
    "training": Part(training, 150),
    "forms": Part(forms, 90),
    "trainers": Part(trainers, 120),
    "exact": Part(exact, 75),
    "ridge": Part(ridge, 75),
    "radial": Part(radial, 520),
}
