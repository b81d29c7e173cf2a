"""The step of depth-2 networks with one output on a GPU: one or two kernels, everything fused.

Batched torch takes some fifty kernels a step, each of a few microseconds however small it is. Here

- a network whose batch × width fits one program's registers (`ELEMENTS`) is trained by that program
  alone, all steps of a chunk in one launch;
- other networks take two launches a step, recorded as a CUDA graph: `outputs_of` sums the output
  layer, every program over some points and some neurons; `take_steps` gives each program some
  neurons and the whole batch, so that it has their gradients whole and can take their Adam step
  at once: no gradient is ever written to memory.

A tile is neurons × points × neurons, (J, R, C) with neuron j·C + c: Triton spreads R × C over the
threads and leaves J inside each, so a point that is loaded serves J neurons and sums over points
are mostly inside a thread. Sums have a fixed order, and nothing is added by atomics: the same bits
in every run. float32 is float32: no TF32, plain multiply-adds.

*Counted*, for a network of width n on d inputs and a batch of B: h = σ(xW + b) takes 2Bnd
operations, the output layer 2Bn, the gradients 2Bnd + 4Bn: 4Bnd + 8Bn; where two kernels are
needed, h is computed in both: 6Bnd + 8Bn. Memory: the batch, B(d + 1) numbers, is read by every
program (from the second-level cache but for the first); 6 reads and writes of each of the n(d + 2)
parameters and its two moments. Each multiply-add needs (R/threads + J)/(J·R/threads) loads: about
0.3 at J = 4 or 8, and the load unit has a quarter of the multiply-adders' rate, so both are busy.

Imported only where a CUDA tensor asks for it, or with TRITON_INTERPRET=1, which runs it on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from depthwright.networks.styles import PLAIN
from depthwright.training.ensemble import BETAS, EPS, Ensemble, EnsembleAdam
from depthwright.training.losses import L2, L8, LOSSES, SHARPNESS
from depthwright.training.step.batched import Batched, Work

SQUARED, EIGHTH = tl.constexpr(LOSSES.index(L2)), tl.constexpr(LOSSES.index(L8))
STEEPNESS = tl.constexpr(SHARPNESS)
BETA1, BETA2, EPSILON = tl.constexpr(BETAS[0]), tl.constexpr(BETAS[1]), tl.constexpr(EPS)

ELEMENTS = 1 << 14
"""float32 values of the hidden layer in one program; half as many of float64."""
EACH = 64
"""Of them in one thread."""
COLUMNS = 8
"""Neurons of a program of `take_steps`, where there are that many."""
INPUTS = 16
"""Coordinates whose weights take their Adam step together."""
MOST_WORK = 1 << 29
"""members · batch · width · inputs, above which a library's matrix products are faster."""
STEPS = 50
"""Steps in one recording."""


@triton.jit
def _hidden(x, weights, biases, rows, neurons, valid, within, batch, width, inputs):  # type: ignore[no-untyped-def]
    """σ(xW + b) on a tile (J, R, C); not-a-number stays so."""
    points = tl.load(x + rows, mask=valid, other=0.0)[None, :, None]
    row = tl.load(weights + neurons, mask=within, other=0.0)[:, None, :]
    h = points * row + tl.load(biases + neurons, mask=within, other=0.0)[:, None, :]
    for k in tl.range(1, inputs, num_stages=3):
        points = tl.load(x + k * batch + rows, mask=valid, other=0.0)[None, :, None]
        row = tl.load(weights + k * width + neurons, mask=within, other=0.0)[:, None, :]
        h += points * row
    return tl.where(h <= 0, 0.0, h)


