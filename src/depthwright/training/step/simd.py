"""Vectors of the processor (SIMD) as values inside compiled functions.

A `Vector` holds 64 bytes of float32 or float64, one register where there is AVX-512; a *pair*
holds twice as many, in two registers. On processors with narrower registers LLVM splits both.

Why not leave it to the compiler: before LLVM turns a loop into vector operations it must prove that
no two of its arrays overlap, and it gives up where there are many arrays. With vectors as values
there is nothing to prove, and a block of sums stays in registers.

Compiled functions pass a `pointer` to an array's entries to each other: numba counts the
references to an array whenever a tuple with one is made or read, which takes longer than a small
product. The caller that takes a pointer has to keep the array alive.

Every operation acts on each entry alone, `multiply_add` rounds once, and `total` adds the entries
as a tree: the same bits on every processor.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, register_model

BYTES = 64
"""Of a vector."""
WIDE = "+avx512f" in cpu_target.target_context.codegen().magic_tuple()[2].split(",")
"""Whether a register of the processor that numba compiles for holds a whole vector."""


def vector_length(itemsize: int) -> int:
    """Entries of a vector, each of `itemsize` bytes."""
    return BYTES // itemsize


class Vector(types.Type):
    """Numba's type of `vectors` · 64 bytes of float32 or float64."""

    def __init__(self, scalar: types.Float, vectors: int = 1) -> None:
        self.scalar = scalar
        self.length = vectors * vector_length(scalar.bitwidth // 8)
        super().__init__(name=f"Vector({scalar}, {self.length})")

    @property
    def llvm(self) -> ir.VectorType:
        """The same type in LLVM."""
        number = ir.FloatType() if self.scalar.bitwidth == 32 else ir.DoubleType()
        return ir.VectorType(number, self.length)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        super().__init__(dmm, fe_type, fe_type.llvm)


@intrinsic
def pointer(typingctx, array):  # type: ignore[no-untyped-def]
    """To the entries of a flat array; it can be indexed as the array can."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return types.CPointer(array.dtype)(array), code


def _address(builder: Any, entries: Any, at: Any, vector: Vector) -> Any:
    """Where entry `at` lies, read as a vector."""
    return builder.bitcast(builder.gep(entries, [at]), vector.llvm.as_pointer())


def _load(vectors: int) -> Any:
    @intrinsic
    def load(typingctx, entries, at):  # type: ignore[no-untyped-def]
        def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            vector = signature.return_type
            found = builder.load(_address(builder, *arguments, vector))
            found.align = vector.scalar.bitwidth // 8
            return found

        return Vector(entries.dtype, vectors)(entries, types.intp), code

    return load


load, load_pair = _load(1), _load(2)
"""(pointer, at): the entries at, at + 1, …"""


@intrinsic
def store(typingctx, entries, at, vector):  # type: ignore[no-untyped-def]
    """Write a vector or pair to the entries at, at + 1, …"""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        vector = signature.args[2]
        place = _address(builder, *arguments[:2], vector)
        builder.store(arguments[2], place).align = vector.scalar.bitwidth // 8
        return context.get_dummy_value()

    return types.void(entries, types.intp, vector), code


@intrinsic
def count(typingctx, entries):  # type: ignore[no-untyped-def]
    """Entries of a vector, of the dtype of what is pointed to; a constant of the compiled code."""
    length = Vector(entries.dtype).length

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return context.get_constant(types.intp, length)

    return types.intp(entries), code


@intrinsic
def number(typingctx, entries, value):  # type: ignore[no-untyped-def]
    """`value` in the dtype of what is pointed to."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return context.cast(builder, arguments[1], signature.args[1], signature.return_type)

    return entries.dtype(entries, value), code


@intrinsic
def zero(typingctx, entries):  # type: ignore[no-untyped-def]
    """A vector of zeros, of the dtype of what is pointed to."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return ir.Constant(signature.return_type.llvm, None)

    return Vector(entries.dtype)(entries), code


def _everywhere(builder: Any, entry: Any, kind: Vector) -> Any:
    """A vector with one entry in every place."""
    index, undefined = ir.IntType(32), ir.Constant(kind.llvm, ir.Undefined)
    first = builder.insert_element(undefined, entry, ir.Constant(index, 0))
    return builder.shuffle_vector(
        first, undefined, ir.Constant(ir.VectorType(index, kind.length), None)
    )


def _broadcast(vectors: int) -> Any:
    @intrinsic
    def broadcast(typingctx, entries, at):  # type: ignore[no-untyped-def]
        def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            entry = builder.load(builder.gep(arguments[0], [arguments[1]]))
            return _everywhere(builder, entry, signature.return_type)

        return Vector(entries.dtype, vectors)(entries, types.intp), code

    return broadcast


broadcast, broadcast_pair = _broadcast(1), _broadcast(2)
"""(pointer, at): entry `at`, in every place of the vector."""


@intrinsic
def fill(typingctx, value):  # type: ignore[no-untyped-def]
    """A vector with `value` in every place."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return _everywhere(builder, arguments[0], signature.return_type)

    return Vector(value)(value), code


@intrinsic
def multiply_add(typingctx, a, b, c):  # type: ignore[no-untyped-def]
    """a·b + c, rounded once."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        vector = signature.return_type.llvm
        name = f"llvm.fma.v{vector.count}f{signature.return_type.scalar.bitwidth}"
        kind = ir.FunctionType(vector, [vector] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)

    return a(a, a, a), code


def _arithmetic(operation: str) -> Any:
    @intrinsic
    def operate(typingctx, a, b):  # type: ignore[no-untyped-def]
        def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return getattr(builder, operation)(*arguments)

        return a(a, a), code

    return operate


add, multiply, subtract = _arithmetic("fadd"), _arithmetic("fmul"), _arithmetic("fsub")


@intrinsic
def where_positive(typingctx, sign, value):  # type: ignore[no-untyped-def]
    """`value` where `sign` > 0, else 0."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        zero = ir.Constant(signature.return_type.llvm, None)
        positive = builder.fcmp_ordered(">", arguments[0], zero)
        return builder.select(positive, arguments[1], zero)

    return value(value, value), code


@intrinsic
def relu(typingctx, vector):  # type: ignore[no-untyped-def]
    """The larger of each entry and 0; not-a-number stays so, as divergence has to show."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        zero = ir.Constant(signature.return_type.llvm, None)
        negative = builder.fcmp_ordered("<=", arguments[0], zero)
        return builder.select(negative, zero, arguments[0])

    return vector(vector), code


@intrinsic
def total(typingctx, vector):  # type: ignore[no-untyped-def]
    """The sum of the entries: the second half is added to the first, until one is left."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        sums, count = arguments[0], signature.args[0].length
        while count > 1:
            count //= 2
            index = ir.VectorType(ir.IntType(32), count)
            low, high = (
                builder.shuffle_vector(
                    sums, sums, ir.Constant(index, list(range(start, start + count)))
                )
                for start in (0, count)
            )
            sums = builder.fadd(low, high)
        return builder.extract_element(sums, ir.Constant(ir.IntType(32), 0))

    return vector.scalar(vector), code
