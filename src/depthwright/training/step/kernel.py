"""One network on a tile of points, compiled: values, and the gradients written out.

A batch goes through in tiles of points so small that a tile's activations stay in the cache, from
the inputs to the gradients: nothing of the size of batch × width is ever written to memory.

The gradients of a network h_{k+1} = A_k(σ(h_k)) are δ_k = [h_k > 0]·(δ_{k+1} W_kᵀ),
dW_k = σ(h_k)ᵀ δ_{k+1}, db_k = Σ δ_{k+1}, points in rows; where a map is added to its input, δ_{k+1}
is added to δ_k; layer norm passes (δ − mean δ − n̂·mean(δ·n̂))/√(v + ε) on, where n̂ is what it gave.

The order of operations depends on the shape and the batch alone, not on the number of threads, nor
on the other networks that are trained. All arrays are flat; `layout`
says what lies where.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba

from depthwright.networks.styles import EPSILON
from depthwright.training.step.product import (
    INLINE,
    INNER,
    Pointer,
    dense,
    first_columns,
    product,
    repeated,
    transpose,
)
from depthwright.training.step.simd import (
    add,
    broadcast,
    count,
    fill,
    load,
    multiply,
    multiply_add,
    number,
    relu,
    store,
    subtract,
    total,
    where_positive,
    zero,
)


class Hidden(NamedTuple):
    """Values of a tile's points in all hidden layers.

    Each layer is a dense matrix, points × padded neurons, that begins at tile · `position`.
    """

    preactivations: Pointer
    """Before ReLU and layer norm; nothing where no style needs them."""
    activations: Pointer


class Gradients(NamedTuple):
    """Memory of the backward pass: one network's gradients, and room for those of a tile."""

    weights: Pointer
    """Gradient with respect to each weight and bias, in their order; added to."""
    transposed: Pointer
    """All hidden matrices but the first, transposed."""
    delta: Pointer
    """Gradient with respect to the values of a hidden layer, points × padded neurons."""
    next_delta: Pointer
    """The same for the next layer of the backward pass."""


@numba.njit(**INNER)
def _last_map(activations, matrix, result):  # type: ignore[no-untyped-def]
    """result[p, o] = c_o + Σ_j activations[p, j]·V[o, j]; four points at once.

    The biases c lie behind the matrix V.
    """
    n, h = count(matrix.entries), activations.entries
    step, bias = activations.row_step, matrix.start + matrix.rows * matrix.columns
    for p in range(0, activations.rows, 4):
        for o in range(matrix.rows):
            sum_0, sum_1 = zero(h), zero(h)
            sum_2, sum_3 = zero(h), zero(h)
            at, at_v = activations.start + p * step, matrix.start + o * matrix.row_step
            for j in range(0, matrix.columns, n):
                v = load(matrix.entries, at_v + j)
                sum_0 = multiply_add(load(h, at + j), v, sum_0)
                sum_1 = multiply_add(load(h, at + step + j), v, sum_1)
                sum_2 = multiply_add(load(h, at + 2 * step + j), v, sum_2)
                sum_3 = multiply_add(load(h, at + 3 * step + j), v, sum_3)
            c, to = matrix.entries[bias + o], result.start + p * result.row_step + o
            result.entries[to] = total(sum_0) + c
            result.entries[to + result.row_step] = total(sum_1) + c
            result.entries[to + 2 * result.row_step] = total(sum_2) + c
            result.entries[to + 3 * result.row_step] = total(sum_3) + c


