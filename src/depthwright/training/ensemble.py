"""Many networks of one shape as one batched network; optimisers with a learning rate for each.

Members never mix: every operation acts on each slice of the first dimension alone, so that a
member's numbers are those of the same network trained by itself, and a member that runs off to
infinity changes no other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import nn

from depthwright.networks.styled_network import StyledNetwork
from depthwright.networks.styles import PLAIN, Links, links, skips, taken
from depthwright.networks.torch_network import (
    BUFFER_BYTES,
    LayerNetwork,
    Layers,
    ModuleNetwork,
)
from depthwright.training.config import ADAMW, HE, LECUN, SGD, SPREAD, TrainingConfig

BETAS, EPS = (0.9, 0.999), 1e-8
"""Adam's, as torch has them."""


class Ensemble(nn.Module):
    """`len(seeds)` ReLU networks of shape `widths`, joined in one style: stacked weights, biases.

    Initialisation `he`: hidden weights have variance 2/fan_in, the last map's 1/fan_in, biases are
    uniform on ±1/√fan_in; `lecun`: all weights have variance 1/fan_in, biases are 0; `spread`: as
    `he`, but a first-layer neuron with weights w has its bias uniform on ±‖w‖, so that the kinks
    lie at all distances from 0 to 1. Weights and biases of r residual maps are divided by √r, so
    that the sum over all of them has the size of one. Each member is drawn in float64 on the
    CPU by a generator of its own seed, so that it is the same in any ensemble, in any order, on
    any device. `layers` given, (weight (fan_out, fan_in), bias (fan_out,)) per map, every member
    starts there instead, each entry multiplied by 1 + `noises`[k]·N(0, 1).
    """

    def __init__(
        self,
        widths: Sequence[int],
        seeds: Sequence[int],
        dtype: torch.dtype = torch.float32,
        style: str = PLAIN,
        initialisations: Sequence[str] | None = None,
        layers: Layers | None = None,
        noises: Sequence[float] = (),
    ) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.style = style
        self.links = links(self.widths, style)
        self.members = len(seeds)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        if layers is None:
            names = initialisations or [HE] * self.members
            drawn = [self._draw(g, name) for g, name in zip(generators, names, strict=True)]
        else:
            drawn = [
                _perturbed(layers, noise, g) for g, noise in zip(generators, noises, strict=True)
            ]
        self.weights = nn.ParameterList()
        """(members, fan_in, fan_out) each."""
        self.biases = nn.ParameterList()
        """(members, 1, fan_out) each."""
        for layer in range(len(widths) - 1):
            weight, bias = (torch.stack([m[layer][k] for m in drawn]) for k in (0, 1))
            self.weights.append(nn.Parameter(weight.to(dtype)))
            self.biases.append(nn.Parameter(bias.to(dtype)))

    @property
    def dtype(self) -> torch.dtype:
        return self.weights[0].dtype

    def _draw(
        self, generator: torch.Generator, name: str
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        layers, last, residual = [], len(self.widths) - 2, sum(map(skips, self.links))
        for layer, (fan_in, fan_out) in enumerate(pairwise(self.widths)):
            gain = 1.0 if layer == last or name == LECUN else 2.0
            weight = torch.randn(fan_in, fan_out, generator=generator, dtype=torch.float64)
            bias = torch.rand(1, fan_out, generator=generator, dtype=torch.float64)
            share = fan_in * (residual if skips(self.links[layer]) else 1)
            weight, bias = weight * math.sqrt(gain / share), (2 * bias - 1) / math.sqrt(share)
            if name == LECUN:
                bias = torch.zeros_like(bias)
            elif name == SPREAD and layer == 0:
                bias = bias * math.sqrt(share) * weight.norm(dim=0)
            layers.append((weight, bias))
        return layers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x` (batch, input_dim), shared by all → (members, batch, output_dim)."""
        group = self._group(x)
        weights = zip(*(weight.split(group) for weight in self.weights), strict=True)
        biases = zip(*(bias.split(group) for bias in self.biases), strict=True)
        return torch.cat(
            [_values(x, w, b, self.links) for w, b in zip(weights, biases, strict=True)]
        )

    def _group(self, x: torch.Tensor) -> int:
        """How many members go through the layers together.

        On a CPU as many as keep an activation and its gradient in the cache: for six networks
        of width 900 on a batch of 256, one by one takes 5.2 to 5.9 ms of processor time a step,
        all at once 6.3 to 7.6.
        """
        if x.device.type != "cpu":
            return self.members
        activation = x.dtype.itemsize * len(x) * max(self.widths)
        return max(1, BUFFER_BYTES["cpu"] // (2 * activation))

    def member(self, index: int) -> LayerNetwork:
        """One member as a network, copied."""
        layers = [
            (weight[index].detach().T, bias[index, 0].detach())
            for weight, bias in zip(self.weights, self.biases, strict=True)
        ]
        if self.style == PLAIN:
            return ModuleNetwork.of(layers)
        return StyledNetwork(layers, self.style)


def _perturbed(
    layers: Layers, noise: float, generator: torch.Generator
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    def near(part: torch.Tensor) -> torch.Tensor:
        draw = torch.randn(part.shape, generator=generator, dtype=torch.float64)
        return part.detach().cpu().double() * (1 + noise * draw)

    return [(near(weight).T, near(bias)[None]) for weight, bias in layers]


def _values(
    x: torch.Tensor,
    weights: Sequence[torch.Tensor],
    biases: Sequence[torch.Tensor],
    links: Links,
) -> torch.Tensor:
    h = x.expand(len(weights[0]), *x.shape)
    for weight, bias, link in zip(weights, biases, links, strict=True):
        new = torch.baddbmm(bias, taken(h, link), weight)
        h = h + new if skips(link) else new
    return h


class EnsembleAdam(nn.Module):
    """Adam (Kingma and Ba 2015) as `torch.optim.Adam` takes it, with a learning rate per member.

    A module, so that its state moves with the weights' and is saved with them. Members that `drop`
    has marked keep their parameters from then on.
    """

    rates: torch.Tensor
    alive: torch.Tensor

    def __init__(self, weights: Iterable[nn.Parameter], rates: torch.Tensor) -> None:
        """`weights` (members, …) each, changed in place; `rates` (members,)."""
        super().__init__()
        self.weights = list(weights)
        self.steps = 0
        self.register_buffer("rates", rates)
        self.register_buffer("alive", torch.ones_like(rates, dtype=torch.bool))
        for k, weight in enumerate(self.weights):
            for moment in ("mean", "square"):
                self.register_buffer(f"{moment}_{k}", torch.zeros_like(weight.detach()))

    def drop(self, members: torch.Tensor) -> None:
        """Freeze the members (members,) marked True."""
        self.alive = self.alive & ~members

    def advance(self, factor: float = 1.0) -> tuple[float, ...]:
        """Count a step; (`factor` over the mean's correction, root of the square's correction)."""
        self.steps += 1
        beta1, beta2 = BETAS
        return factor / (1 - beta1**self.steps), math.sqrt(1 - beta2**self.steps)

    def moments(self) -> list[list[torch.Tensor]]:
        """The parameters, the running means of their gradients and of those squared."""
        places = range(len(self.weights))
        means, squares = (
            [getattr(self, f"{moment}_{k}") for k in places] for moment in ("mean", "square")
        )
        return [list(self.weights), means, squares]

    @torch.no_grad()
    def update(self, scales: torch.Tensor) -> None:
        """One step along the gradients; `scales` (2,) is what `advance` returns, on the device."""
        beta1, beta2 = BETAS
        rate = self.rates * scales[0]
        for p, mean, square in zip(*self.moments(), strict=True):
            if p.grad is None:
                continue
            mean.lerp_(p.grad, 1 - beta1)
            square.mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
            denominator = (square.sqrt() / scales[1]).add_(EPS)
            each = (-1, *[1] * (p.ndim - 1))
            change = rate.view(each) * mean / denominator
            p.sub_(change.where(self.alive.view(each), 0))


class EnsembleAdamW(EnsembleAdam):
    """The same with `weight_decay` apart from the gradient, as `torch.optim.AdamW` takes it.

    Before a step every parameter loses `weight_decay` times the learning rate of itself.
    """

    def __init__(
        self, weights: Iterable[nn.Parameter], rates: torch.Tensor, weight_decay: float
    ) -> None:
        super().__init__(weights, rates)
        self.weight_decay = weight_decay

    def advance(self, factor: float = 1.0) -> tuple[float, ...]:
        """Adam's two numbers, and `factor` times the decay."""
        return (*super().advance(factor), factor * self.weight_decay)

    @torch.no_grad()
    def update(self, scales: torch.Tensor) -> None:
        lost = self.rates * scales[2]
        for p in self.weights:
            each = (-1, *[1] * (p.ndim - 1))
            p.sub_((lost.view(each) * p).where(self.alive.view(each), 0))
        super().update(scales)


class EnsembleMomentum(EnsembleAdam):
    """Gradient descent with momentum, as `torch.optim.SGD` takes it: a running sum of gradients.

    The sum is in the place of Adam's means; the squares stay 0.
    """

    def __init__(
        self, weights: Iterable[nn.Parameter], rates: torch.Tensor, momentum: float
    ) -> None:
        super().__init__(weights, rates)
        self.momentum = momentum

    def advance(self, factor: float = 1.0) -> tuple[float, ...]:
        """`factor`, and 1 in the place of a correction."""
        self.steps += 1
        return factor, 1.0

    @torch.no_grad()
    def update(self, scales: torch.Tensor) -> None:
        rate = self.rates * scales[0]
        for p, mean, _ in zip(*self.moments(), strict=True):
            if p.grad is None:
                continue
            mean.mul_(self.momentum).add_(p.grad)
            each = (-1, *[1] * (p.ndim - 1))
            p.sub_((rate.view(each) * mean).where(self.alive.view(each), 0))


def optimiser(
    config: TrainingConfig, weights: Iterable[nn.Parameter], rates: torch.Tensor
) -> EnsembleAdam:
    """The one that the config names."""
    if config.optimiser == SGD:
        return EnsembleMomentum(weights, rates, config.momentum)
    if config.optimiser == ADAMW:
        return EnsembleAdamW(weights, rates, config.weight_decay)
    return EnsembleAdam(weights, rates)
