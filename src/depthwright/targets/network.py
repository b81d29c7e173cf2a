"""ReLU networks as targets, drawn at random or brought along: VYS22's N0 : [−A, A]^d → R^d_out.

[−A, A]^d may be any box [lower_1, upper_1] × … × [lower_d, upper_d].

Weights are float64 arrays; every float is a dyadic rational, so the target is an exact object.
`norms`: "spectral_l", an upper bound of ‖W_l‖₂ for layers l = 1..depth.
"""

from __future__ import annotations

import hashlib
import json
import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from depthwright.distributions.domain import MOST_INPUTS, Box, Sides
from depthwright.networks.arithmetic import EPS
from depthwright.networks.exact.network import ExactNetwork, from_arrays
from depthwright.networks.points import as_points
from depthwright.networks.upper import Upper, product
from depthwright.refusal import Refusal, need_one_of, need_positive, need_seed, need_whole
from depthwright.targets.spectral import spectral_bound, spectral_upper
from depthwright.targets.target import FILE, KEY, Target

if TYPE_CHECKING:
    import torch

    from depthwright.networks.reading import PlainNetwork

MOST_WEIGHTS = 10**8
"""Of a network that is drawn: 0.8 GB."""
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
    def reading_error(self) -> float:
        """The network that was given and these layers differ by at most this on the domain."""
        return 0.0

    @property
    def reading_terms(self) -> dict[str, float]:
        """What a claim about the network that was given adds to its terms, if anything."""
        error = self.reading_error
        return {"rounding of entries that are no floats": error} if error else {}

    @property
    def widths(self) -> tuple[int, ...]:
        """(d, n_1, …, n_{L−1}, d_out)."""
        return (self.weights[0].shape[1], *(len(bias) for bias in self.biases))

    @property
    def domain(self) -> Box:
        """Between `lower` and `upper`."""
        return Box(tuple(self.lower.tolist()), tuple(self.upper.tolist()))

    def __repr__(self) -> str:
        shape = " → ".join(map(str, self.widths))
        if len(self.widths) > 8:
            shape = f"{self.widths[0]} → … → {self.widths[-1]}, depth {len(self.widths) - 1}"
        return f"{type(self).__name__}({shape}, on the {self.domain})"

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

    @property
    def digest(self) -> str:
        """Of the plain layers and the box, whatever they were read from (see Target.digest)."""
        box = [self.lower.tolist(), self.upper.tolist()]
        found = hashlib.sha256(json.dumps(["ReLUNetwork", list(self.widths), *box]).encode())
        for pair in zip(self.weights, self.biases, strict=True):
            for array in pair:
                found.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        return found.hexdigest()

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

        x = as_points(x, self.input_dim)
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
        exactly = below * Upper.of(1 - 4 * (matrix.shape[1] + 16) * EPS)
        return above + Upper.of(positive(constant)) - exactly

    up, down = positive(matrix), positive(-matrix)
    return most(up, down, bias), most(down, up, -bias)


@dataclass(frozen=True, eq=False)
class Network(ReLUNetwork):
    """The user's network on [−radius, radius]^d, or on the box between `lower` and `upper`.

    `model`: a torch module, a state dict, or the path of a .safetensors, .onnx or .nnet file, read
    into plain layers by `networks.reading`. Float weights become float64, which loses nothing;
    where an entry of a plain layer is no float, `reading_error` bounds what its rounding does.
    Refused is what is no feed-forward ReLU network, by the name of the layer.
    """

    model: Any = field(metadata={KEY: "path", FILE: True})
    radius: float | None = None
    """1 where nothing is given and the file declares no box; None on a box."""
    lower: Any = None
    """A number for all inputs, or one each, as is `upper`; once made, (d,) float64."""
    upper: Any = None
    input_shape: Any = None
    """The shape of one input without the batch, as (1, 28, 28), where no weight tells it."""
    order: Any = None
    """The names of a state dict's layers, as they act."""
    like: Any = field(default=None, metadata={KEY: None})
    """A module that a state dict fits."""
    mean: Any = None
    """It was trained on (x − mean)/scale: one number for all inputs, or one each, as `scale`."""
    scale: Any = None

    def __post_init__(self) -> None:
        plain = self.plain
        object.__setattr__(self, "input_dim", plain.widths[0])
        object.__setattr__(self, "output_dim", plain.widths[-1])
        lower, upper = self.lower, self.upper
        if self.radius is None and lower is None and upper is None:
            lower, upper = plain.lower, plain.upper
        self._settle(self.radius, lower, upper)

    @cached_property
    def plain(self) -> PlainNetwork:
        """The layers that were read; `plain.sizes` says what they were before."""
        from depthwright.networks.reading import read
        from depthwright.networks.reading.units import in_units

        plain = read(self.model, input_shape=self.input_shape, order=self.order, like=self.like)
        if self.mean is None and self.scale is None:
            return plain
        return in_units(plain, self.mean, self.scale)

    @property
    def weights(self) -> Matrices:
        """Of the plain layers."""
        return self.plain.weights

    @property
    def biases(self) -> Matrices:
        """Of the plain layers; zeros where a layer has none."""
        return self.plain.biases

    @cached_property
    def reading_error(self) -> float:
        """On the box, for every output."""
        return float(self.plain.deviation(self.lower, self.upper).max())


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
            need_whole(f"{name}", getattr(self, name), 1, MOST_INPUTS)
        ends = self.width * (self.input_dim + self.output_dim)
        if (size := ends + self.width**2 * max(self.depth - 2, 0)) > MOST_WEIGHTS:
            raise Refusal(
                f"width={self.width} and depth={self.depth} with input_dim="
                f"{self.input_dim} and output_dim={self.output_dim} make {size} weights; "
                f"the limit is {MOST_WEIGHTS}"
            )
        need_positive("weight_bound", self.weight_bound)
        need_one_of("initialisation", self.initialisation, ("uniform", "he"))
        need_seed("seed", self.seed)
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