@numba.njit(**INNER)
def _last_map_back(activations, matrix, by_output, gradients):  # type: ignore[no-untyped-def]
    """dV += gᵀ·activations, dc += Σ g, delta = [activations > 0]·(g·V), where g is `by_output`."""
    _last_bias_back(matrix, by_output, gradients.weights)
    n, h, g = count(matrix.entries), activations.entries, by_output.entries
    columns, step, delta = matrix.columns, activations.row_step, gradients.delta
    for j in range(0, columns, n):
        for o in range(matrix.rows):
            at_v = matrix.start + o * matrix.row_step + j
            v = load(matrix.entries, at_v)
            even, odd = load(gradients.weights, at_v), zero(g)
            for p in range(0, activations.rows, 2):
                at_g = by_output.start + p * by_output.row_step + o
                g_0, g_1 = broadcast(g, at_g), broadcast(g, at_g + by_output.row_step)
                at = p * columns + j
                h_0 = load(h, activations.start + p * step + j)
                h_1 = load(h, activations.start + (p + 1) * step + j)
                even, odd = multiply_add(g_0, h_0, even), multiply_add(g_1, h_1, odd)
                delta_0, delta_1 = zero(g), zero(g)
                if o:
                    delta_0, delta_1 = load(delta, at), load(delta, at + columns)
                store(delta, at, where_positive(h_0, multiply_add(g_0, v, delta_0)))
                store(delta, at + columns, where_positive(h_1, multiply_add(g_1, v, delta_1)))
            store(gradients.weights, at_v, add(even, odd))


@numba.njit(**INNER)
def _last_bias_back(matrix, by_output, gradient):  # type: ignore[no-untyped-def]
    """dc += Σ g."""
    bias = matrix.start + matrix.rows * matrix.columns
    for o in range(matrix.rows):
        s = gradient[bias + o]
        for p in range(by_output.rows):
            s += by_output.entries[by_output.start + p * by_output.row_step + o]
        gradient[bias + o] = s


@numba.njit(**INNER)
def _bias_back(delta, points, columns, gradient, bias):  # type: ignore[no-untyped-def]
    """db += Σ delta, four points at once."""
    n = count(delta)
    for j in range(0, columns, n):
        sum_0, sum_1 = load(gradient, bias + j), zero(delta)
        sum_2, sum_3 = zero(delta), zero(delta)
        at = j
        for _ in range(0, points, 4):
            sum_0, sum_1 = add(sum_0, load(delta, at)), add(sum_1, load(delta, at + columns))
            sum_2 = add(sum_2, load(delta, at + 2 * columns))
            sum_3 = add(sum_3, load(delta, at + 3 * columns))
            at += 4 * columns
        store(gradient, bias + j, add(add(sum_0, sum_1), add(sum_2, sum_3)))


@numba.njit(**INNER)
def _add(size, to, to_start, other, start):  # type: ignore[no-untyped-def]
    """to[to_start + i] += other[start + i] for i < size."""
    for i in range(0, size, count(to)):
        store(to, to_start + i, add(load(to, to_start + i), load(other, start + i)))


@numba.njit(**INNER)
def _relu(size, values, result, start):  # type: ignore[no-untyped-def]
    """result = σ(values), entry by entry, at the same places."""
    for i in range(start, start + size, count(values)):
        store(result, i, relu(load(values, i)))


@numba.njit(**INNER)
def _relu_back(size, activations, start, delta):  # type: ignore[no-untyped-def]
    """delta = 0 where ReLU's value is."""
    for i in range(0, size, count(delta)):
        store(delta, i, where_positive(load(activations, start + i), load(delta, i)))


@numba.njit(**INNER)
def _mean_and_scale(values, start, width, columns):  # type: ignore[no-untyped-def]
    """Mean m and 1/√(v + ε) of a row, v its mean squared deviation; what is padding is 0."""
    n, size = count(values), number(values, width)
    sums = zero(values)
    for j in range(start, start + columns, n):
        sums = add(sums, load(values, j))
    mean = total(sums) / size
    sums, whole = zero(values), width // n * n
    for j in range(start, start + whole, n):
        deviation = subtract(load(values, j), fill(mean))
        sums = multiply_add(deviation, deviation, sums)
    squares = total(sums)
    for j in range(start + whole, start + width):
        squares += (values[j] - mean) ** 2
    return mean, number(values, 1) / math.sqrt(squares / size + number(values, EPSILON))


@numba.njit(**INNER)
def _norm_relu(values, start, points, columns, width, result):  # type: ignore[no-untyped-def]
    """result = σ(LN(values)), row by row; 0 in the padding."""
    for row in range(start, start + points * columns, columns):
        mean, scale = _mean_and_scale(values, row, width, columns)
        for j in range(row, row + columns, count(values)):
            deviation = subtract(load(values, j), fill(mean))
            store(result, j, relu(multiply(deviation, fill(scale))))
        for j in range(row + width, row + columns):
            result[j] = 0


