"""A family's steps on the processor: each network by itself, all steps of a chunk in one go.

A network's weights stay in the cache of the core that trains it, and cores never wait for each
other; a chunk's networks are handed out one by one. The compiled steps are in `steps`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch

from depthwright.networks.stored_code import need_compiler
from depthwright.training.ensemble import Ensemble, EnsembleAdam
from depthwright.training.lanes import BYTES
from depthwright.training.layout import ROWS, Layout, padded
from depthwright.training.losses import LOSSES
from depthwright.training.steps import steps, values

TILE_BYTES = 2**16
"""Activations of a tile: a core keeps them in its second-level cache beside the weights. Width 64,
256 and 1,024: the fastest of 16, 32, 64 and 128 points, or within 1 % of it."""
TILES = (16, 64)
"""Fewest and most points of a tile; twice the most where a matrix does not stay in the cache."""
LARGEST = 2**20
"""Entries of a hidden matrix above which torch's own products are faster: between width 900 (as
fast) and 2,000 (6.5 against 7.8 steps a second on one core)."""


def takes(ensemble: Ensemble, device: torch.device) -> bool:
    """Whether these networks are trained so."""
    inner = [weight[0].numel() for weight in ensemble.weights[1:-1]]
    return device.type == "cpu" and len(ensemble.widths) > 2 and max(inner, default=0) <= LARGEST


def aligned(rows: int, columns: int, dtype: np.dtype) -> np.ndarray:
    """Zeros (rows, columns) that begin with a whole vector."""
    spare = BYTES // dtype.itemsize
    flat: np.ndarray = np.zeros(rows * columns + spare, dtype=dtype)
    start = -flat.ctypes.data % BYTES // dtype.itemsize
    return flat[start : start + rows * columns].reshape(rows, columns)


@cache
def compile_for(dtype: torch.dtype) -> None:
    """Compile, or read what is stored, by a step of the smallest network; some 20 s the first time.

    So that no family's seconds hold it.
    """
    need_compiler()
    ensemble = Ensemble((1, 1, 1), [0], dtype)
    form, point = Compiled(ensemble), torch.zeros(1, 1, 1, dtype=dtype)
    rates = torch.zeros(1, dtype=dtype)
    form.train(point, point, EnsembleAdam(ensemble.parameters(), rates), [1.0], LOSSES[:1])
    form.errors(point[0], point[0])


class Compiled:
    """The compiled form of one ensemble's training."""

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble
        dtype = ensemble.weights[0].dtype
        self.layout = Layout(ensemble.widths, ensemble.links, dtype.itemsize)
        row = self.layout.columns * dtype.itemsize
        fits = TILE_BYTES // row // TILES[0] * TILES[0]
        self.tile = max(TILES[0], min(TILES[1], fits))
        inner = self.layout.maps[1:, 4] * self.layout.maps[1:, 5] * dtype.itemsize
        if (inner > TILE_BYTES).any():  # matrices that leave the cache: use each as often as may be
            self.tile = 2 * TILES[1]
        shape = self.layout
        self.shape = (shape.maps, shape.last, shape.turned, shape.columns)
        self.styled = bool(self.layout.maps[:, 9].any())

    def train(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        optimiser: EnsembleAdam,
        factors: Sequence[float],
        losses: Sequence[str],
    ) -> None:
        """One step per batch of `x` (steps, batch, input_dim); as `EnsembleAdam.step` each."""
        batch = x.shape[1]
        inputs, truth = self._padded(x), self._padded(y, y.shape[2])
        parts = optimiser.moments()
        flat = [self._pack(tensors) for tensors in parts]
        scales = np.array([optimiser.advance(factor) for factor in factors])
        group = optimiser.param_groups[0]
        rates = group["lr"].double().numpy()

        def one(k: int) -> None:
            steps(
                inputs,
                truth,
                padded(x.shape[2], ROWS),
                y.shape[2],
                batch,
                self.tile,
                *self.shape,
                *(part[k] for part in flat),
                rates[k] * scales[:, 0],
                scales[:, 1].copy(),
                LOSSES.index(losses[k]),
                (*group["betas"], group["eps"]),
                self.styled,
            )

        _each(one, group["alive"].nonzero()[:, 0].tolist())
        for whole, tensors in zip(flat, parts, strict=True):
            half = len(tensors) // 2
            arrays = [t.detach().numpy() for t in tensors]
            self.layout.unpack(whole, arrays[:half], arrays[half:])

    def errors(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """As `Family.errors`, on `x` (points, input_dim)."""
        inputs, outputs = self._padded(x[None]), y.shape[1]
        flat = self._pack(list(self.ensemble.parameters()))
        truth = y.double().numpy()
        found = np.empty((3, len(flat)))

        def one(k: int) -> None:
            with np.errstate(all="ignore"):
                found[:, k] = measured(k)

        def measured(k: int) -> tuple[float, float, float]:
            flat_values = values(
                inputs,
                padded(x.shape[1], ROWS),
                outputs,
                self.tile,
                *self.shape,
                flat[k],
                self.styled,
            )
            given = flat_values.reshape(-1, outputs)[: len(truth)].astype(np.float64)
            gap = given - truth
            return np.sqrt(np.square(gap).mean()), np.abs(gap).max(), np.ptp(given)

        _each(one, list(range(len(flat))))
        return tuple(torch.from_numpy(found).unbind())

    def _pack(self, tensors: Sequence[torch.Tensor]) -> np.ndarray:
        half = len(tensors) // 2
        arrays = [t.detach().numpy() for t in tensors]
        flat = aligned(self.ensemble.members, self.layout.size, arrays[0].dtype)
        return self.layout.pack(arrays[:half], arrays[half:], flat)

    def _padded(self, points: torch.Tensor, columns: int | None = None) -> np.ndarray:
        """(steps, batch, d) → flat, batch and d padded with zeros to multiples of four."""
        steps, batch, d = points.shape
        dtype = self.ensemble.weights[0].dtype
        shape = (steps, padded(batch, ROWS), columns or padded(d, ROWS))
        whole = torch.zeros(shape, dtype=dtype)
        whole[:, :batch, :d] = points
        return whole.numpy().ravel()


def _each(action: Callable[[int], None], members: Sequence[int]) -> None:
    """For every member, on torch's number of threads."""
    threads = min(torch.get_num_threads(), len(members))
    if threads < 2:
        for k in members:
            action(k)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(action, members))
