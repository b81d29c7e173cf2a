"""Targets over the whole range of exponents, every construction, and oracles that share no code.

    python tests/extremes.py --draws 2000 --seed 1 [--first K]

prints, per construction, how many networks were built, refused, too deep to be built here, and how
many claims did not hold. Draw k depends on the seed and on k alone: --draws 1 --first k repeats it.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import itertools
import traceback
import warnings
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import torch

import independent
from bits_oracle import recursion
from depthwright import constructions, targets
from depthwright.constructions import REGISTRY, Construction, NarrowBits
from depthwright.refusal import Refusal
from depthwright.targets.radial import PiecewiseLinear, Radial
from depthwright.targets.single_ridge import SingleRidge

DEEPEST = 3000
"""Layers of the deepest network that is built and evaluated here."""
POINTS = 8
NARROW = sorted(name for name in REGISTRY if name.startswith("narrow_"))
SMOOTH = mpmath.mp.clone()
SMOOTH.dps = 60


# --- networks


def network(rng: np.random.Generator) -> tuple[targets.Network, int]:
    """A target whose neurons have sizes of their own, and the exponent of its outputs."""
    depth, out = int(rng.integers(2, 4)), int(rng.integers(1, 3))
    widths = [int(rng.integers(1, 3)), *rng.integers(1, 4, depth - 1), out]
    far = int(rng.choice([20, 300, 1000]))
    radius_at = 0 if rng.random() < 0.3 else int(rng.integers(-far, far + 1))
    sizes = [np.full(widths[0], radius_at)]
    sizes += [rng.integers(-far, far + 1, n) for n in widths[1:]]
    if rng.random() < 0.7:
        sizes[-1] = rng.integers(-3, 4, out)
    state = {}
    for level, (before, after) in enumerate(itertools.pairwise(sizes)):
        weight = rng.uniform(0.5, 2, (len(after), len(before))) * rng.choice([-1, 1], len(before))
        weight *= rng.random(weight.shape) > 0.15
        bias = rng.uniform(-1, 1, len(after)) * (rng.random(len(after)) > 0.3)
        if rng.random() < 0.05:
            weight, bias = weight * 0, bias * 0
        if rng.random() < 0.3:  # rows that do not fit the sizes of what they read
            after = after + rng.integers(-far, far + 1, len(after)) // 2
        powers = (after[:, None] - before).clip(-1100, 1021)
        state[f"{2 * level}.weight"] = torch.from_numpy(np.ldexp(weight, powers))
        state[f"{2 * level}.bias"] = torch.from_numpy(np.ldexp(bias, after.clip(-1100, 1021)))
    radius = float(np.ldexp(rng.uniform(0.5, 1), radius_at))
    return targets.Network(state, radius=radius), int(sizes[-1].max())


def exact(target: targets.Network, row: np.ndarray) -> list[Fraction]:
    """f(x), by fractions."""
    return independent.network_value(target.weights, target.biases, row)


def box(rng: np.random.Generator, target: targets.Network) -> np.ndarray:
    """Inner points, corners, edges, points near 0."""
    d, radius = target.input_dim, target.radius
    x = rng.uniform(-1, 1, (POINTS, d))
    x[0], x[1] = 1, rng.choice([-1, 1], d)
    x[2, 0] = 0
    x[3] *= 2.0**-30
    return x * radius


def check_bounds(target: targets.Network, x: np.ndarray) -> None:
    """Magnitude and Lipschitz constant, exactly."""
    values = [exact(target, row) for row in x]
    size = max(abs(v) for row in values for v in row)
    assert target.magnitude == np.inf or size <= Fraction(target.magnitude), "magnitude"
    for a, b, u, v in zip(x, x[1:], values, values[1:], strict=False):
        apart = sum((Fraction(p) - Fraction(q)) ** 2 for p, q in zip(a, b, strict=True))
        rise = sum((p - q) ** 2 for p, q in zip(u, v, strict=True))
        steep = target.lipschitz
        assert steep == np.inf or rise <= Fraction(steep) ** 2 * apart, "Lipschitz constant"


def narrow(name: str, rng: np.random.Generator, target: Any, size: int) -> Construction:
    """With an accuracy near the outputs' size; on a grid now and then."""
    kind = REGISTRY[name]
    fields = {field.name for field in dataclasses.fields(kind)}
    accuracy = float(np.ldexp(rng.uniform(0.5, 1), max(size - int(rng.integers(0, 9)), -1060)))
    wanted = {
        "accuracy": max(accuracy, 1e-300),
        "failure_probability": float(rng.choice([0.3, 1e-2, 1e-9, 1e-300])),
    }
    if "inner" in fields:
        inner = [n for n in NARROW if n != name]
        wanted["inner"] = str(rng.choice(inner))
        wanted["scaling"] = str(rng.choice(["layer", "neuron"]))
    elif rng.random() < 0.3 and target.radius < 1e300:
        wanted["grid"] = target.radius * float(rng.choice([0.5, 0.125, 2.0**-20]))
    return kind(target, **{k: v for k, v in wanted.items() if k in fields})


