"""Vectors of 64 bytes as a type inside compiled functions: one register where there is AVX-512.

A loop that LLVM has to vectorise by itself must first prove that no two of its arrays overlap,
and gives up where there are many; with vectors as values nothing has to be proved, and a block of
sums stays in registers. On narrower processors LLVM splits each vector into two or four.
Every operation is the plain one in each lane, `multiply_add` is rounded once, and `total` adds
the lanes as a tree: the same bits on every processor.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

BYTES = 64


def lanes(itemsize: int) -> int:
    """Numbers in a vector."""
    return BYTES // itemsize


class Lanes(types.Type):
    """A vector of float32 or float64."""

    def __init__(self, scalar: types.Float) -> None:
        self.scalar = scalar
        self.count = lanes(scalar.bitwidth // 8)
        super().__init__(name=f"Lanes({scalar})")


def _vector(kind: Lanes) -> ir.VectorType:
    number = ir.FloatType() if kind.scalar.bitwidth == 32 else ir.DoubleType()
    return ir.VectorType(number, kind.count)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Lanes) -> None:
        super().__init__(dmm, fe_type, _vector(fe_type))


def _pointer(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    place = builder.gep(data, [at])
    return builder.bitcast(place, _vector(Lanes(kind.dtype)).as_pointer())


@intrinsic
def load(typingctx, array, at):  # type: ignore[no-untyped-def]
    """Entries at, at + 1, … of a flat array."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        kind = signature.args[0]
        found = builder.load(_pointer(context, builder, kind, *arguments))
        found.align = kind.dtype.bitwidth // 8
        return found

    return Lanes(array.dtype)(array, types.intp), code


@intrinsic
def store(typingctx, array, at, vector):  # type: ignore[no-untyped-def]
    """Write them."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        kind = signature.args[0]
        place = _pointer(context, builder, kind, *arguments[:2])
        builder.store(arguments[2], place).align = kind.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), code


@intrinsic
def count(typingctx, array):  # type: ignore[no-untyped-def]
    """Numbers in a vector of the array's dtype, known when compiling."""
    number = Lanes(array.dtype).count

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return context.get_constant(types.intp, number)

    return types.intp(array), code


@intrinsic
def zero(typingctx, array):  # type: ignore[no-untyped-def]
    """0 in every lane, of the array's dtype."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return ir.Constant(_vector(signature.return_type), None)

    return Lanes(array.dtype)(array), code


@intrinsic
def spread(typingctx, array, at):  # type: ignore[no-untyped-def]
    """Entry `at` of a flat array, in every lane."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        vector = _vector(signature.return_type)
        none, first = ir.Constant(vector, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        one = builder.insert_element(none, builder.load(builder.gep(data, [arguments[1]])), first)
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None)
        return builder.shuffle_vector(one, none, everywhere)

    return Lanes(array.dtype)(array, types.intp), code


@intrinsic
def multiply_add(typingctx, a, b, c):  # type: ignore[no-untyped-def]
    """a·b + c, rounded once."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        vector = _vector(signature.return_type)
        name = f"llvm.fma.v{vector.count}f{signature.return_type.scalar.bitwidth}"
        kind = ir.FunctionType(vector, [vector] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)

    return a(a, a, a), code


def _two(operation: str) -> Any:
    @intrinsic
    def two(typingctx, a, b):  # type: ignore[no-untyped-def]
        def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return getattr(builder, operation)(*arguments)

        return a(a, a), code

    return two


add, multiply, subtract = _two("fadd"), _two("fmul"), _two("fsub")


@intrinsic
def where_positive(typingctx, sign, value):  # type: ignore[no-untyped-def]
    """`value` where `sign` > 0, else 0."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        zero = ir.Constant(_vector(signature.return_type), None)
        above = builder.fcmp_ordered(">", arguments[0], zero)
        return builder.select(above, arguments[1], zero)

    return value(value, value), code


@intrinsic
def bent(typingctx, vector):  # type: ignore[no-untyped-def]
    """ReLU; what is not a number stays so."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        zero = ir.Constant(_vector(signature.return_type), None)
        below = builder.fcmp_ordered("<=", arguments[0], zero)
        return builder.select(below, zero, arguments[0])

    return vector(vector), code


@intrinsic
def total(typingctx, vector):  # type: ignore[no-untyped-def]
    """The sum of the lanes, halves onto halves."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        found, count = arguments[0], _vector(signature.args[0]).count
        while count > 1:
            count //= 2
            index = ir.VectorType(ir.IntType(32), count)
            low, high = (
                builder.shuffle_vector(
                    found, found, ir.Constant(index, list(range(start, start + count)))
                )
                for start in (0, count)
            )
            found = builder.fadd(low, high)
        return builder.extract_element(found, ir.Constant(ir.IntType(32), 0))

    return vector.scalar(vector), code
