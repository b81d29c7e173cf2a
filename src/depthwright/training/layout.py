"""Where the compiled trainer keeps a network: one flat array, rows padded to whole vectors.

Rows of the first matrix are padded to a multiple of four, hidden widths to whole vectors, all with
zeros. A padded neuron has weights and bias 0, so its value is 0, ReLU's derivative there is 0, and
so is every gradient of its own: it stays what it is, and changes no other neuron. (Just so a
narrower network is trained in a wider one's place.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from depthwright.networks.styles import PLAIN, Links, normalises, skips
from depthwright.training.lanes import lanes

ROWS = 4
"""Rows that a block of a matrix product takes at once."""

FIELDS = (
    "weight", "bias", "turned", "fan_in", "rows", "columns",
    "width", "skips", "normalised", "keeps", "at",
)  # fmt: skip
"""Of a hidden map: offsets of weight, bias and transposed weight; inputs, the same padded, outputs
padded, outputs; whether its input is added to it; whether a layer norm follows; whether its values
before ReLU are needed; offset of its outputs among the columns of all hidden layers."""


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
        """One row per hidden map, see `MAP_FIELDS`."""
        vector = lanes(self.itemsize)
        rows, found, place, turned, at = padded(self.widths[0], ROWS), [], 0, 0, 0
        for k, width in enumerate(self.widths[1:-1]):
            columns = padded(width, vector)
            bias = place + rows * columns
            skip, following = skips(self.links[k]), self.links[k + 1]
            norm, keep = normalises(following), skip or following != PLAIN
            sizes = (self.widths[k], rows, columns, width)
            found.append((place, bias, turned, *sizes, skip, norm, keep, at))
            place, at = bias + columns, at + columns
            turned += rows * columns if k else 0
            rows = columns
        return np.array(found, dtype=np.int64)

    @property
    def last(self) -> int:
        """Offset of the last map, one row per output, its biases after it."""
        bias, columns = int(self.maps[-1, 1]), int(self.maps[-1, 5])
        return bias + columns

    @property
    def size(self) -> int:
        """Numbers in all."""
        columns = int(self.maps[-1, 5])
        return self.last + self.widths[-1] * columns + padded(self.widths[-1], lanes(self.itemsize))

    @property
    def turned(self) -> int:
        """Numbers in the transposed weights."""
        return max(1, int((self.maps[1:, 4] * self.maps[1:, 5]).sum()))

    @property
    def columns(self) -> int:
        """Padded hidden neurons in all."""
        return int(self.maps[:, 5].sum())

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
        """The other way, into the arrays given."""
        for view, part in zip(self._views(flat), (*weights, *biases), strict=True):
            part[...] = view

    def _views(self, flat: np.ndarray) -> list[np.ndarray]:
        """The entries of each matrix, then of each bias, padding left out."""
        members, weights, biases = len(flat), [], []
        for (weight, bias, _, fan_in, rows, columns, *_), width in zip(
            self.maps.tolist(), self.widths[1:-1], strict=True
        ):
            matrix = flat[:, weight : weight + rows * columns].reshape(members, rows, columns)
            weights.append(matrix[:, :fan_in, :width])
            biases.append(flat[:, None, bias : bias + width])
        outputs, columns, last = self.widths[-1], int(self.maps[-1, 5]), self.last
        end = last + outputs * columns
        matrix = flat[:, last:end].reshape(members, outputs, columns)
        weights.append(matrix[:, :, : self.widths[-2]].transpose(0, 2, 1))
        biases.append(flat[:, None, end : end + outputs])
        return weights + biases
