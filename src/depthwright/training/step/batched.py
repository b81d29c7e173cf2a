"""A family's steps where there is no compiled form: batched torch; on CUDA one recorded graph.

A step of small networks is some dozen kernels of a few microseconds each, and starting them from
Python takes longer than they do. So on a GPU several whole steps (forward, gradients, Adam) are
recorded once as a CUDA graph and replayed: every replay reads the batches and the steps' scales
from fixed places, which are filled by copies on the device, and nothing waits for the host.

On a CPU the same steps run unrecorded (networks without a hidden layer, or with matrices too large
for the compiled form), which is how they are tested, and with a plain call in place of the graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from depthwright.networks.torch_network import buffer_bytes, full_precision
from depthwright.training.ensemble import Ensemble, EnsembleAdam
from depthwright.training.losses import LOSSES, loss_of

STEPS = 10
"""Steps in one recording."""

Work = Callable[[], None]


def recorded(work: Work) -> Work:
    """`work`, which reads and writes the same places at every call, as a CUDA graph to replay.

    It is run once before, so that libraries initialise themselves outside the recording.
    """
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        work()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


class Batched:
    """The steps of one ensemble in torch, a loss for each member.

    `record` makes several steps on fixed places one call; it may run them while it does so.
    """

    length = STEPS
    """Most steps in one recording."""

    def __init__(
        self,
        ensemble: Ensemble,
        adam: EnsembleAdam,
        losses: Sequence[str],
        record: Callable[[Work], Work] | None = None,
    ) -> None:
        self.ensemble = ensemble
        self.adam = adam
        self.record = record
        device = adam.rates.device
        self.groups = [
            (loss, torch.tensor([k for k, own in enumerate(losses) if own == loss], device=device))
            for loss in LOSSES
            if loss in losses
        ]
        self.replay: Work | None = None
        self.alive: torch.Tensor | None = None

    def prepare(self, batch: int) -> None:
        """Nothing is compiled."""

    def recordable(self, batch: int) -> bool:
        """Whether steps on batches of this size are many kernels."""
        return True

    def train(self, x: torch.Tensor, y: torch.Tensor, factors: Sequence[float]) -> None:
        scales = torch.tensor(
            [self.adam.advance(factor) for factor in factors],
            dtype=self.ensemble.dtype,
            device=x.device,
        )
        if self.record is None or not self.recordable(x.shape[1]):
            self._take(x, y, scales)
            return
        length = min(self.length, len(x))
        parts = [part.split(length) for part in (x, y, scales)]
        for batches in zip(*parts, strict=True):
            if len(batches[0]) < length:
                self._take(*batches)
                continue
            # the set of dropped members is part of the recording
            known = self.replay is not None and len(self.places[0]) == length
            if not known or self.alive is not self.adam.alive:
                self.replay = self._recorded(self.record, batches)
                self.alive = self.adam.alive
            for place, given in zip(self.places, batches, strict=True):
                place.copy_(given)
            assert self.replay is not None
            self.replay()

    def _take(self, x: torch.Tensor, y: torch.Tensor, scales: torch.Tensor) -> None:
        for batch, values, scale in zip(x, y, scales, strict=True):
            self._step(batch, values, scale)

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

    def _recorded(self, record: Callable[[Work], Work], batches: Sequence[torch.Tensor]) -> Work:
        """Steps on batches of these shapes; what recording does to the weights is undone."""
        self.places = [part.clone() for part in batches]
        kept = [[t.detach().clone() for t in part] for part in self.adam.moments()]
        self.ensemble.zero_grad(set_to_none=True)
        replay = record(lambda: self._take(*self.places))
        with torch.no_grad():
            for before, part in zip(kept, self.adam.moments(), strict=True):
                for old, now in zip(before, part, strict=True):
                    now.copy_(old)
        return replay

    @property
    def widest(self) -> int:
        """Numbers of a point and member that `values` holds at once."""
        return max(self.ensemble.widths)

    def values(self, x: torch.Tensor) -> torch.Tensor:
        """(members, points, outputs) at `x` (points, input_dim)."""
        return self.ensemble(x)

    @torch.no_grad()
    def errors(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        row = self.ensemble.dtype.itemsize * self.widest * self.ensemble.members
        rows = max(1, buffer_bytes(x.device) // row)
        total = torch.zeros(self.ensemble.members, dtype=torch.float64, device=x.device)
        top = torch.zeros_like(total)
        highest, lowest = top - math.inf, top + math.inf
        with full_precision():
            for xs, ys in zip(x.split(rows), y.split(rows), strict=True):
                values = self.values(xs.to(self.ensemble.dtype)).double()
                gap = values - ys
                total += gap.square().sum(dim=(1, 2))
                top = torch.maximum(top, gap.abs().amax(dim=(1, 2)))
                highest = torch.maximum(highest, values.amax(dim=(1, 2)))
                lowest = torch.minimum(lowest, values.amin(dim=(1, 2)))
        return (total / y.numel()).sqrt(), top, highest - lowest
