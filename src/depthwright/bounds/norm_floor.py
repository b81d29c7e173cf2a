"""A floor under the path norm of every depth-2 ReLU network near a radial function.

Statement
    Let N(x) = c + Σ_i a_i σ(w_i·x − β_i) have sup over the unit ball of abs(N − ϕ(‖x‖)) ≤ ε. Then
    Σ_i abs(a_i)‖w_i‖ ≥ 2·M_ε(ϕ, d), whatever its width, with M_ε the minimal mass of
    `approximation.mass`.

Proof
    The average of N over all rotations, N̄(r), is no farther from ϕ than N is. A neuron becomes
    a_i·(‖w_i‖/2)·T h_b(r) with b = abs(β_i)/‖w_i‖, and a_i·abs(β_i) besides where β_i < 0, since
    σ(t + b) = t + b + σ(−t − b) and t averages to 0. A neuron with w_i = 0 is a constant. So N̄ is
    a constant and hinges of total mass at most Σ abs(a_i)‖w_i‖/2; knots b ≥ 1 do nothing in the
    ball. N̄ satisfies the program's constraints for its own error ε̄ = sup abs(N̄ − ϕ) ≤ ε.

Claim
    Path norm ≥ 2·M_ε̄ ≥ 2·M_ε. The floor must hold with what can be *computed*, and M falls as the
    error rises: it is therefore taken at an **upper** bound of ε̄ (convex enclosures, between all
    samples), through a **lower** bound of M (a dual measure that is feasible between all
    samples). A sampled or attacked sup error of N is a lower bound of ε; a floor at it would be
    too high and proves nothing.

Shapes and arithmetic
    The network is the real-number function of its stored parameters; float64 throughout, rounding
    added to ε̄. One output.

Not in the paper
    All of it; SES19 Theorems 4 and 5 bound the width of networks with bounded weights instead.
    With outer and inner weights at most B: width ≥ 2·M_ε/B².

Source
    ours; SES19 for the question.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np

from depthwright.approximation.exchange import MOST_EXCHANGES
from depthwright.approximation.mass import SMALLEST_ERROR, RadialSum, floor
from depthwright.networks.arithmetic import EPS
from depthwright.networks.network import Network
from depthwright.networks.ridge import RidgeNetwork
from depthwright.progress import Bar
from depthwright.refusal import Refusal
from depthwright.targets.declared import check_radial
from depthwright.targets.radial import Radial
from depthwright.targets.target import Target

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-7
"""Relative excess of the averaged error's upper bound."""
TINY = 2.0**-1000
"""Above all that underflows of a neuron with tiny outer weight or inner weights."""
GAP = 1e-5
"""Relative gap at which the floor's program may stop; it is certified in any case."""
CONTINUATION, CONTINUATION_GAP = 1.6, 1e-3
"""Ratio of the errors on the way to one that is not reached directly, and the gap on the way."""


@dataclass(frozen=True)
class PathNorm:
    """One depth-2 network against the floor at its own error."""

    path_norm: float
    """Σ abs(a_i)‖w_i‖, rounded down."""
    error_sup_averaged: float
    """Upper bound on sup over the ball of abs(rotation average − target), hardly above it; the
    sup error of the network itself is at least this, up to TOLERANCE and rounding."""
    path_norm_floor: float
    """No depth-2 ReLU network with this averaged error has a smaller path norm; rounded down."""


@dataclass(frozen=True)
class NeuronNorms:
    """Of neurons a·σ(w·x − β) what fixes their mean over rotations, (n,) each."""

    outer: np.ndarray
    inner: np.ndarray
    """Norms ‖w_i‖ of the first-layer weights."""
    bias: np.ndarray
    """−β, as a module stores it."""
    offset: float
    rounding: float
    """Bound on how far these norms move the averaged function."""
    short: float = 0.0
    """Share by which ‖w‖ may be less than stated, beyond rounding."""


