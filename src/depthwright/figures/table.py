"""The table of one run on screen, and its verdict in two sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from depthwright.comparison import CONSTRUCTED, SOLVED_RIDGE
from depthwright.figures.style import label
from depthwright.results import Row

if TYPE_CHECKING:
    from rich.table import Table

NOTHING = "—"


def tables(rows: Sequence[Row]) -> list[Table]:
    """One row per network with what everybody asks, and below it the rest, a column each."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    first = rows[0]
    main = Table(
        box=SIMPLE_HEAD,
        title=f"{first.target} at {first.points or first.distribution}, input_dim "
        f"{first.input_dim}, accuracy {first.accuracy:g}",
    )
    main.add_column("network", no_wrap=True)
    for title in _MAIN:
        main.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        main.add_row(name(row), *(value(row) for value in _MAIN.values()))
    rest = Table(box=SIMPLE_HEAD)
    rest.add_column("", no_wrap=True)
    for row in rows:
        rest.add_column(_short(row), justify="right")
    for title, value in _REST.items():
        cells = [value(row) for row in rows]
        if set(cells) != {NOTHING}:
            rest.add_row(title, *cells)
    return [main, rest]


def name(row: Row) -> str:
    """`constructed` → "ridge, constructed"; of how many a trained network is the best."""
    if row.contender == CONSTRUCTED or row.contender == _SOLVED:
        how = "solved" if row.contender == _SOLVED else "constructed"
        return f"{_short(row).removeprefix('solved ')}, {how}"
    if row.build_seconds is not None:
        return f"{_short(row)}, constructed"
    return label(row.contender, row.style) + (f", best of {row.tried}" if row.tried else "")


_SOLVED = f"{CONSTRUCTED}_{SOLVED_RIDGE}"


def _short(row: Row) -> str:
    if row.contender == _SOLVED:
        return "solved sparse ridge"
    named = row.construction.replace("_", " ")
    return label(row.contender) if row.build_seconds is None else named


def verdict(rows: Sequence[Row]) -> list[str]:
    """Who is nearer, on average and at worst; who is guaranteed, and what it took."""
    if len(rows) < 2:
        return []
    average = sorted(rows, key=lambda row: row.error_l2)
    attacked = [row for row in rows if row.error_sup_attacked is not None]
    worst = sorted(attacked, key=_attacked)
    usual = _margin(average, lambda row: row.error_l2)
    near = f"{_short(average[0])} is nearest on average {usual}"
    if len(worst) > 1:
        who = "" if worst[0] is average[0] else f"{_short(worst[0])} "
        near += f" and {who}at the worst input found {_margin(worst, _attacked)}"
    sure = [f"{_short(row)} ({_guarantee(row)})" for row in rows if _guarantee(row)]
    alone = "is alone guaranteed" if len(sure) == 1 else "are guaranteed"
    guarantee = f"{_listed(sure)} {alone}" if sure else "no error is guaranteed"
    spent = _listed([f"{_short(row)} {_seconds(row):.3g} s" for row in rows])
    return [_sentence(near), _sentence(f"{guarantee}; it took {spent}")]


def _guarantee(row: Row) -> str:
    if row.error_sup_certified is not None:
        return f"error at most {row.error_sup_certified:.3g} for all inputs"
    if row.error_promised is not None:
        return f"error at most {row.error_promised:.3g} for {row.promised_for}"
    return ""


def _margin(ordered: Sequence[Row], of: Callable[[Row], float]) -> str:
    """Best first: "(0.0014; next: trained 0.0043)"."""
    best, then = ordered[:2]
    return f"({of(best):.3g}; next: {_short(then)} {of(then):.3g})"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def _attacked(row: Row) -> float:
    assert row.error_sup_attacked is not None
    return row.error_sup_attacked


def _seconds(row: Row) -> float:
    return (row.build_seconds or 0.0) + (row.train_seconds or 0.0)


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4g}"


_MAIN: dict[str, Callable[[Row], str]] = {
    "width": lambda row: f"{row.width:,}",
    "depth": lambda row: f"{row.depth:,}",
    "parameters": lambda row: f"{row.parameters:,}",
    "L2 error": lambda row: _number(row.error_l2),
    "largest found": lambda row: _number(
        row.error_sup_sampled if row.error_sup_attacked is None else row.error_sup_attacked
    ),
    "proved for all": lambda row: _number(row.error_sup_certified),
    "seconds": lambda row: f"{_seconds(row):.3g}",
}
_REST: dict[str, Callable[[Row], str]] = {
    "L2 error, ± 95 %": lambda row: f"{(row.error_l2_high - row.error_l2_low) / 2:.1g}",
    "L2 error / standard deviation of the target": lambda row: _number(row.error_l2_relative),
    "largest error among random inputs": lambda row: _number(row.error_sup_sampled),
    "share of inputs with an error above the accuracy": lambda row: _number(row.exceedance),
    "error that is proved": lambda row: _number(row.error_promised),
    "  for these inputs": lambda row: row.promised_for or NOTHING,
    "L2 error outside the bad set": lambda row: _number(row.error_l2_good),
    "largest random error outside the bad set": lambda row: _number(row.error_sup_good),
    "path norm": lambda row: _number(row.path_norm),
    "least path norm for that error, proved": lambda row: _number(row.path_norm_floor),
}
"""Lines are left out where they say nothing of anybody."""
