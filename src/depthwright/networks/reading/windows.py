"""Windows over grids: what convolutions and poolings read, as element numbers and matrices.

All of them work over the last k axes of an array of element numbers (…, n_1, …, n_k); a window
that reaches over the border reads −1 there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from depthwright.networks.reading.balls import exact, reciprocal, scaled
from depthwright.networks.reading.expressions import Ids, Tape, check_entries
from depthwright.refusal import Refusal

OUTSIDE = -1
"""The element number beyond the border."""
Padding = Sequence[tuple[int, int]]
"""Per axis, before and after."""


def windows(
    ids: Ids,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Padding,
    dilation: Sequence[int],
    ceil_mode: bool = False,
) -> Ids:
    """(…, out_1, …, out_k, kernel_1 · … · kernel_k)."""
    rank = len(kernel)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    borders = []
    sizes = ids.shape[-rank:]
    for size, span, step, (low, high) in zip(sizes, spans, stride, padding, strict=True):
        room = size + low + high - span
        if room < 0:
            raise Refusal(f"a window of {span} does not fit into {size + low + high} values")
        steps = -(-room // step) if ceil_mode else room // step
        if ceil_mode and steps * step >= size + low:
            steps -= 1  # windows begin inside the input or its left padding
        borders.append((low, max(high, steps * step + span - size - low)))
    flat = [(0, 0)] * (ids.ndim - rank)
    padded = np.pad(ids, [*flat, *borders], constant_values=OUTSIDE)
    axes = tuple(range(ids.ndim - rank, ids.ndim))
    seen = np.lib.stride_tricks.sliding_window_view(padded, spans, axes)
    starts = tuple(slice(None, None, s) for s in stride)
    inside = tuple(slice(None, None, d) for d in dilation)
    chosen: tuple[Any, ...] = (..., *starts, *inside)
    seen = seen[chosen]
    return seen.reshape(*seen.shape[: seen.ndim - rank], -1)


def convolution(
    tape: Tape,
    ids: Ids,
    weight: np.ndarray,
    bias: np.ndarray | None,
    stride: Sequence[int],
    padding: Padding,
    dilation: Sequence[int],
    groups: int = 1,
) -> Ids:
    """ids (1, C, n…), weight (C_out, C/groups, k…) → (1, C_out, m…)."""
    matrix, sizes = _convolution_matrix(ids.shape[1:], weight, stride, padding, dilation, groups)
    shift = None if bias is None else np.repeat(bias, math.prod(sizes))[:, None]
    out = tape.affine(exact(matrix), ids, None if shift is None else exact(shift))
    return out.reshape(1, len(weight), *sizes)


def transposed_convolution(
    tape: Tape,
    ids: Ids,
    weight: np.ndarray,
    bias: np.ndarray | None,
    stride: Sequence[int],
    padding: Padding,
    dilation: Sequence[int],
    groups: int = 1,
    extra: Sequence[int] | None = None,
) -> Ids:
    """ids (1, C, n…), weight (C, C_out/groups, k…): the transposed matrix of a convolution."""
    rank = weight.ndim - 2
    sizes = [
        (n - 1) * s - low - high + d * (k - 1) + 1 + e
        for n, s, (low, high), d, k, e in zip(
            ids.shape[2:], stride, padding, dilation, weight.shape[2:], extra or [0] * rank,
            strict=True,
        )
    ]  # fmt: skip
    channels = weight.shape[1] * groups
    matrix, back = _convolution_matrix(
        (channels, *sizes), weight, stride, padding, dilation, groups
    )
    if list(back) != list(ids.shape[2:]):
        raise Refusal(f"a transposed convolution of {ids.shape[2:]} values to {sizes} is unknown")
    shift = None if bias is None else np.repeat(bias, math.prod(sizes))[:, None]
    out = tape.affine(exact(matrix.T.tocsr()), ids, None if shift is None else exact(shift))
    return out.reshape(1, channels, *sizes)


def _convolution_matrix(
    shape: Sequence[int],
    weight: np.ndarray,
    stride: Sequence[int],
    padding: Padding,
    dilation: Sequence[int],
    groups: int,
) -> tuple[sparse.csr_array, tuple[int, ...]]:
    """(C_out · m, C · n) and m…; one row per channel and position."""
    channels, kernel = shape[0], weight.shape[2:]
    grid = np.arange(math.prod(shape)).reshape(shape)
    seen = windows(grid, kernel, stride, padding, dilation)  # (C, m…, k)
    sizes, places = seen.shape[1:-1], math.prod(seen.shape[1:-1])
    check_entries(weight.shape[0] * weight[0].size * places)
    per_group, read = weight.shape[0] // groups, channels // groups
    seen = seen.reshape(groups, read, places, -1).transpose(0, 2, 1, 3)  # (group, m, read, k)
    shared = np.broadcast_to(
        seen.reshape(groups, 1, places, -1), (groups, per_group, places, weight[0].size)
    )
    values = np.broadcast_to(weight.reshape(groups, per_group, 1, -1), shared.shape)
    rows = np.broadcast_to(np.arange(weight.shape[0] * places)[:, None], (
        weight.shape[0] * places, weight[0].size))  # fmt: skip
    kept = (shared != OUTSIDE).reshape(-1)
    entries = values.reshape(-1)[kept], (rows.reshape(-1)[kept], shared.reshape(-1)[kept])
    matrix = sparse.csr_array(entries, shape=(weight.shape[0] * places, math.prod(shape)))
    matrix.eliminate_zeros()
    return matrix, sizes


def average(tape: Tape, seen: Ids, divisor: np.ndarray | float | None = None) -> Ids:
    """Means of the windows inside (…, k); `divisor` in place of the count of values inside."""
    flat = seen.reshape(-1, seen.shape[-1])
    inside = flat != OUTSIDE
    counts = inside.sum(axis=1) if divisor is None else np.broadcast_to(divisor, len(flat))
    unique, columns = np.unique(flat[inside], return_inverse=True)
    sums = sparse.csr_array(
        (np.ones(len(columns)), (np.nonzero(inside)[0], columns)), shape=(len(flat), len(unique))
    )
    kinds = np.unique(counts)
    if len(kinds) == 1:
        return tape.affine(scaled(sums, reciprocal(float(kinds[0]))), unique).reshape(
            seen.shape[:-1]
        )
    out = np.zeros(len(flat), dtype=np.int64)
    for kind in kinds:  # windows at the border hold fewer
        at = np.flatnonzero(counts == kind)
        out[at] = tape.affine(scaled(sums[at], reciprocal(float(kind))), unique)
    return out.reshape(seen.shape[:-1])


def average_pool(
    tape: Tape,
    ids: Ids,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Padding,
    ceil_mode: bool,
    with_border: bool,
    divisor: float | None = None,
) -> Ids:
    """Means of windows; with `with_border`, zeros of the padding count as values."""
    ones = [1] * len(kernel)
    seen = windows(ids, kernel, stride, padding, ones, ceil_mode)
    if divisor is None and with_border:
        rank = len(kernel)
        inside = np.pad(ids, [(0, 0)] * (ids.ndim - rank) + [tuple(p) for p in padding])
        counted = windows(inside, kernel, stride, [(0, 0)] * rank, ones, ceil_mode)
        counted = counted[tuple(slice(0, n) for n in seen.shape[:-1])]
        return average(tape, seen, (counted != OUTSIDE).sum(axis=-1).reshape(-1))
    return average(tape, seen, divisor)


def max_pool(
    tape: Tape,
    ids: Ids,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Padding,
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Ids:
    """Maxima of windows, one axis after the other, so that overlapping windows share neurons."""
    rank = len(kernel)
    for axis in range(rank):
        lines = np.moveaxis(ids, ids.ndim - rank + axis, -1)
        seen = windows(
            lines, kernel[axis : axis + 1], stride[axis : axis + 1], padding[axis : axis + 1],
            dilation[axis : axis + 1], ceil_mode,
        )  # fmt: skip
        ids = np.moveaxis(maximum(tape, seen), -1, ids.ndim - rank + axis)
    return ids


def maximum(tape: Tape, seen: Ids) -> Ids:
    """Maxima over the last axis, in rounds of pairs; OUTSIDE does not count."""
    some = seen.max(axis=-1, keepdims=True)  # an element of the window
    if (some == OUTSIDE).any():
        raise Refusal("a window of a maximum lies in the padding alone; give less padding")
    seen = np.where(seen == OUTSIDE, some, seen)
    while seen.shape[-1] > 1:
        half = seen.shape[-1] // 2
        larger = tape.maximum(seen[..., :half], seen[..., half : 2 * half])
        seen = np.concatenate([larger, seen[..., 2 * half :]], axis=-1)
    return seen[..., 0]


def adaptive(ids: Ids, sizes: Sequence[int]) -> Ids:
    """Windows ⌊i·n/m⌋ … ⌈(i+1)·n/m⌉ of the last axes: (…, m_1, …, m_k, widest window)."""
    rank = len(sizes)
    reads = []
    for n, m in zip(ids.shape[-rank:], sizes, strict=True):
        edges = [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
        widest = max(b - a for a, b in edges)
        reads.append(np.array([[*range(a, b), *[OUTSIDE] * (widest - b + a)] for a, b in edges]))
    lead = ids.shape[: ids.ndim - rank]
    padded = np.pad(ids, [(0, 0)] * len(lead) + [(0, 1)] * rank, constant_values=OUTSIDE)
    grids = []  # −1 reads the border that was added
    for axis, read in enumerate(reads):
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = read.shape
        grids.append(read.reshape(shape))
    chosen: tuple[Any, ...] = (..., *grids)
    seen = padded[chosen]
    return seen.reshape(*lead, *sizes, -1)


def same_padding(
    sizes: Sequence[int], spans: Sequence[int], stride: Sequence[int], at_start: bool
) -> list[tuple[int, int]]:
    """Padding with which ⌈n/stride⌉ windows fit; the odd one at the start or at the end."""
    out = []
    for n, span, step in zip(sizes, spans, stride, strict=True):
        total = max(0, (-(-n // step) - 1) * step + span - n)
        low = (total + 1) // 2 if at_start else total // 2
        out.append((low, total - low))
    return out
