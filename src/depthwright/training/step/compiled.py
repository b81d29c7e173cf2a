"""A family's steps on the processor: one network at a time, all steps of a chunk in one call.

A network's weights stay in the cache of the core that trains it, and cores never wait for each
other; each takes the next network of the chunk. The compiled steps are in `loop`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import accumulate

import numpy as np
import torch

from depthwright.machine.numba_cache import need_compiler
from depthwright.training.ensemble import (
    BETAS,
    EPS,
    Ensemble,
    EnsembleAdam,
    EnsembleAdamW,
    EnsembleMomentum,
)
from depthwright.training.losses import LOSSES
from depthwright.training.step.layout import ROWS, Layout, padded
from depthwright.training.step.loop import Adam, Batches, Room, State, train, values
from depthwright.training.step.simd import BYTES, vector_length

TILE_BYTES = 2**16
"""Activations of a tile: a core keeps them in its second-level cache beside the weights. Width 64,
256 and 1,024: the fastest of 16, 32, 64 and 128 points, or within 1 % of it."""
TILES = (16, 64)
"""Fewest and most points of a tile; twice the most where a matrix does not stay in the cache."""
LARGEST = 2**20
"""Entries of a hidden matrix above which torch's own products are faster: between width 900 (as
fast) and 2,000 (6.5 against 7.8 steps a second on one core)."""


def takes(ensemble: Ensemble, device: torch.device) -> bool:
    """Whether these networks have a compiled form that is the fastest."""
    inner = [weight[0].numel() for weight in ensemble.weights[1:-1]]
    return device.type == "cpu" and len(ensemble.widths) > 2 and max(inner, default=0) <= LARGEST


@cache
def compile_for(dtype: torch.dtype) -> None:
    """Compile, or read what is stored, by a step of the smallest network; some 20 s the first time.

    So the measured time of a family does not contain it.
    """
    need_compiler()
    ensemble = Ensemble((1, 1, 1), [0], dtype)
    adam = EnsembleAdam(ensemble.parameters(), torch.zeros(1, dtype=dtype))
    form, point = Compiled(ensemble, adam, LOSSES[:1]), torch.zeros(1, 1, 1, dtype=dtype)
    form.train(point, point, [1.0])
    form.errors(point[0], point[0])


class Compiled:
    """The compiled form of one ensemble's training, a loss for each member."""

    def __init__(self, ensemble: Ensemble, adam: EnsembleAdam, losses: Sequence[str]) -> None:
        self.ensemble = ensemble
        self.adam = adam
        self.losses = [LOSSES.index(loss) for loss in losses]
        self.number = ensemble.weights[0].detach().numpy().dtype
        self.layout = Layout(ensemble.widths, ensemble.links, ensemble.dtype.itemsize)
        self.shape = self.layout.shape(_tile(self.layout))

    def prepare(self, batch: int) -> None:
        """Compiled already, for every size."""

    def train(self, x: torch.Tensor, y: torch.Tensor, factors: Sequence[float]) -> None:
        batches = Batches(self._padded(x), self._padded(y, y.shape[2]), x.shape[1])
        parts = self.adam.moments()
        flat = [self._pack(tensors) for tensors in parts]
        scales = np.array([self.adam.advance(factor) for factor in factors])
        rates = self.adam.rates.double().numpy()

        def one(k: int) -> None:
            state = State(*(part[k] for part in flat))
            numbers = _numbers(self.adam, rates[k], scales)
            train(self.shape, batches, state, self._room(x.shape[1]), numbers, self.losses[k])

        _each(one, self.adam.alive.nonzero()[:, 0].tolist())
        for whole, tensors in zip(flat, parts, strict=True):
            self.layout.unpack(whole, *_halves(tensors))

    def errors(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        inputs, truth = self._padded(x[None]), y.double().numpy()
        flat = self._pack(list(self.ensemble.parameters()))
        found = np.empty((3, len(flat)))

        def one(k: int) -> None:
            room = self._room(len(x))
            values(self.shape, flat[k], inputs, room)
            given = room.values.reshape(-1, y.shape[1])[: len(truth)].astype(np.float64)
            with np.errstate(all="ignore"):
                gap = given - truth
                found[:, k] = np.sqrt(np.square(gap).mean()), np.abs(gap).max(), np.ptp(given)

        _each(one, list(range(len(flat))))
        return tuple(torch.from_numpy(found).unbind())

    def _room(self, points: int) -> Room:
        shape = self.shape
        hidden, layer = shape.neurons * shape.tile, shape.widest * shape.tile
        outputs = padded(points, ROWS) * shape.outputs
        sizes = {
            "preactivations": hidden if shape.styled else 0,
            "activations": hidden,
            "gradient": self.layout.size,
            "transposed": shape.transposed,
            "delta": layer,
            "next_delta": layer,
            "values": outputs,
            "by_value": outputs,
        }
        vector = vector_length(self.number.itemsize)
        ends = list(accumulate(padded(size, vector) for size in sizes.values()))
        (whole,) = _aligned(1, ends[-1], self.number)
        starts = zip(sizes, (0, *ends[:-1]), strict=True)
        return Room(**{name: whole[start : start + sizes[name]] for name, start in starts})

    def _pack(self, tensors: Sequence[torch.Tensor]) -> np.ndarray:
        """Weights, then biases → (members, size), every member's beginning with a whole vector."""
        weights, biases = _halves(tensors)
        flat = _aligned(self.ensemble.members, self.layout.size, self.number)
        return self.layout.pack(weights, biases, flat)

    def _padded(self, points: torch.Tensor, columns: int | None = None) -> np.ndarray:
        """(steps, batch, d) → flat, batch and d padded with zeros to multiples of four."""
        steps, batch, d = points.shape
        shape = (steps, padded(batch, ROWS), columns or padded(d, ROWS))
        whole = torch.zeros(shape, dtype=self.ensemble.dtype)
        whole[:, :batch, :d] = points
        return whole.numpy().ravel()


def _numbers(adam: EnsembleAdam, rate: float, scales: np.ndarray) -> Adam:
    """For the compiled loop: `scales` (steps, ·) as `advance` gives them, of one member."""
    decays = rate * scales[:, 2] if isinstance(adam, EnsembleAdamW) else np.zeros(len(scales))
    squares = not isinstance(adam, EnsembleMomentum)
    beta1 = adam.momentum if isinstance(adam, EnsembleMomentum) else BETAS[0]
    rates, corrections = rate * scales[:, 0], scales[:, 1].copy()
    return Adam(rates, corrections, decays, beta1, BETAS[1], EPS, squares)


def _tile(layout: Layout) -> int:
    """Number of points that go through a network of this layout together."""
    maps, fewest, most = layout.maps, *TILES
    matrices = maps["rows"][1:] * maps["columns"][1:] * layout.itemsize
    if (
        matrices > TILE_BYTES
    ).any():  # matrices larger than the cache: use each for as many points as possible
        return 2 * most
    row = int(maps["columns"].sum()) * layout.itemsize
    return max(fewest, min(most, TILE_BYTES // row // fewest * fewest))


def _halves(tensors: Sequence[torch.Tensor]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights and biases, as an ensemble has them one after the other."""
    arrays, half = [t.detach().numpy() for t in tensors], len(tensors) // 2
    return arrays[:half], arrays[half:]


def _aligned(rows: int, columns: int, dtype: np.dtype) -> np.ndarray:
    """Zeros (rows, columns) that begin with a whole vector."""
    spare = BYTES // dtype.itemsize
    flat: np.ndarray = np.zeros(rows * columns + spare, dtype=dtype)
    start = -flat.ctypes.data % BYTES // dtype.itemsize
    return flat[start : start + rows * columns].reshape(rows, columns)


def _each(action: Callable[[int], None], members: Sequence[int]) -> None:
    """For every member, on torch's number of threads."""
    threads = min(torch.get_num_threads(), len(members))
    if threads < 2:
        for k in members:
            action(k)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(action, members))
