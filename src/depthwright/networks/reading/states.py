"""State dicts and safetensors files: weights by name, without the forward pass they belong to.

Names say which weights there are, not in which order they act nor what acts between them. They are
read as Linear layers with a ReLU between each two where the order is fixed: by one number alone
that differs from name to name (`0.weight`, `2.weight`, …; `fc1.weight`, `fc2.weight`, …), or by the
user's `order`. That a ReLU and no Tanh is between `0` and `2` is taken for granted. `like`, a
module with the same parameters, determines everything; anything but a plain chain of Linear and
ReLU needs it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from depthwright.networks import tensor_files
from depthwright.networks.reading.layers import PlainNetwork
from depthwright.networks.reading.tensors import fault_of, weight
from depthwright.refusal import Refusal, clipped

CURE = "give order=[…], the names of the layers as they act, or like=module, which the weights fit"
OURS = ("depthwright-module",)
"""Formats of this package that hold plain chains."""
NUMBERS = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})*")
"""Of a name read from its end, in time that grows with its length alone."""
INNER = {
    "weight_orig": "call torch.nn.utils.prune.remove (or remove_spectral_norm) before saving",
    "weight_mask": "call torch.nn.utils.prune.remove before saving",
    "weight_g": "call torch.nn.utils.remove_weight_norm before saving",
    "weight_v": "call torch.nn.utils.remove_weight_norm before saving",
    "original": "call torch.nn.utils.parametrize.remove_parametrizations before saving",
    "original0": "call torch.nn.utils.parametrize.remove_parametrizations before saving",
    "original1": "call torch.nn.utils.parametrize.remove_parametrizations before saving",
}
"""Names that pruning and reparametrisations leave in a state dict, by the last part."""


def read_safetensors(
    path: Path,
    order: Sequence[str] | None = None,
    like: Any = None,
    input_shape: Sequence[int] | None = None,
) -> PlainNetwork:
    """A safetensors file, as a state dict."""
    state, metadata = tensor_files.load(path, "pt")
    marked = metadata.get("format", "")
    if marked.startswith("depthwright-") and marked not in OURS:
        raise Refusal(
            f"{path.name} is marked {marked}, whose layers are not joined as plain ones; "
            "read it with depthwright.networks.load"
        )
    if marked in OURS and order is None and like is None:
        order = _numbered(list(_layers(state)))
    return read_state(state, order, like, input_shape)


def read_state(
    state: Mapping[str, Any],
    order: Sequence[str] | None = None,
    like: Any = None,
    input_shape: Sequence[int] | None = None,
) -> PlainNetwork:
    """A state dict as plain layers, if it determines the order of its layers."""
    _check_mapping(state)
    if like is not None:
        return _read_like(state, like, input_shape)
    layers = _layers(state)
    names = list(layers)
    if order is not None:
        names = _ordered(order, names)
    elif (found := _numbered(names)) is None:
        raise Refusal(
            "the names in this state dict do not fix the order in which its layers act; the order "
            f"{', '.join(sorted(names))}, with a ReLU between each two, would be a guess; {CURE}"
        )
    else:
        names = found
    for first, second in pairwise(names):
        fan_out, fan_in = len(layers[first][0]), layers[second][0].shape[1]
        if fan_out != fan_in:
            raise Refusal(
                f"layer {second} reads {fan_in} values, and layer {first} before it gives "
                f"{fan_out}; {CURE}"
            )
    weights, biases = zip(*(layers[name] for name in names), strict=True)
    nothing = (None,) * len(names)
    count = sum(w.size for w in weights) + sum(b.size for b in biases)
    before = (
        f"state dict of {len(names)} Linear layers with {count:,} parameters, read with a ReLU "
        "between each two"
    )
    network = PlainNetwork(weights, biases, nothing, nothing, before)
    if order is None:
        _check_gaps(names)
        _check_embedding(state, names)
    return network


def _check_mapping(state: Mapping[str, Any]) -> None:
    inner = next((k for k in state if isinstance(state[k], Mapping)), None)
    if inner is not None:
        raise Refusal(
            f"a checkpoint holds its weights under a name of their own; give checkpoint[{inner!r}]"
        )
    if not state:
        raise Refusal("the state dict holds no Linear layer")
    for name in state:
        if not isinstance(name, str):
            raise Refusal(f"{name!r} is no name of a weight; a state dict has names as keys")
        if name.startswith("_orig_mod."):
            raise Refusal(
                f"{name} comes from a module that torch.compile made; save the state dict of "
                "model._orig_mod"
            )
        if cure := INNER.get(name.rpartition(".")[2]):
            raise Refusal(f"{name} is a part of a weight that is made anew at each call; {cure}")


def _layers(state: Mapping[str, Any]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name of layer → weight (two axes) and bias, unchanged."""
    layers = {}
    used = set()
    for name, values in state.items():
        layer, _, last = name.rpartition(".")
        if last != "weight":
            continue
        matrix = weight(name, values)
        bias_name = f"{layer}.bias" if layer else "bias"
        if matrix.ndim != 2:
            raise Refusal(
                f"{name} has {matrix.ndim} axes, so it is not the weight of a Linear layer; a "
                "state dict is read as Linear and ReLU alone; give like=module"
            )
        bias = weight(bias_name, state[bias_name]) if bias_name in state else np.zeros(len(matrix))
        if bias.shape != (len(matrix),):
            raise Refusal(f"{bias_name} has shape {bias.shape}, {name} wants ({len(matrix)},)")
        layers[layer] = matrix, bias
        used |= {name, bias_name}
    strange = [name for name in state if name not in used]
    if strange:
        raise Refusal(
            f"{strange[0]} belongs to no Linear layer; a state dict is read as Linear and ReLU "
            "alone; give like=module"
        )
    return layers


