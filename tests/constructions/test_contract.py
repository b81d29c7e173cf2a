"""What every construction must do, over the registry; no names in the tests.

A new construction joins by an entry in EXAMPLES; one that has none fails the first test.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from depthwright import targets
from depthwright.approximation import descent
from depthwright.constructions import (
    REGISTRY,
    Construction,
    NarrowBits,
    NarrowBounded,
    NarrowExact,
    NarrowExactSlim,
    NarrowMinimal,
    NarrowPacked,
    RadialDepthThree,
    Ridge,
    SingleRidge,
    SparseRidge,
)
from depthwright.distributions import (
    Ball,
    Box,
    Distribution,
    UniformBall,
    UniformBox,
    UniformCube,
    UniformRadius,
)
from depthwright.errors.sup import moved
from depthwright.networks import load
from depthwright.refusal import Refusal


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the descent of a solved network: any is as good as another here."""
    monkeypatch.setattr(descent, "MOST_STEPS", dict.fromkeys(descent.MOST_STEPS, 50))
    monkeypatch.setattr(descent, "FEWEST_STEPS", 50)


def small(**fields: float) -> targets.RandomNetwork:
    """A target whose narrow twins are quickly evaluated."""
    return targets.RandomNetwork(**{"input_dim": 2, "width": 3, "depth": 3} | fields)


