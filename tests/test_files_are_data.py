"""No file is read with anything that could execute what is in it."""

import ast
import gzip
import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

import depthwright
from depthwright.networks import load
from depthwright.networks.reading import read
from depthwright.refusal import Refusal

SOURCE = Path(depthwright.__file__).parent
MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
CALLS = {"eval", "exec", "compile", "load_from_checkpoint", "read_pickle"}
LOADERS = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
UNSAFE = {"weights_only": False, "allow_pickle": True}


def dangers(source: str) -> list[str]:
    """What in a module could execute a file."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in MODULES:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {
                k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)
            }
            key, safe = LOADERS.get(name, (None, None))
            if key and given.get(key) is not safe:
                found.append(name)
            if name in CALLS or name.split(".")[-1] in CALLS - {"compile", "eval"}:
                found.append(name)
            found += [f"{k}={v}" for k, v in given.items() if k in UNSAFE and v is UNSAFE[k]]
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: p.name)
def test_no_module_reads_a_file_that_could_execute(path: Path) -> None:
    assert dangers(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "engine.fit(module, ckpt_path=path, weights_only=False)",
        "Module.load_from_checkpoint(path)",
        "eval(text)",
    ],
)
def test_every_such_line_is_found(line: str) -> None:
    assert dangers(line) != []
    assert dangers("torch.load(path, weights_only=True)") == []


class Payload:
    """Creates a file as soon as it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("form", ["pickle", "zip", "gzip"])
@pytest.mark.parametrize("suffix", [".safetensors", ".jsonl.gz", ".onnx", ".nnet", ".pt", ".npy"])
def test_a_file_that_would_run_code_is_refused(tmp_path: Path, suffix: str, form: str) -> None:
    mark = tmp_path / "was here"
    plain, zipped = pickle.dumps(Payload(mark)), io.BytesIO()
    torch.save({"0.weight": Payload(mark)}, zipped)
    data = {"pickle": plain, "zip": zipped.getvalue(), "gzip": gzip.compress(plain)}[form]
    path = tmp_path / f"network{suffix}"
    path.write_bytes(data)
    for reader in (load, read):
        with pytest.raises(Refusal):
            reader(path)
    assert not mark.exists()
    pickle.loads(plain)
    assert mark.exists()  # it does run, where it is let
