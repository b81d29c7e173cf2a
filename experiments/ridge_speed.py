"""Structured against dense evaluation of one ridge network, same points, same run.

    python experiments/ridge_speed.py [--scale smoke|cpu|gpu]

The plain module pays width·d multiply-adds a point and moves batch × width floats through the
cache; the structured form pays directions·(nonzeros + 1). The dense module is run at the chunk
size that suits it best. Memory is the peak of the process before the dense module exists. At scale
gpu both forms run on the GPU, where structured values are compared with the processor's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from depthwright.constructions import Ridge
from depthwright.distributions import UniformRadius
from depthwright.experiment import Experiment, Run, fastest, peak_gigabytes
from depthwright.figures.chart import Chart, Panel, series
from depthwright.networks.precision import full_precision
from depthwright.networks.ridge import RidgeNetwork
from depthwright.targets import Cone

if TYPE_CHECKING:
    import polars

SIZES = {"smoke": (8, 20_000, "cpu"), "cpu": (20, 100_000, "cpu"), "gpu": (100, 100_000, "cuda")}
"""Input dimension, points and device."""
CHUNKS = {
    "cpu": (32, 64, 128, 256, 512, 2048, 8192),
    "cuda": (32, 64, 128, 256, 512),
}
DENSE_SHARE = 0.1
"""Part of the points that the dense module is timed on; its time is proportional."""


def measure(input_dim: int, points: int, device: str = "cpu") -> list[dict[str, Any]]:
    """One row per chunk size of the dense form."""
    network = Ridge(Cone(input_dim=input_dim), accuracy=0.1).build().network
    assert isinstance(network, RidgeNetwork)
    x = UniformRadius(input_dim).sample(points, torch.Generator().manual_seed(0), torch.float32)
    processor = network.evaluate(x[:1000], "float32")  # compile
    processor_seconds = fastest(2, lambda: network.evaluate(x, "float32"))
    x = x.to(device)
    network.evaluate(x[:2], "float32")

    def seconds(times: int, run: Callable[[], object]) -> float:
        """Of the fastest of several runs, the device waited for."""

        def waited() -> None:
            run()
            wait(device)

        return fastest(times, waited)

    structured = seconds(5, lambda: network.evaluate(x, "float32"))
    gigabytes = peak_gigabytes()
    gpu_gigabytes = torch.cuda.max_memory_allocated() / 1e9 if device != "cpu" else None
    module = network.to_torch(torch.float32).to(device)
    part = x[: int(points * DENSE_SHARE)]
    with torch.no_grad(), full_precision():
        values = network.evaluate(x[:1000], "float32")
        gap = float((module(x[:200]) - values[:200]).abs().max())
        bound = network.rounding_bound("float32")
        shared: dict[str, Any] = {
            "width": network.architecture.width,
            "threads": torch.get_num_threads(),
            "structured_seconds": structured,
            "processor_seconds": processor_seconds,
            "structured_gigabytes": gigabytes,
            "gpu_gigabytes": gpu_gigabytes,
            "difference": gap,
            "rounding_bound": bound + network.dense_rounding_bound("float32"),
            "difference_of_devices": float((values.cpu() - processor).abs().max()),
            "rounding_bound_of_devices": 2 * bound,
        }
        found = []
        for chunk in CHUNKS[device]:
            pieces = part.split(chunk)
            dense = seconds(2, lambda pieces=pieces: [module(p) for p in pieces]) / DENSE_SHARE  # type: ignore[misc]
            row = {"chunk": chunk, "dense_seconds": dense, "ratio": dense / structured}
            found.append(row | shared)
    return found


def wait(device: str) -> None:
    """Until the device has done all that it was given."""
    if device != "cpu":
        torch.cuda.synchronize()


def rows(run: Run) -> polars.DataFrame:
    """One network and one run: both timings of the ratio are taken in the same minute."""
    return run.cells(cells(run.scale), measure)


def cells(scale: str) -> list[dict[str, Any]]:
    input_dim, points, device = SIZES[scale]
    return [{"input_dim": input_dim, "points": points, "device": device}]


def chart(rows: polars.DataFrame) -> Chart:
    ratio = series(rows, "chunk", "ratio", "plain module / structure", contender="constructed")
    x, y = "points that the plain module takes at once", "seconds, plain module / structure"
    return Chart((Panel(x, y, (ratio,), x_log=True, lines=(("equally fast", 1.0),)),))


def sentence(rows: polars.DataFrame) -> str:
    one = rows.sort("ratio").row(0, named=True)
    return (
        f"By its structure a ridge network is evaluated {one['ratio']:.1f} times as fast as a "
        f"plain module, at the module's best chunk size. It is the cone's in dimension "
        f"{one['input_dim']}, of width {one['width']:,}, at {one['points']:,} points in float32 "
        f"with {one['threads']} thread{'s' * (one['threads'] > 1)}; the best chunk is "
        f"{one['chunk']} points, and memory is {one['structured_gigabytes']:.2f} GB at its peak. "
        f"The two differ by at most {one['difference']:.1e}; the rounding bound is "
        f"{one['rounding_bound']:.1e}."
    )


def broken(rows: polars.DataFrame) -> list[str]:
    one = rows.row(0, named=True)
    return [
        f"the {what} differ by {one[gap]:.2g}, above {one[bound]:.2g}"
        for what, gap, bound in (
            ("forms", "difference", "rounding_bound"),
            ("devices", "difference_of_devices", "rounding_bound_of_devices"),
        )
        if not one[gap] <= one[bound]
    ]


EXPERIMENT = Experiment(rows, chart, sentence, broken=broken)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
