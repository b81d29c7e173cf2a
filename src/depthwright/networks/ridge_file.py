"""Ridge networks as safetensors files: the arrays of each group, structure kept."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np

from depthwright.networks.arithmetic import UNIT_ROUNDOFF
from depthwright.networks.ridge import RidgeGroup, RidgeNetwork
from depthwright.refusal import Refusal
from depthwright.files import whole_file

FORMAT = "depthwright-ridge"
FIELDS = tuple(field.name for field in fields(RidgeGroup))


def save_ridge(network: RidgeNetwork, path: str | Path) -> None:
    """Write `network`, whole or not at all: arrays `0.indices`, `0.values`, … a group."""
    from safetensors.numpy import save_file

    arrays = {
        f"{number}.{field}": np.ascontiguousarray(getattr(group, field))
        for number, group in enumerate(network.groups)
        for field in FIELDS
    }
    metadata = {
        "format": FORMAT,
        "input_dim": str(network.input_dim),
        "groups": str(len(network.groups)),
        "offset": float(network.offset).hex(),
        "arithmetic": network.arithmetic,
    }
    with whole_file(path) as partial:
        save_file(arrays, partial, metadata=metadata)


def load_ridge(path: str | Path) -> RidgeNetwork:
    """Read what `save_ridge` wrote; a damaged file is refused with what is wrong with it."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise Refusal(f"{path} is not marked {FORMAT}; save it with Network.save")
            groups = [
                RidgeGroup(*(file.get_tensor(f"{number}.{field}") for field in FIELDS))
                for number in range(int(metadata["groups"]))
            ]
            arithmetic = metadata.get("arithmetic", "float64")
            if arithmetic not in UNIT_ROUNDOFF:
                raise Refusal(f"{path} names the arithmetic {arithmetic!r}, which is unknown")
            network = RidgeNetwork(
                int(metadata["input_dim"]),
                groups,
                float.fromhex(metadata["offset"]),
                arithmetic,
            )
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        if isinstance(error, Refusal):
            raise
        raise Refusal(f"{path} cannot be read as a ridge network: {error}") from error
    for group in groups:
        _check(group, network.input_dim, path)
    return network


def _check(group: RidgeGroup, input_dim: int, path: str | Path) -> None:
    """Shapes that fit together, coordinates that exist, numbers that are numbers."""
    shapes = [getattr(group, field).shape for field in FIELDS]
    n, m = len(group.weights), len(group.kinks)
    k = group.indices.shape[-1]
    if shapes != [(n, k), (n, k), (n,), (m,), (m,)]:
        raise Refusal(f"{path} holds arrays of shapes {shapes}, which do not fit together")
    if n and not (group.indices.min() >= 0 and group.indices.max() < input_dim):
        raise Refusal(f"{path} names coordinates outside 0…{input_dim - 1}")
    if not all(np.isfinite(getattr(group, field)).all() for field in FIELDS):
        raise Refusal(f"{path} holds a weight that is not finite")
