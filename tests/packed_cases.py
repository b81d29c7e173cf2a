"""Targets and inputs that a packed network may find hard, and what it should compute.

python tests/packed_cases.py 0 10000    # targets 0 to 9999, each held to its claim
"""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np

import independent
from depthwright.constructions.bits.cells import Cells
from depthwright.refusal import Refusal
from depthwright.targets import Network


def network(weights, biases, **box):
    """A target from matrices."""
    state = {}
    for i, (matrix, bias) in enumerate(zip(weights, biases, strict=True)):
        state |= {
            f"{2 * i}.weight": np.array(matrix, float),
            f"{2 * i}.bias": np.array(bias, float),
        }
    return Network(state, **box)


def drawn(rng, most=8):
    """Bottlenecks, layers of zeros, biases up to 2^40, scales from 2^−10 to 2^10, any box."""
    d, depth, outputs = rng.integers(1, 5), rng.integers(2, 5), rng.integers(1, 4)
    widths = [d, *rng.integers(1, most + 1, depth - 1), outputs]
    if rng.random() < 0.2:
        widths[rng.integers(1, depth)] = 1
    weights, biases = [], []
    for a, b in pairwise(widths):
        scale = 2.0 ** rng.choice([0, 0, 0, -3, 2, -10, 10])
        matrix, bias = rng.uniform(-scale, scale, (b, a)), rng.uniform(-scale, scale, b)
        kind = rng.random()
        if kind < 0.3:
            matrix[rng.random(matrix.shape) < (1.0 if kind < 0.08 else 0.4)] = 0
        if rng.random() < 0.15:
            bias *= 2.0 ** rng.integers(0, 41)
        if rng.random() < 0.2:
            bias[:] = 0
        weights.append(np.round(matrix * 4) / 4 if rng.random() < 0.2 else matrix)
        biases.append(bias)
    if rng.random() < 0.5:
        centre = rng.uniform(-3, 3, d) * rng.choice([0, 1, 10, 1000], d)
        half = rng.uniform(0.01, 2, d) * rng.choice([1e-3, 1, 1, 30], d)
        return network(weights, biases, lower=centre - half, upper=centre + half)
    return network(weights, biases, radius=float(rng.choice([1, 0.3, 2.7, 16])))


def accuracy(rng, target):
    """One that a float64 can keep."""
    size = target.magnitude or 1.0
    return float(max(10.0 ** -rng.integers(0, 5) * rng.choice([1.0, size]), size * 1e-11))


def inputs(rng, recipe, count, real=np.float64):
    """Uniform ones, corners, zeros, subnormals, and the floats beside the borders of cells."""
    low, high = (np.asarray(side) for side in (recipe.target.lower, recipe.target.upper))
    x = rng.uniform(low, high, (count, len(low)))
    x = np.where(rng.random(x.shape) < 0.2, np.where(rng.random(x.shape) < 0.5, low, high), x)
    tiny = float(np.nextafter(real(0), real(1)))
    for j, axis in enumerate(axes(recipe)):
        for i in range(count):
            kind = rng.random()
            if kind < 0.5 and isinstance(axis, Cells) and axis.top:
                border = real(float(axis.border(int(rng.integers(1, axis.top + 1)))))
                x[i, j] = rng.choice([border, *np.nextafter(border, real([-np.inf, np.inf]))])
            elif kind < 0.6:
                x[i, j] = rng.choice([0.0, -0.0, tiny, -tiny])
    if recipe.grid is not None:
        x = low + recipe.grid * np.floor((x - low) / recipe.grid)
        whole = [
            [
                (Fraction(v) - Fraction(a)) % Fraction(recipe.grid) == 0
                for v, a in zip(row, low, strict=True)
            ]
            for row in x.tolist()
        ]
        x = x[np.array(whole).all(axis=1)]
    x = x.astype(real).astype(float)
    return x[((x >= low) & (x <= high)).all(axis=1)]


def axes(recipe):
    """How its coordinates become whole numbers."""
    if recipe.scaled.constant is not None:
        return []
    sizing = recipe.sizing
    return recipe.reading(sizing.bits.c, sizing.layout.cells).axes


def worst(built, target, x):
    """The largest error at `x`, a fraction."""
    import torch

    values = built.network.evaluate(torch.from_numpy(x)).tolist()
    gaps = [Fraction(0)]
    for row, found in zip(x.tolist(), values, strict=True):
        wanted = independent.network_value(target.weights, target.biases, row)
        gaps += [abs(Fraction(a) - b) for a, b in zip(found, wanted, strict=True)]
    return max(gaps)


