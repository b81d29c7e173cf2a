"""An evaluator of the open exact format that shares no code with the package.

Python integers only: values are fractions numerator / 2^k with one k per layer.
"""

import gzip
import json
from fractions import Fraction


def evaluate(path, x):
    """Outputs at one input (a list of floats), as exact fractions."""
    with gzip.open(path, "rt") as file:
        header = json.loads(file.readline())
        assert header["format"] == "depthwright-exact"
        assert header["version"] in (1, 2)
        assert len(x) == header["input_dim"]
        values = [Fraction(v) for v in x]
        for i, size in enumerate(header["layer_sizes"]):
            layer = json.loads(file.readline())
            sums = [Fraction(0)] * size
            for row, column, integer, power in layer["weights"]:
                sums[row] += int(integer, 16) * Fraction(2) ** power * values[column]
            for row, integer, power in layer["biases"]:
                sums[row] += int(integer, 16) * Fraction(2) ** power
            last = i == len(header["layer_sizes"]) - 1
            values = sums if last else [max(v, Fraction(0)) for v in sums]
        return values


def network_value(weights, biases, x):
    """An ordinary ReLU network of float matrices at one input, as exact fractions."""
    values = [Fraction(float(v)) for v in x]
    for i, (matrix, bias) in enumerate(zip(weights, biases, strict=True)):
        values = [
            sum((Fraction(float(w)) * v for w, v in zip(row, values, strict=True)), Fraction(b))
            for row, b in zip(matrix.tolist(), bias.tolist(), strict=True)
        ]
        if i < len(weights) - 1:
            values = [max(v, Fraction(0)) for v in values]
    return values
