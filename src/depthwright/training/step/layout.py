"""Where the compiled step keeps a network: one flat array, rows padded to whole vectors.

The first matrix gets rows up to a multiple of four, hidden widths grow to whole vectors, all filled
with zeros. A padded neuron has weights and bias 0, so its value is 0, ReLU's derivative there is 0,
and so are all its gradients: its weights stay 0, and it changes no other neuron.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from depthwright.networks.styles import PLAIN, Links, normalises, skips
from depthwright.training.step.simd import vector_length

ROWS = 4
"""Rows that a block of a matrix product takes at once."""

MAP = np.dtype(
    [
        (name, np.int64)
        for name in (
            "weight", "bias", "transposed",
            "fan_in", "rows", "width", "columns",
            "residual", "normalised", "preactivated", "position",
        )
    ]
)  # fmt: skip
"""Fields of a hidden map. Where its weight and its bias begin in the flat array, and its transposed
weight among the transposed; inputs and the same padded, outputs and the same padded; whether its
input is added to its output; whether a layer norm follows; whether its values before ReLU are
needed; number of padded neurons before its own."""


class Shape(NamedTuple):
    """The description of a network for the compiled functions; they read the fields by name."""

    maps: np.ndarray
    """One `MAP` per hidden map."""
    last: int
    """Where the last map begins: one row per output, its biases after them."""
    inputs: int
    """Input dimension, padded to whole vectors."""
    outputs: int
    neurons: int
    """Hidden, padded, in all."""
    widest: int
    """Of the hidden layers, padded."""
    transposed: int
    """Size of the transposed weights."""
    tile: int
    """Most points that go through the network together."""
    styled: bool
    """Whether any map needs its values before ReLU."""


def padded(count: int, multiple: int) -> int:
    """The next multiple."""
    return -(-count // multiple) * multiple


@dataclass(frozen=True)
class Layout:
    """Of networks of shape `widths` (at least one hidden layer)."""

    widths: tuple[int, ...]
    links: Links
    itemsize: int

    @cached_property
    def maps(self) -> np.ndarray:
        rows, place, transposed, position = padded(self.widths[0], ROWS), 0, 0, 0
        maps = np.zeros(len(self.widths) - 2, dtype=MAP)
        for k, width in enumerate(self.widths[1:-1]):
            columns = padded(width, vector_length(self.itemsize))
            bias = place + rows * columns
            residual, following = skips(self.links[k]), self.links[k + 1]
            before = residual or following != PLAIN
            sizes = (self.widths[k], rows, width, columns)
            joined = (residual, normalises(following), before)
            maps[k] = (place, bias, transposed, *sizes, *joined, position)
            place, position = bias + columns, position + columns
            transposed += rows * columns if k else 0
            rows = columns
        return maps

    def shape(self, tile: int) -> Shape:
        columns = self.maps["columns"]
        inner = self.maps["rows"][1:] * columns[1:]
        return Shape(
            maps=self.maps,
            last=self.last,
            inputs=padded(self.widths[0], ROWS),
            outputs=self.widths[-1],
            neurons=int(columns.sum()),
            widest=int(columns.max()),
            transposed=int(inner.sum()),
            tile=tile,
            styled=bool(self.maps["preactivated"].any()),
        )

    @cached_property
    def last(self) -> int:
        """Where the last map begins."""
        top = self.maps[-1]
        return int(top["bias"] + top["columns"])

    @property
    def size(self) -> int:
        """Numbers in all."""
        outputs = self.widths[-1]
        matrix = outputs * int(self.maps["columns"][-1])
        return self.last + matrix + padded(outputs, vector_length(self.itemsize))

    def pack(
        self, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], flat: np.ndarray
    ) -> np.ndarray:
        """(members, fan_in, fan_out) and (members, 1, fan_out) each → `flat` (members, size)."""
        for view, part in zip(self._views(flat), (*weights, *biases), strict=True):
            view[...] = part
        return flat

    def unpack(
        self, flat: np.ndarray, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]
    ) -> None:
        """The inverse of `pack`, into the given arrays."""
        for view, part in zip(self._views(flat), (*weights, *biases), strict=True):
            part[...] = view

    def _views(self, flat: np.ndarray) -> list[np.ndarray]:
        """The entries of each matrix, then of each bias, padding left out."""
        weights, biases = [], []

        def matrix(start: int, rows: int, columns: int) -> np.ndarray:
            return flat[:, start : start + rows * columns].reshape(len(flat), rows, columns)

        names = ("weight", "bias", "fan_in", "rows", "width", "columns")
        for weight, bias, fan_in, rows, width, columns in self.maps[list(names)].tolist():
            weights.append(matrix(weight, rows, columns)[:, :fan_in, :width])
            biases.append(flat[:, None, bias : bias + width])
        outputs = self.widths[-1]  # width and columns are now those of the last hidden layer
        last = matrix(self.last, outputs, columns)[:, :, :width]
        weights.append(last.transpose(0, 2, 1))
        end = self.last + outputs * columns
        biases.append(flat[:, None, end : end + outputs])
        return weights + biases
