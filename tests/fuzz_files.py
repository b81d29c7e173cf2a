"""Mutated network files of both formats: each is loaded and evaluated, or refused in a sentence.

    python tests/fuzz_files.py [--files 100000] [--seed 0] [--only NUMBER] [--seconds 2]

File NUMBER of a seed is the same each time. The exit status is 1 where one raised something else
than a Refusal or took more SECONDS of processor time, or where the process took 1 GB.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from depthwright.experiment import peak_gigabytes
from depthwright.networks import Builder, Network, load
from depthwright.networks.exact.network import from_arrays
from depthwright.networks.inputs import Inputs
from depthwright.networks.ridge import RidgeGroup, RidgeNetwork
from depthwright.networks.styled_network import StyledNetwork
from depthwright.networks.torch_network import ModuleNetwork
from depthwright.refusal import Refusal

MEGABYTES = 1000.0
"""Of the process, at its largest."""
DEEP = 3000

STRANGE: list[Any] = [
    0, -1, 1, 2, 7, 2**26, -(2**26), 2**26 + 1, 2**31, 2**53, 2**63, 2**64, 10**8, -(10**8),
    99_999_990, 10**3999, -(10**3999), 0.0, -0.0, 0.5, 1e300, -1e300, 5e-324, float("nan"),
    float("inf"), -float("inf"), True, False, None, "", "0", "-", "-0", "f", "F" * 9, "f" * 4000,
    "0x1", "1_0", " 1", "nan", "inf", "0x1p9999", "1e999", "é", "\0", "9" * 4000, "[1,2]", "exact",
    "float64", "int8", "F32", "F64", "F16", "BF16", "F8_E4M3", "F4", "I64", "U8", "BOOL", "C64",
    "depthwright-ridge", "depthwright-module", "depthwright-styled", "residual", [], {}, [[]],
    [0], [1], [1, 1], [0, 0], [-1], [2**63, 2**63], [10**8], [1] * 5000, [[0, 0, "1", 2**26]],
    [0, "1", -(2**26)], [0, 0, "1", 0], {"weights": [], "biases": []}, "[" * DEEP + "]" * DEEP,
]  # fmt: skip


def networks() -> list[Network]:
    """Small ones of every kind."""
    rng = np.random.default_rng(0)
    builder = Builder(2)
    x, y = builder.values
    (h,) = builder.relu([(x << 200) + (y >> 300) - 1])
    deep = builder.output([h * 3 + 5])
    maps = [
        (torch.from_numpy(rng.standard_normal((b, a))), torch.from_numpy(rng.standard_normal(b)))
        for a, b in ((2, 4), (4, 4), (4, 1))
    ]
    values = np.eye(3)[:, [0, 2]]
    values[1] = 0.6, 0.8
    indices = np.array([[0, 1], [1, 2], [1, 2]])
    group = RidgeGroup(indices, values, rng.standard_normal(3), np.array([0, 0.5]), np.ones(2))
    return [
        deep,
        from_arrays(
            [rng.standard_normal((4, 2)), rng.standard_normal((1, 4))],
            [rng.standard_normal(4), rng.standard_normal(1)],
            inputs=Inputs((-1.0, -1.0), (1.0, 1.0)),
        ),
        ModuleNetwork.of(maps),
        ModuleNetwork.of([(w.float(), b.float()) for w, b in maps]),
        StyledNetwork(maps, "residual"),
        RidgeNetwork(3, [group, group], 0.25),
    ]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything inside."""
    items = enumerate(value) if isinstance(value, list) else value.items()
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, (list, dict)):
            yield from places(inner)


def change_tree(draw: random.Random, tree: Any) -> Any:
    """Replace, remove, double or nest a part."""
    found = list(places(tree)) if isinstance(tree, (list, dict)) else []
    if not found or draw.random() < 0.02:
        return draw.choice(STRANGE)
    container, key = draw.choice(found)
    what = draw.random()
    if what < 0.7:
        container[key] = draw.choice(STRANGE)
    elif what < 0.8:
        del container[key]
    elif what < 0.9 and isinstance(container, list):
        container[key:key] = [container[key]] * draw.choice((1, 2, 1000))
    elif isinstance(container, dict):
        container[str(draw.choice(STRANGE))] = container[key]
    else:
        container[key] = [container[key]]
    return tree


