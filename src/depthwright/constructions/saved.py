"""A network and its claim in a folder, for this package and for readers that share none of it.

    network.jsonl.gz    the network in its own format (.safetensors for networks of floats)
    claim.json          what is claimed, of which target, made by what
    network.onnx        the same network, where floats hold its weights   (package onnx); where
                        `arithmetic` is "exact", as a function of real numbers
    claim.vnnlib        what follows from the claim, for verifiers of networks; see `vnnlib`
    difference.onnx     network minus target, which that property is about where the target is a
                        network
    SHA256SUMS          digests of the others, as `sha256sum -c SHA256SUMS` checks them

claim.json holds `format`, `version`, `claim` (accuracy, norm, domain in words, each error term,
arithmetic, failure_probability, density_bound), `bound` (the sum of the terms; null: none),
`inputs` (the box, ball or grid that the claim is about), `network` (file, input_dim, output_dim),
`target` (its class; `digest`, see Target.digest; `file`, the SHA-256 of the file it was read from),
`construction`, `versions`, and `onnx`: the files written, or why there are none. Digests show that
a file was changed by chance; whoever changes all of them on purpose is not found out.
"""

from __future__ import annotations

import hashlib
import math
import re
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from depthwright.constructions import vnnlib
from depthwright.constructions.claim import Claim
from depthwright.distributions.domain import Ball, Box, Domain
from depthwright.files import read_json, read_text, write_json, write_text
from depthwright.machine.provenance import code, versions
from depthwright.networks.exact.floats import PrecisionLoss
from depthwright.networks.files import load
from depthwright.networks.network import Network
from depthwright.refusal import Refusal, clipped
from depthwright.targets.target import Target

FORMAT, VERSION = "depthwright-claim", 1
CLAIM, SUMS = "claim.json", "SHA256SUMS"
ONNX, PROPERTY, DIFFERENCE = "network.onnx", "claim.vnnlib", "difference.onnx"
NETWORKS = ("network.jsonl.gz", "network.safetensors")
_LINE = r"([0-9a-f]{64})  ([a-z.A-Z0-9]+)\n"


class Kept(NamedTuple):
    """What a folder holds of a built network."""

    network: Network
    claim: Claim
    domain: Domain | None
    construction: str


def write(
    folder: Path,
    network: Network,
    claim: Claim,
    domain: Domain | None,
    target: Target | None,
    construction: str,
) -> None:
    """All files, the digests last: until they are there, the folder is not read."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SUMS).unlink(missing_ok=True)
    name = f"network{network.suffix}"
    for old in {*NETWORKS, ONNX, PROPERTY, DIFFERENCE} - {name}:
        (folder / old).unlink(missing_ok=True)
    network.save(folder / name)
    shape = network.architecture
    content = {
        "format": FORMAT,
        "version": VERSION,
        "claim": claim.plain(),
        "bound": claim.bound if math.isfinite(claim.bound) else None,
        "inputs": _inputs(network, domain),
        "network": {"file": name, "input_dim": shape.input_dim, "output_dim": shape.output_dim},
        "target": None if target is None else target.described(),
        "construction": construction,
        "versions": {**versions(), "code": code()},
        "onnx": _onnx(folder, network, claim, domain, target),
    }
    write_json(folder / CLAIM, content)
    names = [CLAIM, name, ONNX, PROPERTY, DIFFERENCE]
    files = [folder / n for n in names if (folder / n).exists()]
    write_text(folder / SUMS, "".join(f"{_digest(path)}  {path.name}\n" for path in files))


def _inputs(network: Network, domain: Domain | None) -> dict[str, Any] | None:
    """As plain values: {"box": …} with lower, upper, numbers, grid, or {"ball": …} with radius."""
    if network.inputs is not None:
        return {"box": asdict(network.inputs)}
    if isinstance(domain, Box):
        return {"box": asdict(domain.inputs)}
    return {"ball": {"radius": domain.radius}} if isinstance(domain, Ball) else None


def _onnx(
    folder: Path, network: Network, claim: Claim, domain: Domain | None, target: Target | None
) -> dict[str, str]:
    """Write the forms for other tools; which, or why none."""
    written = {}
    try:
        vnnlib.need_small(network)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PrecisionLoss)  # `claim` says in which arithmetic
            network.save(folder / ONNX)
        written["network"] = ONNX
        vnnlib.write(folder / PROPERTY, folder / DIFFERENCE, network, claim, domain, target)
        written["property"] = PROPERTY
    except Refusal as refusal:
        written["refused"] = str(refusal)
    if (folder / DIFFERENCE).exists():
        written["difference"] = DIFFERENCE
    return written


def read(folder: Path) -> Kept:
    """Check every digest, then what the files hold; only refusals, whatever they hold."""
    content = _checked(folder)
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        raise Refusal(f"{folder / CLAIM} is no {FORMAT} file of version {VERSION}")
    claim = Claim.of(content.get("claim"))
    construction, name = content.get("construction"), _part(content, "network").get("file")
    if claim is None or not isinstance(construction, str) or name not in NETWORKS:
        raise Refusal(f"{folder / CLAIM} does not hold a claim as `Built.save` writes it")
    network = load(folder / name)
    shape = _part(content, "network")
    own = network.architecture
    if (shape.get("input_dim"), shape.get("output_dim")) != (own.input_dim, own.output_dim):
        raise Refusal(f"{folder / CLAIM} speaks of a network of another shape than {name}")
    return Kept(network, claim, _domain(content, network, folder), clipped(construction))


def _checked(folder: Path) -> dict[str, Any]:
    """What claim.json holds, after a comparison of all files with their digests."""
    if not folder.is_dir():
        raise Refusal(f"{folder} is no folder; give the one that Built.save wrote")
    text = read_text(folder / SUMS)
    if text is None:
        raise Refusal(f"{folder} holds no {SUMS}, which Built.save writes last")
    sums = {name: digest for digest, name in re.findall(_LINE, text)}
    if not re.fullmatch(f"({_LINE})+", text) or not sums.keys() >= {CLAIM}:
        raise Refusal(f"{folder / SUMS} is no list of digests with that of a claim")
    for name, digest in sums.items():
        path = folder / name
        if not path.is_file():
            raise Refusal(f"{path} is not there, though {SUMS} lists it")
        if _digest(path) != digest:
            raise Refusal(f"{path} was changed after it was written: its digest is another one")
    content = read_json(folder / CLAIM)
    if not isinstance(content, dict) or _part(content, "network").get("file") not in [*sums]:
        raise Refusal(f"{folder / CLAIM} does not hold a claim about a network listed in {SUMS}")
    return content


def _part(content: dict[str, Any], key: str) -> dict[str, Any]:
    part = content.get(key)
    return part if isinstance(part, dict) else {}


def _domain(content: dict[str, Any], network: Network, folder: Path) -> Domain | None:
    """None where the network itself restricts its inputs, or nothing does."""
    given = content.get("inputs")
    if given is None or network.inputs is not None:
        return None
    d = network.architecture.input_dim
    ball, box = _part(_part(content, "inputs"), "ball"), _part(_part(content, "inputs"), "box")
    if isinstance(ball.get("radius"), float):
        return Ball(d, Box.of(1, ball["radius"]).upper[0])
    if box:
        return Box.of(d, lower=box.get("lower"), upper=box.get("upper"))
    raise Refusal(f"{folder / CLAIM} names inputs that are neither a ball nor a box")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
