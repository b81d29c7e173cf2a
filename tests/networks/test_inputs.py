"""Which inputs a network was built for, against fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from depthwright.networks.exact.network import from_arrays
from depthwright.networks.inputs import Inputs, on_grid
from depthwright.refusal import Refusal

CASES = [
    (-1.0, 0.25), (0.1, 0.3), (-3.0, 0.375), (1e-300, 5e-324), (7.0, 2.0**-50), (-0.7, 1e3),
    (5e-324, 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("start", "step"), CASES)
def test_points_of_a_grid_are_recognised_exactly(start: float, step: float) -> None:
    rng = np.random.default_rng(0)
    near = start + step * rng.integers(-9, 9, 60)
    around = np.concatenate([near, np.nextafter(near, np.inf), np.nextafter(near, -np.inf)])
    x = np.concatenate([around, rng.uniform(-2, 2, 20), [0.0, -0.0, 5e-324, 1e300]])
    wanted = [(Fraction(v) - Fraction(start)) % Fraction(step) == 0 for v in x.tolist()]
    assert on_grid(x, np.array(start), step).tolist() == wanted
    assert any(wanted) or step == 0.3, "0.1 + 0.3·k is no float but for k = 0"


def test_the_nearest_inputs_are_near_and_are_inputs() -> None:
    rng = np.random.default_rng(1)
    box = (-1.0, 0.3), (1.0, 1.0)
    x = rng.uniform(*box, (500, 2))
    for inputs, reach in (
        (Inputs(*box, grid=0.125), 0.125),
        (Inputs(*box, grid=0.75), 0.75),
        (Inputs(*box, "float32"), 2.0**-23),
        (Inputs(*box, "float64"), 0.0),
    ):
        moved = inputs.nearest(x)
        assert np.abs(moved - x).max() <= reach
        good = ~(inputs.outside(moved) | inputs.others(moved))
        # 0.3 + k/8 is no float for some k, and then no input is near
        assert good.all() or (inputs.grid is not None and good[moved[:, 1] == 0.3].all())
    low = float(Inputs((0.7,), (1.0,), "float32").nearest(np.array([[0.7]]))[0, 0])
    assert float(np.float32(0.7)) < 0.7 < low < 0.7 + 2.0**-24, "the nearest float32 lies outside"


NETWORK = ([[[1.0, 1.0]], [[1.0]]], [[3.0], [0.0]], "exact")


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        (Inputs((-1.0, 0.0), (1.0, 2.0)), r"2 of 4 inputs are not among \[−1, 1\] × \[0, 2\], of"),
        (Inputs.cube(2, 1.0), r"2 of 4 inputs are not among \[−1, 1\]\^2, of"),
        (Inputs((-9.0,) * 2, (9.0,) * 2, "float32"), "1 of 4 .* every float32 of"),
        (
            Inputs((-9.0,) * 2, (9.0,) * 2, grid=0.5),
            r"1 of 4 .* the points −9 \+ 0.5·k of \[−9, 9\]\^2",
        ),
    ],
)
def test_inputs_of_another_kind_are_counted_and_refused(inputs: Inputs, told: str) -> None:
    network = from_arrays(*NETWORK, inputs)
    x = torch.tensor([[0.5, 0.5], [0.1, 0.5], [-3.0, 1.0], [0.0, 7.0]], dtype=torch.float64)
    with pytest.raises(Refusal, match=told):
        network.evaluate(x)
    values = network.evaluate(x, anywhere=True)
    assert values[:, 0].tolist() == [float(sum(row)) for row in (x + 1.5).tolist()]
    good = x[~torch.from_numpy(inputs.outside(x.numpy()) | inputs.others(x.numpy()))]
    assert len(network.evaluate(good)) == len(good) < 4


def test_boxes_are_read_as_one_writes_them() -> None:
    assert str(Inputs.cube(1, 0.5)) == "[−0.5, 0.5]"
    assert (
        str(Inputs((0.0,) * 2 + (-1.0,), (1.0,) * 2 + (math.pi,)))
        == "[0, 1]^2 × [−1, 3.141592653589793]"
    )
    many = Inputs(tuple(map(float, range(9))), (10.0,) * 9, "float64")
    assert str(many) == "every float64 of [0, 10] × [1, 10] × [2, 10] × … (6 more)"
    assert (
        str(Inputs((0.0, 1.0), (2.0, 2.0), grid=0.5))
        == "the points lower + 0.5·k of [0, 2] × [1, 2]"
    )