def change_bytes(draw: random.Random, data: bytes) -> bytes:
    """Flip, cut, put in, repeat or blank some bytes."""
    data, at = bytearray(data), draw.randrange(len(data) + 1)
    size = draw.choice((1, 2, 8, 64))
    what = draw.randrange(6)
    if what == 0:
        for _ in range(size):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif what == 1:
        del data[at:]
    elif what == 2:
        del data[at : at + size]
    elif what == 3:
        data[at:at] = draw.randbytes(size)
    elif what == 4:
        data[at:at] = data[at : at + size] * draw.choice((1, 10, 10_000))
    else:
        data[at:at] = draw.choice((b" ", b"0", b"[", b"\n", b"[],", b"\0")) * draw.choice(
            (1, 10**6)
        )
    return bytes(data)


def change_lines(draw: random.Random, text: bytes) -> bytes:
    """One line of the exact format, as JSON."""
    lines = text.splitlines()
    at = draw.randrange(len(lines))
    if draw.random() < 0.1:
        lines[at : at + 1] = draw.choice(([], [lines[at]] * 2, [b"[" * DEEP + b"]" * DEEP]))
        return b"\n".join(lines) + b"\n"
    tree = change_tree(draw, json.loads(lines[at]))
    lines[at] = json.dumps(tree).encode()
    return b"\n".join(lines) + b"\n"


def change_header(draw: random.Random, data: bytes) -> bytes:
    """That of a safetensors file."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    words = header["__metadata__"]
    if draw.random() < 0.5:  # the library reads words alone
        change_tree(draw, words)
        if draw.random() < 0.9:
            header["__metadata__"] = {str(k): str(v) for k, v in words.items()}
    else:
        header = change_tree(draw, header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def mutated(draw: random.Random, suffix: str, data: bytes) -> bytes:
    """Another file of that suffix, damaged in one to three places."""
    packed = suffix == ".jsonl.gz"
    if draw.random() < 0.2:
        return change_bytes(draw, data)
    inner = gzip.decompress(data) if packed else data
    for _ in range(draw.choice((1, 1, 2, 3))):
        change: Callable[[random.Random, bytes], bytes] = change_bytes
        if draw.random() < 0.75:
            change = change_lines if packed else change_header
        try:
            inner = change(draw, inner)
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, RecursionError):
            break  # it can no more be parsed: damaged enough
    return gzip.compress(inner, 1) if packed else inner


def outcome(path: Path) -> str:
    """Loaded and evaluated, or refused; anything else is raised."""
    try:
        network = load(path)
    except Refusal:
        return "refused"
    try:
        network.evaluate(torch.zeros(1, network.architecture.input_dim, dtype=torch.float64))
    except Refusal:
        return "loaded, evaluation refused"
    return "loaded and evaluated"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    parser.add_argument("--seconds", type=float, default=2.0)
    given = parser.parse_args(arguments)
    print(f"seed {given.seed}", flush=True)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    outcomes: Counter[str] = Counter()
    slowest = (0.0, 0)
    with tempfile.TemporaryDirectory() as folder:
        whole = []
        for number, network in enumerate(networks()):
            path = Path(folder) / f"{number}{network.suffix}"
            network.save(path)
            assert outcome(path) == "loaded and evaluated"
            whole.append((network.suffix, path.read_bytes()))
        for number in range(given.files) if given.only is None else [given.only]:
            draw = random.Random(f"{given.seed} {number}")
            suffix, data = draw.choice(whole)
            path = Path(folder) / f"mutated{suffix}"
            path.write_bytes(mutated(draw, suffix, data))
            start = time.process_time()
            try:
                outcomes[outcome(path)] += 1
            except Exception:
                outcomes["RAISED"] += 1
                print(f"file {number}, {suffix}:\n{traceback.format_exc(limit=-3)}", flush=True)
            slowest = max(slowest, (time.process_time() - start, number))
    megabytes = 1000 * peak_gigabytes()
    for what, count in sorted(outcomes.items()):
        print(f"{count:8,} {what}")
    print(f"slowest {slowest[0]:.2f} s (file {slowest[1]}), largest {megabytes:.0f} MB")
    return int("RAISED" in outcomes or slowest[0] > given.seconds or megabytes > MEGABYTES)


if __name__ == "__main__":
    sys.exit(main())
