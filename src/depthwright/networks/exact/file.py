"""The open exact format, written and read: gzipped JSON lines, suffix .jsonl.gz.

Line 1, the header: {"format": "depthwright-exact", "version": 2, "input_dim": d,
"layer_sizes": [n_1, …, n_L], "arithmetic": "exact", "inputs": I or null, "value_bits": n or null},
where I = {"lower": [d numbers], "upper": [d numbers], "numbers": "real", "float64" or "float32",
"grid": step or null} says for which inputs the network was built (null: for all); files of version
1 have "radius": A or null instead, which means all of [−A, A]^d.
Then one line per layer: {"weights": [[row, column, "integer in hex", power_of_two], …],
"biases": [[row, "integer in hex", power_of_two], …]}. An entry is integer × 2^power_of_two, rows
and columns start at 0, entries not listed are 0, entries listed twice add up. σ after every layer
but the last. Reading runs no code: a file is parsed as JSON, checked, and refused with what is
wrong if it is damaged.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from depthwright.files import whole_file
from depthwright.networks.arithmetic import Arithmetic
from depthwright.networks.exact.layer import BIAS, Layer, Patterns
from depthwright.networks.exact.layer_lines import (
    EACH,
    EMPTY,
    HEADER_LIMIT,
    SPAN_LIMIT,
    Lines,
    check_cancelled,
    parsed,
    read_layer,
    short,
    spans,
)
from depthwright.networks.inputs import NUMBERS, Inputs
from depthwright.progress import Bar
from depthwright.refusal import Refusal

SUFFIX = ".jsonl.gz"
FORMAT, VERSION = "depthwright-exact", 2
SIZE_LIMIT = 10**8
"""Networks of more slots than this, inputs included, are refused before any work."""


class Contents(NamedTuple):
    """What a file holds: the fields of an ExactNetwork."""

    layers: tuple[Layer, ...]
    arithmetic: Arithmetic
    inputs: Inputs | None
    value_bits: int | None


def save(contents: Contents, path: str | Path) -> None:
    """Write them, whole or not at all."""
    path = Path(path)
    _check_suffix(path)
    with (
        whole_file(path) as partial,
        partial.open("wb") as raw,
        # no name and no time: equal networks give equal bytes
        gzip.GzipFile("", "wb", compresslevel=4, fileobj=raw, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="ascii", newline="\n") as file,
        Bar(f"saving {path.name}") as bar,
    ):
        for number, line in enumerate(lines(contents)):
            file.write(line + "\n")
            bar(number / len(contents.layers))


def load(path: str | Path) -> Contents:
    """Read them back; a damaged file is refused with what is wrong with it."""
    path = Path(path)
    _check_suffix(path)
    if not path.is_file():
        raise Refusal(f"{path} is not there")
    try:
        with gzip.open(path, "rt", encoding="ascii") as file, Bar(f"loading {path.name}") as bar:
            return parse(file, str(path), bar)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise Refusal(f"{path} is damaged: {error}; save it again") from error


def _check_suffix(path: Path) -> None:
    if not path.name.endswith(SUFFIX):
        raise Refusal(f"{path.name} does not end in {SUFFIX}, the suffix of the exact format")


def lines(network: Contents) -> Iterator[str]:
    """The file's lines, before compression."""
    header = {
        "format": FORMAT,
        "version": VERSION,
        "input_dim": network.layers[0].fan_in,
        "layer_sizes": [layer.fan_out for layer in network.layers],
        "arithmetic": network.arithmetic,
        "inputs": None if network.inputs is None else asdict(network.inputs),
        "value_bits": network.value_bits,
    }
    yield json.dumps(header)
    for layer in network.layers:
        weights, biases = [], []
        for row, column, integer, power in layer.terms:  # JSON by hand: half the time
            if column == BIAS:
                biases.append(f'[{row},"{integer:x}",{power}]')
            else:
                weights.append(f'[{row},{column},"{integer:x}",{power}]')
        yield f'{{"weights":[{",".join(weights)}],"biases":[{",".join(biases)}]}}'


