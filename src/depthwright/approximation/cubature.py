"""Cubature on the sphere S^{d−1} for even polynomials of degree 2K.

*Rule.* E_w F(w) = Σ_i A_i F(w_i) for every even polynomial F of degree ≤ 2K, w uniform on the
sphere; one direction per antipodal pair, since F is even.

*Any d ≥ 3: fully symmetric, by linear programming.* The points are orbits of integer generators
(g_1, …, g_k), k ≤ K, entries ≤ 4, normalised, under permutations and signs. One equation per
partition a of K into at most d parts: the mean of Π x_i^{2a_i} over the rule is that over the
sphere, Π_i (2a_i − 1)!! / Π_{i<K} (d + 2i); all other even moments of degree ≤ 2K vanish by the
signs or follow from ‖w‖ = 1. The program picks the orbits; their weights are then solved again in
rationals, so the rule is exact and its error term is 0.

*d = 2.* K + 1 equispaced angles in [0, π), equal weights. *d = 3* has products beside
(`approximation.product_rule`).

*Size.* Any such rule has at least C(d+K−1, K) directions (the dimension of the homogeneous
polynomials of degree K). Σ abs(A_i) multiplies every later error, so rules with fewer points and
rules with smaller weights compete, and `candidates` returns the ones worth comparing.

Source: SES19 leaves this step to a sampling argument; the programs are ours.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import combinations, combinations_with_replacement, permutations, product

import numpy as np

from depthwright.approximation.product_rule import ProductRule, half_circle

LARGEST_ENTRY = 4
"""Largest integer in a generator."""
LARGEST_SYMMETRIC = 6
"""Largest K for which fully symmetric rules are sought on S²; beyond it products are smaller."""

Generator = tuple[int, ...]
Partition = tuple[int, ...]


def sphere_moment(dimension: int, half_powers: Partition) -> Fraction:
    """E Π w_i^{2a_i} over the uniform law on S^{dimension−1}."""
    numerator = math.prod(1 + 2 * i for a in half_powers for i in range(a))
    return Fraction(numerator, math.prod(dimension + 2 * i for i in range(sum(half_powers))))


def partitions(total: int, largest: int | None = None) -> Iterator[Partition]:
    """Partitions of `total` into non-increasing positive parts."""
    if total == 0:
        yield ()
        return
    for part in range(min(total, largest or total), 0, -1):
        for rest in partitions(total - part, part):
            yield (part, *rest)


def orbit_size(generator: Generator, dimension: int) -> int:
    """Directions in the orbit, one per antipodal pair."""
    k = len(generator)
    arrangements = math.perm(dimension, k) // math.prod(
        math.factorial(times) for times in Counter(generator).values()
    )
    return arrangements * 2 ** (k - 1)


def orbit_moment(generator: Generator, half_powers: Partition, dimension: int) -> Fraction:
    """The mean over the orbit of Π x_i^{2a_i}, exact.

    The sum over injective placements of the parts on the entries is a product of power sums by
    inclusion and exclusion: put the first part anywhere, then subtract the cases in which it
    coincides with another.
    """
    squares = [g * g for g in generator]

    @cache
    def placements(parts: Partition) -> int:
        if not parts:
            return 1
        first, rest = parts[0], parts[1:]
        anywhere = sum(s**first for s in squares) * placements(rest)
        overlaps = sum(
            placements(tuple(sorted((*rest[:i], rest[i] + first, *rest[i + 1 :]), reverse=True)))
            for i in range(len(rest))
        )
        return anywhere - overlaps

    length = sum(squares) ** sum(half_powers)
    return Fraction(placements(half_powers), math.perm(dimension, len(half_powers)) * length)


@dataclass(frozen=True)
class Orbit:
    """All permutations and signs of one generator, with the weight they share."""

    generator: Generator
    total_weight: Fraction
    """Sum of A_i over the orbit."""


@dataclass(frozen=True)
class Cubature:
    """Directions w_i and weights A_i, exact for even polynomials of degree ≤ 2·half_degree."""

    dimension: int
    half_degree: int
    orbits: tuple[Orbit, ...]
    """Empty for the equispaced rule of the plane."""

    @property
    def count(self) -> int:
        """Number of directions, one per antipodal pair."""
        if not self.orbits:
            return self.half_degree + 1
        return sum(orbit_size(o.generator, self.dimension) for o in self.orbits)

    @property
    def shapes(self) -> list[tuple[int, int, float]]:
        """(directions, nonzeros of each, Σ abs(A_i)) per orbit."""
        if not self.orbits:
            return [(self.count, 2, 1.0)]
        return [
            (orbit_size(o.generator, self.dimension), len(o.generator), abs(float(o.total_weight)))
            for o in self.orbits
        ]

    @property
    def weight_sum(self) -> float:
        """Σ abs(A_i), at least 1."""
        return float(sum(abs(o.total_weight) for o in self.orbits)) if self.orbits else 1.0

    def directions(self) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
        """Per orbit: coordinates (n, k), their values (n, k) of norm 1, and the weight A_i."""
        if not self.orbits:
            values = half_circle(self.count)
            yield np.tile(np.arange(2), (self.count, 1)), values, 1 / self.count
        for orbit in self.orbits:
            indices, values = _spread(orbit.generator, self.dimension)
            yield indices, values, float(orbit.total_weight / len(indices))


def _spread(generator: Generator, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """One direction per antipodal pair of the orbit: coordinates (n, k) and values (n, k)."""
    k = len(generator)
    norm = math.sqrt(sum(g * g for g in generator))
    arrangements = np.array(sorted(set(permutations(generator)))) / norm
    signs = np.array([(1, *rest) for rest in product((1, -1), repeat=k - 1)])
    signed = (arrangements[:, None, :] * signs[None, :, :]).reshape(-1, k)
    places = np.array(list(combinations(range(dimension), k)))
    return np.repeat(places, len(signed), axis=0), np.tile(signed, (len(places), 1))


def _equations(dimension: int, half_degree: int) -> list[Partition]:
    return [parts for parts in partitions(half_degree) if len(parts) <= dimension]


def _generators(dimension: int, half_degree: int) -> list[Generator]:
    return [
        tuple(reversed(entries))
        for k in range(1, min(half_degree, dimension) + 1)
        for entries in combinations_with_replacement(range(1, LARGEST_ENTRY + 1), k)
        if math.gcd(*entries) == 1
    ]


@cache
def candidates(dimension: int, half_degree: int) -> tuple[Cubature | ProductRule, ...]:
    """Exact rules for degree 2K, none with both more directions and larger weights than another.

    None at all where no combination of generators with entries ≤ 4 is exact, in d > 3.
    """
    if dimension == 2:
        return (Cubature(2, half_degree, ()),)
    rules: list[Cubature | ProductRule] = [ProductRule(half_degree)] if dimension == 3 else []
    if not rules or half_degree <= LARGEST_SYMMETRIC:
        rules += fully_symmetric(dimension, half_degree)
    best: list[Cubature | ProductRule] = []
    for rule in sorted(rules, key=lambda r: (r.count, r.weight_sum)):
        if not best or rule.weight_sum < best[-1].weight_sum:
            best.append(rule)
    return tuple(best)


def fully_symmetric(dimension: int, half_degree: int) -> list[Cubature]:
    """Rules of orbits, exact in rationals, from several trade-offs of points against weights."""
    parts = _equations(dimension, half_degree)
    generators = _generators(dimension, half_degree)
    moments = [[orbit_moment(g, p, dimension) for g in generators] for p in parts]
    exact = [sphere_moment(dimension, p) for p in parts]
    rules = {
        support: rule
        for support in _supports(moments, exact, [orbit_size(g, dimension) for g in generators])
        if (rule := _solve(dimension, half_degree, generators, support, moments, exact))
    }
    return list(rules.values())


def _supports(
    moments: list[list[Fraction]], exact: list[Fraction], sizes: list[int]
) -> set[tuple[int, ...]]:
    """Sets of orbits that linear programs find: few points, few points with positive weights."""
    from scipy.optimize import linprog

    matrix = np.array([[float(m / e) for m in row] for row, e in zip(moments, exact, strict=True)])
    ones, cost, n = np.ones(len(exact)), np.array(sizes, dtype=float), len(sizes)
    found = set()
    for exponent in (1.0, 0.5, 0.25, 0.0):
        for signed in (True, False):
            price = cost**exponent
            # Reweighting moves the program from Σ price·abs(weight) towards Σ price over orbits.
            for _ in range(4):
                solution = linprog(
                    np.concatenate([price, price]) if signed else price,
                    A_eq=np.hstack([matrix, -matrix]) if signed else matrix,
                    b_eq=ones,
                    bounds=(0, None),
                    method="highs",
                )
                if solution.status != 0:
                    break
                weight = solution.x[:n] - solution.x[n:] if signed else solution.x
                support = np.flatnonzero(np.abs(weight) > 1e-10)
                found.add(tuple(int(i) for i in support))
                price = cost / (np.abs(weight) + 1e-3)
    return found


def _solve(
    dimension: int,
    half_degree: int,
    generators: list[Generator],
    support: tuple[int, ...],
    moments: list[list[Fraction]],
    exact: list[Fraction],
) -> Cubature | None:
    """The weights of these orbits in rationals; None where the equations do not all hold."""
    rows = [[row[i] for i in support] + [e] for row, e in zip(moments, exact, strict=True)]
    rank = 0
    for column in range(len(support)):
        pivot = next((r for r in range(rank, len(rows)) if rows[r][column]), None)
        if pivot is None:
            return None
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        scale = rows[rank][column]
        rows[rank] = [v / scale for v in rows[rank]]
        for r in range(len(rows)):
            if r != rank and (factor := rows[r][column]):
                rows[r] = [a - factor * b for a, b in zip(rows[r], rows[rank], strict=True)]
        rank += 1
    if any(row[-1] for row in rows[rank:]):
        return None
    orbits = tuple(Orbit(generators[i], rows[position][-1]) for position, i in enumerate(support))
    return Cubature(dimension, half_degree, tuple(o for o in orbits if o.total_weight))
