"""ReLU networks as targets, drawn at random or brought along: VYS22's N0 : [−A, A]^d → R^d_out.

[−A, A]^d may be any box [lower_1, upper_1] × … × [lower_d, upper_d].

Weights are float64 arrays; every float is a dyadic rational, so the target is an exact object.
`norms`: "spectral_l", an upper bound of ‖W_l‖₂ for layers l = 1..depth.
"""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from depthwright.distributions.domain import Box, Sides
from depthwright.networks.exact import ExactNetwork, from_arrays
from depthwright.networks.upper import UNIT, Upper, product
from depthwright.refusal import Refusal
from depthwright.targets.spectral import spectral_bound, spectral_upper
from depthwright.targets.target import Target

if TYPE_CHECKING:
    import torch

Matrices = tuple[np.ndarray, ...]


class ReLUNetwork(Target):
    """x ↦ W_L σ(… σ(W_1 x + b_1) …) + b_L on the box between `lower` and `upper`."""

    lower: np.ndarray
    """(d,) float64, where the inputs begin."""
    upper: np.ndarray
    """(d,) float64, where they end."""

    @property
    @abstractmethod
    def weights(self) -> Matrices:
        """(n_l, n_{l−1}) float64, layer by layer."""

    @property
    @abstractmethod
    def biases(self) -> Matrices:
        """(n_l,) float64, layer by layer."""

    @property
    def widths(self) -> tuple[int, ...]:
        """(d, n_1, …, n_{L−1}, d_out)."""
        return (self.weights[0].shape[1], *(len(bias) for bias in self.biases))

    @property
    def domain(self) -> Box:
        """Between `lower` and `upper`."""
        return Box(tuple(self.lower.tolist()), tuple(self.upper.tolist()))

    def _settle(self, radius: float | None, lower: Sides | None, upper: Sides | None) -> None:
        """Check the box and set it; `radius` is kept where it is a centred cube by that name."""
        if radius is not None and lower is not None and upper is not None:
            cube = Box.of(self.input_dim, radius)
            if Box.of(self.input_dim, lower=lower, upper=upper) == cube:  # dataclasses.replace
                lower = upper = None
        box = Box.of(self.input_dim, radius, lower, upper)
        sides = {"lower": np.array(box.lower), "upper": np.array(box.upper)}
        for name, side in sides.items():
            side.setflags(write=False)
            object.__setattr__(self, name, side)
        if lower is None:
            object.__setattr__(self, "radius", box.upper[0])

    @cached_property
    def spectral_norms(self) -> tuple[float, ...]:
        """Upper bounds of ‖W_l‖₂, rounding included."""
        return tuple(spectral_bound(matrix) for matrix in self.weights)

    @property
    def lipschitz(self) -> float:
        """The product of the spectral norms; σ is 1-Lipschitz."""
        return float(math.prod(map(spectral_upper, self.weights), start=Upper.of(1.0)))

    @cached_property
    def magnitude(self) -> float:
        """abs(f_k(x)) is at most this on the domain, for every output k; by intervals."""
        high, low = affine_range(self.weights[0], self.biases[0], self.lower, self.upper)
        for matrix, bias in zip(self.weights[1:], self.biases[1:], strict=True):
            above, below = (Upper.of(np.maximum(b, 0)) for b in (bias, -bias))
            low = product(np.maximum(-matrix, 0), high) + below - above
            high = product(np.maximum(matrix, 0), high) + above - below
        return max(float(high.max()), float(low.max()))

    def as_network(self) -> ExactNetwork:
        """The same function as an exact network: evaluated exactly, it is f(x) rounded once."""
        return from_arrays(self.weights, self.biases, inputs=self.domain.inputs)

    def truth(self, x: torch.Tensor) -> torch.Tensor:
        """Exact values, rounded once."""
        return self.as_network().evaluate(x, "exact")

    @property
    def norms(self) -> Mapping[str, float]:
        """The spectral norms' upper bounds."""
        return {f"spectral_{i}": norm for i, norm in enumerate(self.spectral_norms, 1)}

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Values at `x` (batch, input_dim) → (batch, output_dim), in its dtype."""
        import torch

        for i, (matrix, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            weight = torch.from_numpy(matrix).to(x)
            x = torch.nn.functional.linear(
                torch.relu(x) if i else x, weight, torch.from_numpy(bias).to(x)
            )
        return x


def affine_range(
    matrix: np.ndarray, bias: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> tuple[Upper, Upper]:
    """Upper bounds (rows,) of Wx + b and of −Wx − b over lower ≤ x ≤ upper; 0 for less than 0."""

    def positive(values: np.ndarray) -> np.ndarray:
        return np.maximum(values, 0.0)

    def most(up: np.ndarray, down: np.ndarray, constant: np.ndarray) -> Upper:
        above = product(up, Upper.of(positive(upper))) + product(down, Upper.of(positive(-lower)))
        below = product(up, Upper.of(positive(-upper))) + product(down, Upper.of(positive(lower)))
        below = below + Upper.of(positive(-constant))
        # sums were rounded up by less than this, and what is subtracted must not be too much
        exactly = below * Upper.of(1 - 4 * (matrix.shape[1] + 16) * UNIT)
        return above + Upper.of(positive(constant)) - exactly

    up, down = positive(matrix), positive(-matrix)
    return most(up, down, bias), most(down, up, -bias)


@dataclass(frozen=True, eq=False)
class Network(ReLUNetwork):
    """The user's network on [−radius, radius]^d, or on the box between `lower` and `upper`.

    `model`: a `torch.nn.Sequential` of Linear and ReLU, its state dict, or the path of a
    safetensors file. Weights become float64, which loses nothing.
    """

    model: Any
    radius: float | None = None
    """1 where nothing is given; None on a box."""
    lower: Any = None
    """A number for all inputs, or one each, as is `upper`; once made, (d,) float64."""
    upper: Any = None

    def __post_init__(self) -> None:
        weights, biases = self._matrices
        for i, (matrix, bias) in enumerate(zip(weights, biases, strict=True), 1):
            for name, array in (("weight", matrix), ("bias", bias)):
                bad = np.argwhere(~np.isfinite(array))
                if len(bad):
                    at = tuple(int(k) for k in bad[0])
                    raise Refusal(
                        f"the {name} of Linear layer {i} is {array[at]} at {at}; "
                        "a target needs finite weights"
                    )
        for i, (a, b) in enumerate(pairwise(weights), 2):
            if len(a) != b.shape[1]:
                raise Refusal(
                    f"Linear layer {i} reads {b.shape[1]} values but the one before gives {len(a)}"
                )
        object.__setattr__(self, "input_dim", weights[0].shape[1])
        object.__setattr__(self, "output_dim", len(biases[-1]))
        self._settle(self.radius, self.lower, self.upper)
        self._check_values()

    def _check_values(self) -> None:
        """A model is what its layers say, at a few points."""
        if isinstance(self.model, (str, Path, Mapping)):
            return
        import torch

        from depthwright.networks.torch_network import check_values

        layers = zip(*self._matrices, strict=True)
        check_values(self.model, [(torch.from_numpy(w), torch.from_numpy(b)) for w, b in layers])

    @cached_property
    def _matrices(self) -> tuple[Matrices, Matrices]:
        if isinstance(self.model, (str, Path)):
            return _from_state(_read(Path(self.model)))
        if isinstance(self.model, Mapping):
            return _from_state(dict(self.model))
        return _from_model(self.model)

    @property
    def weights(self) -> Matrices:
        """As given."""
        return self._matrices[0]

    @property
    def biases(self) -> Matrices:
        """As given; zeros where a Linear has none."""
        return self._matrices[1]


@dataclass(frozen=True, eq=False)
class RandomNetwork(ReLUNetwork):
    """A random network: `depth` affine maps, `depth` − 1 hidden layers of `width` neurons.

    "uniform": weights and biases uniform on [−weight_bound, weight_bound] (VYS22's B).
    "he": weights N(0, 2/fan_in), biases 0; weight_bound is not used.
    """

    input_dim: int = 3
    width: int = 8
    depth: int = 3
    weight_bound: float = 1.0
    seed: int = 0
    radius: float | None = None
    """1 where nothing is given; None on a box."""
    initialisation: Literal["uniform", "he"] = "uniform"
    output_dim: int = 1
    lower: Any = None
    """A number for all inputs, or one each, as is `upper`; once made, (d,) float64."""
    upper: Any = None

    def __post_init__(self) -> None:
        for name in ("input_dim", "width", "depth", "output_dim"):
            if getattr(self, name) < 1:
                raise Refusal(f"{name}={getattr(self, name)} is below 1; a network needs some")
        if not (math.isfinite(self.weight_bound) and self.weight_bound > 0):
            raise Refusal(f"weight_bound={self.weight_bound} is not a positive number")
        if self.initialisation not in ("uniform", "he"):
            raise Refusal(f"initialisation={self.initialisation!r} is neither 'uniform' nor 'he'")
        if self.seed < 0:
            raise Refusal(f"seed={self.seed} is negative; seeds start at 0")
        self._settle(self.radius, self.lower, self.upper)

    @property
    def widths(self) -> tuple[int, ...]:
        """(d, n, …, n, d_out), no weights drawn."""
        return (self.input_dim, *[self.width] * (self.depth - 1), self.output_dim)

    @cached_property
    def _matrices(self) -> tuple[Matrices, Matrices]:
        rng = np.random.default_rng(self.seed)
        weights, biases = [], []
        for fan_in, fan_out in pairwise(self.widths):
            if self.initialisation == "he":
                weights.append(rng.standard_normal((fan_out, fan_in)) * math.sqrt(2 / fan_in))
                biases.append(np.zeros(fan_out))
            else:
                bound = self.weight_bound
                weights.append(rng.uniform(-bound, bound, (fan_out, fan_in)))
                biases.append(rng.uniform(-bound, bound, fan_out))
        return tuple(weights), tuple(biases)

    @property
    def weights(self) -> Matrices:
        """Drawn on first use."""
        return self._matrices[0]

    @property
    def biases(self) -> Matrices:
        """Drawn on first use."""
        return self._matrices[1]


def _array(values: Any) -> np.ndarray:
    """A float64 copy of a numpy array or a torch tensor of any float dtype."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().double().numpy()
    return np.array(values, dtype=np.float64)


def _from_model(model: Any) -> tuple[Matrices, Matrices]:
    import torch

    from depthwright.networks.torch_network import parts_in_order

    if not isinstance(model, torch.nn.Module):
        raise Refusal(
            f"a {type(model).__name__} is not a network; give a torch.nn.Sequential of Linear and "
            "ReLU, its state dict, or a safetensors file"
        )
    if not isinstance(model, (torch.nn.Sequential, torch.nn.Linear)):
        raise Refusal(
            f"a {type(model).__name__} may compute anything between its layers; "
            "give a torch.nn.Sequential of Linear and ReLU"
        )
    weights: list[np.ndarray] = []
    biases: list[np.ndarray] = []
    last = "nothing"
    for part in parts_in_order(model):
        kind = type(part).__name__
        if isinstance(part, torch.nn.Linear):
            if last == "Linear":
                raise Refusal("two Linear layers follow each other without a ReLU; merge them")
            weights.append(_array(part.weight))
            bias = part.bias
            biases.append(np.zeros(len(weights[-1])) if bias is None else _array(bias))
        elif last == "nothing":
            raise Refusal("the model begins with a ReLU; begin with a Linear")
        last = kind
    if last != "Linear":
        raise Refusal(f"the model ends with {last}; its last layer must be a Linear")
    return tuple(weights), tuple(biases)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise Refusal(f"{path} is not there")
    if path.suffix != ".safetensors":
        raise Refusal(f"{path.name} is not a .safetensors file, the only kind of file read here")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path)
    except SafetensorError as error:
        raise Refusal(f"{path} is damaged: {error}") from error

    def natural(name: str) -> list[Any]:
        return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in re.split(r"(\d+)", name)]

    return {name: state[name] for name in sorted(state, key=natural)}


def _from_state(state: dict[str, Any]) -> tuple[Matrices, Matrices]:
    """Pairs NAME.weight (two axes), NAME.bias (one axis), in the order given, σ between them."""
    weights: list[np.ndarray] = []
    biases: list[np.ndarray] = []
    used = set()
    for name, values in state.items():
        if not name.endswith("weight"):
            continue
        matrix = _array(values)
        bias_name = name.removesuffix("weight") + "bias"
        if matrix.ndim != 2:
            raise Refusal(
                f"{name} has {matrix.ndim} axes, so it is not the weight of a Linear layer; "
                "only Linear and ReLU are understood"
            )
        bias = _array(state[bias_name]) if bias_name in state else np.zeros(len(matrix))
        if bias.shape != (len(matrix),):
            raise Refusal(f"{bias_name} has shape {bias.shape}, {name} wants ({len(matrix)},)")
        weights.append(matrix)
        biases.append(bias)
        used |= {name, bias_name}
    strange = [name for name in state if name not in used]
    if strange:
        raise Refusal(f"{strange[0]} belongs to no Linear layer; only Linear and ReLU are read")
    if not weights:
        raise Refusal("the state dict holds no Linear layer")
    return tuple(weights), tuple(biases)
