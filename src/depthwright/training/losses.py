"""The losses of training: squared error, and two close to the sup norm of the claims.

With errors e over all points and outputs of a batch:

- `l2`: mean e².
- `l8`: (mean e⁸)^{1/8}, between root mean square and maximum.
- `smooth_maximum`: (m/β)·log mean exp(β·abs(e)/m) with m = max abs(e), held fixed when
  differentiating, and β = 10: the gradient is that of abs(e), weighted by softmax(β·abs(e)/m).

A batch without any error has loss and gradient 0.

Adam takes steps of the same size whatever a loss is multiplied by, so learning rates mean the
same for all three.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

L2, L8, SMOOTH_MAXIMUM = "l2", "l8", "smooth_maximum"
LOSSES = (L2, L8, SMOOTH_MAXIMUM)
"""In the order of the compiled step's numbers."""

SHARPNESS = 10.0
"""β of the smooth maximum."""


def loss_of(errors: torch.Tensor, loss: str) -> torch.Tensor:
    """`errors` (members, batch, outputs) → (members,), differentiable."""
    flat = errors.flatten(1)
    if loss == L2:
        return flat.square().sum(1) / flat.shape[1]
    top = flat.detach().abs().amax(1, keepdim=True)
    share = flat.masked_fill(top == 0, 1.0) / top.masked_fill(top == 0, 1.0)  # 0/0 has no gradient
    if loss == L8:
        return top[:, 0] * share.pow(8).mean(1).pow(1 / 8)
    scaled = SHARPNESS * share.abs()
    return top[:, 0] * (1 + (scaled - SHARPNESS).exp().mean(1).log() / SHARPNESS)
