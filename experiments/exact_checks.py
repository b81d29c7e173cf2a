"""Limb programs against the integer reference, bit for bit.

    python experiments/exact_checks.py [--points 10000] [--seed 0] [--only packed]

Twenty random targets under every narrow construction's kind of network, networks that no
construction builds, and edges: points inside ramps (δ = 0.3), corners, zeros and subnormal floats.
One line per network: points, points that differ, the longest value. Exit status 1 on any
difference.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

import numpy as np
import torch

from depthwright.constructions import (
    NarrowBits,
    NarrowBounded,
    NarrowExact,
    NarrowExactSlim,
    NarrowMinimal,
    NarrowPacked,
)
from depthwright.networks import ExactNetwork
from depthwright.networks.exact import BIAS, Layer
from depthwright.targets import RandomNetwork

FEW = 20
"""Part of the points, 1/FEW, for networks whose reference takes over a minute on all of them."""


def scattered(rng: np.random.Generator, width: int, depth: int) -> ExactNetwork:
    """A random network of no construction: long and short weights, powers from 2^−100 to 2^100."""
    layers, fan_in = [], 3
    for number in range(depth):
        fan_out = 1 if number == depth - 1 else int(rng.integers(2, width + 1))
        terms = []
        for row in range(fan_out):
            for column in [*range(fan_in), BIAS]:
                if rng.random() < 0.6:
                    words = int(rng.integers(0, 3))
                    integer = int.from_bytes(rng.bytes(8 * words), "little") | 1
                    power = int(rng.integers(-100, 100)) if rng.random() < 0.5 else -64 * words
                    terms.append((row, column, -integer if rng.random() < 0.5 else integer, power))
        parts = [tuple(part) for part in zip(*terms, strict=True)] or [()] * 4
        layers.append(Layer(fan_in, fan_out, *parts))
        fan_in = fan_out
    return ExactNetwork(tuple(layers), radius=1.0)


def networks(seed: int) -> Iterator[tuple[str, ExactNetwork, int]]:
    """Name, network, and the divisor of its number of points."""
    rng = np.random.default_rng(seed)
    for k in range(20):
        n, depth = (4, 8, 8, 16)[k % 4], (2, 3)[k // 10]
        target = RandomNetwork(3, n, depth, seed=seed + k)
        failure = 0.3 if k % 5 == 4 else 1e-2
        built = NarrowPacked(target, 1e-2, failure).build()
        assert isinstance(built.network, ExactNetwork)
        yield f"packed {k}: n={n} L={depth} δ={failure}", built.network, 1
    target = RandomNetwork(3, 4, 2, seed=seed)
    for name, recipe, part in (
        ("bits", NarrowBits(target, 1e-2, 1e-2), 1),
        ("bits, δ=0.3", NarrowBits(target, 1e-2, 0.3), 1),
        ("bits, printed constants", NarrowBits(target, 1e-2, 1e-2, bits="paper"), FEW),
        ("minimal", NarrowMinimal(target, 1e-2, 1e-2), 1),
        ("bounded by layer", NarrowBounded(target, 1e-2, 1e-2), 1),
        ("bounded by neuron", NarrowBounded(target, 1e-2, 1e-2, scaling="neuron"), 1),
        ("packed on a grid", NarrowPacked(target, 1e-2, grid=2.0**-12), 1),
        ("exact", NarrowExact(RandomNetwork(3, 8, 3, seed=seed)), 1),
        ("exact, slim", NarrowExactSlim(RandomNetwork(3, 8, 3, seed=seed)), 1),
    ):
        built = recipe.build()
        assert isinstance(built.network, ExactNetwork)
        yield name, built.network, part
    yield "target", RandomNetwork(3, 16, 4, seed=seed).as_network(), 1
    for k in range(6):
        yield f"scattered {k}", scattered(rng, 6, 2 + k), 1


def points(rng: np.random.Generator, count: int) -> np.ndarray:
    """Uniform, with edges among them."""
    x = rng.uniform(-1.0, 1.0, (count, 3))
    edges = np.array([0.0, 1.0, -1.0, 5e-324, -2.2e-308, 2.0**-70, -(2.0**-200), 0.5])
    chosen = rng.random(x.shape) < 0.02
    x[chosen] = rng.choice(edges, int(chosen.sum()))
    x[:3] = np.array([0.0, 1.0, -1.0])[:, None]
    return x


def main() -> int:
    """All of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    wrong = total = 0
    for name, network, part in networks(options.seed):
        x = torch.from_numpy(points(rng, max(options.points // part, 10)))
        if not name.startswith(options.only):
            continue
        start = time.perf_counter()
        limbs = network.evaluate(x, "exact", engine="limbs", anywhere=True)
        middle = time.perf_counter()
        integers = network.evaluate(x, "exact", engine="integers", anywhere=True)
        end = time.perf_counter()
        differ = (limbs.view(torch.int64) != integers.view(torch.int64)).any(dim=1)
        wrong += int(differ.sum())
        total += len(x)
        print(
            f"{name:28} {len(x):6} points, {len(limbs.unique()):6} values, "
            f"{int(differ.sum())} differ, {middle - start:6.2f} s against {end - middle:6.1f} s",
            flush=True,
        )
    print(f"{total} points, {wrong} differ: {'SOME DIFFER' if wrong else 'the same bits'}")
    return int(wrong > 0 or total == 0)


if __name__ == "__main__":
    sys.exit(main())
