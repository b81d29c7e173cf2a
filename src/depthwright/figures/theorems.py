"""The report's chapters of theorems: one per construction, made from the construction itself.

Its docstring is the text; the claim, the size and the picture are those of a small network that is
built here, on the default target, and lies beside the page to be downloaded.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depthwright.constructions import REGISTRY
from depthwright.constructions.construction import Built, Construction
from depthwright.figures.chart import Chart, Panel, Series
from depthwright.networks.network import Network
from depthwright.networks.ridge import RidgeNetwork
from depthwright.networks.upper import at_most
from depthwright.targets import Cone, RandomNetwork, SineRidge, Target

if TYPE_CHECKING:
    import torch

HEADINGS = (
    *("Statement", "Builds", "Claim", "Proof", "Shapes and arithmetic", "Not in the paper"),
    "Source",
)
"""In the order of every theorem's docstring."""
POINTS = 201
RADIAL, TWINS = 0.1, 0.01
"""The accuracies of the chapters."""


@dataclass(frozen=True)
class Chapter:
    """One construction, as the page shows it."""

    name: str
    title: str
    sections: tuple[tuple[str, tuple[str, ...]], ...]
    """Headings of the docstring with their paragraphs."""
    file: str
    """The construction's, from the top of a checkout."""
    code: str
    """Three lines that build it."""
    size: str
    promise: str
    terms: tuple[tuple[str, str], ...]
    chart: Chart
    download: str
    """The network's file, beside the page."""


def chapters(folder: Path) -> list[Chapter]:
    """Every construction of the registry; its network is saved into `folder`."""
    return [chapter(name, cls, folder) for name, cls in sorted(REGISTRY.items(), key=_order)]


def _order(entry: tuple[str, type[Construction]]) -> tuple[bool, str]:
    return entry[0].startswith("narrow"), entry[0]


def chapter(name: str, cls: type[Construction], folder: Path) -> Chapter:
    """Builds the construction on its default target, and describes both."""
    target, words, settings = _default(name)
    built = cls(target, **settings).build()
    given = "".join(f", {key}={value!r}" for key, value in settings.items())
    file = f"theorem_{name}{built.network.suffix}"
    folder.mkdir(parents=True, exist_ok=True)
    built.network.save(folder / file)
    size, claim = built.network.architecture, built.claim
    title, sections = described(inspect.getdoc(inspect.getmodule(cls)) or "")
    return Chapter(
        name,
        title,
        sections,
        f"src/{cls.__module__.replace('.', '/')}.py",
        f"target = dw.targets.{words}\n"
        f"built = dw.constructions.{cls.__name__}(target{given}).build()\n"
        f'same = dw.networks.load("{file}")',
        f"width {size.width:,}, depth {size.depth:,}, {size.parameters:,} parameters",
        f"error at most {at_most(claim.bound)} for {claim.words}",
        tuple(
            (term.replace("_", " "), at_most(float(value), 3))
            for term, value in claim.terms.items()
        ),
        _chart(target, built),
        file,
    )


def _values(network: Network, x: torch.Tensor) -> torch.Tensor:
    """Of a ridge network by torch's operations: compiling its loop takes longer than a chapter."""
    return network.forward(x) if isinstance(network, RidgeNetwork) else network.evaluate(x)


def _default(name: str) -> tuple[Target, str, dict[str, Any]]:
    """Target, how it is written, and settings: small enough to be built while a page is made."""
    if name == "single_ridge":
        return SineRidge(), "SineRidge()", {"accuracy": RADIAL}
    if not name.startswith("narrow"):
        return Cone(5), "Cone(input_dim=5)", {"accuracy": RADIAL}
    exact = name.startswith("narrow_exact")
    settings = {} if exact else {"accuracy": TWINS, "failure_probability": 0.0}
    return RandomNetwork(3, width=4, depth=2), "RandomNetwork(3, width=4, depth=2)", settings


def described(docstring: str) -> tuple[str, tuple[tuple[str, tuple[str, ...]], ...]]:
    """First line, and (heading, paragraphs) of the rest; "" before the first heading."""
    title, _, rest = docstring.partition("\n")
    found: list[tuple[str, list[str]]] = [("", [])]
    for paragraph in _paragraphs(rest):
        head = next((h for h in HEADINGS if re.match(rf"{h}(\.|\n|$)", paragraph)), None)
        if head:
            found.append((head, []))
            paragraph = paragraph[len(head) :].lstrip(".")
        if text := _unwrapped(paragraph):
            found[-1][1].append(text)
    return title.rstrip("."), tuple((head, tuple(texts)) for head, texts in found if texts)


def _unwrapped(paragraph: str) -> str:
    """One line, but for the items of a list."""
    lines = inspect.cleandoc(f"\n{paragraph}").strip().splitlines()
    return "".join(
        f"\n{line.strip()}" if k and re.match(r"(\d\.|·) ", line.strip()) else f" {line.strip()}"
        for k, line in enumerate(lines)
    ).strip()


def _paragraphs(text: str) -> Iterator[str]:
    yield from (part.strip("\n") for part in re.split(r"\n\s*\n", text) if part.strip())


def _chart(target: Target, built: Built) -> Chart:
    """Target and network along one ray, and how far apart they are, beside the promise."""
    import torch

    domain = target.domain
    s = np.linspace(0.0, 1.0, POINTS)
    ray = np.full(target.input_dim, target.input_dim**-0.5)
    x = torch.from_numpy(domain.centre + s[:, None] * domain.half_sides * ray)
    truth = target(x)[:, 0].double().numpy()
    found = _values(built.network, x)[:, 0].double().numpy()
    at, error = tuple(s.tolist()), np.abs(found - truth)
    values = (
        Series("target", at, tuple(truth.tolist()), "target", "target"),
        Series("constructed", at, tuple(found.tolist()), "line"),
    )
    gap = (Series("error on the ray", at, tuple(error.tolist()), "line", "#c8553d"),)
    lines = (("promised for every input", built.claim.bound),)
    return Chart(
        (
            Panel("position on a ray", "value", values),
            Panel("position on a ray", "error", gap, lines=lines),
        )
    )