def _ordered(order: Sequence[str], names: Sequence[str]) -> list[str]:
    """The names in the user's order; refused with the one that is at fault."""
    if isinstance(order, str):
        fault = "it is one string, not a list"
    elif missing := [name for name in names if name not in order]:
        fault = f"{missing[0]} is missing"
    elif strange := [name for name in order if name not in names]:
        fault = f"{strange[0]} is no layer"
    elif twice := [name for k, name in enumerate(order) if name in order[:k]]:
        fault = f"{twice[0]} is there twice"
    else:
        return list(order)
    words = clipped(str(list(names)), 300)
    raise Refusal(
        f"order={clipped(repr(order), 300)} does not name each of the layers once: {fault}; the "
        f"layers are {words}"
    )


def _numbered(names: Sequence[str]) -> list[str] | None:
    """The layers by number, if their names differ in one number alone."""
    if len(names) == 1:
        return list(names)
    keys: dict[tuple[int, ...], str] = {}
    texts = set()
    for name in names:
        text, numbers = _split(name)
        if not numbers:
            return None
        texts.add(text)
        keys[numbers] = name
    if len(texts) != 1 or len(keys) != len(names) or len(_lists(keys)) != 1:
        return None
    if any(key[:k] in keys for key in keys for k in range(len(key))):
        return None  # a layer inside a layer: an adapter
    return [keys[key] for key in sorted(keys)]


def _split(name: str) -> tuple[str, tuple[int, ...]]:
    """A name as its text and the numbers at its end."""
    match = NUMBERS.match(name[::-1])
    if match is None:
        return name, ()
    return name[: -match.end()], tuple(map(int, match[0][::-1].split(".")))


def _lists(keys: Iterable[tuple[int, ...]]) -> dict[tuple[int, ...], list[int]]:
    """The lists with more than one member, by the numbers before: members in order.

    Two such lists are one network of several blocks, or several networks: `nets.0.0`, `nets.0.2`,
    `nets.1.0`, `nets.1.2`.
    """
    lists: dict[tuple[int, ...], set[int]] = {}
    for key in keys:
        for k, number in enumerate(key):
            lists.setdefault(key[:k], set()).add(number)
    return {before: sorted(found) for before, found in lists.items() if len(found) > 1}