def parse(file: TextIO, name: str, told: Callable[[float], None] = lambda part: None) -> Contents:
    """From the lines of a file; `told` hears the share of the layers that was read."""
    lines = Lines(file, name)
    first = lines.piece(HEADER_LIMIT)
    if len(first) == HEADER_LIMIT:
        raise Refusal(f"{name} is not a {FORMAT} file: its first line has no end")
    header = parsed(first, f"{name}, line 1")
    sizes = _check_header(header, name)
    patterns, layers = Patterns(), []
    fan_in = header["input_dim"]
    declared, listed = fan_in, 0
    values: list[tuple[int, int]] = []
    for number, fan_out in enumerate(sizes, 2):
        told((number - 2) / len(sizes))
        place = f"{name}, line {number}"
        layer = read_layer(lines, fan_in, fan_out, patterns, place)
        if layer is None:
            raise Refusal(f"{place}: the file ends after {number - 2} of {len(sizes)} layers")
        declared, listed = declared + fan_out, listed + len(layer.rows)
        if declared > EMPTY + EACH * listed:
            raise Refusal(
                f"{place}: {declared} inputs and neurons up to there have {listed} entries only; "
                "leave out those without any"
            )
        values = spans(layer, values or [(-1074, 1024)] * fan_in, lines.taken, place)
        check_cancelled(layer, place)
        layers.append(layer)
        fan_in = fan_out
    if lines.piece(1):
        raise Refusal(f"{name} goes on after its {len(sizes)} layers")
    return Contents(tuple(layers), header["arithmetic"], _inputs(header), header["value_bits"])


def _whole(value: Any, low: int, high: float = math.inf) -> bool:
    return type(value) is int and low <= value <= high


def _number(value: Any) -> bool:
    """Finite, in the range of floats."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _radius(value: Any) -> bool:
    """None, or a positive number in the range of floats."""
    return value is None or (_number(value) and value > 0)


def _box(value: Any, input_dim: Any) -> bool:
    """None, or what `Inputs` holds, with lower below upper."""
    if value is None:
        return True
    if not isinstance(value, dict) or set(value) != {f.name for f in fields(Inputs)}:
        return False
    sides = value["lower"], value["upper"]
    if not all(isinstance(side, list) and len(side) == input_dim for side in sides):
        return False
    if not all(_number(v) for side in sides for v in side):
        return False
    return (
        all(low <= high for low, high in zip(*sides, strict=True))
        and value["numbers"] in NUMBERS
        and _radius(value["grid"])
    )


def _inputs(header: dict[str, Any]) -> Inputs | None:
    """What the network was built for; files of version 1 know cubes only."""
    if header["version"] == 1:
        radius = header["radius"]
        return None if radius is None else Inputs.cube(header["input_dim"], float(radius))
    stored = header["inputs"]
    if stored is None:
        return None
    lower, upper = (tuple(map(float, stored[name])) for name in ("lower", "upper"))
    return Inputs(lower, upper, stored["numbers"], stored["grid"])


def _check_header(header: Any, name: str) -> list[int]:
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise Refusal(f"{name} is not a {FORMAT} file: its first line does not say so")
    if not _whole(header.get("version"), 1, VERSION):
        raise Refusal(
            f"{name} has format version {short(header.get('version'))}, "
            f"this program reads 1 to {VERSION}"
        )
    sizes = header.get("layer_sizes")
    checks = {
        "input_dim": _whole(header.get("input_dim"), 1),
        "layer_sizes": isinstance(sizes, list) and sizes and all(_whole(n, 1) for n in sizes),
        "arithmetic": header.get("arithmetic") in ("float32", "float64", "exact"),
        "inputs": "inputs" in header and _box(header["inputs"], header.get("input_dim")),
        "value_bits": "value_bits" in header
        and (header["value_bits"] is None or _whole(header["value_bits"], 1, SPAN_LIMIT)),
    }
    if header["version"] == 1:
        del checks["inputs"]
        checks["radius"] = "radius" in header and _radius(header["radius"])
    for key, good in checks.items():
        if not good:
            raise Refusal(f"{name}: {key} is {short(header.get(key))}, which it cannot be")
    total = header["input_dim"] + sum(header["layer_sizes"])
    if total > SIZE_LIMIT:
        raise Refusal(
            f"{name}: input_dim and layer_sizes sum up to {short(total)}, more than "
            f"{SIZE_LIMIT}; such a network cannot be evaluated, give a smaller one"
        )
    return sizes  # type: ignore[return-value]
