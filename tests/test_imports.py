"""The rooms are imported in one direction, and nothing slow is imported before it is needed."""

from __future__ import annotations

import ast
import functools
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import depthwright

SOURCE = Path(depthwright.__file__).parent
ROOT = SOURCE.parents[1]
ROOMS: dict[str, tuple[tuple[str, ...], ...]] = {
    "depthwright": (
        ("refusal", "files", "progress", "machine"),
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
        ("runs", "explore"),
        ("cli",),
        ("experiment",),
        ("published",),
    ),
    "depthwright.networks": (
        ("architecture", "arithmetic", "inputs", "points", "styles", "upper", "precision"),
        ("onnx_writer", "tensor_files"),
        ("network",),
        ("exact",),
        ("reading",),
        ("ridge", "ridge_group", "ridge_kernel", "torch_network", "styled_network"),
        ("files",),
    ),
    "depthwright.constructions": (
        ("claim",),
        ("vnnlib",),
        ("saved",),
        ("built",),
        ("construction",),
        ("bits",),
        ("hypotheses", "packed"),
        ("narrow",),
        ("narrow_bits", "narrow_packed", "narrow_exact"),
        ("narrow_minimal", "narrow_exact_slim"),
        ("weight_bounds", "he_norms"),
        ("narrow_bounded", "he_sizes", "solved"),
        ("ridge", "sparse_ridge", "single_ridge", "radial_depth_three"),
    ),
}
"""Which room may import which: those above it in the list, inside a package as well."""
LOOSE_LIMIT = 10
LINES_LIMIT = 400


def _module(path: Path) -> str:
    name = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {_module(path): path for path in sorted(SOURCE.rglob("*.py"))}


def _imports(path: Path) -> set[str]:
    """The modules of the package that a file imports anywhere: in functions and for types too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in MODULES else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name in MODULES}


PACKAGES = sorted(name for name, path in MODULES.items() if path.name == "__init__.py")


@functools.cache
def _graph() -> dict[str, set[str]]:
    return {name: _imports(path) - {name} for name, path in MODULES.items()}


def _between(package: str, graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Which child of a package imports which other one, whatever lies inside them."""
    depth = package.count(".") + 2
    edges: dict[str, set[str]] = {}
    for name, imported in graph.items():
        if not name.startswith(package + "."):
            continue
        child = ".".join(name.split(".")[:depth])
        edges.setdefault(child, set()).update(
            ".".join(other.split(".")[:depth])
            for other in imported
            if other.startswith(package + ".")
        )
    return {child: others - {child} for child, others in edges.items()}


def _circle(edges: dict[str, set[str]]) -> str | None:
    """One circle, as text, if there is one."""
    try:
        tuple(graphlib.TopologicalSorter(edges).static_order())
    except graphlib.CycleError as error:
        return " → ".join(error.args[1])
    return None


def test_no_circle_of_modules() -> None:
    assert _circle(_graph()) is None


@pytest.mark.parametrize("package", PACKAGES)
def test_no_circle_of_rooms(package: str) -> None:
    assert _circle(_between(package, _graph())) is None


def test_circles_are_seen() -> None:
    ridge = "depthwright.networks.ridge_group"
    graph = _graph() | {ridge: _graph()[ridge] | {"depthwright.networks.ridge"}}
    assert "ridge_group" in (_circle(graph) or "")
    assert "ridge_group" in (_circle(_between("depthwright.networks", graph)) or "")


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_import_upwards_in_the_list_only(package: str) -> None:
    rank = {f"{package}.{room}": k for k, rooms in enumerate(ROOMS[package]) for room in rooms}
    wrong = [
        f"{room} imports {other}"
        for room, others in _between(package, _graph()).items()
        for other in others & rank.keys()
        if room in rank and rank[other] > rank[room]
    ]
    assert not wrong


@pytest.mark.parametrize("package", ROOMS)
def test_every_room_is_in_the_list(package: str) -> None:
    listed = {f"{package}.{room}" for rooms in ROOMS[package] for room in rooms}
    depth = package.count(".") + 2
    rooms = {
        ".".join(name.split(".")[:depth]) for name in MODULES if name.startswith(package + ".")
    }
    assert rooms - {f"{package}.__main__"} == listed


def test_a_newcomer_finds_the_way() -> None:
    loose = [path.name for path in SOURCE.glob("*.py") if path.stem not in ("__init__", "__main__")]
    assert len(loose) <= LOOSE_LIMIT, loose
    lengths = {str(path.relative_to(ROOT)): _lines(path) for path in MODULES.values()}
    lengths |= {path.name: _lines(path) for path in (ROOT / "experiments").glob("*.py")}
    assert not {name: lines for name, lines in lengths.items() if lines > LINES_LIMIT}


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


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
        "print({'hydra', 'omegaconf', 'numpy', 'scipy', 'torch', 'rich'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("set()")
    assert "target" in done.stdout
    assert "cone" in done.stdout
