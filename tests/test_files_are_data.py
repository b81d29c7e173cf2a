"""No file is read with anything that could execute what is in it."""

import ast
from pathlib import Path

import pytest

import depthwright

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