def recursion(recipe, row):
    """What its whole numbers say (narrow_packed.md, section 4), and how much noise there may be."""
    scaled, bits, layout = recipe.scaled, recipe.sizing.bits, recipe.sizing.layout
    at = list(axes(recipe))
    z = [
        math.floor((Fraction(v) - (a.centre - a.error)) / a.step)
        for v, a in zip(row, at, strict=True)
    ]
    scales = [[Fraction(2) ** int(a) for a in exponents] for exponents in scaled.exponents]
    below, unit = [1 / a.step for a in at], Fraction(1)
    for level, (p, q, way) in enumerate(zip(bits.p, bits.q, layout.ways, strict=False)):
        v = []
        for i, (w, b) in enumerate(
            zip(scaled.weights[level].tolist(), scaled.biases[level].tolist(), strict=True)
        ):
            true = [Fraction(x) * scales[level][i] / s for x, s in zip(w, below, strict=True)]
            bias, fine = Fraction(b) * scales[level][i], Fraction(2) ** p
            if level:
                whole = [round(x * fine * unit) for x in true]
                v.append(sum(a * y for a, y in zip(whole, z, strict=True)) + round(bias * fine))
                continue
            if layout.exact_first:
                centre = [Fraction(x) * a.centre for x, a in zip(w, at, strict=True)]
                v.append(
                    fine
                    * (
                        bias
                        + sum(centre) * scales[0][i]
                        + sum(t * y for t, y in zip(true, z, strict=True))
                    )
                )
                continue
            parts, numbers, tops = true, z, [a.top for a in at]
            if layout.cells and way != "direct":
                places = range(bits.c - 1, -1, -1)
                parts = [t * 2**k for t in true for k in places]
                numbers = [y >> k & 1 for y in z for k in places]
                tops = [2**bits.c - 1] * len(at)
            whole = [round(x * fine) for x in parts]
            ends = tops if len(parts) == len(at) else [1] * len(parts)
            middle = bias + sum(
                Fraction(x) * scales[0][i] * (a.centre + a.step * Fraction(top, 2))
                for x, a, top in zip(w, at, tops, strict=True)
            )
            start = round(
                middle * fine - Fraction(sum(a * e for a, e in zip(whole, ends, strict=True)), 2)
            )
            v.append(sum(a * y for a, y in zip(whole, numbers, strict=True)) + start)
        if way == "read":
            z = [max(0, math.floor(Fraction(a, 2 ** (p - q)) + Fraction(1, 2))) for a in v]
        else:
            z = [max(a, 0) for a in v]
        below, unit = scales[level], Fraction(1, 2**q)
    outputs, noise = [], Fraction(0)
    for w, bias in zip(scaled.weights[-1].tolist(), scaled.biases[-1].tolist(), strict=True):
        b = Fraction(bias)
        if layout.sums:
            parts = [Fraction(x) / s * unit for x, s in zip(w, below, strict=True)]
            noise = max(noise, sum(map(abs, parts), Fraction(0)) / 4)
        else:
            fine = Fraction(2) ** (bits.p[-1] + scaled.outputs)
            parts = [
                round(Fraction(x) / s * unit * fine) / fine for x, s in zip(w, below, strict=True)
            ]
            b = round(b * fine) / fine
        outputs.append(sum((a * y for a, y in zip(parts, z, strict=True)), b))
    return outputs, noise * (layout.ways[-1] == "tent")


def held(seed):
    """Draw a target, build its twin, and compare: sizes with formulas, errors with the claim."""
    from depthwright.constructions import NarrowPacked

    rng = np.random.default_rng(seed)
    target = drawn(rng)
    grid = float(2.0 ** rng.integers(-6, 1) * rng.choice([1, 3])) if seed % 6 == 0 else None
    floats = "float32" if seed % 5 == 0 and grid is None else "float64"
    wanted = accuracy(rng, target)
    given = {"grid": grid, "long_gaps": seed % 7 == 0}
    try:
        recipe = NarrowPacked(target, wanted, inputs=floats, **given)
    except Refusal as refusal:
        if "no float32 lies in" not in str(refusal):
            raise
        recipe, floats = NarrowPacked(target, wanted, **given), "float64"
    built, size = recipe.build(), recipe.architecture()
    assert built.network.architecture.widths == size.widths
    assert built.network.architecture == size
    assert size.width <= max(target.input_dim + 2, 4, target.output_dim + 1)
    x = inputs(rng, recipe, 8, np.float32 if floats == "float32" else np.float64)
    assert worst(built, target, x) <= Fraction(built.claim.bound) <= Fraction(wanted)
    return len(x)


if __name__ == "__main__":
    import sys

    first, last = map(int, sys.argv[1:])
    points, failed = 0, []
    for number in range(first, last):
        try:
            points += held(number)
        except AssertionError:
            failed.append(number)
    print(f"{last - first} targets, {points} points, claims broken by {failed or 'none'}")
