"""Networks with dense float layers: what training returns and what users bring.

A module network keeps its own copy of the weights, so that its counts and values stay what they
were when the module it came from is trained on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import nn

from depthwright.networks import tensor_files
from depthwright.networks.architecture import Architecture
from depthwright.networks.arithmetic import Arithmetic
from depthwright.networks.network import Network
from depthwright.networks.points import as_points
from depthwright.networks.precision import full_precision
from depthwright.networks.styles import PLAIN, Links, links, skips, taken
from depthwright.refusal import Refusal, clipped, need_one_of

if TYPE_CHECKING:
    from depthwright.networks.exact.network import ExactNetwork

SUFFIX = ".safetensors"
"""Suffix of the files of module networks."""

FORMAT = "depthwright-module"
"""Written into every such file."""

BUFFER_BYTES = {"cpu": 2**21, "cuda": 2**25}
"""Largest activation held at once: what a core's cache holds (2 MB is 1.5 to 3 times as fast as
32 MB on CPU), and enough to fill a GPU."""

DTYPES: dict[Arithmetic, torch.dtype] = {"float32": torch.float32, "float64": torch.float64}

Layers = list[tuple[torch.Tensor, torch.Tensor]]
"""One (weight (fan_out, fan_in), bias (fan_out,)) per affine map."""


class LayerNetwork(Network):
    """Affine maps in one dtype, joined in one style."""

    def __init__(self, layers: Layers, style: str) -> None:
        """`layers` are kept, not copied."""
        self._layers = _checked(layers)
        dtype = self._layers[0][0].dtype
        self.arithmetic = "float32" if dtype == torch.float32 else "float64"
        self._links: Links = links(self.widths, style)
        self._cast: dict[tuple[torch.dtype, torch.device], Layers] = {}

    @property
    def widths(self) -> tuple[int, ...]:
        """(input_dim, n_1, …, n_{L−1}, output_dim)."""
        first = self._layers[0][0].shape[1]
        return (first, *(weight.shape[0] for weight, _ in self._layers))

    @property
    def architecture(self) -> Architecture:
        nonzeros = sum(int(t.count_nonzero()) for layer in self._layers for t in layer)
        return Architecture.of(self.widths, nonzeros)

    def _in(self, dtype: torch.dtype, device: torch.device) -> Layers:
        """The layers in a dtype on a device, cached for the next call."""
        key = (dtype, device)
        if key not in self._cast:
            self._cast[key] = [(w.to(device, dtype), b.to(device, dtype)) for w, b in self._layers]
        return self._cast[key]

    def _checked_points(self, x: Any) -> torch.Tensor:
        x = as_points(x)
        if x.ndim != 2 or x.shape[1] != self.widths[0]:
            raise Refusal(
                f"inputs of shape {tuple(x.shape)} do not fit a network of "
                f"{self.widths[0]} inputs; give (batch, {self.widths[0]})"
            )
        return x

    def evaluate(self, x: torch.Tensor, arithmetic: Arithmetic | None = None) -> torch.Tensor:
        """Values in chunks whose buffers are reused; weights are rounded to `arithmetic`."""
        x = self._checked_points(x)
        arithmetic = arithmetic or self.arithmetic
        if arithmetic == "exact":
            return self.to_exact().evaluate(x, "exact")
        need_one_of("arithmetic", arithmetic, get_args(Arithmetic))
        dtype = DTYPES[arithmetic]
        layers = self._in(dtype, x.device)
        rows = max(1, buffer_bytes(x.device) // (dtype.itemsize * max(self.widths)))
        rows = min(rows, max(1, len(x)))
        with torch.no_grad(), full_precision():
            out = torch.empty(len(x), self.widths[-1], dtype=dtype, device=x.device)
            buffers = [
                torch.empty(rows, len(bias), dtype=dtype, device=x.device)
                for _, bias in layers[:-1]
            ]
            for start in range(0, len(x), rows):
                h = x[start : start + rows].to(dtype)
                into = [*(buffer[: len(h)] for buffer in buffers), out[start : start + rows]]
                for (weight, bias), link, place in zip(layers, self._links, into, strict=True):
                    new = torch.addmm(bias, taken(h, link), weight.T, out=place)
                    h = new.add_(h) if skips(link) else new
        return out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One matrix product per layer, in the dtype of `x`."""
        x = self._checked_points(x)
        for (weight, bias), link in zip(self._in(x.dtype, x.device), self._links, strict=True):
            new = torch.addmm(bias, taken(x, link), weight.T)
            x = x + new if skips(link) else new
        return x

    def to_exact(self) -> ExactNetwork:
        from depthwright.networks.reading import exact_network

        return exact_network(self.to_torch())

    def kink_points(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """First-layer kinks, hyperplanes drawn at random: the point of each nearest the origin.

        For w·x + b = 0 that is −b·w/‖w‖²; neurons with w = 0 have none.
        """
        if len(self._layers) == 1:
            return super().kink_points(count, generator)
        weight, bias = self._first_kinks(*self._in(torch.float64, generator.device)[0])
        chosen = torch.randperm(len(bias), generator=generator, device=generator.device)[:count]
        w, b = weight[chosen], bias[chosen, None]
        points = -b * w / w.square().sum(dim=1, keepdim=True)
        return points[points.isfinite().all(dim=1)]

    def _first_kinks(
        self, weight: torch.Tensor, bias: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The hyperplanes at which the neurons of the first layer have their kinks."""
        return weight, bias


class ModuleNetwork(LayerNetwork):
    """Affine maps with a ReLU between each two, in one dtype: the plain layers of a module."""

    def __init__(self, module: nn.Module) -> None:
        """`module`: any that `networks.reading` reads without rounding."""
        super().__init__(_read(module), PLAIN)

    @classmethod
    def of(cls, layers: Layers) -> ModuleNetwork:
        """From (weight (fan_out, fan_in), bias (fan_out,)) pairs, copied to the CPU."""
        self = cls.__new__(cls)
        copied = [(_copied(weight), _copied(bias)) for weight, bias in layers]
        LayerNetwork.__init__(self, copied, PLAIN)
        return self

    def to_torch(self, dtype: torch.dtype | None = None) -> nn.Sequential:
        """A new module, trainable, that shares nothing with this network."""
        return assemble(self._layers, dtype or torch.float64)

    def _save(self, path: str | Path) -> None:
        """Write the state dict in the network's own dtype, whole or not at all.

        Any safetensors reader finds the tensors `0.weight`, `0.bias`, `2.weight`, …; the metadata
        names the widths.
        """
        save_layers(path, self._layers, _module_part, {"format": FORMAT})


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    """On the CPU, rows contiguous."""
    return tensor.detach().clone(memory_format=torch.contiguous_format).cpu()


def buffer_bytes(device: torch.device) -> int:
    """Largest activation held at once on a device."""
    return BUFFER_BYTES.get(device.type, BUFFER_BYTES["cuda"])


def _read(module: nn.Module) -> Layers:
    """The plain layers of a module in its own dtype, or in float64 if that does not hold them."""
    from depthwright.networks.reading import read

    plain = read(module)
    if not plain.exact:
        raise Refusal(
            f"{plain.before} has plain layers whose entries are no floats; "
            "wrap it in depthwright.targets.Network, which bounds their rounding"
        )
    dtypes = {tensor.dtype for tensor in module.parameters()}
    if len(dtypes) != 1:
        names = sorted(str(dtype).removeprefix("torch.") for dtype in dtypes)
        raise Refusal(f"weights in {' and '.join(names)} cannot be measured; use one dtype")
    dtype = dtypes.pop()
    tensors = [
        (torch.from_numpy(w), torch.from_numpy(b))
        for w, b in zip(plain.weights, plain.biases, strict=True)
    ]
    if not all(torch.equal(t.to(dtype).double(), t) for pair in tensors for t in pair):
        dtype = torch.float64
    return [(w.to(dtype), b.to(dtype)) for w, b in tensors]


def _checked(layers: Layers) -> Layers:
    """The layers, after a check that they are numbers and that their shapes chain."""
    dtypes = {str(t.dtype).removeprefix("torch.") for layer in layers for t in layer}
    if len(dtypes) != 1 or not dtypes <= set(DTYPES):
        raise Refusal(
            f"weights in {' and '.join(sorted(dtypes))} cannot be measured; "
            "use one of float32, float64 for all layers"
        )
    for position, (weight, bias) in enumerate(layers):
        if not (weight.isfinite().all() and bias.isfinite().all()):
            raise Refusal(
                f"affine map {position} has weights that are not finite numbers; "
                "the network has diverged and computes nothing"
            )
    for position, ((a, _), (b, _)) in enumerate(pairwise(layers)):
        if len(a) != b.shape[1]:
            raise Refusal(
                f"affine map {position} has {len(a)} outputs and the next one "
                f"{b.shape[1]} inputs; make them equal"
            )
    return layers


def assemble(
    layers: Sequence[tuple[torch.Tensor, torch.Tensor]], dtype: torch.dtype
) -> nn.Sequential:
    """A `Sequential` on the CPU from (weight (fan_out, fan_in), bias (fan_out,)) pairs, copied."""
    parts: list[nn.Module] = []
    for weight, bias in layers:
        fan_out, fan_in = weight.shape
        linear = nn.utils.skip_init(nn.Linear, fan_in, fan_out, dtype=dtype)
        with torch.no_grad():
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
        parts += [linear, nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def layers_of(network: Network) -> Layers:
    """The affine maps of any network's plain form, in float64."""
    modules = network.to_torch(torch.float64)
    return [(m.weight.detach(), m.bias.detach()) for m in modules if isinstance(m, nn.Linear)]


def _suffixed(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix != SUFFIX:
        raise Refusal(f"{path} does not end in {SUFFIX}, where module networks are kept")
    return path


def _module_part(number: int) -> str:
    """The name of affine map `number` in a Sequential with a ReLU between each two."""
    return str(2 * number)


def save_layers(
    path: str | Path, layers: Layers, part: Callable[[int], str], metadata: Mapping[str, str]
) -> None:
    """Write weights and biases under the names of their parts, and the widths beside them."""
    from safetensors.torch import save_file

    path = _suffixed(path)
    widths = [layers[0][0].shape[1], *(len(bias) for _, bias in layers)]
    tensors = {
        f"{part(k)}.{what}": tensor.contiguous()
        for k, layer in enumerate(layers)
        for what, tensor in zip(("weight", "bias"), layer, strict=True)
    }
    tensor_files.save(path, tensors, {**metadata, "widths": json.dumps(widths)}, save_file)


def load_layers(
    path: str | Path, marked: str, part: Callable[[int], str]
) -> tuple[Layers, Mapping[str, str]]:
    """Read what `save_layers` wrote in the format `marked`: layers and metadata."""
    path = _suffixed(path)
    tensors, metadata = tensor_files.load(path, "pt")
    if metadata.get("format") != marked:
        raise Refusal(
            f"{path} is not marked {marked}; save it with Network.save, "
            "or wrap the module itself in ModuleNetwork"
        )
    widths = _widths(metadata.get("widths", ""), path)
    names = [(f"{part(k)}.weight", f"{part(k)}.bias") for k in range(len(widths) - 1)]
    for name in (name for pair in names for name in pair):
        if name not in tensors:
            raise Refusal(f"{path} lacks the tensor {name}; it is damaged")
    layers = [(tensors[weight], tensors[bias]) for weight, bias in names]
    shapes = [(tuple(weight.shape), tuple(bias.shape)) for weight, bias in layers]
    if shapes != [((b, a), (b,)) for a, b in pairwise(widths)] or len(tensors) != 2 * len(layers):
        held = clipped(str({name: tuple(tensor.shape) for name, tensor in tensors.items()}), 300)
        raise Refusal(f"{path} says widths {clipped(str(widths))} and holds {held}; it is damaged")
    return layers, metadata


def _widths(text: str, path: Path) -> list[int]:
    """(input_dim, n_1, …, n_{L−1}, output_dim), as the metadata say."""
    try:
        widths = json.loads(text)
    except (ValueError, RecursionError):
        widths = None
    whole = isinstance(widths, list) and all(type(n) is int and n > 0 for n in widths)
    if not whole or len(widths) < 2:
        raise Refusal(
            f"{path} lacks the widths of a network, it says {clipped(text)!r}; it is damaged"
        )
    return widths


def load_module(path: str | Path) -> ModuleNetwork:
    layers, _ = load_layers(path, FORMAT, _module_part)
    return ModuleNetwork.of(layers)
