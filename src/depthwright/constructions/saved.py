"""A network and its claim in files, for this package and for readers that share none of it.

    NAME.jsonl.gz           the network in its own format (.safetensors for networks of floats)
    NAME.claim.json         what is claimed, of which target, made by what
    NAME.onnx               the same network, where floats hold its weights  (package onnx); where
                            `arithmetic` is "exact", as a function of real numbers
    NAME.vnnlib             what follows from the claim, for verifiers of networks; see `vnnlib`
    NAME.2.vnnlib           the same in version 2.0 of that language
    NAME.difference.onnx    network minus target, which that property is about where the target is
                            a network
    NAME.md                 a model card: target, promise, size, how it was made, how to load it
    NAME.sha256             digests of the others, as `sha256sum -c NAME.sha256` checks them

A folder holds them under the NAME `network`; a network file is beside its claim under its own. The
claim holds `format`, `version`, `claim` (accuracy, norm, domain in words, each error term,
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
from depthwright.networks.upper import at_most
from depthwright.refusal import Refusal, clipped
from depthwright.targets.target import Target

FORMAT, VERSION = "depthwright-claim", 1
SUFFIXES = (".jsonl.gz", ".safetensors")
"""Of networks in their own formats."""
CARD, CLAIM, SUMS = ".md", ".claim.json", ".sha256"
ONNX, DIFFERENCE = ".onnx", ".difference.onnx"
PROPERTIES = ".vnnlib", ".2.vnnlib"
_LINE = r"([0-9a-f]{64})  ([^\n/]+)\n"


class Place(NamedTuple):
    """A folder, and how the names of the files begin."""

    folder: Path
    stem: str

    @classmethod
    def of(cls, path: Path) -> Place:
        """Of a folder, or of a network's file."""
        for suffix in SUFFIXES:
            if path.name.endswith(suffix) and path.name != suffix:
                return cls(path.parent, path.name.removesuffix(suffix))
        return cls(path, "network")

    def file(self, suffix: str) -> Path:
        return self.folder / f"{self.stem}{suffix}"


class Kept(NamedTuple):
    """What a folder holds of a built network."""

    network: Network
    claim: Claim
    domain: Domain | None
    construction: str


def write(
    path: Path,
    network: Network,
    claim: Claim,
    domain: Domain | None,
    target: Target | None,
    construction: str,
) -> None:
    """All files, the digests last: until they are there, the others are not read."""
    place = Place.of(path)
    if path.name.endswith(SUFFIXES) and not path.name.endswith(network.suffix):
        raise Refusal(f"{path.name} does not end in {network.suffix}, the suffix of this network")
    _need_place(path, network.suffix)
    place.folder.mkdir(parents=True, exist_ok=True)
    for old in {SUMS, *SUFFIXES, ONNX, *PROPERTIES, DIFFERENCE} - {network.suffix}:
        place.file(old).unlink(missing_ok=True)
    name = place.file(network.suffix)
    network.save(name)
    shape = network.architecture
    content = {
        "format": FORMAT,
        "version": VERSION,
        "claim": claim.plain(),
        "bound": claim.bound if math.isfinite(claim.bound) else None,
        "inputs": _inputs(network, domain),
        "network": {
            "file": name.name,
            "input_dim": shape.input_dim,
            "output_dim": shape.output_dim,
        },
        "target": None if target is None else target.described(),
        "construction": construction,
        "versions": {**versions(), "code": code()},
        "onnx": _onnx(place, network, claim, domain, target),
    }
    write_json(place.file(CLAIM), content)
    write_text(place.file(CARD), _card(content, claim, network))
    suffixes = (CARD, CLAIM, network.suffix, ONNX, *PROPERTIES, DIFFERENCE)
    files = [place.file(suffix) for suffix in suffixes if place.file(suffix).exists()]
    write_text(place.file(SUMS), "".join(f"{_digest(path)}  {path.name}\n" for path in files))


def _need_place(path: Path, suffix: str) -> None:
    """Raises Refusal for what is neither a folder nor a network's file."""
    if path.is_dir() or path.name.endswith(suffix):
        return
    if path.exists():
        raise Refusal(f"{path} is a file; give a folder, or a name that ends in {suffix}")
    if path.suffix:
        raise Refusal(
            f"{path.name} does not end in {suffix}, the suffix of this network; end it so, or give "
            "a folder (one with a point in its name must exist)"
        )