def check_narrow(recipe: Construction, rng: np.random.Generator) -> str:
    """Built and right, or too deep; an error beyond the claim is an AssertionError."""
    target: Any = recipe.target
    x = box(rng, target)
    if grid := getattr(recipe, "grid", None):
        steps = int(Fraction(2 * Fraction(target.radius)) / Fraction(grid))
        whole = rng.integers(0, steps + 1, x.shape)
        whole[0], whole[1] = 0, steps
        x = whole * grid - target.radius  # exact: the radius is a multiple of the grid
    deep = recipe.architecture().depth > DEEPEST
    if deep and not isinstance(recipe, NarrowBits):
        return "too deep"
    if deep:
        claim, bad = recipe.claim, None if grid else recipe.in_bad_set(x)
        x = x if bad is None else x[~bad]
        if claim.bound > recipe.accuracy:
            raise Refusal("by the claim")
        values = [recursion(recipe, row) for row in x.tolist()]
    else:
        built = recipe.build()
        claim = built.claim
        assert built.network.architecture == recipe.architecture(), "size"
        x = x if built.in_bad_set is None else x[~built.in_bad_set(x)]
        got = built.network.evaluate(torch.from_numpy(x), claim.arithmetic).tolist()
        values = [[Fraction(v) for v in row] for row in got]
    for row, value in zip(x, values, strict=True):
        wanted = exact(target, row)
        error = max(abs(a - b) for a, b in zip(value, wanted, strict=True))
        assert error <= Fraction(claim.bound), (
            f"claim {claim.bound}, error {float(error)} at {row.tolist()}, {dict(claim.terms)}"
        )
    return "sized" if deep else "built"


# --- profiles


@dataclasses.dataclass(frozen=True, eq=False)
class Broken(PiecewiseLinear):
    """Given by its values."""

    breaks: np.ndarray = None  # type: ignore[assignment]
    values: np.ndarray = None  # type: ignore[assignment]

    def exactly(self, r: Any) -> Any:
        """The line of the piece, at 60 digits."""
        at = [SMOOTH.mpf(float(b)) for b in self.breaks]
        k = max(i for i in range(len(at) - 1) if at[i] <= r)
        low, high = (SMOOTH.mpf(float(v)) for v in self.values[k : k + 2])
        return low + (high - low) * (r - at[k]) / (at[k + 1] - at[k])


@dataclasses.dataclass(frozen=True, eq=False)
class Wave(Radial):
    """height + a·sin(ωr) + k·abs(r − tip): smooth but for a break."""

    height: float = 0.0
    a: float = 1.0
    omega: float = 3.0
    k: float = 0.0
    tip: float = 0.5
    known: bool = True

    @property
    def breaks(self) -> np.ndarray:
        """The tip."""
        return np.array([0.0, self.tip, 1.0])

    @property
    def lipschitz(self) -> float:
        """Of both parts."""
        return (self.a * self.omega + self.k) * (1 + 1e-12)

    @property
    def curvature(self) -> float:
        """Of the sine."""
        return self.a * self.omega**2 * (1 + 1e-12) if self.known else np.inf

    def profile(self, r: Any) -> Any:
        """By numpy or torch."""
        sine = (self.omega * r).sin() if hasattr(r, "sin") else np.sin(self.omega * r)
        return self.height + self.a * sine + self.k * abs(r - self.tip)

    def exactly(self, r: Any) -> Any:
        """At 60 digits."""
        k, tip, a, omega = map(SMOOTH.mpf, (self.k, self.tip, self.a, self.omega))
        return SMOOTH.mpf(self.height) + a * SMOOTH.sin(omega * r) + k * abs(r - tip)


