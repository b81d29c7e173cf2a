"""Borders between floats, against the floats themselves."""

import math
import struct
from fractions import Fraction

import numpy as np
import pytest

from depthwright.constructions.bits.cells import Cells, Reading, Steps, rounded_up

KINDS = {"float64": np.float64, "float32": np.float32}


def boxes(kind, count, seed=0):
    """Off centre, tiny, huge, subnormal, around 0, between two neighbouring floats."""
    rng = np.random.default_rng(seed)
    real = KINDS[kind]
    top = 120 if kind == "float32" else 1000
    for _ in range(count):
        scale = 2.0 ** rng.integers(-top, top)
        centre = rng.choice([0.0, 0.0, 1.0, -1.0, 1e3, 1e-3]) * scale
        with np.errstate(over="ignore"):
            low, high = sorted(real(centre + scale * rng.uniform(-1, 1, 2)))
        if rng.random() < 0.2:
            high = np.nextafter(low, real(np.inf))
        if rng.random() < 0.1:
            low, high = real(0), np.nextafter(real(0), real(1)) * int(rng.integers(1, 40))
        if np.isfinite(low) and np.isfinite(high):
            yield float(low), float(high)


def neighbours(border, kind):
    """The largest float below a border and the smallest above, by bisection over all floats."""
    pattern, unsigned = ("<d", "<q") if kind == "float64" else ("<f", "<i")

    def number(order):  # floats in their order, −0 left out
        bits = order if order >= 0 else -order | (1 << (63 if kind == "float64" else 31))
        raw = struct.pack(unsigned.upper(), bits)
        return struct.unpack(pattern, raw)[0]

    limit = 0x7FEFFFFFFFFFFFFF if kind == "float64" else 0x7F7FFFFF
    low, high = -limit, limit
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if Fraction(number(middle)) < border else (low, middle)
    return number(low), number(high)


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("bits", [1, 2, 5, 17])
def test_no_float_is_misread(kind, bits):
    rng = np.random.default_rng(bits)
    for low, high in boxes(kind, 60, seed=bits):
        cells = Cells.of(low, high, bits, kind)
        assert cells.first <= low
        assert cells.index(low) >= 0
        assert cells.index(high) == cells.top < 2**bits
        numbers = [0, 1, cells.top, cells.top + 1, *rng.integers(0, cells.top + 1, 4).tolist()]
        nearest = math.floor(-cells.first / cells.step)  # the borders around 0
        for number in [*numbers, nearest, nearest + 1]:
            border = cells.border(number)
            below, above = neighbours(border, kind)
            assert Fraction(below) <= border - cells.tick
            assert border < above  # bisection took the border itself for "above" were it a float
            assert cells.index(below) < number <= cells.index(above)


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_border_moved_by_its_tick_meets_floats(kind):
    """The negative control: on the even multiples of the tick there are floats."""
    cells = Cells.of(-1.0, 1.0, 5, kind)
    met = 0
    for number in range(cells.top + 1):
        border = cells.border(number) - cells.tick
        met += Fraction(float(KINDS[kind](float(border)))) == border
    assert met > cells.top // 2


@pytest.mark.parametrize("kind", list(KINDS))
def test_zero_and_subnormals_lie_inside_a_cell(kind):
    tiny = 5e-324 if kind == "float64" else 2.0**-149
    cells = Cells.of(-3.0, 0.7, 9, kind)
    reading = Reading((cells,))
    x = np.array([[0.0], [-0.0], [tiny], [-tiny]])
    assert len({cells.index(float(v)) for v in x[:, 0]}) == 1
    assert not reading.in_bad_set(x).any()
    small = Cells.of(0.0, 7 * tiny, 3, kind)
    numbers = [small.index(k * tiny) for k in range(8)]
    assert numbers == sorted(set(numbers))


def test_cells_are_nearly_as_narrow_as_can_be():
    for low, high in boxes("float64", 80):
        if low == high:
            continue
        cells = Cells.of(low, high, 12, "float64")
        least = (Fraction(high) - Fraction(low)) / (2**12 - 1)
        assert least <= cells.step <= least * (1 + Fraction(1, 127))
        for x in (low, high, low / 2 + high / 2):
            if low <= x <= high:
                x_hat = cells.centre + cells.index(x) * cells.step
                assert abs(Fraction(x) - x_hat) <= cells.error


def test_a_box_of_one_point():
    cells = Cells.of(0.3, 0.3, 4, "float64")
    assert cells.top == 0
    assert cells.share == 0
    assert abs(cells.centre - Fraction(0.3)) <= cells.error < Fraction(2) ** -1070


def test_the_bad_set_is_where_ramps_are_neither_0_nor_1():
    cells = Cells.of(-1.0, 2.0, 3, "float32")
    reading = Reading((cells,))
    rng = np.random.default_rng(0)
    border = float(cells.border(4))
    assert Fraction(border) == cells.border(4)  # 24 bits and a little: a float64
    tick = float(cells.tick)
    x = border + tick * np.concatenate([rng.uniform(-2, 1, 200), [0.0, -1.0]])
    slope = 2**cells.slope_bits

    def ramps(value):
        at = slope * (Fraction(value) - cells.border(4))
        return max(at + 1, Fraction(0)) - max(at, Fraction(0))

    expected = [ramps(v) not in (0, 1) for v in x.tolist()]
    assert reading.in_bad_set(x[:, None]).tolist() == expected
    assert 40 < sum(expected) < 110
    assert not reading.in_bad_set(x[:, None].astype(np.float32).astype(float)).any()


def test_the_share_is_counted_and_made_smaller_on_demand():
    lower, upper = [-1.0, 0.0], [1.0, 5.0]
    reading = Reading.cells(lower, upper, 4, "float32")
    tiny = sum(a.top * a.tick / (Fraction(a.upper) - Fraction(a.lower)) for a in reading.axes)
    assert reading.share == tiny
    steeper = Reading.cells(lower, upper, 4, "float32", failure=Fraction(1e-20))
    assert 0 < steeper.share <= Fraction(1e-20) < 4 * steeper.share
    assert [a.step for a in steeper.axes] == [a.step for a in reading.axes]


@pytest.mark.parametrize(("grid", "step"), [(0.25, 0.25), (0.375, 0.125), (3.0, 1.0)])
def test_grids_are_whole_numbers(grid, step):
    axis = Steps.of(-3.0, 5.0, grid)
    assert axis.step == step
    for k in range(int(8 // grid) + 1):
        whole = (Fraction(-3.0 + k * grid) - axis.centre) / axis.step
        assert whole.denominator == 1
        assert 0 <= whole <= axis.top
    assert axis.top == int(8 // grid) * (grid / step)


def test_rounding_up_keeps_few_bits():
    for value in (Fraction(1, 3), Fraction(255), Fraction(2**70 + 1), Fraction(257, 2**90)):
        up = rounded_up(value, 8)
        assert value <= up <= value * (1 + Fraction(1, 127))
        odd = up.numerator // (up.numerator & -up.numerator)
        assert odd.bit_length() <= 8
