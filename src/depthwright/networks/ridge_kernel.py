"""The compiled inner loop of structured evaluation on a CPU: project, then look up.

Per pair (point, direction): k multiply-adds for a direction with k nonzeros, then one look-up.
[0, 1] is cut into a power of two of cells so narrow that none holds two kinks; multiplying by a
power of two is exact, so the cell is found without comparison, and four gathered numbers give the
value. Points run along the vector lanes in blocks that stay in the first-level cache.
"""

from __future__ import annotations

import numpy as np

from depthwright.machine.numba_cache import stored

BLOCK = 256
"""Points a block: 256 float64 are 2 KB an array."""
FLUSH = 64
"""Directions summed in the working precision before the sum is added in float64."""
LARGEST_TABLE = 1 << 20
"""Most cells of a table; closer kinks are found by bisection elsewhere."""


def table(kinks: np.ndarray, turns: np.ndarray, dtype: type) -> np.ndarray | None:
    """Rows (kink, value at it, slope before it, turn) per cell of [0, 1]: (4, cells).

    A cell without a kink carries the last one before it, its turn already in the slope.
    None where more than `LARGEST_TABLE` cells would be needed.
    """
    at: np.ndarray = kinks.astype(dtype)
    gap = float(np.diff(at.astype(np.float64), append=1.0).min(initial=1.0))
    cells = 1 << max(0, int(np.ceil(-np.log2(gap)))) if gap > 0 else LARGEST_TABLE + 1
    if cells > LARGEST_TABLE:
        return None
    slopes = np.concatenate([[0.0], np.cumsum(turns)])
    values = np.concatenate([[0.0], np.cumsum(slopes[1:-1] * np.diff(kinks))])
    cell_of_kink = (at.astype(np.float64) * cells).astype(np.int64)
    last = np.searchsorted(cell_of_kink, np.arange(cells), side="right") - 1
    has_kink = (last >= 0) & (cell_of_kink[last] == np.arange(cells))
    started = last >= 0
    rows: np.ndarray = np.zeros((4, cells), dtype=dtype)
    rows[0] = np.where(started, at[last], 0.0)
    rows[1] = np.where(started, values[last], 0.0)
    rows[2] = np.where(started, np.where(has_kink, slopes[last], slopes[last + 1]), 0.0)
    rows[3] = np.where(has_kink, np.append(turns, 0.0)[last], 0.0)
    return rows


@stored("structured evaluation", nogil=True, fastmath={"contract", "nsz", "nnan"})
def accumulate(x, indices, values, weights, rows, out):  # type: ignore[no-untyped-def]
    """out[p] += Σ_i weights[i]·ĝ(abs(w_i·x_p)).

    x (points, d); indices, values (n, k); weights (n,); rows (4, cells); out (points,) float64.
    """
    points, dimension = x.shape
    count, k = indices.shape
    cells = rows.shape[1]
    scale = x.dtype.type(cells)
    top = np.uint32(cells - 1)
    for block in range((points + BLOCK - 1) // BLOCK):
        start = block * BLOCK
        size = min(BLOCK, points - start)
        columns = np.zeros((dimension, BLOCK), dtype=x.dtype)
        for p in range(size):
            for j in range(dimension):
                columns[j, p] = x[start + p, j]
        t = np.empty(BLOCK, dtype=x.dtype)
        partial = np.zeros(BLOCK, dtype=x.dtype)
        total = np.zeros(BLOCK, dtype=np.float64)
        kink, value, slope, turn = rows[0], rows[1], rows[2], rows[3]
        for i in range(count):
            first = columns[indices[i, 0]]
            c = values[i, 0]
            for p in range(BLOCK):
                t[p] = c * first[p]
            for e in range(1, k):
                column = columns[indices[i, e]]
                c = values[i, e]
                for p in range(BLOCK):
                    t[p] += c * column[p]
            w = weights[i]
            for p in range(BLOCK):
                s = abs(t[p])
                cell = min(np.uint32(min(s, x.dtype.type(1)) * scale), top)
                beyond = s - kink[cell]
                bent = slope[cell] * beyond + turn[cell] * max(beyond, x.dtype.type(0))
                partial[p] += w * (value[cell] + bent)
            if i % FLUSH == FLUSH - 1 or i == count - 1:
                for p in range(BLOCK):
                    total[p] += partial[p]
                    partial[p] = 0
        for p in range(size):
            out[start + p] += total[p]
