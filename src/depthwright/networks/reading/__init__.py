"""The one reader of networks that users bring: anything feed-forward with ReLUs → plain layers.

`read(source)` takes a torch module, a state dict, or the path of a .safetensors, .onnx or .nnet
file, and returns its layers W_l, b_l in float64 with σ between them (`PlainNetwork`). LeakyReLU,
pooling, residual sums and the like are rewritten, for instance max(a, b) = b + σ(a − b), so that
the plain network is the given one as a real function of its weights. Where an entry of a layer is
no float (a BatchNorm's factor, a product of two layers without a ReLU between them), it is rounded
once and the bound of that is kept: `PlainNetwork.deviation` says what it can do to a value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depthwright.networks.reading.layers import PlainNetwork
from depthwright.refusal import Refusal

if TYPE_CHECKING:
    from depthwright.networks.exact.network import ExactNetwork

SUFFIXES = (".safetensors", ".onnx", ".nnet")
TORCH_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".pt2")
TORCH_CURE = (
    "; load it with torch.load, then give the module, or the state dict, or save that as a file: "
    "safetensors.torch.save_file(state, 'FILE.safetensors')"
)


def read(
    source: Any,
    *,
    input_shape: Sequence[int] | None = None,
    order: Sequence[str] | None = None,
    like: Any = None,
) -> PlainNetwork:
    """The plain layers of a module, a state dict or a file.

    `input_shape`: the shape of one input without the batch, such as (1, 28, 28), where the network
    does not determine it; the plain network reads its entries in a row. `order` and `like` add what
    a state dict leaves open: the names of its layers in their order, or a module that it fits.
    """
    shape = _shape(input_shape)
    path = Path(source) if isinstance(source, (str, Path)) else None
    of_names = isinstance(source, Mapping) or (path is not None and path.suffix == ".safetensors")
    if not of_names and (order is not None or like is not None):
        raise Refusal(
            "order=… and like=… are for state dicts and .safetensors files; leave them out"
        )
    network = _read(source, path, shape, order, like)
    if shape is not None and math.prod(shape) != network.widths[0]:
        raise Refusal(
            f"input_shape={input_shape!r} holds {math.prod(shape)} values, and the network reads "
            f"{network.widths[0]}"
        )
    return network


def _read(
    source: Any,
    path: Path | None,
    shape: tuple[int, ...] | None,
    order: Sequence[str] | None,
    like: Any,
) -> PlainNetwork:
    if path is not None:
        return _read_file(path, shape, order, like)
    if isinstance(source, Mapping):
        from depthwright.networks.reading.states import read_state

        return read_state(source, order, like, shape)
    from depthwright.networks.reading.modules import read_module

    return read_module(source, shape)


def _shape(given: Any) -> tuple[int, ...] | None:
    """An `input_shape` that users give; a number means a vector of this length."""
    if given is None:
        return None
    sizes = tuple(given) if isinstance(given, (Sequence, np.ndarray)) else (given,)
    if not sizes or any(isinstance(n, (bool, str)) or not hasattr(n, "__index__") for n in sizes):
        raise Refusal(f"input_shape={given!r} is no shape; give whole numbers, such as (1, 28, 28)")
    if any(n < 1 for n in sizes):
        raise Refusal(f"input_shape={given!r} holds no values; give sizes of at least 1")
    return tuple(map(int, sizes))


def _read_file(
    path: Path, input_shape: Sequence[int] | None, order: Sequence[str] | None, like: Any
) -> PlainNetwork:
    if not path.is_file():
        raise Refusal(f"{path} is no file" if path.exists() else f"{path} is not there")
    if path.suffix in SUFFIXES and not path.stat().st_size:
        raise Refusal(f"{path.name} is empty; save or export it again")
    if path.suffix == ".safetensors":
        from depthwright.networks.reading.states import read_safetensors

        return read_safetensors(path, order, like, input_shape)
    if path.suffix == ".onnx":
        from depthwright.networks.reading.onnx_files import read_onnx

        return read_onnx(path, input_shape)
    if path.suffix == ".nnet":
        from depthwright.networks.reading.nnet import read_nnet

        return read_nnet(path)
    raise Refusal(
        f"{path.name} is no {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file, the kinds read here"
        + (TORCH_CURE if path.suffix in TORCH_SUFFIXES else "")
    )


def exact_network(source: Any, **described: Any) -> ExactNetwork:
    """As `read`, the layers as data; refused where an entry is no float."""
    from depthwright.networks.exact.network import from_arrays

    plain = read(source, **described)
    if not plain.exact:
        raise Refusal(
            f"{plain.before} has plain layers whose entries are no floats; "
            "give it to depthwright.targets.Network, which bounds their rounding"
        )
    return from_arrays(plain.weights, plain.biases)


__all__ = ["PlainNetwork", "exact_network", "read"]
