"""What Theorems 2 and 5 compute, by integers alone: the oracle of their tests."""

import math
from fractions import Fraction

import numpy as np
import torch

import independent
from depthwright.networks.exact.integers import exact_values


def uniform(target, count, seed=0):
    shape = count, target.input_dim
    return np.random.default_rng(seed).uniform(target.lower, target.upper, shape)


def truth(target, x):
    rows = (independent.network_value(target.weights, target.biases, row) for row in x)
    return np.array([[float(v) for v in row] for row in rows])


def errors(network, target, x):
    values = network.evaluate(torch.from_numpy(x)).numpy()
    return np.abs(values - truth(target, x)).max(axis=1)


def recursion(recipe, row):
    """What the network should compute at a good point, by integers alone."""
    target, c0 = recipe.target, recipe.budget.c0
    unit = 2**c0
    z = [
        min(math.floor((Fraction(v) - a.start) * a.scale * unit), unit - 1)
        for v, a in zip(row, recipe.digits, strict=True)
    ]
    maps = list(zip(target.weights, target.biases, strict=True))
    for level, (matrix, bias) in enumerate(maps):
        factors = [unit] * len(z) if level else [unit / a.scale for a in recipe.digits]
        w = [
            [
                (1 if v > 0 else -1) * math.floor(abs(Fraction(v)) * factor)
                for v, factor in zip(r, factors, strict=True)
            ]
            for r in matrix.tolist()
        ]
        # in cells: where X = 0 stands for, the border or half a cell above it
        half = Fraction(recipe.covered.numbers != "real", 2)
        shift = [0] * len(z) if level else [a.start * a.scale * unit + half for a in recipe.digits]
        b = [
            math.floor(
                unit * unit * Fraction(v) + sum(s * e for s, e in zip(shift, r, strict=True))
            )
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
    slots = exact_values(network.layers, x)
    got = [[int(v) * Fraction(2) ** power for v in values] for values, power in slots]
    wanted = [recursion(recipe, row) for row in x.tolist()]
    return sum(list(a) != b for a, b in zip(zip(*got, strict=True), wanted, strict=True))
