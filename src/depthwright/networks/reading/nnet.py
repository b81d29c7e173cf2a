"""`.nnet` text files, the format of the ACAS Xu networks: layers, input box, normalisation.

After comment lines (`//`): the numbers of layers, inputs, outputs and the largest layer; the layer
sizes; a flag of no use; the inputs' minima and maxima; means and ranges, each one number per input
and one for all outputs; then per layer its weights, a row a line, and its biases, one a line. All
numbers stand for the nearest float64.

An input x, in its own units, enters the first layer as (x − mean)/range, and an output y leaves as
y · range + mean. Both are folded into the layers, their rounding bounded.

Source: K. Julian, https://github.com/sisl/NNet.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from depthwright.networks.reading.balls import exact
from depthwright.networks.reading.expressions import Tape
from depthwright.networks.reading.layers import PlainNetwork, plain_network
from depthwright.networks.reading.units import standardised
from depthwright.refusal import Refusal

BYTES_LIMIT = 1 << 29
"""Files that are longer are not read: they would take gigabytes."""


def read_nnet(path: Path) -> PlainNetwork:
    """A .nnet file as plain layers in its own units, with its box."""
    lines = _Lines(path)
    count, inputs, outputs = lines.integers(4, "layers, inputs, outputs, largest layer")[:3]
    if count < 1:
        raise lines.fault(f"{count} layers")
    sizes = lines.integers(count + 1, "the layer sizes")
    if [sizes[0], sizes[-1]] != [inputs, outputs] or min(sizes) < 1:
        raise lines.fault(f"layer sizes {sizes} for {inputs} inputs and {outputs} outputs")
    lines.skip()
    lower, upper = (lines.floats(inputs, f"the inputs' {what}") for what in ("minima", "maxima"))
    if not (lower <= upper).all():
        raise lines.fault("a minimum above its maximum")
    means = lines.floats(inputs + 1, "means")
    ranges = lines.floats(inputs + 1, "ranges")
    if not ranges.all():
        raise lines.fault("a range of 0")
    tape = Tape(inputs)
    values = standardised(tape, means[:-1], ranges[:-1])
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        matrix = np.array([lines.floats(fan_in, "weights") for _ in range(fan_out)])
        bias = np.array([lines.floats(1, "a bias") for _ in range(fan_out)])
        values = tape.affine(exact(matrix), tape.relu(values) if i else values, exact(bias))
    lines.end()
    values = tape.scale(values, ranges[-1])
    values = tape.add(values, tape.constant(means[-1]))
    parameters = sum((a + 1) * b for a, b in pairwise(sizes))
    before = f"{path.name} with {parameters:,} parameters"
    return plain_network(tape, values, before, (lower, upper))


class _Lines:
    """Numbers of a text file, line by line."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.number = 0
        try:
            if (size := path.stat().st_size) > BYTES_LIMIT:
                raise Refusal(f"{path.name} has {size:,} bytes, more than {BYTES_LIMIT:,}")
            self._lines: Iterator[str] = iter(path.read_text(encoding="utf-8").splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise Refusal(f"{path.name} cannot be read: {error}") from error

    def fault(self, what: str) -> Refusal:
        return Refusal(f"{self.name}, line {self.number}: {what}; it is no .nnet file, or damaged")

    def _next(self) -> str | None:
        for line in self._lines:
            self.number += 1
            if line.strip() and not line.lstrip().startswith("//"):
                return line
        return None

    def skip(self) -> None:
        self._next()

    def floats(self, count: int, what: str) -> np.ndarray:
        """(count,) finite numbers."""
        line = self._next()
        if line is None:
            raise self.fault(f"the file ends before {what}")
        fields = [field for field in line.split(",") if field.strip()]
        try:
            values = [float(field) for field in fields]
        except ValueError as error:
            raise self.fault(str(error)) from error
        if len(values) != count or not all(map(math.isfinite, values)):
            raise self.fault(f"{what} are {count} finite numbers, here stand {len(values)}")
        return np.array(values)

    def integers(self, count: int, what: str) -> list[int]:
        values = self.floats(count, what)
        if (values != np.floor(values)).any() or (abs(values) > 2**31).any():
            raise self.fault(f"{what} are whole numbers")
        return [int(value) for value in values]

    def end(self) -> None:
        if self._next() is not None:
            raise self.fault("more lines than its layers have")
