"""With what numbers are computed: the versions of what computes them, the processor, the GPU."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

MADE = "made.json"
"""In a run's folder: its provenance."""
NAMED = (
    *("depthwright", "torch", "pytorch-lightning", "numpy", "scipy", "numba", "polars"),
    *("matplotlib", "wandb"),
)


@dataclass(frozen=True)
class Made:
    """Where numbers come from."""

    device: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def here(cls) -> Made:
        """What this process computes with."""
        return cls(device(), versions())

    @classmethod
    def together(cls, parts: Iterable[Made]) -> Made:
        """Of numbers that come from several places: all that differs, one beside the other."""
        found = list(parts)
        names = dict.fromkeys(name for one in found for name in one.versions)
        told = {n: [one.versions[n] for one in found if n in one.versions] for n in names}
        return cls(_beside(one.device for one in found), {n: _beside(v) for n, v in told.items()})


def _beside(words: Iterable[str]) -> str:
    return " / ".join(dict.fromkeys(words))


@cache
def versions() -> dict[str, str]:
    """Of Python and of what the numbers come from."""
    found = {"python": platform.python_version()}
    for name in NAMED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def device() -> str:
    """The GPU if torch is at work and sees one, and the processor."""
    parts = []
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name(0))
    return ", ".join([*parts, processor()])


@cache
def processor() -> str:
    """Its name where the system tells, and how many cores this process may use."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        name = models[0] if models else name
    elif sys.platform == "darwin" and shutil.which("sysctl"):
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        name = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return f"{name}, {cores()} cores"


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