def broken(rng: np.random.Generator, d: int) -> Broken:
    """Flat up to 0.99, 40 teeth, Cantor-like, a jump, a thin hat, nearly flat, random, flat."""
    kind = int(rng.integers(8))
    at, values = np.array([0.0, 1.0]), np.array([0.3, 0.3])
    if kind == 0:
        at, values = np.array([0, 0.99, 1.0]), np.array([0, 0, 0.01])
    elif kind == 1:
        at = np.linspace(0, 1, 81)
        values = np.where(np.arange(81) % 2, 0.0, 1 / 80)
    elif kind == 2:
        at, values = np.array([0, 1.0]), np.array([0, 1.0])
        for _ in range(4):
            at, values = np.append(at / 3, 2 / 3 + at / 3), np.append(values / 2, 0.5 + values / 2)
        at[-1] = 1.0
        values = values * (2 / 3) ** 4
    elif kind == 3:
        edge, wide = rng.uniform(0.1, 0.8), 10.0 ** -rng.integers(1, 9)
        at, values = np.array([0, edge, edge + wide, 1.0]), np.array([0, 0, 1.0, 0.5])
    elif kind == 4:
        slope = 10.0 ** rng.integers(1, 301)
        at, values = np.array([0, 1 / slope, 1.0]), np.array([1 / slope, 0, 0])
    elif kind == 5:
        at, values = np.array([0, 0.5, 1.0]), np.array([0.3, 0.3 + 1e-13, 0.3])
    elif kind == 6:
        at = np.concatenate([[0.0], np.sort(rng.random(6)), [1.0]])
        values = np.append(0.0, np.cumsum(rng.uniform(-1, 1, 7) * np.diff(at)))
    scale = 10.0 ** rng.integers(-30, 31) if rng.random() < 0.25 else 1.0
    return Broken(d, at, values * scale)


def profile(rng: np.random.Generator, d: int) -> Any:
    """Broken lines and waves."""
    if rng.random() < 0.7:
        return broken(rng, d)
    scale = 10.0 ** rng.integers(-30, 31) if rng.random() < 0.2 else 1.0
    omega = float(rng.uniform(0.5, 12))
    return Wave(
        d,
        height=float(rng.choice([0.0, 1.0, 1e6])) * scale,
        a=scale / omega,
        omega=omega,
        k=scale * float(rng.choice([0.0, 0.5, 2.0])),
        tip=float(rng.uniform(0.05, 0.95)),
        known=bool(rng.random() < 0.8),
    )


def radial(rng: np.random.Generator) -> Construction:
    """Depth three mostly, which is quick."""
    name = str(rng.choice(["radial_depth_three", "ridge", "sparse_ridge"], p=[0.76, 0.12, 0.12]))
    if name == "radial_depth_three":
        d = int(rng.choice([1, 2, 3, 10, 40]))
    else:
        d = int(rng.choice([2, 3]))
    target = profile(rng, d)
    phi = target.profile(np.union1d(np.linspace(0, 1, 513), target.breaks))
    size = float(np.ptp(phi)) or float(np.abs(phi).max()) or 1.0
    share = rng.uniform(0.2, 0.9) if name != "radial_depth_three" else 2.0 ** -rng.uniform(0, 5)
    fields = {}
    if name == "sparse_ridge":
        fields["failure_probability"] = float(rng.choice([0.0, 0.1]))
        share = rng.uniform(0.3, 0.9)
    return REGISTRY[name](target, accuracy=size * share, **fields)


@dataclasses.dataclass(frozen=True, eq=False)
class Along(SingleRidge):
    """height·sin(ω·w·x + 1)."""

    w: np.ndarray
    omega: float
    height: float

    @property
    def input_dim(self) -> int:  # type: ignore[override]
        """Of w."""
        return len(self.w)

    @property
    def direction(self) -> np.ndarray:
        """As given."""
        return self.w

    @property
    def lipschitz(self) -> float:
        """height·ω·‖w‖."""
        return self.height * self.omega * float(np.linalg.norm(self.w)) * (1 + 1e-12)

    @property
    def curvature(self) -> float:
        """Of g."""
        return self.height * self.omega**2 * (1 + 1e-12)

    def profile(self, t: Any) -> Any:
        """By numpy or torch."""
        angle = self.omega * t + 1
        return self.height * (angle.sin() if hasattr(angle, "sin") else np.sin(angle))


def single(rng: np.random.Generator) -> Construction:
    """Directions and heights of any size."""
    d, scale = int(rng.integers(1, 6)), 10.0 ** rng.integers(-60, 61)
    w = rng.standard_normal(d) * scale
    omega = float(rng.uniform(0.1, 20)) / float(np.abs(w).sum())
    height = 10.0 ** rng.integers(-60, 61)
    accuracy = height * 10.0 ** rng.uniform(-6, 1)
    return constructions.SingleRidge(Along(w, omega, height), accuracy)


