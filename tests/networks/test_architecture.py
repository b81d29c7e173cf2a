"""Counting against the definition, over written-out widths."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthwright.networks import Architecture, Block
from depthwright.refusal import Refusal

patterns = st.lists(st.integers(1, 9), min_size=1, max_size=4)
blocks = st.lists(st.builds(Block, patterns.map(tuple), st.integers(0, 4)), max_size=4)


@given(st.integers(1, 9), blocks, st.integers(1, 3))
def test_blocks_count_like_their_widths(input_dim: int, hidden: list[Block], outputs: int) -> None:
    architecture = Architecture(input_dim, hidden, outputs)
    widths = [input_dim]
    for block in hidden:
        widths += list(block.pattern) * block.repeats
    widths.append(outputs)
    assert list(architecture.widths) == widths
    assert architecture.depth == len(widths) - 1
    assert architecture.width == max(widths[:-1])
    assert architecture.parameters == sum((a + 1) * b for a, b in pairwise(widths))
    assert architecture == Architecture.of(widths)


def test_a_hundred_million_layers_are_counted_but_not_listed() -> None:
    deep = Architecture(8, [Block((5, 5, 3), 10**8)])
    assert deep.depth == 3 * 10**8 + 1
    inside = 6 * 5 + 6 * 3 + 4 * 5  # 5→5, 5→3, 3→5
    assert deep.parameters == 10**8 * inside - 4 * 5 + 9 * 5 + 4
    with pytest.raises(Refusal, match="300000001 layers"):
        _ = deep.widths


def test_different_shapes_differ() -> None:
    assert Architecture.of((3, 4, 1)) != Architecture.of((3, 5, 1))
    assert Architecture.of((3, 4, 1)) != Architecture.of((3, 2, 2, 1))