def _card(content: dict[str, Any], claim: Claim, network: Network) -> str:
    """The model card, in Markdown."""
    size, target = network.architecture, content["target"]
    promise = (
        f"The error is at most {at_most(claim.bound)} for {claim.words}. That is proved, as the "
        "sum of: " + ", ".join(f"{term} {at_most(value, 2)}" for term, value in claim.terms.items())
        if math.isfinite(claim.bound)
        else "Nothing is promised of this network; it is only measured"
    )
    approximated = "an unknown target" if target is None else f"the target {target['class']}"
    made = ", ".join(f"{name} {number}" for name, number in sorted(content["versions"].items()))
    return f"""# {content["construction"]}, {size.parameters:,} parameters

A ReLU network that approximates {approximated}, {size.input_dim} inputs, {size.output_dim} outputs.

- **Promise.** {promise}.
- **Size.** Width {size.width:,}, depth {size.depth:,}, {size.parameters:,} parameters.
- **Made** by the construction {content["construction"]}. {made}.

```python
import depthwright as dw
built = dw.load_built("{content["network"]["file"]}")  # network and claim, digests checked
built.network.evaluate(x)   # x: (batch, {size.input_dim}) → (batch, {size.output_dim})
```
"""


def _inputs(network: Network, domain: Domain | None) -> dict[str, Any] | None:
    """As plain values: {"box": …} with lower, upper, numbers, grid, or {"ball": …} with radius."""
    if network.inputs is not None:
        return {"box": asdict(network.inputs)}
    if isinstance(domain, Box):
        return {"box": asdict(domain.inputs)}
    return {"ball": {"radius": domain.radius}} if isinstance(domain, Ball) else None


def _onnx(
    place: Place, network: Network, claim: Claim, domain: Domain | None, target: Target | None
) -> dict[str, str]:
    """Write the forms for other tools; which, or why none."""
    model, difference = place.file(ONNX), place.file(DIFFERENCE)
    written = {}
    try:
        vnnlib.need_small(network)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PrecisionLoss)  # `claim` says in which arithmetic
            network.save(model)
        written["network"] = model.name
        paths = [place.file(suffix) for suffix in PROPERTIES]
        about = vnnlib.write(paths, model, difference, network, claim, domain, target)
        written |= {"property": paths[0].name, "of": about.name}
    except Refusal as refusal:
        written["refused"] = str(refusal)
    return written


def read(path: Path) -> Kept:
    """Check every digest, then what the files hold; only refusals, whatever they hold."""
    place = Place.of(path)
    content = _checked(place, path)
    where = place.file(CLAIM)
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        raise Refusal(f"{where} is no {FORMAT} file of version {VERSION}")
    claim = Claim.of(content.get("claim"))
    construction, shape = content.get("construction"), _part(content, "network")
    if claim is None or not isinstance(construction, str):
        raise Refusal(f"{where} does not hold a claim as `Built.save` writes it")
    network = load(place.folder / shape["file"])
    own = network.architecture
    if (shape.get("input_dim"), shape.get("output_dim")) != (own.input_dim, own.output_dim):
        raise Refusal(f"{where} speaks of a network of another shape than {shape['file']}")
    return Kept(network, claim, _domain(content, network, where), clipped(construction))


def _checked(place: Place, given: Path) -> dict[str, Any]:
    """What the claim's file holds, after a comparison of all files with their digests."""
    sums, claim = place.file(SUMS), place.file(CLAIM)
    text = read_text(sums)
    if text is None:
        wanted = f"give the folder or the {' or '.join(SUFFIXES)} file that Built.save wrote"
        if not given.exists():
            raise Refusal(f"{given} is not there; {wanted}")
        if not (given.is_dir() or given.name.endswith(SUFFIXES)):
            raise Refusal(f"{given} holds no network with a claim; {wanted}")
        raise Refusal(
            f"{sums} is not there, the list of digests without which no claim is read; {wanted}, "
            "with all files that it wrote beside it"
        )
    listed = {name: digest for digest, name in re.findall(_LINE, text)}
    if not re.fullmatch(f"({_LINE})+", text) or claim.name not in listed:
        raise Refusal(f"{sums} is no list of digests with that of a claim")
    for name, digest in listed.items():
        path = place.folder / name
        if not path.is_file():
            raise Refusal(f"{path} is not there, though {sums.name} lists it")
        if _digest(path) != digest:
            raise Refusal(f"{path} was changed after it was written: its digest is another one")
    content = read_json(claim)
    networks = [place.file(suffix).name for suffix in SUFFIXES]
    file = _part(content, "network").get("file") if isinstance(content, dict) else None
    if file not in networks or file not in [*listed]:
        raise Refusal(f"{claim} does not hold a claim about a network listed in {sums.name}")
    assert isinstance(content, dict)
    return content


def _part(content: dict[str, Any], key: str) -> dict[str, Any]:
    part = content.get(key)
    return part if isinstance(part, dict) else {}


def _domain(content: dict[str, Any], network: Network, where: Path) -> Domain | None:
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
    raise Refusal(f"{where} names inputs that are neither a ball nor a box")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
