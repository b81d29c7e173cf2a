"""Structured against dense evaluation of one ridge network, same points, same run.

    python experiments/ridge_speed.py [INPUT_DIM]

The plain module pays width·d multiply-adds a point and moves batch × width floats through the
cache; the structured form pays directions·(nonzeros + 1). The dense module is run at the chunk
size that suits it best. Memory is the peak of the process before the dense module exists.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

from depthwright.constructions import Ridge
from depthwright.distributions import UniformRadius
from depthwright.networks.ridge_network import RidgeNetwork
from depthwright.targets import Cone

POINTS = 100_000
CHUNKS = (32, 64, 128, 256, 512, 2048, 8192)
DENSE_SHARE = 0.1
"""Part of the points that the dense module is timed on; its time is proportional."""


def best_of(times: int, run: Callable[[], object]) -> float:
    """Seconds of the fastest of several runs."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main(input_dim: int) -> float:
    """Print the table, return the ratio."""
    network = Ridge(Cone(input_dim=input_dim), accuracy=0.1).build().network
    assert isinstance(network, RidgeNetwork)
    x = UniformRadius(input_dim).sample(POINTS, torch.Generator().manual_seed(0), torch.float32)
    network.evaluate(x[:2], "float32")  # compile
    structured = best_of(5, lambda: network.evaluate(x, "float32"))
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    module = network.to_torch(torch.float32)
    part = x[: int(POINTS * DENSE_SHARE)]
    table = Table(
        title=f"Cone, d = {input_dim}, width {network.architecture.width:,}, {POINTS:,} points, "
        f"float32, {torch.get_num_threads()} threads"
    )
    for column in ("form", "seconds", "structured is faster by"):
        table.add_column(column, justify="right")
    table.add_row("structured", f"{structured:.4f}", "")
    fastest = float("inf")
    with torch.no_grad():
        for chunk in CHUNKS:
            pieces = part.split(chunk)
            seconds = best_of(2, lambda pieces=pieces: [module(p) for p in pieces]) / DENSE_SHARE  # type: ignore[misc]
            fastest = min(fastest, seconds)
            table.add_row(
                f"dense, chunks of {chunk}", f"{seconds:.3f}", f"{seconds / structured:.0f}×"
            )
        gap = float((module(x[:200]) - network.evaluate(x[:200], "float32")).abs().max())
    bound = network.rounding_bound("float32") + network.dense_rounding_bound("float32")
    Console().print(table)
    print(f"ratio to the fastest dense form {fastest / structured:.1f}")
    print(f"peak memory of structured evaluation {gigabytes:.2f} GB")
    print(f"largest difference {gap:.2e}, stated rounding bound {bound:.2e}")
    return fastest / structured


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