@cache
def mass_floor(target: Radial, error: float) -> float:
    """2·M_ε: the path norm that no depth-2 ReLU network within `error` of `target` goes below.

    A floor at a larger error is one at a smaller error as well. Where float64 does not settle the
    program, errors from half the profile's range downwards are therefore solved in turn, each from
    the support of the last, as long as they settle, and the highest of the floors is returned.
    """
    check_radial(target)
    with Bar("floor under the path norm") as bar:

        def report_progress(begun: float, number: int, height: float) -> None:
            bar((begun + number / MOST_EXCHANGES) / 2, f"exchange {number}, about {2 * height:.3g}")

        at_once = floor(target, error, GAP, report_progress=partial(report_progress, 0.0))
        best, start = at_once.value, None
        larger = first = float(np.ptp(target.profile(np.linspace(0, 1, 1001)))) / 2
        steps = math.log(first / max(error, SMALLEST_ERROR * first)) if first else 0.0
        while not at_once.settled and larger > error:
            larger = max(larger / CONTINUATION, error)
            begun = 1 + min(1.0, math.log(first / larger) / (steps + 1))
            found = floor(target, larger, CONTINUATION_GAP, start, partial(report_progress, begun))
            best, start = max(best, found.value), found.support
            if not found.settled:
                break
    return 2 * best


def width_floor(target: Radial, error: float, weights: float) -> float:
    """2·M_ε/B²: neurons needed within `error` when all abs(a_i) and ‖w_i‖ are at most `weights`."""
    if not weights > 0:
        raise Refusal(f"weights={weights} is no bound on weights; give a number above 0")
    return mass_floor(target, error) / weights**2


def path_norm(network: Network | torch.nn.Sequential) -> float:
    """Σ abs(a_i)‖w_i‖ over the hidden neurons of a depth-2 network, rounded down."""
    return _path_norm(neurons_of(as_network(network)))


def rotation_average(network: Network | torch.nn.Sequential) -> RadialSum:
    """The mean of a depth-2 network over all rotations of its input, as a function of ‖x‖."""
    network = as_network(network)
    return _average(neurons_of(network), network.architecture.input_dim)


def has_floor(network: Network, target: Target) -> bool:
    """Whether `report` applies: depth 2, one output, a radial target of two inputs or more."""
    architecture = network.architecture
    radial = isinstance(target, Radial) and target.input_dim >= 2
    return radial and architecture.depth == 2 and architecture.output_dim == 1


def report(network: Network | torch.nn.Sequential, target: Radial) -> PathNorm:
    """Path norm, averaged error and floor of any depth-2 network, constructed or trained."""
    network = as_network(network)
    if (inputs := network.architecture.input_dim) != target.input_dim:
        raise Refusal(
            f"a network of {inputs} inputs is not compared with a target of "
            f"{target.input_dim}; make them equal"
        )
    check_radial(target)
    neurons = neurons_of(network)
    average = _average(neurons, target.input_dim)
    error = average.sup_distance(target, TOLERANCE)[0] + neurons.rounding
    return PathNorm(_path_norm(neurons), error, mass_floor(target, error))


def _path_norm(neurons: NeuronNorms) -> float:
    total = float(np.abs(neurons.outer) @ neurons.inner)
    return total * (1 - neurons.short - (len(neurons.outer) + 8) * EPS)


def _average(neurons: NeuronNorms, dimension: int) -> RadialSum:
    """Equal knots are joined, knots outside the ball left out."""
    if dimension < 2:
        raise Refusal(f"input_dim={dimension} has no rotations; averages need input_dim ≥ 2")
    alive = neurons.inner > 0
    outer, inner, bias = (a[alive] for a in (neurons.outer, neurons.inner, neurons.bias))
    always = neurons.outer[~alive] @ np.maximum(neurons.bias[~alive], 0)
    offset = neurons.offset + always + outer @ np.maximum(bias, 0)
    with np.errstate(over="ignore"):
        knots, place = np.unique(np.abs(bias) / inner, return_inverse=True)
    weights = np.bincount(place, outer * inner / 2, minlength=len(knots))
    inside = knots < 1
    return RadialSum(dimension, knots[inside], weights[inside], float(offset))


