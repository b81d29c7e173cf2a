"""With what numbers are computed: this package's code, versions, the processor, the GPU."""

from __future__ import annotations

import hashlib
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
from typing import Any

from depthwright.files import read_json

PACKAGE = Path(__file__).parents[1]
MADE = "made.json"
"""In a run's folder: its provenance."""
RESULTS = ("experiments/published", "experiments/gallery")
"""Of the checkout: what one figure writes there changes nothing of the next one's rows."""
NAMED = (
    *("depthwright", "torch", "pytorch-lightning", "numpy", "scipy", "numba", "polars"),
    *("matplotlib", "wandb"),
)


@dataclass(frozen=True)
class Provenance:
    """Where numbers come from."""

    device: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    """The digest of this package's source, see `code`."""
    commit: str | None = None
    """Of the checkout that the package was run from; None where it was not run from one."""
    clean: bool | None = None
    """Whether that checkout had no uncommitted change."""

    @classmethod
    def here(cls) -> Provenance:
        """The provenance of what this process computes."""
        return cls(device(), versions(), code(), *checkout())

    @classmethod
    def read(cls, folder: Path) -> Provenance:
        """Of a finished cell; empty where nothing is known, or nothing that can be read."""
        return cls.of(read_json(folder / MADE))

    @classmethod
    def of(cls, stored: Any) -> Provenance:
        """From what JSON held; empty where that is none."""
        if not isinstance(stored, dict):
            return cls()
        sound = {
            "device": isinstance(stored.get("device"), str),
            "versions": _are_texts(stored.get("versions")),
            "code": isinstance(stored.get("code"), str),
            "commit": isinstance(stored.get("commit"), str),
            "clean": isinstance(stored.get("clean"), bool),
        }
        return cls(**{name: stored[name] for name, fine in sound.items() if fine})

    @classmethod
    def together(cls, parts: Iterable[Provenance]) -> Provenance:
        """Provenance of rows from several processes: different values stand beside each other."""
        found = list(parts)
        names = dict.fromkeys(name for one in found for name in one.versions)
        found_versions = {n: [one.versions[n] for one in found if n in one.versions] for n in names}
        states = {one.clean for one in found}
        return cls(
            _beside(one.device for one in found),
            {n: _beside(v) for n, v in found_versions.items()},
            _beside(one.code for one in found),
            _beside(one.commit for one in found if one.commit) or None,
            False if False in states else None if None in states else all(states),
        )


def _are_texts(given: Any) -> bool:
    return isinstance(given, dict) and all(isinstance(value, str) for value in given.values())


def _beside(words: Iterable[str]) -> str:
    return " / ".join(word for word in dict.fromkeys(words) if word)


@cache
def code() -> str:
    """Ten hex digits of this package's source, read when first called.

    Every run's identity contains it, so that results of different code are never mixed.
    """
    return code_on_disk()


def code_on_disk() -> str:
    """The same for the source as it is now."""
    found = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_bytes()
        found.update(f"{path.relative_to(PACKAGE).as_posix()} {len(source)}\n".encode() + source)
    return found.hexdigest()[:10]


@cache
def checkout() -> tuple[str | None, bool | None]:
    """The commit that the package is run from, and whether nothing differs from it but RESULTS.

    Both None where git does not know the package: it is installed, or git is missing.
    """
    if not shutil.which("git") or _git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None  # also where only an environment that holds it lies in a checkout
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--", ":/", *(f":(top,exclude){r}" for r in RESULTS))
    return commit, None if changes is None else not changes


def _git(*arguments: str) -> str | None:
    """The output of git in the package's folder; None where it fails."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=PACKAGE,
            env=environment | {"GIT_OPTIONAL_LOCKS": "0"},  # another process may be committing
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout.strip()


@cache
def versions() -> dict[str, str]:
    """Of Python and of the libraries that compute."""
    found = {"python": platform.python_version()}
    for name in NAMED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def device() -> str:
    """The GPU if torch is imported and finds one, and the processor."""
    parts = []
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name(0))
    return ", ".join([*parts, processor()])


@cache
def processor() -> str:
    """Its name where the system gives it, and the number of cores this process may use."""
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
    """Number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
