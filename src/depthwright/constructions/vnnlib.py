"""What follows from a claim, as a property for verifiers of networks: VNN-LIB beside ONNX.

A property describes a counterexample: inputs X_j in a box and outputs Y_k that break the claim. A
verifier that answers "unsat" has proved it; "sat" would refute the claim.

- Of a target that is a network f, N − f is written as one network, and the property is
  abs(N_k − f_k) ≤ bound on the whole box: the claim itself.
- Of other targets verifiers know nothing. On a box around c with half diagonal ρ inside the domain,
  f is within Lipschitz·ρ of f(c), so abs(N − f(c)) ≤ bound + Lipschitz·ρ; the property says that of
  `PLACES` small boxes along the first axis.

Numbers are decimals, rounded so that the property stays true. It is one of real numbers: for norm
"sup" only, for which the weights are floats, and a bound of a network evaluated without rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from pathlib import Path

import numpy as np

from depthwright.constructions.claim import Claim
from depthwright.distributions.domain import Ball, Box, Domain
from depthwright.files import write_text
from depthwright.networks.network import Network
from depthwright.refusal import Refusal
from depthwright.targets.network import ReLUNetwork
from depthwright.targets.target import Target

PLACES = 8
MOST_PARAMETERS = 10_000_000
"""Of a network that is written densely for other tools."""
SLACK = 2.0**-30
"""Relative allowance for the rounding of f(c), of the Lipschitz constant and of sums of them."""
Layers = list[tuple[np.ndarray, np.ndarray]]


def need_small(network: Network) -> None:
    """Raises Refusal where dense layers would take too much room."""
    if (count := network.architecture.parameters) > MOST_PARAMETERS:
        raise Refusal(
            f"the dense network would have {count:,} parameters; ONNX is written up to "
            f"{MOST_PARAMETERS:,}"
        )


def write(
    paths: Sequence[Path],
    model: Path,
    difference: Path,
    network: Network,
    claim: Claim,
    domain: Domain | None,
    target: Target | None,
) -> Path:
    """The property, in VNN-LIB 1.0 and 2.0; returns the network that it is about.

    That is `model`, or `difference`, written here, where the target is a network.
    """
    if claim.norm != "sup":
        raise Refusal(f'a claim of norm "{claim.norm}" says nothing of all real inputs of a box')
    if target is None or not isinstance(domain, Ball | Box):
        raise Refusal("what the claim is about was not kept with it")
    about, words = model, model.name
    if isinstance(target, ReLUNetwork):
        assert isinstance(domain, Box)
        _save_difference(difference, network, target)
        bound = [(0.0, claim.bound)] * target.output_dim
        pieces = [(np.array(domain.lower), np.array(domain.upper), bound)]
        about, words = difference, f"{difference.name}, network minus target"
    else:
        pieces = _places(target, domain, claim.bound)
    for version, path in enumerate(paths, 1):
        write_text(path, _text(pieces, words, version))
    return about


Piece = tuple[np.ndarray, np.ndarray, list[tuple[float, float]]]
"""Lower and upper ends of a box; for every output, a centre and what it may be off."""


def _places(target: Target, domain: Ball | Box, bound: float) -> list[Piece]:
    """Small boxes along the first axis, what f is in the middle, and how far N may be off it."""
    import torch

    d = domain.input_dim
    found = []
    for k in range(PLACES):
        centre = domain.centre.copy()
        half = domain.half_sides / (2 * PLACES * math.sqrt(d))
        # from the middle to the edge, the boxes within the domain
        centre[0] += (k + 0.5) / PLACES * (domain.half_sides[0] - 2 * half[0] * math.sqrt(d))
        low, high = centre - half, centre + half
        values = target.truth(torch.from_numpy(centre)[None])[0].tolist()
        reach = float(np.linalg.norm(np.maximum(high - centre, centre - low)))
        off = bound + target.lipschitz * reach
        found.append((low, high, [(y, (off + abs(y)) * SLACK + off) for y in values]))
    return found


def _save_difference(path: Path, network: Network, target: ReLUNetwork) -> None:
    """N − f as Linear and ReLU in turn, in float64, which holds both."""
    import torch

    from depthwright.networks import onnx_writer
    from depthwright.networks.torch_network import assemble, layers_of

    ours = [(w.numpy(), b.numpy()) for w, b in layers_of(network)]
    theirs = list(zip(target.weights, target.biases, strict=True))
    both = subtracted(ours, theirs)
    tensors = [(torch.from_numpy(w), torch.from_numpy(b)) for w, b in both]
    size = 8 * sum(w.size + b.size for w, b in both)
    onnx_writer.check(path, size)
    onnx_writer.save(assemble(tensors, torch.float64), path)


def subtracted(first: Layers, second: Layers) -> Layers:
    """The layers of the difference, whose entries are those of both: nothing is rounded."""
    depth = max(len(first), len(second), 2)
    a, b = _deepened(first, depth), _deepened(second, depth)
    layers: Layers = []
    for k, ((v, p), (w, q)) in enumerate(zip(a, b, strict=True)):
        if k == 0:
            matrix, bias = np.concatenate([v, w]), np.concatenate([p, q])
        elif k < depth - 1:
            matrix = np.block(
                [[v, np.zeros((len(v), w.shape[1]))], [np.zeros((len(w), v.shape[1])), w]]
            )
            bias = np.concatenate([p, q])
        else:
            # the constants are carried apart, so that p − q is not rounded
            matrix, bias = np.concatenate([v, -w], axis=1), p
            layers[-1] = _with_ones(*layers[-1])
            matrix = np.concatenate([matrix, -q[:, None]], axis=1)
        layers.append((matrix, bias))
    return layers


def _with_ones(matrix: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One more neuron, whose value is 1."""
    return np.concatenate([matrix, np.zeros((1, matrix.shape[1]))]), np.append(bias, 1.0)


