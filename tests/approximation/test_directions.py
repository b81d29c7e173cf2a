"""Frames are orthonormal and uniform; spreading lowers the energy it says it lowers."""

import numpy as np
import pytest

from depthwright.approximation.directions import even_circle, even_spiral, frames, spread


@pytest.mark.parametrize(("count", "dimension"), [(7, 7), (10, 4), (3, 8)])
def test_frames_are_orthonormal(count, dimension):
    rows = frames(count, dimension, np.random.default_rng(0))
    assert rows.shape == (count, dimension)
    for start in range(0, count, dimension):
        part = rows[start : start + dimension]
        assert np.abs(part @ part.T - np.eye(len(part))).max() <= 1e-14 * dimension


def test_frames_are_uniform():
    """Signs included: without them the first entry of a QR factor never has both signs."""
    rng = np.random.default_rng(0)
    first = np.array([frames(3, 3, rng)[0] for _ in range(4000)])
    assert np.abs(first.mean(axis=0)).max() <= 4 / np.sqrt(3 * 4000)
    assert np.abs((first**2).mean(axis=0) - 1 / 3).max() <= 4 * np.sqrt(4 / 45 / 4000)


def energy(w: np.ndarray) -> float:
    t = (w @ w.T).clip(-1, 1)
    np.fill_diagonal(t, 0)
    return float((np.sqrt(1 - t**2) + t * np.arcsin(t)).sum())


def test_spreading_keeps_unit_vectors_and_lowers_the_energy():
    drawn = frames(60, 6, np.random.default_rng(0))
    moved = spread(drawn)
    assert np.abs(np.linalg.norm(moved, axis=1) - 1).max() <= 1e-15
    assert energy(moved) < energy(drawn)
    x = np.random.default_rng(1).standard_normal((20_000, 6))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    assert np.abs(x @ moved.T).mean(axis=1).std() < 0.9 * np.abs(x @ drawn.T).mean(axis=1).std()


def test_even_sets_are_unit_and_even():
    for rows in (even_circle(50), even_spiral(400)):
        assert np.abs(np.linalg.norm(rows, axis=1) - 1).max() <= 1e-15
        moments = rows.T @ rows / len(rows)
        assert np.abs(moments - np.eye(rows.shape[1]) / rows.shape[1]).max() <= 4 / len(rows)
