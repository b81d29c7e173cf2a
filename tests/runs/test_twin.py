"""`depthwright twin`: from a file to a saved twin and its claim; bad input in one sentence."""

from __future__ import annotations

import dataclasses
import re
from fractions import Fraction
from pathlib import Path
from unittest import mock

import pytest

import depthwright as dw
import independent
from depthwright.cli import guard
from depthwright.constructions import NarrowPacked
from depthwright.networks.exact.network import from_arrays
from depthwright.networks.torch_network import ModuleNetwork
from depthwright.refusal import Refusal
from depthwright.runs.twin import twin

WIDE = dw.targets.RandomNetwork(2, width=6, depth=2, output_dim=3, lower=0, upper=[1, 2])
BOX = ["--lower=0", "--upper=1,2"]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    ModuleNetwork(WIDE.as_network().to_torch()).save("model.safetensors")
    return "model.safetensors"


def test_a_twin_is_sized_built_checked_and_saved(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    twin([model, *BOX, "--accuracy", "0.05", "--samples=200", "-o", "twin.jsonl.gz"])
    told = capsys.readouterr().out
    assert "declares no box" not in told
    for name in ("narrow_bits", "narrow_exact", "narrow_packed"):
        recipe = dw.constructions.REGISTRY[name]
        own = {} if name == "narrow_exact" else {"accuracy": 0.05}
        size = recipe(WIDE, **own).architecture()  # type: ignore[arg-type]
        assert re.search(rf"{name} +{size.width:,} +{size.depth:,} +{size.parameters:,} ", told)
    built = dw.load_built("twin.jsonl.gz")
    assert built.claim == NarrowPacked(WIDE, accuracy=0.05).build().claim
    bound = Fraction(built.claim.bound)
    assert f"claim: error at most {built.claim.bound:.4g} for every float64" in told
    found = re.search(
        r"largest error (\S+)\n +the same output is largest at (\d+); .* at (\d+)", told
    )
    assert found
    assert 0 < float(found[1]) <= bound
    assert 0 < int(found[3]) <= int(found[2]) <= 200
    for x in ([0.25, 1.5], [1.0, 0.0]):
        ours = independent.evaluate("twin.jsonl.gz", x)
        theirs = independent.network_value(WIDE.weights, WIDE.biases, x)
        assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) <= bound


def test_an_exact_twin_is_named_after_its_file(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    twin([model, "--construction=narrow_exact_slim", "--samples=5"])
    assert "are taken to lie in [-1, 1]" in capsys.readouterr().out
    assert dw.load_built("model.twin.jsonl.gz").construction == "NarrowExactSlim"


def test_own_units_an_order_a_shape_and_the_smallest_output_are_options(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    units = ["--mean", "-1,0.5", "--scale=2,4", "--input-shape=2", "--order=0,2"]
    box = ["--lower", "-1,0", "--upper", "1,2"]
    twin([model, *box, *units, "--smallest", "--samples=50", "-o", "twin.jsonl.gz"])
    assert "the same output is smallest at" in capsys.readouterr().out
    built = dw.load_built("twin.jsonl.gz")
    assert built.network.inputs is not None
    assert built.network.inputs.lower == (-1, 0)
    for x in ([-0.5, 1.5], [1.0, 0.0]):
        ours = independent.evaluate("twin.jsonl.gz", x)
        of_units = [(x[0] + 1) / 2, (x[1] - 0.5) / 4]  # no rounding: powers of two
        theirs = independent.network_value(WIDE.weights, WIDE.biases, of_units)
        gap = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
        assert gap <= Fraction(built.claim.bound)


def test_a_twin_that_breaks_its_claim_is_told(model: str) -> None:
    real = NarrowPacked.build

    def wrong(self: NarrowPacked) -> dw.constructions.Built:
        network = from_arrays(WIDE.weights, [*WIDE.biases[:-1], WIDE.biases[-1] + 0.06], "exact")
        return dataclasses.replace(real(self), network=network)

    with (
        mock.patch.object(NarrowPacked, "build", wrong),
        pytest.raises(Refusal, match="breaks the claim"),
    ):
        twin([model, *BOX, "--accuracy=0.05", "--samples=5"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "arguments are required: file"),
        (["nothing.onnx"], "nothing.onnx is not there"),
        (["model.safetensors", "--accuracy=0"], "accuracy=0.0 is not a positive number"),
        (["model.safetensors", "--accuracy=x"], "invalid float value: 'x'"),
        (["model.safetensors", "--lower=0"], "upper is not given"),
        (["model.safetensors", "--lower=0", "--upper=1,2,3"], "upper has shape"),
        (["model.safetensors", "--lower=0;1", "--upper=2"], "neither a number nor numbers"),
        (["model.safetensors", "--scale", "-a"], "expected one argument"),
        (["model.safetensors", "--mean=a"], "write for example --mean=-1"),
        (["model.safetensors", "--order=0,1"], "does not name each of the layers"),
        (["model.safetensors", "--input-shape=1,x"], "'1,x' is no shape"),
        (["model.safetensors", "--samples=0"], "samples=0 is below 1"),
        (["model.safetensors", "--seed=-1"], "seed=-1 is negative"),
        (["model.safetensors", "-o", "twin"], "twin does not end in .jsonl.gz"),
        (["model.safetensors", "-o", "model.safetensors/a.jsonl.gz"], "cannot be written to"),
        (["model.safetensors", "--construction=ridge"], "invalid choice: 'ridge'"),
        (["model.safetensors", "--failure-probability=1"], "is not in [0, 1)"),
        (["model.safetensors", "--acuracy=1"], "unrecognized arguments: --acuracy=1"),
    ],
    ids=str,
)
def test_bad_input_gets_a_sentence_and_a_status(
    words: list[str], says: str, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        guard(lambda: twin(words), cure="")
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert says in told
    assert told.startswith("depthwright: ")
    assert told.count("\n") == 1
