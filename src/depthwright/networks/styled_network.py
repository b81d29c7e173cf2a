"""Trained networks whose maps are joined in another style than plain: see `styles`.

Width, depth and parameters are those of the matrices and biases, as in a plain network; residual
sums and layer norms have no parameters. Files hold the tensors `maps.0.weight`, `maps.0.bias`,
`maps.1.weight`, … and name the style, so that they are not read as the maps of a Sequential.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from depthwright.networks.styles import RESIDUAL, normalises
from depthwright.networks.torch_network import (
    LayerNetwork,
    Layers,
    assemble,
    load_layers,
    save_layers,
)
from depthwright.refusal import Refusal, clipped

if TYPE_CHECKING:
    from depthwright.networks.exact.network import ExactNetwork

FORMAT = "depthwright-styled"
"""Written into every such file."""


class StyledNetwork(LayerNetwork):
    """Affine maps (weight (fan_out, fan_in), bias (fan_out,)) joined in `style`."""

    def __init__(self, layers: Layers, style: str) -> None:
        super().__init__(
            [(w.to("cpu", copy=True), b.to("cpu", copy=True)) for w, b in layers], style
        )
        self.style = style

    def to_torch(self, dtype: torch.dtype | None = None) -> nn.Sequential:
        """A plain module with the same values but for rounding; refused where there is none.

        A layer h that a residual map follows is carried as σ(h) and σ(−h), which is **twice its
        width** (and about four times its parameters): h + Wσ(h) + b = (W + 1)σ(h) − σ(−h) + b.
        """
        if any(map(normalises, self._links)):
            raise Refusal(
                "a normalised network has no Linear/ReLU module: layer norm divides by the spread "
                "of a layer, which no piecewise linear map does; use evaluate or forward"
            )
        layers: Layers = []
        following = (*self._links[1:], None)
        for (w, b), link, following_link in zip(self._layers, self._links, following, strict=True):
            weight, bias = w.double(), b.double()
            if link == RESIDUAL:
                one = torch.eye(len(weight), dtype=torch.float64)
                weight = torch.cat([weight + one, -one], dim=1)
            if following_link == RESIDUAL:
                weight, bias = torch.cat([weight, -weight]), torch.cat([bias, -bias])
            layers.append((weight, bias))
        return assemble(layers, dtype or torch.float64)

    def to_exact(self) -> ExactNetwork:
        """The plain form; refused where W + 1 has more bits than float64 holds."""
        for position, ((w, _), link) in enumerate(zip(self._layers, self._links, strict=True)):
            one = w.double().diagonal() + 1
            # the error of a sum, by Knuth's two-sum
            part = one - 1
            lost = (w.double().diagonal() - part).abs() + (1 - (one - part)).abs()
            if link == RESIDUAL and bool(lost.any()):
                raise Refusal(
                    f"residual map {position} has weights whose sum with 1 is no float64, so its "
                    "plain form is rounded; evaluate in float64"
                )
        return super().to_exact()

    def _save(self, path: str | Path) -> None:
        """Write the maps in the network's own dtype and the style, whole or not at all."""
        save_layers(path, self._layers, _part, {"format": FORMAT, "style": self.style})

    def _first_kinks(
        self, weight: torch.Tensor, bias: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """With layer norm: where a neuron equals the mean of its layer."""
        if not normalises(self._links[1]):
            return weight, bias
        return weight - weight.mean(dim=0), bias - bias.mean()


def _part(number: int) -> str:
    return f"maps.{number}"


def load_styled(path: str | Path) -> StyledNetwork:
    layers, metadata = load_layers(path, FORMAT, _part)
    return StyledNetwork(layers, clipped(metadata.get("style", "of no name")))
