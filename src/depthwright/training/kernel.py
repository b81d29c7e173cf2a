"""One network on a tile of points, compiled: forward, and the gradients written out.

A batch goes through in tiles of points so small that a tile's activations stay in the cache, from
the inputs to the gradients: nothing of the size of batch × width is ever written to memory.
Matrix products are sums of four rows × two vectors kept in registers. The gradients of a network
h_{k+1} = A_k(σ(h_k)) are δ_k = [h_k > 0]·(W_kᵀ δ_{k+1}), dW_k = σ(h_k)ᵀ δ_{k+1}, db_k = Σ δ_{k+1};
where a map is added to its input, δ_{k+1} is added to δ_k; layer norm passes (δ − mean δ −
n̂·mean(δ·n̂))/√(v + ε) on, where n̂ is what it gave.

Whatever a number is computed from, and in which order, depends on the shape and the batch alone:
not on how many threads there are, nor on what other networks are trained. The arrays are flat;
`maps` says what lies where (see `layout`).
"""

from __future__ import annotations

import math
from typing import Any

import numba

from depthwright.networks.styles import EPSILON
from depthwright.training.lanes import (
    add,
    bent,
    count,
    load,
    multiply_add,
    spread,
    store,
    total,
    where_positive,
    zero,
)

INNER: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
"""For functions that only compiled ones call."""

FAST = {"contract", "nsz"}
"""Not `nnan`: a network that diverges has to show it."""


@numba.njit(**INNER)
def product(a, a0, a_row, a_step, rows, inner, b, b0, cols, s, s0, s_row, c, c0, bend):  # type: ignore[no-untyped-def]
    """C = S + A·B, then ReLU where `bend`: (rows, cols), `rows` a multiple of 4.

    A[r, k] = a[a0 + r·a_row + k·a_step]; rows of B and C lie `cols` apart, of S `s_row` (0 for a
    bias).
    """
    n = count(b)
    j = 0
    while j + 2 * n <= cols:
        for r in range(0, rows, 4):
            t = s0 + r * s_row + j
            c00, c01 = load(s, t), load(s, t + n)
            c10, c11 = load(s, t + s_row), load(s, t + s_row + n)
            c20, c21 = load(s, t + 2 * s_row), load(s, t + 2 * s_row + n)
            c30, c31 = load(s, t + 3 * s_row), load(s, t + 3 * s_row + n)
            i = a0 + r * a_row
            e = b0 + j
            for _ in range(inner):
                b_0, b_1 = load(b, e), load(b, e + n)
                one = spread(a, i)
                c00, c01 = multiply_add(one, b_0, c00), multiply_add(one, b_1, c01)
                one = spread(a, i + a_row)
                c10, c11 = multiply_add(one, b_0, c10), multiply_add(one, b_1, c11)
                one = spread(a, i + 2 * a_row)
                c20, c21 = multiply_add(one, b_0, c20), multiply_add(one, b_1, c21)
                one = spread(a, i + 3 * a_row)
                c30, c31 = multiply_add(one, b_0, c30), multiply_add(one, b_1, c31)
                i += a_step
                e += cols
            if bend:
                c00, c01 = bent(c00), bent(c01)
                c10, c11 = bent(c10), bent(c11)
                c20, c21 = bent(c20), bent(c21)
                c30, c31 = bent(c30), bent(c31)
            t = c0 + r * cols + j
            store(c, t, c00)
            store(c, t + n, c01)
            store(c, t + cols, c10)
            store(c, t + cols + n, c11)
            store(c, t + 2 * cols, c20)
            store(c, t + 2 * cols + n, c21)
            store(c, t + 3 * cols, c30)
            store(c, t + 3 * cols + n, c31)
        j += 2 * n
    if j < cols:
        for r in range(0, rows, 4):
            t = s0 + r * s_row + j
            c00, c10 = load(s, t), load(s, t + s_row)
            c20, c30 = load(s, t + 2 * s_row), load(s, t + 3 * s_row)
            i = a0 + r * a_row
            e = b0 + j
            for _ in range(inner):
                b_0 = load(b, e)
                c00 = multiply_add(spread(a, i), b_0, c00)
                c10 = multiply_add(spread(a, i + a_row), b_0, c10)
                c20 = multiply_add(spread(a, i + 2 * a_row), b_0, c20)
                c30 = multiply_add(spread(a, i + 3 * a_row), b_0, c30)
                i += a_step
                e += cols
            if bend:
                c00, c10 = bent(c00), bent(c10)
                c20, c30 = bent(c20), bent(c30)
            t = c0 + r * cols + j
            store(c, t, c00)
            store(c, t + cols, c10)
            store(c, t + 2 * cols, c20)
            store(c, t + 3 * cols, c30)


