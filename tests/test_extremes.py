"""A few of the targets of `python tests/extremes.py`, and controls that its checks can fail."""

from __future__ import annotations

import collections

import pytest

import extremes
from depthwright.constructions import REGISTRY


def test_every_construction_is_drawn():
    radial = {"radial_depth_three", "ridge", "sparse_ridge", "single_ridge"}
    assert {*extremes.NARROW} | radial == REGISTRY.keys()


def test_drawn_targets_keep_every_claim():
    tally = extremes.run(draws=12, seed=0)
    assert tally.violated == []
    built = {name for name, outcome in tally.counts if outcome in ("built", "sized")}
    assert {*extremes.NARROW, "bounds"} <= built


def test_a_network_that_is_off_is_reported(monkeypatch):
    true = extremes.exact
    monkeypatch.setattr(extremes, "exact", lambda *of: [2 * v + 1 for v in true(*of)])
    tally = extremes.run(draws=1, seed=0)
    wrong = {name for name, outcome in tally.counts if outcome == "violated"}
    assert {"narrow_exact", "narrow_exact_slim"} <= wrong
    assert all("claim" in line for line in tally.violated)


@pytest.mark.parametrize("name", ["radial_depth_three", "single_ridge"])
def test_a_profile_that_is_off_is_reported(name, monkeypatch):
    true = extremes.SMOOTH.sin
    monkeypatch.setattr(extremes.SMOOTH, "sin", lambda angle: 2 * true(angle) + 2)
    monkeypatch.setattr(extremes.Broken, "exactly", lambda self, r: 1e40)
    tally = extremes.Tally(collections.Counter(), [])
    for k in range(3, 83, 4):
        extremes.draw(0, k, tally)
        if tally.counts[name, "violated"]:
            return
    raise AssertionError("no draw was reported")