@triton.jit
def _slopes(e, valid, loss, batch):  # type: ignore[no-untyped-def]
    """The loss's derivative by each error (see `losses`); errors are 0 in the padding."""
    g = 2 * e / batch
    if loss != SQUARED:
        size = tl.abs(e)
        top = tl.max(size, 0)
        if loss == EIGHTH:
            t = e / top
            g = t * t * t * t * t * t * t
            mass = tl.sum(g * t, 0)
            g *= tl.sqrt(tl.sqrt(tl.sqrt(mass / batch))) / mass
        else:
            share = tl.where(valid, tl.exp((size / top - 1) * STEEPNESS), 0.0)
            share /= tl.sum(share, 0)
            g = tl.where(e > 0, share, tl.where(e < 0, -share, 0.0 * e))
        g = tl.where(top > 0, g, 0.0)
    return g


@triton.jit
def _adam(weights, means, squares, at, mask, gradient, rate, correction):  # type: ignore[no-untyped-def]
    """As EnsembleAdam.update."""
    mean = tl.load(means + at, mask=mask, other=0.0)
    mean += (gradient - mean) * (1 - BETA1)
    square = tl.load(squares + at, mask=mask, other=0.0) * BETA2
    square += gradient * gradient * (1 - BETA2)
    change = rate * mean / (tl.sqrt(square) / correction + EPSILON)
    before = tl.load(weights + at, mask=mask, other=0.0)
    tl.store(means + at, mean, mask=mask)
    tl.store(squares + at, square, mask=mask)
    tl.store(weights + at, before - change, mask=mask)


