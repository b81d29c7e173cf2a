"""Styles: how the affine maps of a trained network are joined. Same matrices, another forward.

For widths (d, n_1, …, n_{L−1}, d_out), with maps A_k(z) = W_k z + b_k and σ(z) = max(0, z):

- `plain`: h_1 = A_1(x), h_k = A_k(σ(h_{k−1})); the value is h_L.
- `residual` (pre-activation): h_k = h_{k−1} + A_k(σ(h_{k−1})) wherever n_k = n_{k−1} and
  2 ≤ k ≤ L−1; the other maps plain.
- `normalised`: h_k = A_k(σ(LN(h_{k−1}))) for 2 ≤ k ≤ L−1, with LN(h) = (h − m)/√(v + 1e-5), m and
  v the mean and the mean squared deviation of the n_{k−1} entries of h; nothing in it is learned.
  The other maps plain. On two neurons LN leaves hardly more than a sign, on one nothing. With LN
  neurons stay active, but inputs do not stay distinct: at width 5 and depth 33 all of them are
  mapped to nearly the same vector, and such networks start as constants just as plain ones do.
- `normalised_residual` (pre-norm): h_k = h_{k−1} + A_k(σ(LN(h_{k−1}))) wherever n_k = n_{k−1} and
  2 ≤ k ≤ L−1; the other maps plain. With the sums inputs stay distinct, with LN neurons active.

The first and the last map are plain in every style; so depth 2 has one style only. All styles have
the same widths, depth and parameters. Plain and residual networks are piecewise linear, those with
LN are not: those are rivals only, and no networks of the theorems.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from depthwright.refusal import need_one_of

if TYPE_CHECKING:
    import torch

PLAIN, RESIDUAL, NORMALISED = "plain", "residual", "normalised"
BOTH = "normalised_residual"

STYLES = (PLAIN, RESIDUAL, NORMALISED, BOTH)

FIRST = "first"
"""The link of the first map, which is applied to the input directly."""

EPSILON = 1e-5
"""Added to the mean squared deviation."""

Links = tuple[str, ...]
"""One per affine map: what it is applied to."""


def skips(link: str) -> bool:
    """Whether a map's input before ReLU is added to its output."""
    return link in (RESIDUAL, BOTH)


def normalises(link: str) -> bool:
    """Whether a layer norm comes before the map's ReLU."""
    return link in (NORMALISED, BOTH)


def links(widths: Sequence[int], style: str) -> Links:
    """The link of every affine map."""
    need_one_of("style", style, STYLES)
    inner = range(1, len(widths) - 2)
    fits = {k for k in inner if not skips(style) or widths[k] == widths[k + 1]}
    return (FIRST, *(style if k in fits else PLAIN for k in range(1, len(widths) - 1)))


def effective(widths: Sequence[int], style: str) -> str:
    """The style, or plain where it changes nothing at these widths."""
    return style if style in links(widths, style) else PLAIN


def taken(h: torch.Tensor, link: str) -> torch.Tensor:
    """What a map is applied to; overwrites `h` unless it is needed again."""
    if link == FIRST:
        return h
    if link == RESIDUAL:
        return h.relu()
    if normalises(link):
        from torch.nn.functional import layer_norm

        h = layer_norm(h, h.shape[-1:], eps=EPSILON)
    return h.relu_()