EXAMPLES: dict[str, list[Callable[[], Construction]]] = {
    "narrow_bits": [
        lambda: NarrowBits(small(), accuracy=0.05, failure_probability=0.02),
        lambda: NarrowBits(small(depth=2, output_dim=3), accuracy=0.1, failure_probability=0.1),
    ],
    "narrow_bounded": [
        lambda: NarrowBounded(small(), accuracy=0.05, failure_probability=0.05, scaling="neuron"),
        lambda: NarrowBounded(small(depth=2), inner="narrow_exact_slim"),
    ],
    "narrow_minimal": [
        lambda: NarrowMinimal(small(input_dim=2), accuracy=0.1, failure_probability=0.05),
    ],
    "narrow_exact": [
        lambda: NarrowExact(small()),
        lambda: NarrowExact(small(input_dim=1, depth=2, output_dim=2)),
    ],
    "narrow_exact_slim": [
        lambda: NarrowExactSlim(small()),
        lambda: NarrowExactSlim(small(input_dim=1, depth=2, output_dim=2)),
    ],
    "narrow_packed": [
        lambda: NarrowPacked(small(), accuracy=0.01),
        lambda: NarrowPacked(small(output_dim=3), accuracy=0.1, failure_probability=0.1),
        lambda: NarrowPacked(small(input_dim=1), accuracy=0.1, long_gaps=True),
        lambda: NarrowPacked(small(output_dim=5, depth=4), accuracy=0.1),
    ],
    "radial_depth_three": [
        lambda: RadialDepthThree(targets.Profile([0.3, 0.3], input_dim=2), accuracy=0.1),  # flat
        lambda: RadialDepthThree(targets.Cone(input_dim=3), 0.1),
        lambda: RadialDepthThree(targets.Hat(input_dim=10), 0.2),
    ],
    "single_ridge": [
        lambda: SingleRidge(targets.SineRidge(input_dim=20, terms=5), 0.1),
        lambda: SingleRidge(targets.SineRidge(input_dim=1, terms=1, height=0.01), 1e-9),
    ],
    "sparse_ridge": [
        lambda: SparseRidge(targets.Cone(input_dim=5), 0.25, failure_probability=0.1),
        lambda: SparseRidge(targets.Cone(input_dim=3), 0.2, failure_probability=0.0),
        lambda: SparseRidge(targets.Cone(input_dim=3), 0.2, width=12, solved="minimax"),
        lambda: SparseRidge(targets.Profile([3.0, 3.1], input_dim=2), 0.1, 0.0),  # a constant
    ],
    "ridge": [
        lambda: Ridge(targets.Cone(input_dim=2), accuracy=0.05),
        lambda: Ridge(targets.Cone(input_dim=5), accuracy=0.1),
        lambda: Ridge(targets.Hat(input_dim=3), accuracy=0.05),
        lambda: Ridge(targets.ZigZag(input_dim=2), accuracy=0.2),  # a constant is near enough
        lambda: Ridge(targets.RandomProfile(input_dim=10, seed=1), accuracy=0.15),
        lambda: Ridge(targets.Monomial(input_dim=4, power=3), accuracy=0.05),
    ],
}
REFUSED: dict[str, list[tuple[Callable[[], object], str]]] = {
    "narrow_bits": [
        (lambda: NarrowBits(small(), 0.1, 0.1, bits="few"), "few"),  # type: ignore[arg-type]
    ],
    "narrow_bounded": [
        (lambda: NarrowBounded(small()), "wants accuracy"),
        (lambda: NarrowBounded(small(), 0.1, 0.1, inner="ridge"), "inner='ridge'"),
    ],
    "narrow_minimal": [
        (lambda: NarrowMinimal(small(), accuracy=-1.0, failure_probability=0.1), "accuracy=-1"),
    ],
    "narrow_exact": [
        (lambda: NarrowExact(targets.Cone()), "a Cone is not a ReLU network"),  # type: ignore[arg-type]
        (lambda: NarrowExact(small(depth=1)), "depth 1"),
        (lambda: NarrowExact(small(width=200, depth=5)).build(), "layers, and no more than"),
        (lambda: NarrowExact(small(weight_bound=1e200)).build(), "values may exceed 1.8e308"),
    ],
    "narrow_exact_slim": [
        (lambda: NarrowExactSlim(targets.Cone()), "a Cone is not a ReLU network"),  # type: ignore[arg-type]
        (lambda: NarrowExactSlim(small(width=200, depth=5)).build(), "layers, and no more than"),
        (lambda: NarrowExactSlim(small(weight_bound=1e200)).build(), "values may exceed 1.8e308"),
    ],
    "narrow_packed": [
        (lambda: NarrowPacked(small(), accuracy=0.0), "accuracy=0"),
        (lambda: NarrowPacked(small(), accuracy=0.1, inputs="int8"), "inputs='int8'"),
        (lambda: NarrowPacked(small(), 0.1, failure_probability=1.5), "failure_probability=1.5"),
        (lambda: NarrowPacked(small(), 0.1, "no"), "failure_probability='no' is no float"),  # type: ignore[arg-type]
        (lambda: NarrowPacked(small(), 0.1, grid=-1.0), "grid=-1.0"),
    ],
    "radial_depth_three": [
        (lambda: RadialDepthThree(targets.Cone(), accuracy=0.0), "accuracy=0"),
        (
            lambda: RadialDepthThree(targets.Cone(), np.float32(0.1)),
            r"accuracy=np.float32\(0.1\) is no",
        ),  # type: ignore[arg-type]
    ],
    "single_ridge": [
        (lambda: SingleRidge(targets.Cone()), "Cone is none"),  # type: ignore[arg-type]
        (lambda: SingleRidge(targets.SineRidge(), accuracy=-1.0), "accuracy=-1"),
        (lambda: SingleRidge(targets.SineRidge(), accuracy=1e-14), "pieces"),
    ],
    "sparse_ridge": [
        (lambda: SparseRidge(targets.Cone(input_dim=1)), "input_dim=1"),
        (lambda: SparseRidge(targets.Cone(), failure_probability=1.0), "failure_probability=1"),
        (lambda: SparseRidge(targets.Cone(), failure_probability=0.0), "covering of the ball"),
        (lambda: SparseRidge(targets.Cone(), width=1), "width=1"),
        (lambda: SparseRidge(targets.Cone(), width=9, solved="best"), "solved='best'"),
        (lambda: SparseRidge(targets.Cone(), solved="minimax"), "width=None"),
        (lambda: SparseRidge(targets.Cone(), width=99_999, solved="minimax"), "up to 6000"),
        (lambda: SparseRidge(targets.Cone(), width=10**8), "width=100000000 is above 2500000"),
        (
            lambda: SparseRidge(targets.ZigZag(3), width=4).architecture(),
            "width=4 has no direction",
        ),
        (lambda: SparseRidge(targets.Cone(), width=8.5), "width=8.5 is no whole number"),  # type: ignore[arg-type]
        (lambda: SparseRidge(targets.Cone(), seed=0.5), "seed=0.5 is no whole number"),  # type: ignore[arg-type]
    ],
    "ridge": [
        (lambda: Ridge(targets.Cone(input_dim=1)), "input_dim=1"),
        (lambda: Ridge(targets.Cone(input_dim=3), accuracy=0.0), "accuracy=0.0"),
        (lambda: Ridge(targets.Cone(input_dim=3), accuracy=float("nan")), "accuracy=nan"),
        (lambda: Ridge(targets.Cone(input_dim=3), "0.1"), "accuracy='0.1' is no float"),  # type: ignore[arg-type]
        (
            lambda: Ridge(targets.Cone(input_dim=3), accuracy=1e-9).architecture(),
            r"accuracy=1e-09 is below 0\.0035",
        ),
        (
            lambda: Ridge(targets.Cone(input_dim=100), accuracy=0.05).architecture(),
            r"4\.59 GB of directions \(limit 4 GB\)",
        ),
    ],
}
MADE = [(name, cache(make)) for name, makes in EXAMPLES.items() for make in makes]
"""Each is made once, and remembers what it has built."""