@triton.jit
def outputs_of(  # type: ignore[no-untyped-def]
    x, weights, biases, last, last_bias, alive, outputs, share, batch, width, inputs,
    J: tl.constexpr, R: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Σ V·h over a `share` of the neurons: `outputs` (parts, members, batch), x (inputs, batch).

    The last bias is in the first part's: in the other kernel it is being changed.
    """
    part, member = tl.program_id(1), tl.program_id(2)
    if tl.load(alive + member) != 0:
        rows = tl.program_id(0) * R + tl.arange(0, R)
        valid = rows < batch
        weights += member * inputs * width
        biases += member * width
        last += member * width
        tile = tl.arange(0, J)[:, None] * C + tl.arange(0, C)[None, :]
        end = tl.minimum((part + 1) * share, width)
        neurons = part * share + tile
        h = _hidden(x, weights, biases, rows, neurons, valid, neurons < end, batch, width, inputs)
        sums = h * tl.load(last + neurons, mask=neurons < end, other=0.0)[:, None, :]
        for first in range(part * share + J * C, end, J * C):
            neurons = first + tile
            within = neurons < end
            h = _hidden(x, weights, biases, rows, neurons, valid, within, batch, width, inputs)
            sums += h * tl.load(last + neurons, mask=within, other=0.0)[:, None, :]
        at = outputs + (part * tl.num_programs(2) + member) * batch + rows
        bias = tl.where(part == 0, tl.load(last_bias + member), 0.0)
        tl.store(at, tl.sum(tl.sum(sums, 0), 1) + bias, mask=valid)


@triton.jit(do_not_specialize=["scales", "steps", "parts"])
def take_steps(  # type: ignore[no-untyped-def]
    x, y, scales, rates, losses, alive, outputs, weights, biases, last, last_bias,
    weights_mean, biases_mean, last_mean, last_bias_mean,
    weights_square, biases_square, last_square, last_bias_square,
    steps, parts, batch, width, inputs,
    whole: tl.constexpr, J: tl.constexpr, R: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """Gradients of J·C neurons over the whole batch, and their Adam step.

    `whole`: these are all neurons, the program has the outputs itself and takes all `steps`: x
    (steps, inputs, batch), y (steps, batch), scales (steps, 2). Otherwise one, with the `outputs`
    (parts, members, batch) of the other kernel.
    """
    block, member = tl.program_id(0), tl.program_id(1)
    if tl.load(alive + member) != 0:
        rows = tl.arange(0, R)
        valid = rows < batch
        neurons = block * J * C + tl.arange(0, J)[:, None] * C + tl.arange(0, C)[None, :]
        within = neurons < width
        places = tl.arange(0, K)[:, None, None]
        first, start = member * inputs * width, member * width
        loss, rate = tl.load(losses + member), tl.load(rates + member)
        for _ in range(0, steps):
            own, c = tl.load(scales) * rate, tl.load(scales + 1)
            h = _hidden(
                x, weights + first, biases + start, rows, neurons, valid, within, batch, width,
                inputs,
            )  # fmt: skip
            v = tl.load(last + start + neurons, mask=within, other=0.0)[:, None, :]
            e = -tl.load(y + rows, mask=valid, other=0.0)
            if whole:
                e += tl.sum(tl.sum(h * v, 0), 1) + tl.load(last_bias + member)
            else:
                for part in range(0, parts):
                    at = outputs + (part * tl.num_programs(1) + member) * batch + rows
                    e += tl.load(at, mask=valid, other=0.0)
            g = _slopes(tl.where(valid, e, 0.0), valid, loss, batch)
            by_output = g[None, :, None]
            delta = tl.where(h > 0, by_output * v, 0.0)
            tl.debug_barrier()  # all threads have read what is now written
            _adam(
                last, last_mean, last_square, start + neurons, within,
                tl.sum(by_output * h, 1), own, c,
            )  # fmt: skip
            _adam(
                biases, biases_mean, biases_square, start + neurons, within, tl.sum(delta, 1),
                own, c,
            )  # fmt: skip
            for start_k in range(0, inputs, K):
                gradients = tl.zeros([K, J, C], g.dtype)
                for k in tl.range(start_k, tl.minimum(start_k + K, inputs), num_stages=3):
                    points = tl.load(x + k * batch + rows, mask=valid, other=0.0)[None, :, None]
                    found = tl.sum(points * delta, 1)[None]
                    gradients = tl.where(places == k - start_k, found, gradients)
                at = first + (start_k + places) * width + neurons[None]
                known = (start_k + places < inputs) & within[None]
                _adam(weights, weights_mean, weights_square, at, known, gradients, own, c)
            if block == 0:
                _adam(
                    last_bias, last_bias_mean, last_bias_square, member, True, tl.sum(g, 0), own, c
                )
            tl.debug_barrier()
            x += inputs * batch
            y += batch
            scales += 2


@dataclass(frozen=True)
class Form:
    """How networks of one width are trained on batches of one size."""

    whole: bool
    """By one program each."""
    columns: int
    """Neurons of a program of `take_steps`."""
    rows: int
    """The batch, padded to a power of two."""
    warps: int

    @property
    def tile(self) -> dict[str, int]:
        """J, R and C."""
        c = min(self.columns, 8 if self.whole else 4)
        return {"J": self.columns // c, "R": self.rows, "C": c}


SHARE, TILE = 128, {"J": 8, "R": 64, "C": 4}
"""Of a program of `outputs_of`: its neurons, and how many of them and of the points at once."""


def form_of(members: int, batch: int, width: int, inputs: int, itemsize: int) -> Form | None:
    """None where batched torch is faster, or the batch does not fit."""
    elements = ELEMENTS * 4 // itemsize
    rows, columns = (1 << (size - 1).bit_length() for size in (batch, width))
    rows = max(rows, 16)
    if rows * 4 > elements or members * batch * width * inputs > MOST_WORK:
        return None
    whole = rows * columns <= elements
    if not whole:
        columns = min(COLUMNS, elements // rows)
    warps = min(16, max(1, rows * columns // (32 * EACH)))
    return Form(whole, columns, rows, warps)


def takes(ensemble: Ensemble) -> bool:
    """Whether these networks have the one shape that is fused."""
    return ensemble.style == PLAIN and len(ensemble.widths) == 3 and ensemble.widths[2] == 1


class Fused(Batched):
    """The steps of an ensemble that `takes` accepts; batches that do not fit go to torch."""

    length = STEPS

    def __init__(
        self,
        ensemble: Ensemble,
        adam: EnsembleAdam,
        losses: Sequence[str],
        record: Callable[[Work], Work] | None = None,
    ) -> None:
        super().__init__(ensemble, adam, losses, record)
        device = adam.rates.device
        self.prepared: set[int] = set()
        """Sizes of batches for which the kernels are compiled."""
        self.losses = torch.tensor([LOSSES.index(loss) for loss in losses], device=device).int()
        both = [[weights[k].detach() for k in (0, 2, 1, 3)] for weights in adam.moments()]
        self.state = [tensor for part in both for tensor in part]
        """Matrix, biases, last matrix, last bias; their means; their mean squares."""
        self.values(torch.zeros((16, ensemble.widths[0]), dtype=ensemble.dtype, device=device))

    def form(self, batch: int) -> Form | None:
        inputs, width, _ = self.ensemble.widths
        itemsize = self.ensemble.dtype.itemsize
        return form_of(self.ensemble.members, batch, width, inputs, itemsize)

    def prepare(self, batch: int) -> None:
        """A step on nothing, with every member dropped: it compiles, and changes no number."""
        if batch in self.prepared:
            return
        self.prepared.add(batch)
        x = torch.zeros((1, batch, self.ensemble.widths[0]), dtype=self.ensemble.dtype)
        x, alive = x.to(self.losses.device), self.adam.alive
        self.adam.alive = torch.zeros_like(alive)
        if self.form(batch):
            self._take(x, x[..., :1], x.new_ones((1, 2)))
        self.adam.alive = alive

    def recordable(self, batch: int) -> bool:
        form = self.form(batch)
        return form is None or not form.whole

    def _take(self, x: torch.Tensor, y: torch.Tensor, scales: torch.Tensor) -> None:
        form = self.form(x.shape[1])
        if form is None:
            super()._take(x, y, scales)
            return
        x, alive = x.mT.contiguous(), self.adam.alive.int()
        if form.whole:
            self._steps(form, x, y, scales, alive, alive, len(x))
            return
        outputs = self._room(x[0])
        for k in range(len(x)):
            self._outputs(x[k], alive, outputs)
            self._steps(form, x[k], y[k], scales[k], alive, outputs, 1)

    @property
    def widest(self) -> int:
        return triton.cdiv(self.ensemble.widths[1], SHARE)

    def values(self, x: torch.Tensor) -> torch.Tensor:
        members, (inputs, width, _) = self.ensemble.members, self.ensemble.widths
        if members * len(x) * width * inputs > MOST_WORK:
            return super().values(x)
        x = x.T.contiguous()
        outputs = self._room(x)
        self._outputs(x, torch.ones_like(self.losses), outputs)
        return outputs.sum(0)[..., None]

    def _room(self, x: torch.Tensor) -> torch.Tensor:
        shape = (self.widest, self.ensemble.members, x.shape[1])
        return torch.empty(shape, dtype=x.dtype, device=x.device)

    def _outputs(self, x: torch.Tensor, alive: torch.Tensor, outputs: torch.Tensor) -> None:
        """`x` (inputs, batch)."""
        (inputs, batch), width = x.shape, self.ensemble.widths[1]
        outputs_of[(triton.cdiv(batch, TILE["R"]), self.widest, self.ensemble.members)](
            x, *self.state[:4], alive, outputs, SHARE, batch, width, inputs, **TILE
        )

    def _steps(
        self,
        form: Form,
        x: torch.Tensor,
        y: torch.Tensor,
        scales: torch.Tensor,
        alive: torch.Tensor,
        outputs: torch.Tensor,
        steps: int,
    ) -> None:
        inputs, width, _ = self.ensemble.widths
        take_steps[(triton.cdiv(width, form.columns), self.ensemble.members)](
            x, y, scales, self.adam.rates, self.losses, alive, outputs, *self.state,
            steps, len(outputs), x.shape[-1], width, inputs, whole=form.whole, **form.tile,
            K=INPUTS,
            num_warps=form.warps,
        )  # fmt: skip
