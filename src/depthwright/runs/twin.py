"""`depthwright twin FILE`: the narrow twin of a network's file, sized, built, checked and saved.

Reads the network, sizes every narrow construction without building any, builds the one asked for,
compares both networks at sampled inputs, and saves the twin with its claim.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from depthwright.files import need_writable
from depthwright.refusal import Refusal, need_seed, need_whole

if TYPE_CHECKING:
    from depthwright.constructions import Built, Construction
    from depthwright.networks.architecture import Architecture
    from depthwright.targets import Network

MOST_SAMPLES = 10_000_000
_NUMBERS = ("--lower", "--upper", "--mean", "--scale")
"""Options whose value may begin with a minus."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refusal(f"{message}; `depthwright twin --help` says what there is")


def _parser() -> argparse.ArgumentParser:
    from depthwright.constructions import REGISTRY

    parser = _Parser(
        prog="depthwright twin",
        description="Build a narrow network that imitates the network of a file, with a proof.",
    )
    add = parser.add_argument
    add("file", type=Path, help="an .onnx, .nnet or .safetensors file")
    add("--lower", help="where the inputs begin: a number, or one per input as -1,0,0")
    add("--upper", help="where they end; without both, the file's box, else [-1, 1]")
    add("--mean", help="it was trained on (x − mean)/scale: a number, or one per input")
    add("--scale", help="as --mean; box and claim are then in the units of x")
    add("--order", help="a .safetensors file's layers as they act, as body,head")
    add("--input-shape", help="the shape of one input where no weight tells it, as 1,28,28")
    add("--smallest", action="store_true", help="the label is the smallest output, not the largest")
    add("--accuracy", type=float, default=1e-2, help="ε, the error allowed (0.01)")
    names = [name for name in REGISTRY if name.startswith("narrow")]
    default = "narrow_packed"
    add("--construction", default=default, choices=names, metavar="NAME", help=", ".join(names))
    add("--failure-probability", type=float, default=0.0, help="δ; 0 (default): every float64")
    add("--samples", type=int, default=1000, help="inputs at which both are compared (1000)")
    add("--seed", type=int, default=0, help="of these inputs")
    add("-o", "--output", type=Path, help="the twin's file (beside FILE, as NAME.twin.jsonl.gz)")
    return parser


def twin(arguments: Sequence[str]) -> None:
    """The command, after the word `twin`."""
    given = _parser().parse_args(_joined(arguments))
    need_whole("samples", given.samples, 1, MOST_SAMPLES)
    need_seed("seed", given.seed)
    output = given.output or given.file.with_name(f"{given.file.stem}.twin.jsonl.gz")
    if not output.name.endswith(".jsonl.gz"):
        raise Refusal(f"{output.name} does not end in .jsonl.gz, the suffix of exact networks")
    target = _read(given)
    need_writable(output.absolute().parent)
    print(target.plain.sizes)
    chosen = _sized(target, given)
    from depthwright.constructions.hypotheses import check_depth

    check_depth(chosen.architecture())
    start = time.perf_counter()
    built = chosen.build()
    print(f"\nbuilt {given.construction} in {time.perf_counter() - start:.1f} s", flush=True)
    print(f"claim: error at most {built.claim.bound:.4g} for {built.claim.words}")
    for name, term in built.claim.terms.items():
        print(f"       {name} {term:.2g}")
    found = checked(target, built, given.samples, given.seed, smallest=given.smallest)
    print(found.words)
    built.save(output)
    print(f"saved {output} and its claim {output.name.removesuffix('.jsonl.gz')}.claim.json")
    if found.error > found.allowed or found.broken:
        raise Refusal(
            f"a sampled input breaks the claim (error {found.error:.4g}): this is a defect "
            "of depthwright; please report it with the file"
        )


def _joined(arguments: Sequence[str]) -> list[str]:
    """`--lower -1,0` as `--lower=-1,0`: argparse takes -1,0 for an option."""
    words: list[str] = []
    for word in arguments:
        if words and words[-1] in _NUMBERS and re.match(r"-[\d.]", word):
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words


def _read(given: argparse.Namespace) -> Network:
    from depthwright.targets import Network

    sides = {name: _side(name, getattr(given, name)) for name in ("lower", "upper")}
    units = {name: _side(name, getattr(given, name)) for name in ("mean", "scale")}
    order = None if given.order is None else given.order.strip("[]").split(",")
    target = Network(
        given.file, input_shape=_shape(given.input_shape), order=order, **sides, **units
    )
    if given.lower is None and given.upper is None and target.plain.lower is None:
        print(
            f"{given.file.name} declares no box of its inputs, so they are taken to lie in "
            "[-1, 1]; --lower and --upper say where they lie"
        )
    return target


