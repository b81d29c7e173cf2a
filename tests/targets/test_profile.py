"""A profile of one's own: points, files, functions of every kind; false declarations refuted."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from depthwright.constructions import RadialDepthThree, Ridge
from depthwright.refusal import Refusal
from depthwright.targets import Hat, Profile
from depthwright.targets.profile import read_points

POINTS = [[0.0, 0.0], [0.5, 0.4], [1.0, 0.0]]
BROKEN = {"lipschitz": 1.0, "breaks": [0.4], "curvature": 0.0}


def by_hand(r: Fraction) -> Fraction:
    """The broken line through POINTS, in rationals."""
    rise = Fraction(0.4) / Fraction(1, 2)
    return rise * min(r, 1 - r)


@pytest.mark.parametrize(
    "target",
    [
        Profile(POINTS),
        Profile(np.array(POINTS), input_dim=2),
        Profile([0, 0.4, 0], at=[0, 0.5, 1]),
        Profile(torch.tensor([0, 0.4, 0], dtype=torch.float64)),
    ],
)
def test_points_in_every_form_are_one_broken_line(target: Profile) -> None:
    r = np.linspace(0, 1, 257)
    exact = [float(by_hand(Fraction(t))) for t in r.tolist()]
    np.testing.assert_allclose(target.profile(r), exact, rtol=0, atol=2**-52)
    assert target.lipschitz == 0.8
    assert target.norms["sup"] == 0.4
    assert target.norms["mean"] == pytest.approx(0.2, rel=1e-15)
    x = torch.rand(50, target.input_dim, dtype=torch.float64) / 3
    norms = torch.linalg.vector_norm(x, dim=1).tolist()
    values = [[float(by_hand(Fraction(r)))] for r in norms]
    np.testing.assert_allclose(target(x).tolist(), values, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    "text",
    [
        "0,0\n0.5,0.4\n1,0",
        "radius,value\n0,0\n0.5,0.4\n1,0\n",
        "\ufeffr;ϕ\r\n0;0\r\n5e-1;4e-1\r\n1;0\r\n",
        "# measured\n\n0 0\n 0.5\t0.4  # the top\n1 0",
    ],
)
def test_files_of_two_columns_are_read(text: str, tmp_path: Path) -> None:
    path = tmp_path / "profile.csv"
    path.write_text(text, encoding="utf-8")
    assert read_points(path).tolist() == POINTS
    assert Profile(file=path).breaks.tolist() == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "profile.csv: 0 radii"),
        ("0,0\n1,0,5", "line 2: '1,0,5' is no pair of numbers"),
        ("r,v\nx,y\n0,0", "line 2: 'x,y' is no pair"),
        ("0,5;1,2\n1,0;2,0", "line 1: '0,5;1,2' is no pair"),
        ("0,0\n1,nan", "profile.csv: .*nan"),
        ("0,0\n0.5,1\n0.5,2\n1,0", "radius 0.5 comes after 0.5"),
        ("0.1,0\n1,0", "the radii run from 0.1 to 1"),
        ("0,0\n250,1", "the radii run from 0 to 250"),
        ("0,0\n1,1e101", "above|at most"),
    ],
)
def test_files_that_hold_no_profile_are_refused_in_a_sentence(
    text: str, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "profile.csv"
    path.write_text(text)
    with pytest.raises(Refusal, match=says):
        Profile(file=str(path))


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="is not there"):
        Profile(file=tmp_path)
    (tmp_path / "image").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(Refusal, match="is no text file"):
        Profile(file=tmp_path / "image")


def test_only_what_is_the_same_is_equal() -> None:
    first, other = Profile([0, 1]), Profile([0, 0.5])
    assert first == first
    assert first != other
    assert hash(first) != hash(other)
    assert Ridge(first, 0.3) != Ridge(other, 0.3)
    assert Hat(3) == Hat(3) != Hat(3, slope=4)


def branches(r: Any) -> float:
    """Of single numbers, with whole numbers among its values."""
    return 0 if r < 0.4 else 0.4 - r


FUNCTIONS = {
    "arrays and tensors": lambda r: abs(r - 0.4) * -0.5 - (r - 0.4) * 0.5,
    "arrays": lambda r: -np.maximum(r - 0.4, 0),
    "tensors": lambda r: -torch.relu(r - 0.4),
    "numbers": branches,
    "math": lambda r: 0.4 - math.sqrt(max(r, 0.4) ** 2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_may_be_written_for_arrays_tensors_or_numbers(name: str) -> None:
    target = Profile(FUNCTIONS[name], input_dim=2, **BROKEN)  # type: ignore[arg-type]
    r = np.linspace(0, 1, 101)
    np.testing.assert_allclose(target.profile(r), np.minimum(0.4 - r, 0), rtol=0, atol=1e-15)
    assert target.breaks.tolist() == [0, 0.4, 1]
    for dtype in (torch.float32, torch.float64):
        x = torch.tensor([[0.3, 0.4], [0.1, 0.0], [0.6, 0.8]], dtype=dtype, requires_grad=True)
        values = target(x)
        assert values.dtype == dtype
        eps = torch.finfo(dtype).eps
        np.testing.assert_allclose(values.tolist(), [[-0.1], [0.0], [-0.6]], rtol=0, atol=eps)
        values.sum().backward()
        assert x.grad is not None
        slopes = [[-0.6, -0.8], [0, 0], [-0.6, -0.8]]
        np.testing.assert_allclose(x.grad.tolist(), slopes, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({}, "a function needs lipschitz"),
        ({"lipschitz": "steep"}, "lipschitz=steep is no number"),
        ({"lipschitz": 0.9}, r"lipschitz=0\.9 is not true of Profile.*at least 1"),
        ({"lipschitz": 1, "curvature": 0}, r"curvature=0 is not true of Profile: near r = 0\."),
        ({"lipschitz": 1, "curvature": 0, "breaks": [0.4, 2]}, "do not rise from 0 to 1"),
        ({"lipschitz": 1, "at": [0, 1]}, "belong to points"),
    ],
)
def test_false_declarations_are_refuted_when_it_is_made(declared: Any, says: str) -> None:
    with pytest.raises(Refusal, match=says):
        Profile(branches, **declared)


def raises(r: Any) -> Any:
    raise KeyError("table of values")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (((),), "0 radii and 0 values"),
        ((), "needs points"),
        ((POINTS, None, "profile.csv"), "values and file=profile.csv both .* give one of them"),
        (([0, 1e308, -1e308], [0, 0.5, 1]), r"1e\+308 at radius 0\.5 is above 1e\+100"),
        (([0, 1e9, 0], [0, 5e-324, 1]), "between the radii 0 and 4.94066e-324"),
        (([0, 1, 2], [0, 10, 5]), "5 comes after 10; sort .* and divide the radii by 10"),
        (([0, 1, 2], [0, 1]), "2 radii and 3 values"),
        ((["a", "b"],), "are not numbers"),
        (([[[0.0]]],), "has shape"),
        (([0.0, math.inf],), "inf, no finite number"),
        (([0.0],), "at least two"),
        ((np.zeros(100_002),), "100002 points are above 100001"),
    ],
)
def test_points_that_are_no_profile_are_refused(arguments: Any, says: str) -> None:
    with pytest.raises(Refusal, match=says):
        Profile(*arguments)


def test_points_declare_their_own_facts() -> None:
    with pytest.raises(Refusal, match="lipschitz follows from the points"):
        Profile(POINTS, lipschitz=1.0)


def by_chance(r: Any) -> Any:
    return np.random.default_rng().random(np.shape(r))


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda r: np.max([r - 0.5, 0 * r]), "is 0 alone and 0.5 in an array"),
        (lambda r: r.min(), "alone and 0 in an array of radii; compute each value"),
        (lambda r: torch.stack([r - 0.5, 0 * r]).max(), "alone and 0.5 in an array"),
        (lambda r: r[::-1] / 2, "alone and .* in an array"),
        (lambda r: np.sort(r) / 2, "alone and .* in an array"),
        (by_chance, "alone and .* in an array"),
        (lambda r: r * 1j, "has complex values"),
        (lambda r: torch.as_tensor(r).relu() * 1j, "has complex values"),
        (lambda r: 1j if r < 2 else 0, "has complex values"),
        (lambda r: r[:1], r"values of shape \(1,\) for radii of shape \(4,\)"),
        (lambda r: np.array([r, r]), r"values of shape \(2, 4\)"),
    ],
)
def test_a_function_that_gives_no_real_value_to_each_radius_is_refused(
    function: Any, says: str
) -> None:
    with pytest.raises(Refusal, match=says):
        Profile(function, lipschitz=1.0, input_dim=2)


def test_a_function_that_is_wrong_for_tensors_alone_is_computed_from_arrays() -> None:
    def either(r: Any) -> Any:
        return -abs(r) if isinstance(r, np.ndarray) else r.flip(0)

    target = Profile(either, lipschitz=1.0, input_dim=1)
    assert target(torch.tensor([[0.25], [-0.5]])).tolist() == [[-0.25], [-0.5]]
    constant = Profile(lambda _: 0.5, lipschitz=0.0, input_dim=1)
    assert constant(torch.tensor([[0.25], [-0.5]])).tolist() == [[0.5], [0.5]]


def test_a_function_s_own_error_is_told() -> None:
    with pytest.raises(Refusal, match="cannot be called on radii, KeyError: 'table of values'"):
        Profile(raises, lipschitz=1.0)


def test_a_construction_keeps_its_claim_for_a_function_and_for_its_points() -> None:
    at = np.linspace(0, 1, 25)
    teeth = Profile(np.arange(25) % 2 / 24, at=at, input_dim=3)
    wave = Profile(lambda r: np.sin(9 * r) / 9, lipschitz=1.0, curvature=9.0, input_dim=3)
    assert teeth.lipschitz == pytest.approx(1, rel=1e-14)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 3, generator=generator, dtype=torch.float64)
    x *= torch.rand(2000, 1, generator=generator) / torch.linalg.vector_norm(x, dim=1, keepdim=True)
    r = np.linalg.norm(x.numpy(), axis=1)
    for target, exact in (
        (teeth, np.abs((12 * r + 0.5) % 1 - 0.5) / 12),
        (wave, np.sin(9 * r) / 9),
    ):
        built = RadialDepthThree(target, accuracy=0.01).build()
        error = np.abs(built.network.evaluate(x).numpy()[:, 0] - exact).max()
        assert 0.001 < error <= built.claim.bound <= 0.01