@numba.njit(**INNER)
def _norm_back(values, start, points, columns, width, delta):  # type: ignore[no-untyped-def]
    """delta through LN at `values`; 0 in the padding, before and after."""
    n, size = count(values), number(values, width)
    for p in range(points):
        row, to = start + p * columns, p * columns
        mean, scale = _mean_and_scale(values, row, width, columns)
        sums, products = zero(values), zero(values)
        for j in range(0, columns, n):
            d, deviation = load(delta, to + j), subtract(load(values, row + j), fill(mean))
            sums, products = add(sums, d), multiply_add(d, deviation, products)
        mean_delta, slope = total(sums) / size, total(products) * (scale * scale / size)
        for j in range(0, columns, n):
            d, deviation = load(delta, to + j), subtract(load(values, row + j), fill(mean))
            d = subtract(subtract(d, fill(mean_delta)), multiply(deviation, fill(slope)))
            store(delta, to + j, multiply(d, fill(scale)))
        for j in range(to + width, to + columns):
            delta[j] = 0


@numba.njit(**INLINE)
def _layer(hidden, m, tile, points):  # type: ignore[no-untyped-def]
    """Activations after the hidden map `m`, points × padded neurons."""
    return dense(hidden.activations, m.position * tile, points, m.columns)


@numba.njit(**INNER)
def forward(shape, weights, hidden, x, result):  # type: ignore[no-untyped-def]
    """Values of a tile's points, `x` (points, padded inputs), in all layers and at the outputs."""
    maps, tile, points, source = shape.maps, shape.tile, x.rows, x
    for k in range(len(maps)):
        m = maps[k]
        start, columns, size = m.position * tile, m.columns, points * m.columns
        source = first_columns(source, m.fan_in)
        matrix = dense(weights, m.weight, m.fan_in, columns)
        bias = repeated(weights, m.bias, points, columns)
        activations = dense(hidden.activations, start, points, columns)
        if m.preactivated:
            values = dense(hidden.preactivations, start, points, columns)
            product(source, matrix, bias, values, False)
            if m.residual:
                before = maps[k - 1].position * tile
                _add(size, hidden.preactivations, start, hidden.preactivations, before)
            if m.normalised:
                _norm_relu(values.entries, start, points, columns, m.width, activations.entries)
            else:
                _relu(size, values.entries, activations.entries, start)
        else:
            product(source, matrix, bias, activations, True)
        source = activations
    _last_map(source, dense(weights, shape.last, shape.outputs, source.columns), result)


@numba.njit(**INNER)
def backward(shape, weights, hidden, x, by_output, gradients):  # type: ignore[no-untyped-def]
    """Add a tile's gradients to `gradients.weights`; `by_output` are those by the outputs."""
    maps, tile, points, top = shape.maps, shape.tile, x.rows, len(shape.maps) - 1
    delta, next_delta = gradients.delta, gradients.next_delta
    source = _layer(hidden, maps[top], tile, points)
    last = dense(weights, shape.last, shape.outputs, source.columns)
    _last_map_back(source, last, by_output, gradients)
    for k in range(top, -1, -1):
        m = maps[k]
        start, columns, size = m.position * tile, m.columns, points * m.columns
        if k < top:
            _relu_back(size, hidden.activations, start, delta)
        if m.normalised:
            _norm_back(hidden.preactivations, start, points, columns, m.width, delta)
        if k < top and maps[k + 1].residual:
            _add(size, delta, 0, next_delta, 0)
        _bias_back(delta, points, columns, gradients.weights, m.bias)
        source = x
        if k:
            source = _layer(hidden, maps[k - 1], tile, points)
        by_value = dense(delta, 0, points, columns)
        by_weight = dense(gradients.weights, m.weight, m.rows, columns)
        product(transpose(source), by_value, by_weight, by_weight, False)
        if k:
            for j in range(points * m.rows):
                next_delta[j] = 0
            matrix = dense(gradients.transposed, m.transposed, m.width, m.rows)
            result = dense(next_delta, 0, points, m.rows)
            product(first_columns(by_value, m.width), matrix, result, result, False)
            delta, next_delta = next_delta, delta