def _shape(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(word) for word in text.strip("[]()").split(",")]
    except ValueError:
        raise Refusal(
            f"{text!r} is no shape; write whole numbers, for example --input-shape=1,28,28"
        ) from None


def _side(name: str, text: str | None) -> Any:
    """A number, or a list of them."""
    if text is None:
        return None
    try:
        numbers = [float(word) for word in text.strip("[]").split(",")]
    except ValueError:
        raise Refusal(
            f"{text!r} is neither a number nor numbers with commas between; write for example "
            f"--{name}=-1 or --{name}=-1,0,0"
        ) from None
    return numbers if len(numbers) > 1 else numbers[0]


def _recipe(target: Network, name: str, given: argparse.Namespace) -> Construction:
    from depthwright.constructions import REGISTRY

    cls = REGISTRY[name]
    own = {field.name for field in fields(cls)} & {"accuracy", "failure_probability"}
    return cls(target, **{key: getattr(given, key) for key in own})


def _sized(target: Network, given: argparse.Namespace) -> Construction:
    """Show the sizes of all; returns the one asked for, or raises what refuses it."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from depthwright.constructions import REGISTRY
    from depthwright.networks.architecture import Architecture

    chosen = _recipe(target, given.construction, given)
    own = Architecture.of(target.widths)
    table = Table(box=SIMPLE_HEAD)
    for column in ("", "width", "depth", "parameters", "ratio", "promise"):
        side: Any = "left" if column in ("", "promise") else "right"
        table.add_column(column, justify=side, no_wrap=column != "promise")
    table.add_row(given.file.name, *_size(own, own), "")
    for name in (name for name in REGISTRY if name.startswith("narrow")):
        try:
            recipe = chosen if name == given.construction else _recipe(target, name, given)
            table.add_row(name, *_size(recipe.architecture(), own), _promise(recipe, given))
        except Refusal as refusal:
            if name == given.construction:
                raise
            table.add_row(name, "", "", "", "", str(refusal))
    console = Console(markup=False, emoji=False)
    console.width = max(console.width, 110)
    console.print(table)
    return chosen


def _size(size: Architecture, own: Architecture) -> tuple[str, str, str, str]:
    ratio = size.parameters / own.parameters
    return f"{size.width:,}", f"{size.depth:,}", f"{size.parameters:,}", f"{ratio:,.3g}"


def _promise(recipe: Construction, given: argparse.Namespace) -> str:
    """What its claim will say, before it is built."""
    if not hasattr(recipe, "accuracy"):
        return "equal, for all real inputs"
    if given.failure_probability:
        left = f"{given.failure_probability:g}"
        return f"error ≤ {given.accuracy:g}, but for a set of probability {left}"
    return f"error ≤ {given.accuracy:g} at every float64"


@dataclass(frozen=True)
class Found:
    """Both networks at sampled inputs."""

    samples: int
    error: float
    """The largest, of any output."""
    allowed: float
    """The claim's bound, and the rounding of the target's own values."""
    labels: int | None
    """At how many the same output of both is the label; None for one output."""
    decided: int
    """At how many the claim alone proves that."""
    broken: int
    """At how many of these it is another one: none, or the claim is false."""
    smallest: bool = False
    """Whether the label is the smallest output; else the largest."""

    @property
    def words(self) -> str:
        told = (
            f"checked at {self.samples:,} inputs drawn uniformly from the box: largest error "
            f"{self.error:.4g}"
        )
        if self.labels is None:
            return told
        which = "smallest" if self.smallest else "largest"
        return (
            f"{told}\n       the same output is {which} at {self.labels:,}; the claim proves it at "
            f"{self.decided:,}"
        )


def checked(
    target: Network, built: Built, samples: int, seed: int, *, smallest: bool = False
) -> Found:
    """Compare at `samples` inputs that the claim speaks of: uniform in the box."""
    import torch

    from depthwright.distributions import UniformBox

    box = target.domain
    law = UniformBox(target.input_dim, lower=box.lower, upper=box.upper)
    x = law.sample(samples, torch.Generator().manual_seed(seed))
    if built.in_bad_set is not None:
        x = x[torch.from_numpy(~built.in_bad_set(x.numpy()))]
    ours, truth = built.network.evaluate(x), target.truth(x)
    error = float((ours - truth).abs().max())
    rounding = float(truth.abs().max()) * 2.0**-52
    labels = None
    decided, broken = torch.zeros(len(x), dtype=torch.bool), 0
    if truth.shape[1] > 1:
        sign = -1 if smallest else 1
        same = (sign * ours).argmax(dim=1) == (sign * truth).argmax(dim=1)
        labels, decided = int(same.sum()), built.decides(x, smallest=smallest)
        broken = int((decided & ~same).sum())
    allowed = built.claim.bound + rounding
    return Found(len(x), error, allowed, labels, int(decided.sum()), broken, smallest)