def _check_gaps(names: Sequence[str]) -> None:
    """Refuse neighbours in a list: no name shows a ReLU between them.

    They are a Sequential without one, or a ModuleList, whose forward pass may add or average. A
    block that begins a list with gaps, `net.0.0` of `net.0.0`, `net.1`, `net.3`, can end in one.
    """
    if len(names) == 1:
        return
    text = _split(names[0])[0]
    keys = {_split(name)[1]: name for name in names}
    ((before, numbers),) = _lists(keys).items()
    if not before and text and not text.endswith("."):
        return  # attributes of their own, as fc1, fc2
    gaps = any(b - a > 1 for a, b in pairwise(numbers))
    for (a, first), (b, second) in pairwise(sorted(keys.items())):
        k = len(before)
        if b[k] - a[k] == 1 and (len(a) == k + 1 or not gaps):
            raise Refusal(
                f"layers {first} and {second} are neighbours in a list, and no name shows a ReLU "
                "between them; give like=module, a module that the weights fit, or, if a ReLU acts "
                f"between each two layers, order={clipped(str(list(names)), 300)}"
            )


def _check_embedding(state: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse a first weight alone without a bias: that of an Embedding has no other name."""
    without = [name for name in names if f"{name}.bias".lstrip(".") not in state]
    if names[0] in without and (len(names) == 1 or len(without) < len(names)):
        raise Refusal(
            f"{names[0]}.weight".lstrip(".") + " has no bias, so that it may be the weight of an "
            f"Embedding; if it is Linear, give order={clipped(str(list(names)), 300)}"
        )


def _read_like(
    state: Mapping[str, Any], like: Any, input_shape: Sequence[int] | None
) -> PlainNetwork:
    """Read `like` while it holds the weights of the state dict, in eval mode.

    A copy would not do: a `forward` or hook of the instance itself goes on to use the original.
    """
    import torch

    from depthwright.networks.reading.modules import read_module

    if not isinstance(like, torch.nn.Module):
        raise Refusal(f"like={type(like).__name__} is no torch module")
    _check_prefix(state, like)
    tensors = {name: _tensor(name, value) for name, value in state.items()}
    with _restored(like):
        like.eval()
        try:
            like.load_state_dict(tensors, assign=True)
        except RuntimeError as error:
            words = clipped(" ".join(str(error).split()), 300)
            raise Refusal(
                f"the state dict does not fit like={type(like).__name__}: {words}"
            ) from error
        return read_module(like, input_shape)


def _check_prefix(state: Mapping[str, Any], like: Any) -> None:
    """Refuse names that are those of `like` after one prefix, such as DataParallel's."""
    own = list(like.state_dict())
    for name in state:
        if not own or not name.endswith(f".{own[0]}"):
            continue
        prefix = name.removesuffix(own[0])
        if {prefix + part for part in own} == set(state):
            raise Refusal(
                f"each name in the state dict begins with {prefix}, which like="
                f"{type(like).__name__} does not have; give "
                f"{{name.removeprefix('{prefix}'): w for name, w in state.items()}}"
            )


def _tensor(name: str, value: Any) -> Any:
    """As torch's `load_state_dict` takes it; buffers may be integers."""
    import torch

    if isinstance(value, torch.Tensor):
        return value
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiubc":
        raise Refusal(f"{name} {fault_of(value)}")
    return torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))


@contextmanager
def _restored(module: Any) -> Iterator[None]:
    """Give a module back its own weights and modes at the end of the block."""
    own = module.state_dict(keep_vars=True)
    modes = {part: part.training for part in module.modules()}
    try:
        yield
    finally:
        module.load_state_dict(own, assign=True)
        for part, mode in modes.items():
            part.training = mode
