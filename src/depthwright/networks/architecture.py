"""Widths → width, depth, parameters: VYS22's counting (section 2), for built and unbuilt networks.

A deep narrow network repeats itself: one neuron of the imitated layer costs the same run of
layers as the next. An architecture is therefore stored as *blocks*, each a short pattern of
hidden widths and how often it repeats, so that a network of 10⁸ layers is sized in microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from depthwright.refusal import Refusal

WIDTHS_LIMIT = 10_000_000
"""Longest list of widths that is written out."""


@dataclass(frozen=True)
class Block:
    """Hidden widths `pattern`, repeated `repeats` times."""

    pattern: tuple[int, ...]
    repeats: int = 1


def _affine(fan_in: int, fan_out: int) -> int:
    return fan_out * (fan_in + 1)


@lru_cache(maxsize=256)
def _inside(pattern: tuple[int, ...]) -> int:
    """Parameters between the layers of a pattern; a search over sizes asks for few, often."""
    return sum(_affine(a, b) for a, b in pairwise(pattern))


class Architecture:
    """The shape of a ReLU network: `depth` affine maps, σ between them, none after the last.

    Equality compares width, depth, parameters and ends: the numbers that a formula gives.
    """

    def __init__(
        self,
        input_dim: int,
        hidden: Iterable[Block | int],
        output_dim: int = 1,
        nonzeros: int | None = None,
    ) -> None:
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.nonzeros = nonzeros
        self.blocks = tuple(
            block
            for block in (b if isinstance(b, Block) else Block((b,)) for b in hidden)
            if block.repeats and block.pattern
        )
        hidden_layers = sum(len(block.pattern) * block.repeats for block in self.blocks)
        self.depth = hidden_layers + 1
        self.width = max([input_dim, *(max(block.pattern) for block in self.blocks)])
        self.parameters = self._count()

    @classmethod
    def of(cls, widths: Sequence[int], nonzeros: int | None = None) -> Architecture:
        """From the full list (input_dim, n_1, …, n_{L−1}, output_dim)."""
        return cls(widths[0], widths[1:-1], widths[-1], nonzeros)

    def _count(self) -> int:
        total, previous = 0, self.input_dim
        for block in self.blocks:
            inside = _inside(block.pattern)
            around = _affine(block.pattern[-1], block.pattern[0])
            total += _affine(previous, block.pattern[0])
            total += block.repeats * inside + (block.repeats - 1) * around
            previous = block.pattern[-1]
        return total + _affine(previous, self.output_dim)

    @property
    def widths(self) -> tuple[int, ...]:
        """(input_dim, n_1, …, n_{L−1}, output_dim), written out."""
        if self.depth > WIDTHS_LIMIT:
            raise Refusal(
                f"the widths of {self.depth} layers are not written out (limit {WIDTHS_LIMIT}); "
                "use width, depth and parameters, or the blocks"
            )
        hidden = (n for block in self.blocks for n in block.pattern * block.repeats)
        return (self.input_dim, *hidden, self.output_dim)

    def _key(self) -> tuple[int, ...]:
        return (self.input_dim, self.width, self.depth, self.parameters, self.output_dim)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Architecture) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return (
            f"Architecture(width={self.width}, depth={self.depth}, "
            f"parameters={self.parameters}, nonzeros={self.nonzeros})"
        )
