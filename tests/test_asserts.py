"""`python -O` removes assert statements, so no promise may hang on one."""

import ast
from pathlib import Path

import pytest

import depthwright

SOURCE = Path(depthwright.__file__).parent


def checks(source: str) -> list[str]:
    """The assert statements that do more than tell the type checker a type."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assert):
            text = ast.unparse(node.test)
            narrows = text.startswith("isinstance(") or text.endswith(" is not None")
            if not narrows or isinstance(node.test, ast.BoolOp):
                found.append(text)
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.stem)
def test_no_promise_is_checked_by_assert(path: Path) -> None:
    assert checks(path.read_text(encoding="utf-8")) == []


def test_every_such_line_is_found() -> None:
    assert checks("assert claim.bound <= accuracy, 'why'") == ["claim.bound <= accuracy"]
    assert checks("assert isinstance(x, int) and x > 0") != []
    assert checks("assert x is not None") == checks("assert isinstance(x, int)") == []
