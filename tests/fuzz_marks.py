"""Mutated marks in a sweep's folder: none stops the sweep, and every cell ends with its own rows.

    python tests/fuzz_marks.py [--marks 10000] [--seed 0] [--only NUMBER]

Mark NUMBER of a seed is the same each time. The exit status is 1 where something else than a
Refusal was raised, or where a cell ended with other rows.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from depthwright import results
from depthwright.comparison import CHECKPOINT, CURVES
from depthwright.files import write_json
from depthwright.machine.provenance import MADE, Provenance
from depthwright.refusal import Refusal
from depthwright.results import RESULTS
from depthwright.runs import cell, store, watch
from depthwright.runs.aggregate import finished_cells
from depthwright.runs.config import CONFIG
from depthwright.runs.store import SWEEPS, Cell, complete

SOUND: dict[str, str] = {
    RESULTS: json.dumps([{"name": "0"}]),
    cell.RUNNING: json.dumps({"pid": 1, "host": "elsewhere", "job": None, "started": 1.7e9}),
    cell.ERROR: json.dumps({"error": "no", "type": "ValueError", "traceback": "lines"}),
    MADE: json.dumps({"device": "one", "versions": {"numpy": "2"}, "code": "ab", "clean": True}),
    CURVES: json.dumps({"slice": {"at": [0.0], "target": [1.0]}, "members": {}}),
    CONFIG: "accuracy: 0.1\ntarget: {name: cone, input_dim: 2}\n",
    CHECKPOINT: "training\n",
    cell.LOCK: "",
}
"""What a mark holds before it is mutated."""
STRANGE: list[Any] = [
    *(0, -1, 2**63, 10**400, 1e308, float("nan"), float("inf"), True, None, "", "\0", "é", "x" * 9),
    *([], {}, [[]], [{}], {"name": "0"}, [1] * 999, "[" * 3000, {"error": {"error": []}}),
]


def _other_bytes(content: bytes, chance: random.Random) -> bytes:
    """Some bytes changed, left out, doubled or put in."""
    at = chance.randrange(len(content) + 1)
    end = min(len(content), at + chance.choice([0, 1, 2, 9, 99]))
    new = chance.choice(
        [
            b"",
            bytes(chance.randrange(256) for _ in range(3)),
            content[at:end] * 3,
            b'"',
            b"{[",
            b"\xff",
        ]
    )
    return content[:at] + new + content[end:]


def _other_value(content: bytes, chance: random.Random) -> bytes:
    """A value somewhere inside is a strange one."""
    try:
        whole = json.loads(content)
    except ValueError:
        return _other_bytes(content, chance)
    strange = chance.choice(STRANGE)
    node, places = whole, []
    while isinstance(node, (dict, list)) and node:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = chance.choice(keys)
        places.append((node, key))
        node = node[key]
    if not places:
        return json.dumps(strange).encode()
    parent, key = chance.choice(places)
    parent[key] = strange
    return json.dumps(whole).encode()


def mutated(content: str, chance: random.Random) -> bytes:
    found = content.encode()
    for _ in range(chance.randint(1, 3)):
        found = chance.choice([_other_bytes, _other_value])(found, chance)
    return found


def launch(cells: Sequence[Cell]) -> list[None]:
    """Every cell's row is its name."""
    for each in cells:
        row: Callable[[], None] = partial(
            write_json, each.folder / RESULTS, [{"name": each.folder.name}]
        )
        once = partial(store.once, each.folder, row, each.columns)
        store.attempt(each.folder.name, each.folder, once)
    return [None] * len(cells)


def outcome(folder: Path, chance: random.Random) -> str:
    """What a mutated mark of one of three cells leads to, in words."""
    cells = [Cell((f"k={k}",), folder / "x" / str(k), ("name",)) for k in range(3)]
    complete(folder, cells[:2], launch)
    if chance.random() < 0.1:
        (harmed,) = (folder / SWEEPS).glob("*.json")
        name = SWEEPS
        content = harmed.read_text()
    else:
        name = chance.choice(list(SOUND))
        harmed = cells[chance.randrange(3)].folder / name
        harmed.parent.mkdir(parents=True, exist_ok=True)
        content = harmed.read_text() if harmed.is_file() else SOUND[name]
    harmed.write_bytes(mutated(content, chance))
    for each in cells:
        cell.state(each.folder)
        cell.error(each.folder)
        cell.started(each.folder)
        Provenance.read(each.folder)
    told = ""
    try:
        watch.draw(watch.look(folder))
    except Refusal:
        told = ", watch refuses"
    finished_cells(folder / "x")
    complete(folder, cells, launch)
    for k, each in enumerate(cells):
        found = results.read_rows(each.folder)
        own = {"name": str(k)}
        # a table that still has the cell's column is believed: it cannot be told from a true one
        kept = name == RESULTS and harmed.parent == each.folder
        if found != [own] and not (kept and all("name" in row for row in found)):
            raise AssertionError(f"cell {k} ended with {found}")
    return f"{name}{told}"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--marks", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    options = parser.parse_args(arguments)
    numbers = range(options.marks) if options.only is None else [options.only]
    counts: Counter[str] = Counter()
    raised = 0
    for number in numbers:
        folder = Path(tempfile.mkdtemp())
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                counts[outcome(folder, random.Random(f"{options.seed} {number}"))] += 1
        except Exception:
            raised += 1
            print(f"mark {number}: {traceback.format_exc()}")
        finally:
            shutil.rmtree(folder)
    for name, count in sorted(counts.items()):
        print(f"{count:8,} {name}")
    print(f"{raised} RAISED, seed {options.seed}")
    return int(raised > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
