"""torch's operations that compute nothing, by the names of torch's dispatcher.

torch runs them on element numbers themselves.
"""

from __future__ import annotations

_MOVEMENTS = """
    _reshape_alias _unsafe_view alias as_strided cat channel_shuffle chunk clone contiguous
    detach diagonal expand flip gather im2col index index_select lift lift_fresh narrow permute
    pixel_shuffle pixel_unshuffle reflection_pad1d reflection_pad2d reflection_pad3d repeat
    replication_pad1d replication_pad2d replication_pad3d reshape roll rot90 select slice split
    split_with_sizes squeeze stack swapaxes t take_along_dim tile transpose tril triu unbind
    unfold unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze upsample_nearest1d
    upsample_nearest2d upsample_nearest3d view
"""
MOVEMENTS = frozenset(_MOVEMENTS.split())
"""Operations that move entries and compute nothing, but for zeros: element 0 is 0."""
IN_FLOATS = frozenset(
    name
    for name in MOVEMENTS
    if name.startswith(("im2col", "reflection", "replication", "upsample"))
)
"""Movements that torch has for floats only: float64 holds element numbers exactly."""
_FACTORIES = """
    empty_like full_like new_empty new_full new_ones new_zeros ones_like zeros_like
"""
FACTORIES = frozenset(_FACTORIES.split())
"""Tensors of the shape or dtype of another one, with values of their own."""
