"""Networks as files: safetensors for float networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthwright.networks.ridge_network import RidgeGroup, RidgeNetwork
from depthwright.refusal import Refusal

if TYPE_CHECKING:
    from depthwright.networks.network import Network


def save_ridge(network: RidgeNetwork, path: str | Path) -> None:
    """Write the groups of a ridge network, one set of arrays each."""
    from safetensors.numpy import save_file

    arrays = {
        f"{number}.{field}": np.ascontiguousarray(getattr(group, field))
        for number, group in enumerate(network.groups)
        for field in RidgeGroup.__dataclass_fields__
    }
    metadata = {
        "kind": "ridge",
        "input_dim": json.dumps(network.input_dim),
        "offset": float(network.offset).hex(),
        "groups": json.dumps(len(network.groups)),
    }
    save_file(arrays, path, metadata=metadata)
