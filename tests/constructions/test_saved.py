"""A claim travels with its network: saved, loaded, read by others; a changed bit is refused.

The reader here shares no code with the package: JSON, hashlib, fractions.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import depthwright as dw
import independent
from depthwright.constructions import Built, Construction, vnnlib
from depthwright.refusal import Refusal

WIDE = dw.targets.RandomNetwork(2, width=4, depth=3, output_dim=2, lower=[0, -1], upper=1)
MADE: dict[str, Construction] = {
    "packed": dw.constructions.NarrowPacked(WIDE, accuracy=0.05),
    "exact": dw.constructions.NarrowExact(WIDE),
    "probable": dw.constructions.NarrowPacked(WIDE, accuracy=0.05, failure_probability=0.01),
    "ridge": dw.constructions.Ridge(dw.targets.Cone(3), accuracy=0.2),
    "none": dw.constructions.SparseRidge(dw.targets.Cone(3), accuracy=0.2, width=12),
    "line": dw.constructions.SingleRidge(dw.targets.SineRidge(3), accuracy=0.2),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Built, Path]]:
    found = {}
    for name, recipe in MADE.items():
        built, folder = recipe.build(), tmp_path_factory.mktemp(name)
        built.save(folder)
        found[name] = built, folder
    return found


@pytest.mark.parametrize("name", MADE)
def test_what_is_loaded_is_what_was_saved(
    name: str, folders: dict[str, tuple[Built, Path]]
) -> None:
    built, folder = folders[name]
    loaded = dw.load_built(folder)
    assert loaded.claim == built.claim
    assert loaded.domain == built.domain
    assert loaded.construction == type(MADE[name]).__name__ == built.construction
    assert built.target is MADE[name].target
    d = built.network.architecture.input_dim
    x = torch.rand(64, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 2
    assert torch.equal(loaded.network.evaluate(x), built.network.evaluate(x))
    if built.claim.norm == "probability":
        with pytest.raises(Refusal, match="are not kept in files"):
            loaded.decides(x)
    elif built.claim.norm != "none":
        assert torch.equal(loaded.decides(x), built.decides(x))


def test_the_model_card_says_what_it_is_and_its_python_runs(
    folders: dict[str, tuple[Built, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    built, folder = folders["ridge"]
    card = (folder / "network.md").read_text(encoding="utf-8")
    size = built.network.architecture
    (shown,) = re.findall(r"at most ([\d.]+) for all of the ball of radius 1 in R\^3", card)
    assert built.claim.bound <= Fraction(shown) <= built.claim.bound * 1.001
    assert f"Width {size.width}, depth 2, {size.parameters:,} parameters." in card
    assert "target Cone, 3 inputs" in card
    (code,) = re.findall(r"```python\n(.*?)```", card, re.S)
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"x": torch.zeros(2, 3, dtype=torch.float64)}
    exec(compile(code, "network.md", "exec"), names)
    assert names["built"].claim == built.claim
    assert "Nothing is promised" in (folders["none"][1] / "network.md").read_text(encoding="utf-8")


def sums(folder: Path) -> dict[str, str]:
    lines = (folder / "network.sha256").read_text().splitlines()
    return {name: digest for digest, name in (line.split("  ") for line in lines)}


@pytest.mark.parametrize("name", ["packed", "exact"])
def test_a_reader_that_shares_no_code_checks_the_claim(
    name: str, folders: dict[str, tuple[Built, Path]]
) -> None:
    folder = folders[name][1]
    for file, digest in sums(folder).items():
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == digest
    content = json.loads((folder / "network.claim.json").read_text())
    facts = hashlib.sha256(
        json.dumps(["ReLUNetwork", [2, 4, 4, 2], [0.0, -1.0], [1.0, 1.0]]).encode()
    )
    for w, b in zip(WIDE.weights, WIDE.biases, strict=True):
        numbers = [*w.ravel().tolist(), *b.tolist()]
        facts.update(struct.pack(f"<{len(numbers)}d", *numbers))
    digest = facts.hexdigest()
    assert content["target"] == {"class": "RandomNetwork", "digest": digest}
    terms = sum(map(Fraction, content["claim"]["terms"].values()))
    assert terms <= Fraction(content["bound"])
    box = content["inputs"]["box"]
    rng = random.Random(0)
    for _ in range(12):
        x = [rng.uniform(a, b) for a, b in zip(box["lower"], box["upper"], strict=True)]
        ours = independent.evaluate(folder / content["network"]["file"], x)
        theirs = independent.network_value(WIDE.weights, WIDE.biases, x)
        gap = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
        assert gap <= Fraction(content["bound"])
        assert (gap == 0) == (name == "exact")


@pytest.mark.parametrize("name", ["packed", "exact", "ridge"])
def test_a_changed_bit_is_refused_in_any_file(
    name: str, folders: dict[str, tuple[Built, Path]]
) -> None:
    folder = folders[name][1]
    rng = random.Random(0)
    for file in [*sums(folder), "network.sha256"]:
        whole = (folder / file).read_bytes()
        try:
            for place in rng.sample(range(len(whole)), 40):
                changed = bytearray(whole)
                changed[place] ^= 1 << rng.randrange(8)
                (folder / file).write_bytes(changed)
                with pytest.raises(Refusal):
                    dw.load_built(folder)
            (folder / file).unlink()
            with pytest.raises(Refusal, match="is not there"):
                dw.load_built(folder)
        finally:
            (folder / file).write_bytes(whole)
    dw.load_built(folder)


def with_content(folder: Path, content: Any) -> None:
    """Another claim.json, its digest right."""
    (folder / "network.claim.json").write_text(json.dumps(content))
    digest = hashlib.sha256((folder / "network.claim.json").read_bytes()).hexdigest()
    old = (folder / "network.sha256").read_text()
    new = re.sub(r"[0-9a-f]{64}  network.claim.json", f"{digest}  network.claim.json", old)
    (folder / "network.sha256").write_text(new)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((), []),
        (("format",), "another"),
        (("version",), 2),
        (("construction",), {}),
        (("claim",), None),
        (("claim", "norm"), ["sup"]),
        (("claim", "terms"), {"all": -1.0}),
        (("claim", "terms"), {"all": "0.1"}),
        (("claim", "accuracy"), float("nan")),
        (("claim", "more"), 1),
        (("claim", "failure_probability"), 2),
        (("network", "file"), ["network.safetensors"]),
        (("network", "file"), "../network.safetensors"),
        (("network", "input_dim"), 4),
        (("inputs",), "all"),
        (("inputs",), {"ball": {"radius": None}}),
        (("inputs",), {"box": {"lower": [0], "upper": {}}}),
    ],
    ids=str,
)
def test_a_strange_claim_is_refused_though_its_digest_is_right(
    path: tuple[str, ...], value: Any, tmp_path: Path
) -> None:
    MADE["ridge"].build().save(tmp_path)
    content = json.loads((tmp_path / "network.claim.json").read_text())
    with_content(tmp_path, content)
    dw.load_built(tmp_path)
    part = content
    for key in path[:-1]:
        part = part[key]
    if path:
        part[path[-1]] = value
    with_content(tmp_path, content if path else value)
    with pytest.raises(Refusal):
        dw.load_built(tmp_path)


def test_what_is_no_folder_of_a_claim_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        Refusal, match=r"nowhere is not there; give the folder or the \.jsonl\.gz or"
    ):
        dw.load_built(tmp_path / "nowhere")
    with pytest.raises(Refusal, match=r"network\.sha256 is not there, the list of digests"):
        dw.load_built(tmp_path)
    for name in ("saw.csv", "cone.onnx"):
        (tmp_path / name).write_text("0,0")
        with pytest.raises(Refusal, match=f"{name} holds no network with a claim; give the folder"):
            dw.load_built(tmp_path / name)


@pytest.mark.parametrize("name", ["a.onnx", "q.txt", "twin.json", "new/twin.gz"])
def test_a_file_of_another_kind_is_not_made_a_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"does not end in \.jsonl\.gz.* or give a folder"):
        MADE["exact"].build().save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_may_have_a_point_in_its_name_and_no_file_is_one(tmp_path: Path) -> None:
    built = MADE["packed"].build()
    for name in ("version 1.2", "new"):
        if "." in name:
            (tmp_path / name).mkdir()
        built.save(tmp_path / name)
        assert dw.load_built(tmp_path / name).claim == built.claim
    (tmp_path / "taken").write_text("")
    with pytest.raises(Refusal, match="taken is a file; give a folder"):
        built.save(tmp_path / "taken")


def test_a_network_s_file_may_have_its_claim_beside_it(tmp_path: Path) -> None:
    built = MADE["packed"].build()
    built.save(tmp_path / "twin.jsonl.gz")
    names = {"twin.jsonl.gz", "twin.md", "twin.claim.json", "twin.sha256"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert dw.load_built(tmp_path / "twin.jsonl.gz").claim == built.claim
    with pytest.raises(Refusal, match=r"does not end in \.jsonl\.gz"):
        built.save(tmp_path / "twin.safetensors")


def test_saving_again_leaves_nothing_of_before(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="extra onnx is missing")
    MADE["exact"].build().save(tmp_path)
    assert (tmp_path / "network.difference.onnx").exists()
    MADE["ridge"].build().save(tmp_path)
    names = {
        "network.safetensors",
        "network.md",
        "network.claim.json",
        "network.onnx",
        "network.2.vnnlib",
        "network.vnnlib",
        "network.sha256",
    }
    assert {path.name for path in tmp_path.iterdir()} == names


# ── for verifiers: a small reader of the property, of ONNX by fractions ───────────────────────


def pieces(text: str) -> list[tuple[dict[str, tuple[Fraction, Fraction]], str, str, Fraction]]:
    """(box, output, comparison, number) of every `and` of a property."""
    found = []
    for line in re.findall(r"^  \(and (.*)\)$", text, re.M):
        parts = re.findall(r"\(([<>]=) ([XY]_\d+) (-?[0-9.]+)\)", line)
        ends = {(name, sign): Fraction(number) for sign, name, number in parts}
        box = {n: (ends[n, ">="], ends[n, "<="]) for n, _ in ends if n[0] == "X"}
        (output,) = [(sign, name, number) for sign, name, number in parts if name[0] == "Y"]
        found.append((box, output[1], output[0], Fraction(output[2])))
    assert found
    return found


def test_both_versions_of_the_language_say_the_same(folders: dict[str, tuple[Built, Path]]) -> None:
    for name in ("exact", "ridge"):
        folder = folders[name][1]
        one, two = ((folder / f"network{end}").read_text() for end in (".vnnlib", ".2.vnnlib"))
        assert "(declare-const X_1 Real)" in one
        numbers = re.findall(r" (-?[0-9][^ ()]*)\)", one + two)
        assert all(re.fullmatch(r"-?[0-9]+\.[0-9]+", number) for number in numbers)
        assert re.search(r"<2\.0>\)\n\(declare-network N \(declare-input X real \[1,\d\]\)", two)
        assert pieces(re.sub(r"([XY])\[0,(\d+)\]", r"\1_\2", two)) == pieces(one)


def onnx_layers(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Gemm and Relu in turn."""
    onnx = pytest.importorskip("onnx", reason="extra onnx is missing")
    graph = onnx.load(path).graph
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    gemms = [node for node in graph.node if node.op_type == "Gemm"]
    return [(arrays[n.input[1]], arrays[n.input[2]]) for n in gemms]


