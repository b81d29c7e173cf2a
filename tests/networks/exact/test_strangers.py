"""Files of the open exact format that somebody else may have made: small, valid at a glance, and
meant to fill the memory. What is refused is refused at once."""

import contextlib
import gzip
import json
import tracemalloc

import numpy as np
import pytest
import torch

import independent
from depthwright.networks import Builder, load
from depthwright.networks.exact import balls, integers, layer_lines
from depthwright.refusal import Refusal

FAR = 1 << 26
NOTHING = '{"weights":[],"biases":[]}'
MEMORY = 300e6
"""Bytes; each of these files filled gigabytes."""


def header(sizes, input_dim=1, **changes):
    return json.dumps(
        {
            "format": "depthwright-exact",
            "version": 2,
            "input_dim": input_dim,
            "layer_sizes": sizes,
            "arithmetic": "exact",
            "inputs": None,
            "value_bits": None,
            **changes,
        }
    )


def layer(weights, biases=()):
    parts = (",".join(json.dumps(list(entry)) for entry in part) for part in (weights, biases))
    return '{{"weights":[{}],"biases":[{}]}}'.format(*parts)


def write(path, *lines, then=(b"", 0)):
    """The lines, then a part so many times over: compressed once, as members of its own."""
    part, times = then
    text = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(text) + gzip.compress(part) * times)


def wide_rows():
    rows = [(r, 0, "1", sign * FAR) for r in range(1000) for sign in (1, -1)]
    return [header([1000, 1]), layer(rows), layer([(0, 0, "1", 0)])]


def one_row():
    entries = [(0, 0, "1", sign * (FAR - 99 * k)) for k in range(1000) for sign in (1, -1)]
    return [header([1]), layer(entries)]