@numba.njit(**INNER)
def _outputs(act, a0, points, cols, w, v0, outputs, out, o0):  # type: ignore[no-untyped-def]
    """The last map: out[p, o] = c_o + Σ_j act[p, j]·V[o, j]; `points` a multiple of 4."""
    n = count(w)
    c0 = v0 + outputs * cols
    for p in range(0, points, 4):
        for o in range(outputs):
            s0, s1, s2, s3 = zero(w), zero(w), zero(w), zero(w)
            i = a0 + p * cols
            for j in range(0, cols, n):
                v = load(w, v0 + o * cols + j)
                s0 = multiply_add(load(act, i + j), v, s0)
                s1 = multiply_add(load(act, i + cols + j), v, s1)
                s2 = multiply_add(load(act, i + 2 * cols + j), v, s2)
                s3 = multiply_add(load(act, i + 3 * cols + j), v, s3)
            c = w[c0 + o]
            e = o0 + p * outputs + o
            out[e] = total(s0) + c
            out[e + outputs] = total(s1) + c
            out[e + 2 * outputs] = total(s2) + c
            out[e + 3 * outputs] = total(s3) + c


@numba.njit(**INNER)
def _outputs_back(act, a0, points, cols, w, v0, outputs, g, g0, grad, delta):  # type: ignore[no-untyped-def]
    """dV += gᵀ·act, dc += Σ g, delta = [act > 0]·(g·V); `points` even."""
    n = count(w)
    c0 = v0 + outputs * cols
    for o in range(outputs):
        s = grad[c0 + o]
        for p in range(points):
            s += g[g0 + p * outputs + o]
        grad[c0 + o] = s
    for j in range(0, cols, n):
        for o in range(outputs):
            e = v0 + o * cols + j
            v = load(w, e)
            even, odd = load(grad, e), zero(w)
            for p in range(0, points, 2):
                g_0, g_1 = spread(g, g0 + p * outputs + o), spread(g, g0 + (p + 1) * outputs + o)
                i = p * cols + j
                h_0, h_1 = load(act, a0 + i), load(act, a0 + i + cols)
                even, odd = multiply_add(g_0, h_0, even), multiply_add(g_1, h_1, odd)
                d_0, d_1 = zero(w), zero(w)
                if o:
                    d_0, d_1 = load(delta, i), load(delta, i + cols)
                store(delta, i, where_positive(h_0, multiply_add(g_0, v, d_0)))
                store(delta, i + cols, where_positive(h_1, multiply_add(g_1, v, d_1)))
            store(grad, e, add(even, odd))


@numba.njit(**INNER)
def _bend_back(act, a0, points, cols, delta):  # type: ignore[no-untyped-def]
    """delta = 0 where ReLU's value is."""
    n = count(act)
    for i in range(0, points * cols, n):
        store(delta, i, where_positive(load(act, a0 + i), load(delta, i)))


@numba.njit(**INNER)
def _biases_back(delta, points, cols, grad, b0):  # type: ignore[no-untyped-def]
    """db += Σ delta; `points` a multiple of 4."""
    n = count(delta)
    for j in range(0, cols, n):
        s0, s1, s2, s3 = load(grad, b0 + j), zero(grad), zero(grad), zero(grad)
        i = j
        for _ in range(0, points, 4):
            s0 = add(s0, load(delta, i))
            s1 = add(s1, load(delta, i + cols))
            s2 = add(s2, load(delta, i + 2 * cols))
            s3 = add(s3, load(delta, i + 3 * cols))
            i += 4 * cols
        store(grad, b0 + j, add(add(s0, s1), add(s2, s3)))


