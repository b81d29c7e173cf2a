"""Matrices in flat arrays, and their product in registers: where most of the time goes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba

from depthwright.training.step.simd import (
    WIDE,
    broadcast,
    broadcast_pair,
    count,
    load,
    load_pair,
    multiply_add,
    relu,
    store,
)

INNER: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
"""For functions that only compiled functions call."""

INLINE = INNER | {"forceinline": True}
"""For small ones, whose call would cost as much as their body."""

Pointer = Any
"""Pointer to the numbers of a flat array, from `simd.pointer`."""


class Matrix(NamedTuple):
    """Entry (r, c) is entries[start + r·row_step + c·column_step]."""

    entries: Pointer
    start: int
    rows: int
    columns: int
    row_step: int
    column_step: int


@numba.njit(**INLINE)
def dense(entries, start, rows, columns):  # type: ignore[no-untyped-def]
    """Rows one after another."""
    return Matrix(entries, start, rows, columns, columns, 1)


@numba.njit(**INLINE)
def first_columns(matrix, columns):  # type: ignore[no-untyped-def]
    """The matrix without its other columns."""
    return Matrix(
        matrix.entries, matrix.start, matrix.rows, columns, matrix.row_step, matrix.column_step
    )


@numba.njit(**INLINE)
def transpose(matrix):  # type: ignore[no-untyped-def]
    """The same entries."""
    return Matrix(
        matrix.entries,
        matrix.start,
        matrix.columns,
        matrix.rows,
        matrix.column_step,
        matrix.row_step,
    )


@numba.njit(**INLINE)
def repeated(entries, start, rows, columns):  # type: ignore[no-untyped-def]
    """One row, `rows` times: a bias, beside a batch."""
    return Matrix(entries, start, rows, columns, 0, 1)


# A product is computed in blocks of four rows and one pair of vectors, whose sums stay in eight
# registers while k runs over the inner dimension:
#
#                            row k of B:   │  one vector  │ next vector │
#                                          ├──────────────┼─────────────┤
#   column k of A:  A[r,     k], repeated  │     sums_0: 2 registers    │
#                   A[r + 1, k], repeated  │     sums_1: 2 registers    │
#                   A[r + 2, k], repeated  │     sums_2: 2 registers    │
#                   A[r + 3, k], repeated  │     sums_3: 2 registers    │
#
# Each k takes two loads from B and four repeated entries of A for eight fused multiply-adds: enough
# independent sums to hide how long one takes. Where one vector is left, the block is 4 × 1.
#
# On a processor whose registers are narrower than a vector all blocks are 4 × 1: with AVX2 a row of
# the picture is four registers, of sixteen in all, and sums without a place go to memory and
# back at every k. The numbers are the same in blocks of either size.
def _block(load, broadcast):  # type: ignore[no-untyped-def]
    """The block whose columns `load` reads at once."""

    @numba.njit(**INLINE)
    def block(a, b, initial, result, row, column, activate):  # type: ignore[no-untyped-def]
        step = initial.row_step
        at = initial.start + row * step + column
        sums_0, sums_1 = load(initial.entries, at), load(initial.entries, at + step)
        sums_2, sums_3 = load(initial.entries, at + 2 * step), load(initial.entries, at + 3 * step)
        step = a.row_step
        at_a, at_b = a.start + row * step, b.start + column
        for _ in range(a.columns):
            b_row = load(b.entries, at_b)
            sums_0 = multiply_add(broadcast(a.entries, at_a), b_row, sums_0)
            sums_1 = multiply_add(broadcast(a.entries, at_a + step), b_row, sums_1)
            sums_2 = multiply_add(broadcast(a.entries, at_a + 2 * step), b_row, sums_2)
            sums_3 = multiply_add(broadcast(a.entries, at_a + 3 * step), b_row, sums_3)
            at_a += a.column_step
            at_b += b.row_step
        if activate:
            sums_0, sums_1 = relu(sums_0), relu(sums_1)
            sums_2, sums_3 = relu(sums_2), relu(sums_3)
        step = result.row_step
        at = result.start + row * step + column
        store(result.entries, at, sums_0)
        store(result.entries, at + step, sums_1)
        store(result.entries, at + 2 * step, sums_2)
        store(result.entries, at + 3 * step, sums_3)

    return block


_block_of_pairs, _block_of_vectors = _block(load_pair, broadcast_pair), _block(load, broadcast)


@numba.njit(**INLINE)
def product(a, b, initial, result, activate):  # type: ignore[no-untyped-def]
    """result = initial + A·B, then ReLU where `activate`.

    Rows of B, initial and result are consecutive in memory; the result's rows are a multiple of 4,
    its columns of a vector.
    """
    n = count(b.entries)
    column = 0
    if WIDE:
        while column + 2 * n <= result.columns:
            for row in range(0, result.rows, 4):
                _block_of_pairs(a, b, initial, result, row, column, activate)
            column += 2 * n
    while column < result.columns:
        for row in range(0, result.rows, 4):
            _block_of_vectors(a, b, initial, result, row, column, activate)
        column += n