def _deepened(layers: Layers, depth: int) -> Layers:
    """The same function in `depth` layers, by y = σ(y) − σ(−y)."""
    missing = depth - len(layers)
    if not missing:
        return list(layers)
    matrix, bias = layers[-1]
    eye = np.eye(len(bias))
    both = [(np.concatenate([matrix, -matrix]), np.concatenate([bias, -bias]))]
    carried = [(np.eye(2 * len(bias)), np.zeros(2 * len(bias)))] * (missing - 1)
    ended = [(np.concatenate([eye, -eye], axis=1), np.zeros(len(bias)))]
    return [*layers[:-1], *both, *carried, *ended]


def _text(pieces: list[Piece], about: str, version: int) -> str:
    """In VNN-LIB 1.0, which most verifiers read, or in 2.0, which declares the network."""
    d, outputs = len(pieces[0][0]), len(pieces[0][2])
    lines = [f"; of {about}: an input that breaks the claim, which is that there is none"]
    if version == 1:
        x, y = "X_{}".format, "Y_{}".format
        lines += [f"(declare-const {name} Real)" for name in [*map(x, range(d))]]
        lines += [f"(declare-const {name} Real)" for name in [*map(y, range(outputs))]]
    else:
        x, y = "X[0,{}]".format, "Y[0,{}]".format  # a batch of one
        ends = f"(declare-input X real [1,{d}]) (declare-output Y real [1,{outputs}])"
        lines += ["(vnnlib-version <2.0>)", f"(declare-network N {ends})"]
    lines.append("(assert (or")
    for low, high, bounds in pieces:
        box = [f"(>= {x(j)} {_decimal(v, ROUND_CEILING)})" for j, v in enumerate(low.tolist())]
        box += [f"(<= {x(j)} {_decimal(v, ROUND_FLOOR)})" for j, v in enumerate(high.tolist())]
        inside = " ".join(box)
        for k, (centre, off) in enumerate(bounds):
            above = _decimal(math.nextafter(centre + off, math.inf), ROUND_CEILING)
            below = _decimal(math.nextafter(centre - off, -math.inf), ROUND_FLOOR)
            lines.append(f"  (and {inside} (>= {y(k)} {above}))")
            lines.append(f"  (and {inside} (<= {y(k)} {below}))")
    return "\n".join([*lines, "))"]) + "\n"


def _decimal(x: float, rounding: str) -> str:
    """Seventeen digits, rounded in a direction, with a point and without an exponent."""
    text = format(Context(prec=17, rounding=rounding).create_decimal(Decimal(x)), "f")
    return text if "." in text else f"{text}.0"