def check_depth_two_or_three(recipe: Construction, rng: np.random.Generator) -> str:
    """At knots, breaks, beside them and between, along axes, diagonals and random directions."""
    built, target = recipe.build(), recipe.target
    d = target.input_dim
    assert built.network.architecture == recipe.architecture(), "size"
    x = rng.standard_normal((60, d))
    x[::3] = np.eye(d)[rng.integers(d, size=20)]
    x[1::6] = rng.choice([-1, 1], (10, d))
    if isinstance(target, Along):
        x = np.clip(x, -1, 1)
        angles = [SMOOTH.mpf(target.omega) * dot(target.w, row) + 1 for row in x]
        wanted = [SMOOTH.mpf(target.height) * SMOOTH.sin(angle) for angle in angles]
    else:
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        at = np.concatenate([target.breaks, rng.random(8), [1e-9, 1e-3]])
        at = np.concatenate([at, at * (1 - 1e-9), (at[1:] + at[:-1]) / 2])
        x *= rng.choice(at, len(x))[:, None]
        x = x[[dot(row, row) <= 1 for row in x]]
        wanted = [target.exactly(SMOOTH.sqrt(dot(row, row))) for row in x]
    got = built.network.evaluate(torch.from_numpy(x), built.claim.arithmetic)[:, 0].tolist()
    for row, value, true in zip(x, got, wanted, strict=True):
        error = abs(SMOOTH.mpf(value) - true)
        assert error <= SMOOTH.mpf(built.claim.bound), (
            f"claim {built.claim.bound}, error {float(error)} at {row.tolist()}, "
            f"{dict(built.claim.terms)}"
        )
    return "built"


def dot(a: np.ndarray, b: np.ndarray) -> Any:
    """At 60 digits."""
    return sum(
        (SMOOTH.mpf(p) * SMOOTH.mpf(q) for p, q in zip(a.tolist(), b.tolist(), strict=True)),
        SMOOTH.mpf(0),
    )


# --- all of it


@dataclasses.dataclass
class Tally:
    """Outcomes per construction, and what went wrong."""

    counts: collections.Counter[tuple[str, str]]
    violated: list[str]


def draw(seed: int, k: int, tally: Tally) -> None:
    """Target k of this seed, and everything it is made into."""
    rng = np.random.default_rng([seed, k])

    def attempt(name: str, make: Any, check: Any) -> None:
        told = "nothing yet"
        try:
            recipe = make()
            told = repr(recipe)[:2000]
            outcome = check(recipe)
        except Refusal:
            outcome = "refused"
        except Exception as error:
            outcome = "violated"
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{where.filename.rsplit('/', 1)[-1]}:{where.lineno}"
            tally.violated.append(f"draw {k}, {name}: {error!r} ({place}) by {told}")
        tally.counts[name, outcome] += 1

    kind = k % 4
    if kind == 3:
        if rng.random() < 0.25:
            attempt("single_ridge", lambda: single(rng), lambda r: check_depth_two_or_three(r, rng))
            return
        made: list[Construction] = []
        try:
            made.append(radial(rng))
        except Refusal:
            tally.counts["a profile", "refused"] += 1
        for recipe in made:
            name = next(n for n, cls in REGISTRY.items() if type(recipe) is cls)
            attempt(name, lambda: recipe, lambda r: check_depth_two_or_three(r, rng))  # noqa: B023
        return
    target, size = network(rng)
    attempt("bounds", lambda: target, lambda t: check_bounds(t, box(rng, t)) or "built")
    for name in NARROW:
        attempt(
            name,
            lambda n=name, t=target, s=size: narrow(n, rng, t, s),
            lambda r: check_narrow(r, rng),
        )


def run(draws: int, seed: int, first: int = 0) -> Tally:
    """That many targets."""
    tally = Tally(collections.Counter(), [])
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for k in range(first, first + draws):
            draw(seed, k, tally)
    return tally


BLOCK = 100
"""Targets after which the command prints what it has."""


def main() -> None:
    """Print the table, a block at a time; the exit status is 1 where a claim did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    end, wrong = given.first + given.draws, 0
    for first in range(given.first, end, BLOCK):
        tally = run(min(BLOCK, end - first), given.seed, first)
        counts, wrong = counts + tally.counts, wrong + len(tally.violated)
        print(f"seed {given.seed}, up to target {min(first + BLOCK, end)}: {wrong} violated")
        print(*tally.violated, sep="\n", end="\n" if tally.violated else "", flush=True)
    for (name, outcome), count in sorted(counts.items()):
        print(f"{name:20} {outcome:10} {count:6}")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
