"""A family's steps where there is no compiled form: batched torch; on CUDA one recorded graph.

A step of small networks is some dozen kernels of a few microseconds each, and starting them from
Python takes longer than they do. So on a GPU the whole step (forward, gradients, Adam) is recorded
once as a CUDA graph and replayed: every replay reads the batch and the step's scales from fixed
places, which are filled by copies on the device, and nothing waits for the host.

On a CPU the same steps run unrecorded (networks without a hidden layer, or with matrices too large
for the compiled form), which is how they are tested; recording itself was written without a GPU at
hand and has not been run on one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from depthwright.networks.torch_network import buffer_bytes, full_precision
from depthwright.training.ensemble import Ensemble, EnsembleAdam
from depthwright.training.losses import LOSSES, loss_of

WARM_UP = 3
"""Steps before recording, whose effects are undone: libraries initialise themselves in the first.
"""


class Batched:
    """The steps of one ensemble in torch, a loss for each member."""

    def __init__(self, ensemble: Ensemble, adam: EnsembleAdam, losses: Sequence[str]) -> None:
        self.ensemble = ensemble
        self.adam = adam
        device = adam.rates.device
        self.groups = [
            (loss, torch.tensor([k for k, own in enumerate(losses) if own == loss], device=device))
            for loss in LOSSES
            if loss in losses
        ]
        self.graph: torch.cuda.CUDAGraph | None = None
        self.alive: torch.Tensor | None = None

    def train(self, x: torch.Tensor, y: torch.Tensor, factors: Sequence[float]) -> None:
        scales = torch.tensor(
            [self.adam.advance(factor) for factor in factors],
            dtype=self.ensemble.dtype,
            device=x.device,
        )
        if x.device.type != "cuda":
            for batch, values, scale in zip(x, y, scales, strict=True):
                self._step(batch, values, scale)
            return
        if self.graph is None or self.alive is not self.adam.alive:
            self.graph = self._record(x[0], y[0], scales[0])
            self.alive = self.adam.alive  # the set of dropped members is part of the graph
        for batch, values, scale in zip(x, y, scales, strict=True):
            for place, value in zip(self.places, (batch, values, scale), strict=True):
                place.copy_(value)
            self.graph.replay()

    def _step(self, x: torch.Tensor, y: torch.Tensor, scales: torch.Tensor) -> None:
        self.ensemble.zero_grad(set_to_none=True)
        errors = self.ensemble(x) - y
        if len(self.groups) == 1:
            loss = loss_of(errors, self.groups[0][0]).sum()
        else:
            loss = torch.stack(
                [loss_of(errors[members], name).sum() for name, members in self.groups]
            ).sum()
        loss.backward()
        self.adam.update(scales)

    def _record(
        self, x: torch.Tensor, y: torch.Tensor, scales: torch.Tensor
    ) -> torch.cuda.CUDAGraph:
        self.places = [x.clone(), y.clone(), scales.clone()]
        kept = [[t.detach().clone() for t in part] for part in self.adam.moments()]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self._step(*self.places)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        self.ensemble.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            self._step(*self.places)
        with torch.no_grad():
            for before, part in zip(kept, self.adam.moments(), strict=True):
                for old, now in zip(before, part, strict=True):
                    now.copy_(old)
        return graph

    def errors(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        row = x.dtype.itemsize * max(self.ensemble.widths) * self.ensemble.members
        rows = max(1, buffer_bytes(x.device) // row)
        total = torch.zeros(self.ensemble.members, dtype=torch.float64, device=x.device)
        top = torch.zeros_like(total)
        highest, lowest = top - math.inf, top + math.inf
        with full_precision():
            for xs, ys in zip(x.split(rows), y.split(rows), strict=True):
                values = self.ensemble(xs.to(self.ensemble.dtype)).double()
                gap = values - ys
                total += gap.square().sum(dim=(1, 2))
                top = torch.maximum(top, gap.abs().amax(dim=(1, 2)))
                highest = torch.maximum(highest, values.amax(dim=(1, 2)))
                lowest = torch.minimum(lowest, values.amin(dim=(1, 2)))
        return (total / y.numel()).sqrt(), top, highest - lowest
