"""What Theorems 2 and 5 compute, by integers alone: the oracle of their tests."""

import math
from fractions import Fraction

import numpy as np
import torch

import independent
from depthwright.networks.evaluation import exact_values


def uniform(target, count, seed=0):
    return np.random.default_rng(seed).uniform(
        -target.radius, target.radius, (count, target.input_dim)
    )


def truth(target, x):
    rows = (independent.network_value(target.weights, target.biases, row) for row in x)
    return np.array([[float(v) for v in row] for row in rows])


def errors(network, target, x):
    values = network.evaluate(torch.from_numpy(x)).numpy()
    return np.abs(values - truth(target, x)).max(axis=1)


def recursion(recipe, row):
    """What the network should compute at a good point, by integers alone."""
    target, c0 = recipe.target, recipe.budget.c0
    radius, scale, unit = Fraction(target.radius), Fraction(recipe.inputs.scale), 2**c0
    z = [min(math.floor((Fraction(v) + radius) * scale * unit), unit - 1) for v in row]
    maps = list(zip(target.weights, target.biases, strict=True))
    for level, (matrix, bias) in enumerate(maps):
        factor = unit if level else unit / scale
        w = [
            [(1 if v > 0 else -1) * math.floor(abs(Fraction(v)) * factor) for v in r]
            for r in matrix.tolist()
        ]
        shift = 0 if level else radius * scale * unit
        b = [
            math.floor(unit * unit * Fraction(v) - shift * sum(r))
            for v, r in zip(bias.tolist(), w, strict=True)
        ]
        v = [sum(a * e for a, e in zip(r, z, strict=True)) + f for r, f in zip(w, b, strict=True)]
        if level == len(maps) - 1:
            return [Fraction(a, unit * unit) for a in v]
        assert max(v) < 2**recipe.budget.c
        z = [max(0, a) // unit for a in v]
    raise AssertionError


def disagreements(network, recipe, x):
    """At how many points the network is not exactly what the recursion says."""
    slots = exact_values(network, x)
    got = [[int(v) * Fraction(2) ** power for v in values] for values, power in slots]
    wanted = [recursion(recipe, row) for row in x.tolist()]
    return sum(list(a) != b for a, b in zip(zip(*got, strict=True), wanted, strict=True))
