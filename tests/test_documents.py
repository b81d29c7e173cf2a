"""README and CONTRIBUTING hold what is true: their Python runs, their links and files are there."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
import yaml

import depthwright
from depthwright.comparison import Comparison
from test_command_lines import start

SOURCE = Path(depthwright.__file__).parent
ROOT = SOURCE.parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_python_of_the_readme_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="extra onnx is missing")
    monkeypatch.chdir(tmp_path)  # it saves networks
    code = "".join(re.findall(r"^```python\n(.*?)^```", README, re.M | re.S))
    said = re.findall(r"^print\(.*\)  # (.+)$", code, re.M)
    printed = io.StringIO()
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), names)
    lines = printed.getvalue().splitlines()
    terms = lines.pop(2)
    assert lines == said
    assert len(said) == 4
    for value in ("'polynomial': '0.068'", "'cubature': '0'", "'piecewise_linear': '0.032'"):
        assert value in terms
    saved = {"twin.jsonl.gz", "twin.md", "twin.claim.json", "twin.sha256", "cone.onnx"}
    assert {path.name for path in tmp_path.iterdir()} == saved


BESIDE = {
    "profile.csv": "radius,value\n0,0\n0.5,0.4\n1,0\n",
    "mine.py": next(
        code for code in re.findall(r"^```python\n(.*?)^```", README, re.M | re.S) if "Bump" in code
    ),
    "options/target/small.yaml": "_target_: mine.Bump\nheight: 0.1\ninput_dim: 2\n",
}
"""What a reader of README is told to have in the working directory."""


@pytest.mark.slow
def test_the_commands_of_the_readme_are_taken_as_they_are_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx", reason="extra onnx is missing")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Comparison, "matches", lambda _: {})  # sizes take seconds
    for name, text in BESIDE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    wide = depthwright.targets.RandomNetwork(2, width=3, depth=2)
    depthwright.networks.ModuleNetwork(wide.as_network().to_torch()).save("cone.onnx")
    blocks = "".join(re.findall(r"^```sh\n(.*?)^```", README, re.M | re.S))
    commands = re.findall(r"^depthwright (.+)$", blocks, re.M)
    assert len(commands) >= 7
    for words in commands:
        status, told = start(words.partition("  #")[0])
        assert (status, told) == (0, ""), words
    assert depthwright.load_built("twin.jsonl.gz").construction == "NarrowPacked"


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_links_lead_to_files(text: str) -> None:
    links = re.findall(r'\]\(([^)]+)\)|src="([^"]+)"', text)
    paths = [one or other for one, other in links if "://" not in one + other]
    named = re.findall(r"(?:conf|experiments|tests)/[\w/]+\.\w+", text)
    own = re.findall(r"`(\w+\.py)`", text)
    assert len(paths) + len(named) > 10
    assert [p for p in paths + named if not (ROOT / p).is_file() and "NAME" not in p] == []
    everywhere = {
        p.name for room in ("src", "experiments", "tests") for p in (ROOT / room).rglob("*.py")
    }
    assert set(own) <= everywhere


def test_contributing_names_every_file_of_the_package() -> None:
    listed = re.findall(r"^([a-z_/0-9]+\.py) {2,}\S.{4,}$", CONTRIBUTING, re.M)
    files = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py")}
    assert sorted(listed) == sorted(
        file for file in files if not file.endswith(("__init__.py", "__main__.py"))
    )


def test_the_readme_lists_every_construction() -> None:
    from depthwright.constructions import REGISTRY

    listed = re.findall(r"^\| `(\w+)` \| .+ \| .+ \| .+ \| .{10,} \|$", README, re.M)
    assert sorted(listed) == sorted(cls.__name__ for cls in REGISTRY.values())


def test_commits_are_checked_by_the_commands_of_ci() -> None:
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    commands = [hook["entry"] for hook in local["hooks"]]
    assert commands == ["ruff format --check .", "ruff check .", "mypy"]
    ci = (ROOT / ".ci/run").read_text().splitlines()
    assert set(commands) <= set(ci)
