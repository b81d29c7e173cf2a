"""Rows of a run that nobody ran."""

from __future__ import annotations

import dataclasses

from depthwright.results import Row

ROW = Row(
    **{  # type: ignore[arg-type]
        column: {"str": str, "int": int, "float": float}[hint.split(" |")[0]](1)
        for column, hint in Row.__annotations__.items()
    }
)
"""1 in every column."""


def cell(input_dim: int, accuracy: float, error: float) -> list[Row]:
    """Two contenders; the rival has twice the parameters and no claim."""
    own = dataclasses.replace(
        ROW,
        contender="constructed",
        construction="ridge",
        target="cone",
        input_dim=input_dim,
        accuracy=accuracy,
        error_l2=error,
        parameters=30,
    )
    rival = dataclasses.replace(
        own, contender="trained_width", parameters=60, error_l2=2 * error, error_promised=None
    )
    return [own, rival]
