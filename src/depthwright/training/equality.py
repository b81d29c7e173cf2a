"""What was equal between a construction and a rival, and what was not: for every comparison.

Sizes are ratios, rival over construction. Memory is that of the weights, each entry at the length
it is stored with; operations are the multiplications and additions of one evaluation of the dense
form, two per matrix entry and one per bias. `nonzero` operations leave out what is zero, as a
sparse evaluation does: constructions are mostly zeros, trained networks never.
"""

from __future__ import annotations

from dataclasses import dataclass

from depthwright.networks.architecture import Architecture

STORED_BITS = (32, 64)
"""Floats; longer weights are counted as they are."""


@dataclass(frozen=True)
class Size:
    """What a network takes."""

    width: int
    depth: int
    parameters: int
    weight_bytes: int
    operations: int
    nonzero_operations: int

    @classmethod
    def of(cls, architecture: Architecture, weight_bits: int) -> Size:
        """`weight_bits` significant bits in the longest weight: 24 is float32's, 53 float64's."""
        fits = [bits for bits, digits in zip(STORED_BITS, (24, 53), strict=True)
                if weight_bits <= digits]  # fmt: skip
        bits = fits[0] if fits else 8 * -(-weight_bits // 8)
        neurons = sum(sum(b.pattern) * b.repeats for b in architecture.blocks)
        biases = neurons + architecture.output_dim
        return cls(
            architecture.width,
            architecture.depth,
            architecture.parameters,
            architecture.parameters * bits // 8,
            2 * architecture.parameters - biases,
            2 * (architecture.nonzeros or 0),
        )


@dataclass(frozen=True)
class Equality:
    """A rival beside the construction that it was matched with."""

    rival: Size
    construction: Size

    @property
    def ratios(self) -> dict[str, float]:
        """Rival over construction."""
        pairs = ((name, getattr(self.rival, name), getattr(self.construction, name))
                 for name in Size.__dataclass_fields__)  # fmt: skip
        return {name: ours / theirs for name, ours, theirs in pairs if theirs}

    @property
    def statement(self) -> str:
        """One sentence for a table or a report."""
        equal = [_WORDS[name] for name, ratio in self.ratios.items() if ratio == 1]
        other = [f"{_WORDS[n]} × {ratio:.3g}" for n, ratio in self.ratios.items() if ratio != 1]
        same = f"equal: {', '.join(equal)}" if equal else "nothing equal"
        return f"{same}; the rival's {', '.join(other)}" if other else same


_WORDS = {
    "width": "width",
    "depth": "depth",
    "parameters": "parameters",
    "weight_bytes": "weight memory",
    "operations": "dense operations",
    "nonzero_operations": "operations without zeros",
}