BLANKS = b" " * 10**7
OPEN = [header([1]), '{"weights":[']
FILES = {
    "rows": (wide_rows(), (b"", 0), "line 2: the terms there may need 268439658000 bits"),
    "row": (one_row(), (b"", 0), "line 2: the terms there may need 2684396"),
    "empty_layer": ([header([99_999_990]), NOTHING], (b"", 0), "have 0 entries only"),
    "empty_layers": ([header([10**4] * 9000), *[NOTHING] * 9000], (b"", 0), "0 entries only"),
    "empty_inputs": ([header([1], 10**8 - 1), NOTHING], (b"", 0), "have 0 entries only"),
    "zeros": ([], (bytes(10**7), 100), "not a depthwright-exact file: its first line has no end"),
    "blanks": ([], (BLANKS, 100), "its first line has no end"),
    "blanks_later": ([header([1])], (BLANKS, 100), "line 2 does not hold weights"),
    "blanks_inside": (OPEN[:1], (b'{"weights":[' + BLANKS, 100), "thousands of blanks"),
    "blank_lines": ([header([1])], (b"\n" * 10**7, 100), "line 2 is not JSON"),
    "lists": (OPEN[:1], (b'{"weights":[' + b"[]," * 10**6, 26), r"line 2: \[\] is not \[row"),
    "hexadecimal": (OPEN[:1], (b'{"weights":[[0,0,"1' + b"f" * 10**7, 30), "16777216 digits"),
    "after": ([header([1]), layer([(0, 0, "1", 0)])], (b"0" * 10**7, 100), "goes on after"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bomb_is_refused_before_it_unpacks(tmp_path, name):
    lines, then, message = FILES[name]
    path = tmp_path / "n.jsonl.gz"
    write(path, *lines, then=then)
    tracemalloc.start()
    try:
        with pytest.raises(Refusal, match=message):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([header([1], value_bits=10**3999), NOTHING], "value_bits is 1000000"),
        ([header([10**3999]), NOTHING], "sum up to 1000000"),
        ([header([]), NOTHING], r"layer_sizes is \[\]"),
        ([header([0]), NOTHING], r"layer_sizes is \[0\]"),
        (["[" * 3000 + "]" * 3000], "line 1 is not JSON"),
        ([header([1]), "[" * 3000 + "]" * 3000], "line 2 is not JSON"),
        ([header([1]), layer([(0, 0, "f" * (FAR // 4 + 2), 0)])], "16777216 digits"),
        ([header([1]), layer([(0, 0, "1", 200 * k) for k in range(1025)])], "1025 times"),
    ],
)
def test_numbers_that_no_network_has(tmp_path, lines, message):
    path = tmp_path / "n.jsonl.gz"
    write(path, *lines)
    with pytest.raises(Refusal, match=message) as refusal:
        load(path)
    assert len(str(refusal.value)) < 500 + len(str(path))


def long_line(damage=str):
    """More than a piece: 30,000 weights, then one of a million digits."""
    many = layer([(0, c, f"-{c:x}1", -c) for c in range(30_000)], [(0, "-7" + "0" * 10**6, 5)])
    assert len(many) > layer_lines.PIECE
    return [header([1], 30_000), damage(many)]


def biases_first(line):
    data = json.loads(line)
    return json.dumps({key: data[key] for key in ("biases", "weights")})


@pytest.mark.parametrize(
    "spelling",
    [
        str,
        lambda line: line.replace("],", "] ,  ").replace("[0", "[ 0").replace("}", " } "),
        biases_first,
    ],
    ids=["ours", "blanks", "biases_first"],
)
@pytest.mark.parametrize("piece", [layer_lines.PIECE, 1 << 10])
def test_a_long_line_is_read_in_pieces(tmp_path, monkeypatch, spelling, piece):
    path = tmp_path / "n.jsonl.gz"
    write(path, *long_line(spelling))
    monkeypatch.setattr(layer_lines, "PIECE", piece)
    network = load(path)
    data = json.loads(long_line()[1])
    wanted = {(r, c, int(i, 16), p) for r, c, i, p in data["weights"]}
    wanted.add((0, -1, int(data["biases"][0][1], 16), 5))
    assert set(network.layers[0].terms) == wanted
    assert len(network.layers[0].rows) == 30_001


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda line: line[:-1], "ends in the middle"),
        (lambda line: line[:-2], "ends in the middle"),
        (lambda line: line[: layer_lines.PIECE + 9], "ends in the middle"),
        (lambda line: line + "}", "does not hold weights and biases"),
        (lambda line: line.replace('"biases"', '"weights"'), "does not hold weights and biases"),
        (lambda line: line.replace('"biases"', '"more"'), "does not hold weights and biases"),
        (lambda line: line.replace("],[", "] [", 1), "is not JSON"),
        (lambda line: line.replace("],[", "],,[", 1), "is not JSON"),
        (lambda line: line.replace("],[", "],[[],", 1), r"is not"),
        (lambda line: line.replace("[0, 7,", "[0, 30000,", 1), "column < 30000"),
        (lambda line: line.replace("[[", "[,[", 1), "is not JSON"),
    ],
)
def test_damage_in_a_long_line_is_named(tmp_path, damage, message):
    path = tmp_path / "n.jsonl.gz"
    write(path, *long_line(damage))
    with pytest.raises(Refusal, match=message):
        load(path)


def test_lines_of_every_length_around_a_piece_are_read(tmp_path, monkeypatch):
    path = tmp_path / "n.jsonl.gz"
    builder = Builder(2)
    x, y = builder.values
    h = builder.relu([x - y, y * 3 + 5, x * 7])
    network = builder.output([h[0] - h[1] + h[2] * 257 - 9])
    network.save(path)
    wanted = independent.evaluate(path, [0.5, 0.25])
    for piece in range(8, 200):
        monkeypatch.setattr(layer_lines, "PIECE", piece)
        values = load(path).evaluate(torch.tensor([[0.5, 0.25]], dtype=torch.float64))
        assert [values.item()] == wanted


def test_equal_networks_give_equal_bytes(tmp_path):
    builder = Builder(1)
    network = builder.output([builder.values[0] * 3])
    network.save(tmp_path / "one.jsonl.gz")
    network.save(tmp_path / "two.jsonl.gz")
    one, two = ((tmp_path / f"{name}.jsonl.gz").read_bytes() for name in ("one", "two"))
    assert one == two
    assert one[4:8] == bytes(4)  # no time
    assert not one[3]  # no name


@pytest.mark.parametrize(("neurons", "batch", "cure"), [(300, 1, "cannot be"), (3, 200, "fewer")])
def test_evaluation_ends_before_the_memory_does(neurons, batch, cure):
    """GMP ends the process where it gets no more memory."""
    builder = Builder(1)
    (x,) = builder.values
    hidden = builder.relu([(x << FAR) + (x >> FAR) for _ in range(neurons)])
    network = builder.output([hidden[0] - hidden[-1]])
    points = torch.ones(batch, 1, dtype=torch.float64)
    with pytest.raises(Refusal, match=f"for {batch} inputs, more than .*{cure}"):
        network.evaluate(points, "exact", engine="integers")


def test_values_that_are_shorter_than_they_might_be_are_evaluated(monkeypatch):
    """A bound that says too much is replaced by what is there: no value here grows."""
    monkeypatch.setattr(integers, "MEMORY_LIMIT", 60_000)
    builder = Builder(1)
    (x,) = builder.values
    for _ in range(100):
        (x,) = builder.relu([(x << 1000) + 1])
        (x,) = builder.relu([x >> 1001])
    network = builder.output([x])
    values = network.evaluate(torch.ones(10, 1, dtype=torch.float64), "exact", engine="integers")
    assert values.isfinite().all()


@pytest.mark.parametrize(("module", "bits"), [(integers, None), (balls, 1 << 22)])
def test_a_long_layer_says_row_by_row_how_far_it_is(monkeypatch, module, bits):
    """One layer may take hours; the bar used to move between layers only."""
    told = []
    monkeypatch.setattr(module, "Bar", lambda name: contextlib.nullcontext(told.append))
    builder = Builder(1)
    (x,) = builder.values
    hidden = builder.relu([(x << (1 << 16)) + (x >> (1 << 16)) for _ in range(8)])
    network = builder.output([hidden[0] - hidden[-1]])
    points = np.full((256, 1), 0.5)
    if bits is None:
        integers.exact_values(network.layers, points)
    else:
        balls.rounded(network.layers, points, bits, 2 * bits)
    assert told[:8] == [k / 16 for k in range(8)]
    assert told == sorted(told)
    assert told[-1] == 1.0
