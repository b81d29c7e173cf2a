"""Error and size of every contender against one column of the results table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwright.comparison import CONSTRUCTED
from depthwright.figures.style import CLAIM, below, colour, figure, label, save

if TYPE_CHECKING:
    import polars


def draw(rows: polars.DataFrame, column: str, axis: str, path: Path, *, inverse: bool) -> Path:
    """Two panels over `column` (over its inverse if asked): errors, and neurons.

    L2 errors carry their 95 % intervals, the shaded band reaches from the attacked to the
    promised sup error of the construction: the truth lies in it.
    """
    drawing, (errors, sizes) = figure(2)
    for (contender,), part in rows.group_by("contender", maintain_order=True):
        ordered = part.sort(column)
        x = 1 / ordered[column] if inverse else ordered[column]
        name = str(contender)
        look: dict[str, Any] = {"color": colour(name)}
        low, high = ordered["error_l2"] - ordered["error_l2_low"], ordered["error_l2_high"]
        errors.errorbar(
            x,
            ordered["error_l2"],
            yerr=[low, high - ordered["error_l2"]],
            marker="o",
            markersize=4,
            label=f"{label(name)}: L2",
            **look,
        )
        errors.plot(
            x,
            ordered["error_sup_attacked"],
            marker="v",
            markersize=4,
            linestyle=":",
            label=f"{label(name)}: sup, attacked",
            **look,
        )
        if name == CONSTRUCTED:
            errors.plot(
                x,
                ordered["error_sup_certified"],
                label="constructed: sup, promised",
                **look,
                **CLAIM,
            )
            errors.fill_between(
                x,
                ordered["error_sup_attacked"],
                ordered["error_sup_certified"],
                alpha=0.12,
                **look,
            )
        dash = "-" if name == CONSTRUCTED else (0, (1, 1.5))
        hollow: dict[str, Any] = {} if name == CONSTRUCTED else {"markerfacecolor": "none"}
        for size, marker, thickness in (("parameters", "o", 1.5), ("width", "s", 0.8)):
            sizes.plot(
                x,
                ordered[size],
                marker=marker,
                markersize=4 if name == CONSTRUCTED else 7,
                linewidth=thickness,
                linestyle=dash,
                label=f"{label(name)}: {size}",
                **look,
                **hollow,
            )
    errors.set(xlabel=axis, ylabel="error", yscale="log")
    sizes.set(xlabel=axis, ylabel="size", xscale="log", yscale="log")
    ticks = sorted(set((1 / rows[column] if inverse else rows[column]).to_list()))
    for panel in (errors, sizes):
        panel.set_xscale("log")
        panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.xaxis.minorticks_off()
        below(panel)
    return save(drawing, path)