def test_every_construction_is_tested() -> None:
    assert REGISTRY
    assert EXAMPLES.keys() == REGISTRY.keys() == REFUSED.keys()
    for name, makes in EXAMPLES.items():
        assert all(type(make()) is REGISTRY[name] for make in makes)


@pytest.mark.parametrize(("name", "make"), MADE)
def test_claimed_size_is_counted_size(name: str, make: Callable[[], Construction]) -> None:
    claimed, counted = make().architecture(), make().build().network.architecture
    assert claimed == counted
    assert claimed.widths == counted.widths
    assert counted.nonzeros is not None
    assert 0 < counted.nonzeros <= counted.parameters


@pytest.mark.parametrize(("name", "make"), MADE)
def test_measured_error_respects_the_claim(
    name: str, make: Callable[[], Construction], generator: torch.Generator
) -> None:
    construction = make()
    built, target = construction.build(), construction.target
    d, domain = target.input_dim, target.domain
    laws: tuple[Distribution, ...]
    if isinstance(domain, Ball):
        laws = (UniformRadius(d, domain.radius), UniformBall(d, domain.radius))
    else:
        assert isinstance(domain, Box)
        laws = (UniformBox(d, lower=domain.lower, upper=domain.upper),)
    # A construction that equals its target asks for no accuracy and claims only a rounding.
    assert built.claim.bound <= (built.claim.accuracy or 1e-14)
    assert all(term >= 0 for term in built.claim.terms.values())
    for law in laws:
        x = moved(law.sample(1000, generator), construction.covered)
        gap = (built.network.evaluate(x).double() - target.truth(x)).abs().amax(dim=1)
        bad = int((gap > built.claim.bound).sum())
        if built.claim.norm in ("sup", "floats", "drawn"):
            assert bad == 0
        else:
            from scipy.stats import binomtest

            test = binomtest(bad, len(x), built.claim.failure_probability, "greater")
            assert test.pvalue > 1e-3


@pytest.mark.parametrize(("name", "make"), MADE)
def test_a_claim_says_where_it_holds(name: str, make: Callable[[], Construction]) -> None:
    """The network refuses other inputs, or the claim has a domain beyond which it decides none."""
    built = make().build()
    if built.claim.norm != "none" and built.network.inputs is None:
        assert built.domain == make().target.domain
        if built.claim.norm != "drawn":
            outside = torch.full((1, built.domain.input_dim), 2.0, dtype=torch.float64)
            assert not built.decides(outside).any()


@pytest.mark.parametrize(("name", "make"), MADE)
def test_saved_and_loaded_gives_the_same_numbers(
    name: str, make: Callable[[], Construction], tmp_path: Path, generator: torch.Generator
) -> None:
    construction = make()
    network = construction.build().network
    path = tmp_path / f"network{network.suffix}"
    network.save(path)
    again = load(path)
    x = UniformCube(construction.target.input_dim, 0.5).sample(50, generator)
    x = moved(x, construction.covered)
    assert torch.equal(again.evaluate(x), network.evaluate(x))
    assert again.architecture == network.architecture


@pytest.mark.parametrize(("make", "names"), [case for cases in REFUSED.values() for case in cases])
def test_failed_hypotheses_are_named(make: Callable[[], object], names: str) -> None:
    with pytest.raises(Refusal, match=names):
        make()
