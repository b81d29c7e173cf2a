""".nnet files: in their own units, with their box; damaged ones refused by line."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from depthwright.networks.reading import read
from depthwright.refusal import Refusal
from depthwright.targets import Network

TEXT = """// a comment
2,2,1,3,
2,3,1,
0,
-1.0,100,
7.0,1200.5,
3.0,650.0,0.25,
4.0,1100.0,7.5,
0.1,-0.2,
0.3,0.4,
-5e-1,0.625,
0.01,
-0.02,
0.3,
1.5,-2.25,0.7,
0.125,
"""


def saved(tmp_path, text=TEXT):
    path = tmp_path / "net.nnet"
    path.write_text(text)
    return path


def by_hand(x):
    """The same network in rationals, as the format's own reader evaluates it."""
    numbers = [
        [Fraction(float(v)) for v in line.split(",") if v] for line in TEXT.split("\n")[1:-1]
    ]
    means, ranges = numbers[5], numbers[6]
    h = [(Fraction(v) - m) / r for v, m, r in zip(x, means, ranges, strict=False)]
    first, last = (numbers[7:10], numbers[10:13]), (numbers[13:14], numbers[14:15])
    for k, (rows, biases) in enumerate((first, last)):
        h = [max(v, Fraction(0)) for v in h] if k else h
        h = [
            sum(a * b for a, b in zip(r, h, strict=True)) + c[0]
            for r, c in zip(rows, biases, strict=True)
        ]
    return h[0] * ranges[-1] + means[-1]


def test_values_are_those_of_the_file_in_its_own_units(tmp_path):
    target = Network(saved(tmp_path))
    assert target.widths == (2, 3, 1)
    assert (target.lower.tolist(), target.upper.tolist()) == ([-1.0, 100.0], [7.0, 1200.5])
    assert target.plain.sizes == (
        "net.nnet with 13 parameters → plain layers of width 3, depth 2, 13 parameters"
    )
    assert 0 < target.reading_error <= 1e-13
    exact = target.as_network()
    points = np.random.default_rng(0).uniform(target.lower, target.upper, (20, 2))
    layers = list(zip(target.weights, target.biases, strict=True))
    for point in points.tolist():
        h = [Fraction(v) for v in point]
        for k, (weight, bias) in enumerate(layers):
            h = [max(v, Fraction(0)) for v in h] if k else h
            h = [
                sum(Fraction(w) * v for w, v in zip(row, h, strict=True)) + Fraction(b)
                for row, b in zip(weight.tolist(), bias.tolist(), strict=True)
            ]
        assert 0 < abs(h[0] - by_hand(point)) <= Fraction(target.reading_error)
    assert exact.architecture.input_dim == 2


def test_a_box_of_ones_own_comes_first(tmp_path):
    target = Network(saved(tmp_path), lower=0.0, upper=[1.0, 200.0])
    assert target.upper.tolist() == [1.0, 200.0]
    assert Network(saved(tmp_path), radius=2.0).lower.tolist() == [-2.0, -2.0]


DAMAGED = {
    "the file ends before a bias": "\n".join(TEXT.split("\n")[:-2]) + "\n",
    "more lines than its layers have": TEXT + "1.0,\n",
    "weights are 2 finite numbers, here stand 3": TEXT.replace("0.1,-0.2,", "0.1,-0.2,0.3,"),
    "could not convert string": TEXT.replace("0.625", "five"),
    "weights are 2 finite numbers, here stand 2": TEXT.replace("0.625", "nan"),
    "layer sizes": TEXT.replace("\n2,3,1,\n", "\n2,3,2,\n"),
    "a minimum above its maximum": TEXT.replace("7.0,1200.5", "-7.0,1200.5"),
    "a range of 0": TEXT.replace("1100.0,", "0.0,"),
    "-1 layers": TEXT.replace("2,2,1,3,", "-1,2,2,3,").replace("\n2,3,1,\n", "\n,\n"),
    "0 layers": TEXT.replace("2,2,1,3,", "0,2,2,3,").replace("\n2,3,1,\n", "\n2,\n"),
    "are whole numbers": TEXT.replace("2,2,1,3,", "2,2,1.5,3,"),
}


@pytest.mark.parametrize("words", DAMAGED)
def test_damaged_files_are_refused_by_line(tmp_path, words):
    with pytest.raises(Refusal, match=rf"net.nnet, line \d+: .*{words}"):
        read(saved(tmp_path, DAMAGED[words]))


def test_a_file_that_is_too_long_is_refused(tmp_path):
    path = saved(tmp_path)
    with path.open("r+b") as file:
        file.truncate(2**40)  # no block of it is written
    with pytest.raises(Refusal, match="1,099,511,627,776 bytes, more than"):
        read(path)


def test_a_binary_file_is_refused(tmp_path):
    (tmp_path / "net.nnet").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Refusal, match="cannot be read"):
        read(tmp_path / "net.nnet")
