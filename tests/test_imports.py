"""The rooms are imported in one direction, and nothing slow is imported before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import depthwright

SOURCE = Path(depthwright.__file__).parent
ROOT = SOURCE.parents[1]
LAYERS: tuple[tuple[str, ...], ...] = (
    ("refusal", "whole_file", "provenance", "environment", "process_wide", "progress"),
    ("networks",),
    ("distributions",),
    ("targets",),
    ("approximation",),
    ("constructions", "bounds"),
    ("errors",),
    ("training",),
    ("results",),
    ("tracking",),
    ("comparison",),
    ("figures",),
    ("config", "cell"),
    ("aggregate",),
    ("task", "cluster"),
    ("sweep",),
    ("watch",),
    ("cli",),
    ("experiment",),
    ("experiments",),
)
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}


def _room(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "depthwright" and len(parts) > 1 else None


def _imports(path: Path) -> set[str]:
    rooms: set[str | None] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "depthwright":
                rooms |= {alias.name for alias in node.names} & RANK.keys()
            else:
                rooms.add(_room(node.module))
        elif isinstance(node, ast.Import):
            rooms |= {_room(alias.name) for alias in node.names}
    return {room for room in rooms if room}


FILES = sorted(SOURCE.rglob("*.py")) + sorted((ROOT / "experiments").glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_import_downwards_only(path: Path) -> None:
    inside = SOURCE in path.parents
    room = path.relative_to(SOURCE).parts[0].removesuffix(".py") if inside else "experiments"
    if room in ("__init__", "__main__"):
        return
    assert room in RANK, f"{room} has no place in the layers"
    above = {other for other in _imports(path) if RANK[other] > RANK[room]}
    beside = {o for o in _imports(path) if RANK[o] == RANK[room] and o != room}
    assert not above | beside, f"{room} imports {above | beside}"


def test_every_room_is_in_the_layers() -> None:
    rooms = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in SOURCE.rglob("*.py")}
    assert rooms - {"__init__", "__main__"} == RANK.keys() - {"experiments"}


@pytest.mark.slow
def test_sizes_and_refusals_do_without_torch_lightning_and_wandb() -> None:
    code = (
        "import sys, depthwright as dw, depthwright.cli\n"
        "t = dw.targets.Cone(input_dim=3)\n"
        "assert dw.constructions.Ridge(t, accuracy=0.2).architecture().width > 0\n"
        "print(sorted({'torch', 'pytorch_lightning', 'wandb', 'numba'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_help_does_not_even_compose_a_config() -> None:
    code = (
        "import sys; sys.argv = ['depthwright', '--help']\n"
        "from depthwright.cli import main; main()\n"
        "print({'scipy', 'torch', 'mpmath', 'rich'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("set()")
    assert "target" in done.stdout
    assert "cone" in done.stdout