def broken(text: str, layers: list[tuple[np.ndarray, np.ndarray]], samples: int) -> int:
    """How many sampled inputs are counterexamples."""
    rng, count = random.Random(0), 0
    for box, output, sign, number in pieces(text):
        for _ in range(samples):
            x = [rng.uniform(float(a), float(b)) for a, b in box.values()]
            y = independent.network_value(*zip(*layers, strict=True), x)[int(output[2:])]
            count += y >= number if sign == ">=" else y <= number
    return count


@pytest.mark.parametrize(
    ("name", "file"),
    [("exact", "network.difference.onnx"), ("ridge", "network.onnx"), ("line", "network.onnx")],
)
def test_the_property_holds_at_samples_and_fails_of_a_changed_network(
    name: str, file: str, folders: dict[str, tuple[Built, Path]]
) -> None:
    folder = folders[name][1]
    layers = onnx_layers(folder / file)
    text = (folder / "network.vnnlib").read_text()
    assert broken(text, layers, 3) == 0
    matrix, bias = layers[-1]
    layers[-1] = matrix, bias + 1.0
    assert broken(text, layers, 3) > 0


def test_verifiers_get_nothing_where_there_is_nothing_to_prove(
    folders: dict[str, tuple[Built, Path]],
) -> None:
    for name, why in {
        "packed": "its values need",
        "probable": "its values need",
        "none": 'norm "none" says nothing',
    }.items():
        content = json.loads((folders[name][1] / "network.claim.json").read_text())
        assert why in content["onnx"]["refused"]
        assert not (folders[name][1] / "network.vnnlib").exists()


@pytest.mark.parametrize("depths", [(1, 1), (1, 3), (4, 2), (2, 2)])
def test_a_difference_is_the_difference(depths: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)

    def drawn(depth: int) -> vnnlib.Layers:
        sizes = [3, *[4] * (depth - 1), 2]
        pairs = zip(sizes[1:], sizes[:-1], strict=True)
        return [(rng.standard_normal((a, b)), rng.standard_normal(a)) for a, b in pairs]

    first, second = drawn(depths[0]), drawn(depths[1])
    both = vnnlib.subtracted(first, second)
    for x in rng.standard_normal((5, 3)).tolist():
        a, b, c = (
            independent.network_value(*zip(*layers, strict=True), x)
            for layers in (first, second, both)
        )
        assert [p - q for p, q in zip(a, b, strict=True)] == c


def test_the_file_that_a_target_was_read_from_is_named_by_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    from safetensors.torch import save_file

    save_file(model.state_dict(), path)
    target = dw.targets.Network(path)
    assert target.described()["file"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert target.digest == dw.targets.Network(model).digest
    assert target.digest != dw.targets.Network(model, radius=2).digest