def as_network(network: Network | torch.nn.Sequential) -> Network:
    """A module wrapped, a network unchanged; refused unless depth 2 with one output."""
    if not isinstance(network, Network):
        from depthwright.networks.torch_network import ModuleNetwork

        network = ModuleNetwork(network)
    architecture = network.architecture
    if architecture.depth != 2 or architecture.output_dim != 1:
        raise Refusal(
            f"depth={architecture.depth} with {architecture.output_dim} outputs has no path-norm "
            "floor; give a network of depth 2 with one output"
        )
    return network


def neurons_of(network: Network) -> NeuronNorms:
    """Output weights, norms of inner weights, and biases of a depth-2 network."""
    if isinstance(network, RidgeNetwork):
        return _ridge_neurons(network)
    from depthwright.networks.torch_network import layers_of

    (weight, bias), (last, constant) = ((w.numpy(), b.numpy()) for w, b in layers_of(network))
    weight, bias, outer = _balanced(weight, bias, last[0])
    offset = float(constant[0])
    inner, columns = _norms(weight), weight.shape[1]
    relative = (columns + len(outer) + 8) * EPS
    size = float(np.abs(outer) @ (inner + np.abs(bias))) + abs(offset)
    lost = TINY * columns * (len(outer) + float(np.abs(outer).sum()))
    return NeuronNorms(outer, inner, bias, offset, relative * size + lost, columns * EPS)


def _balanced(
    weight: np.ndarray, bias: np.ndarray, outer: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same neurons with inner weights and bias of size 1: a·σ(z) = (a·2^k)·σ(2^−k·z).

    Powers of two are exact; what underflows is below TINY.
    """
    size = np.maximum(np.abs(weight).max(axis=1, initial=0.0), np.abs(bias))
    exponent = np.frexp(size)[1]
    with np.errstate(over="ignore", under="ignore"):
        outer = np.ldexp(outer, exponent)
    if not np.isfinite(outer).all():
        raise Refusal(
            f"a neuron of size {float(size.max()):.3g} times its outer weight is beyond float64; "
            "scale the network down"
        )
    return np.ldexp(weight, -exponent[:, None]), np.ldexp(bias, -exponent), outer


def _norms(rows: np.ndarray) -> np.ndarray:
    """Euclidean norms, computed so that no square leaves the range of float64."""
    exponent = np.frexp(np.abs(rows).max(axis=1, initial=0.0))[1]
    return np.ldexp(np.linalg.norm(np.ldexp(rows, -exponent[:, None]), axis=1), exponent)


def _ridge_neurons(network: RidgeNetwork) -> NeuronNorms:
    """Directions count as unit vectors, from which they differ by UNIT_TOLERANCE at most."""
    outer, inner, bias = [], [], []
    rounding = short = 0.0
    for group in network.groups:
        norms = np.linalg.norm(group.values, axis=1)
        turning = float(np.abs(group.turns).sum() * np.abs(group.weights).sum())
        off = float(np.abs(norms - 1).max()) + (group.values.shape[1] + 8) * EPS
        short = max(short, off)
        rounding += 2 * turning * (off + len(group.weights) * EPS)
        for kink, turn in zip(group.kinks, group.turns, strict=True):
            # A kink at 0 makes one neuron of twice the turn, any other two neurons.
            outer += [2 * turn * group.weights]
            inner += [np.ones(len(norms))]
            bias += [np.full(len(norms), -kink)]
    linear = float(_norms(np.atleast_2d(network.linear_part))[0])
    outer.append(np.array([-1.0, 1.0]))
    inner.append(np.full(2, linear))
    bias.append(np.zeros(2))
    return NeuronNorms(
        np.concatenate(outer),
        np.concatenate(inner),
        np.concatenate(bias),
        network.offset,
        rounding + 4 * EPS * (abs(network.offset) + linear),
        short,
    )