@numba.njit(**INNER, fastmath=FAST | {"reassoc"})
def _norm(pre, at, points, cols, width, act):  # type: ignore[no-untyped-def]
    """act = σ(LN(pre)), row by row."""
    for p in range(points):
        e = at + p * cols
        row, to = pre[e : e + width], act[e : e + width]
        mean = pre.dtype.type(0)
        for j in range(width):
            mean += row[j]
        mean /= width
        spread2 = pre.dtype.type(0)
        for j in range(width):
            spread2 += (row[j] - mean) ** 2
        scale = pre.dtype.type(1) / math.sqrt(spread2 / width + pre.dtype.type(EPSILON))
        for j in range(width):
            value = (row[j] - mean) * scale
            to[j] = value if not value <= 0 else pre.dtype.type(0)


@numba.njit(**INNER, fastmath=FAST | {"reassoc"})
def _norm_back(pre, at, points, cols, width, delta):  # type: ignore[no-untyped-def]
    """delta through LN at `pre`."""
    for p in range(points):
        row = pre[at + p * cols : at + p * cols + width]
        d = delta[p * cols : p * cols + width]
        mean = pre.dtype.type(0)
        for j in range(width):
            mean += row[j]
        mean /= width
        spread2 = pre.dtype.type(0)
        for j in range(width):
            spread2 += (row[j] - mean) ** 2
        scale = pre.dtype.type(1) / math.sqrt(spread2 / width + pre.dtype.type(EPSILON))
        first = pre.dtype.type(0)
        second = pre.dtype.type(0)
        for j in range(width):
            first += d[j]
            second += d[j] * (row[j] - mean)
        first /= width
        second *= scale * scale / width
        for j in range(width):
            d[j] = (d[j] - first - (row[j] - mean) * second) * scale


@numba.njit(**INNER)
def forward(x, x0, x_row, points, tile, w, maps, last, outputs, pre, act, out, o0):  # type: ignore[no-untyped-def]
    """Activations of `points` points, and their outputs."""
    n = count(w)
    source, s0, s_row = x, x0, x_row
    for k in range(len(maps)):
        weight, bias, _, fan_in, _, cols, width, skip, norm, keep, column = maps[k]
        at = column * tile
        if keep:
            product(source, s0, s_row, 1, points, fan_in, w, weight, cols, w, bias, 0, pre, at, 0)
        else:
            product(source, s0, s_row, 1, points, fan_in, w, weight, cols, w, bias, 0, act, at, 1)
        if skip:
            before = maps[k - 1, -1] * tile
            for i in range(0, points * cols, n):
                store(pre, at + i, add(load(pre, at + i), load(pre, before + i)))
        if norm:
            _norm(pre, at, points, cols, width, act)
        elif keep:
            for i in range(0, points * cols, n):
                store(act, at + i, bent(load(pre, at + i)))
        source, s0, s_row = act, at, cols
    _outputs(act, s0, points, s_row, w, last, outputs, out, o0)


@numba.njit(**INNER)
def backward(  # type: ignore[no-untyped-def]
    x, x0, x_row, points, tile, w, turned, maps, last, outputs, pre, act, g, g0, grad, delta, other
):
    """Add the gradients of `points` points to `grad`; `g` holds those of the outputs."""
    n = count(w)
    top = len(maps) - 1
    cols, at = maps[top, 5], maps[top, -1] * tile
    _outputs_back(act, at, points, cols, w, last, outputs, g, g0, grad, delta)
    for k in range(top, -1, -1):
        weight, bias, turn, _, rows, cols, width, _, norm, _, column = maps[k]
        at = column * tile
        if k < top:
            _bend_back(act, at, points, cols, delta)
        if norm:
            _norm_back(pre, at, points, cols, width, delta)
        if k < top and maps[k + 1, 7]:
            for i in range(0, points * cols, n):
                store(delta, i, add(load(delta, i), load(other, i)))
        _biases_back(delta, points, cols, grad, bias)
        if k:
            a0 = maps[k - 1, -1] * tile
            product(
                act, a0, 1, rows, rows, points, delta, 0, cols, grad, weight, cols, grad, weight, 0
            )
            other[: points * rows] = 0
            product(
                delta, 0, cols, 1, points, width, turned, turn, rows, other, 0, rows, other, 0, 0
            )
            delta, other = other, delta
        else:
            product(
                x, x0, 1, x_row, rows, points, delta, 0, cols, grad, weight, cols, grad, weight, 0
            )
