"""A figure as data: panels, axes, series. One description, drawn for paper and for the page.

Colour and mark of a series say who it is (style.py), its line what its numbers are (a claim is
never drawn like a measurement):

- `measured`   estimated from a sample or counted; solid, with its interval where it has one
- `sampled`    found by search, so a lower bound of what it estimates (a sup error); dotted, a
               single point hollow
- `promised`   proved upper bound; dashed, without marks
- `floor`      proved lower bound; dash-dotted
- `size`       exact, from formulas; solid
- `matched`    a size beside another of its colour (a rival's, a variant's); dotted, hollow marks
- `points`     one mark per row, nothing between them
- `line`       a function, drawn through many of its values; solid, without marks
- `stems`      weights at places: a mark at each, and a line from it down to 0
- `target`     the function itself; thick and pale
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from depthwright.figures.style import colour, mark

if TYPE_CHECKING:
    import polars

Kind = Literal[
    "measured",
    "sampled",
    "promised",
    "floor",
    "size",
    "matched",
    "points",
    "target",
    "line",
    "stems",
]
Numbers = tuple[float | None, ...]

LEAST = 3
"""Places on the x axis from which on a line shows more than that its command works."""
THIN = "Fewer than three points: this only shows that the command works"


@dataclass(frozen=True)
class Series:
    """One line of a panel; None where it has a gap."""

    name: str
    """In the legend; series of one name are switched on and off together."""
    x: Numbers
    y: Numbers
    kind: Kind = "measured"
    contender: str = ""
    """The contender that gives the colour (style.py); the name where it is empty."""
    low: Numbers | None = None
    """Lower end of the interval of y."""
    high: Numbers | None = None
    band: bool = False
    """The interval as a shaded band instead of bars."""
    notes: tuple[str, ...] | None = None
    """Per point, for the page's hover."""

    @property
    def colour(self) -> str:
        """The contender's colour, the same in every figure."""
        return colour(self.contender or self.name)

    @property
    def mark(self) -> str:
        """The contender's mark; "" where the line has none."""
        return "" if self.kind in ("promised", "target", "line") else mark(self.colour)

    @property
    def hollow(self) -> bool:
        """Whether its marks are; a single point has no line that says what it is."""
        return self.kind == "matched" or (self.kind == "sampled" and len(self.x) == 1)

    @property
    def places(self) -> int:
        """Places on the x axis at which it has a value."""
        return len({x for x, y in zip(self.x, self.y, strict=True) if None not in (x, y)})

    @property
    def landmark(self) -> bool:
        """Whether this is a single point, which has to stay visible among lines."""
        return self.kind == "points" and len(self.x) == 1


@dataclass(frozen=True)
class Panel:
    """Axes with what is drawn on them; axis names carry their units."""

    x: str
    y: str
    series: tuple[Series, ...]
    x_log: bool = False
    y_log: bool = False
    lines: tuple[tuple[str, float], ...] = ()
    """Horizontal lines: name and height."""
    ticks: tuple[float, ...] = ()
    """Ticks of x; () leaves them to the renderer."""
    title: str = ""
    x_range: tuple[float, float] | None = None
    """Ends of a linear x axis; None leaves them to the renderer."""

    def __post_init__(self) -> None:
        if not self.series:
            raise ValueError(f"the panel of {self.y} against {self.x} has nothing to draw")


@dataclass(frozen=True)
class Chart:
    """Panels side by side."""

    panels: tuple[Panel, ...]

    @property
    def thin(self) -> bool:
        """Whether no series has three places on the x axis: a picture of no finding.

        Series by series: those that stand side by side at one place are not at several.
        """
        return all(one.places < LEAST for panel in self.panels for one in panel.series)

    def to_json(self) -> dict[str, Any]:
        """Plain values; numbers that are not finite become null."""
        return asdict(
            replace(
                self,
                panels=tuple(
                    replace(
                        panel,
                        series=tuple(_finite(s) for s in panel.series),
                        lines=tuple(line for line in panel.lines if math.isfinite(line[1])),
                        ticks=tuple(tick for tick in panel.ticks if math.isfinite(tick)),
                    )
                    for panel in self.panels
                ),
            )
        )

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Chart:
        return cls(
            tuple(
                Panel(
                    **panel
                    | {
                        "series": tuple(_series(s) for s in panel["series"]),
                        "lines": tuple((name, y) for name, y in panel["lines"]),
                        "ticks": tuple(panel["ticks"]),
                        "x_range": tuple(panel["x_range"]) if panel.get("x_range") else None,
                    }
                )
                for panel in stored["panels"]
            )
        )


def series(
    rows: polars.DataFrame,
    x: str,
    y: str,
    name: str,
    kind: Kind = "measured",
    *,
    contender: str = "",
    interval: tuple[str, str] | None = None,
    band: bool = False,
    inverse: bool = False,
    note: str | None = None,
) -> Series:
    """Two columns of the rows, ordered by x (1/x if `inverse`); rows without y are left out."""
    part = rows.drop_nulls([x, y]).sort(x, descending=inverse)
    at = [1 / value if inverse else value for value in part[x].to_list()]
    low, high = (part[c].to_list() for c in interval) if interval else (None, None)
    return Series(
        name,
        _numbers(at),
        _numbers(part[y].to_list()),
        kind,
        contender,
        None if low is None else _numbers(low),
        None if high is None else _numbers(high),
        band,
        tuple(map(str, part[note].to_list())) if note else None,
    )


def tick_text(value: float) -> str:
    """A tick as it is read: 12,141 and 3.33."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"


def _numbers(values: Iterable[Any]) -> Numbers:
    return tuple(None if v is None else float(v) for v in values)


def _finite(of: Series) -> Series:
    def clean(values: Numbers | None) -> Numbers | None:
        if values is None:
            return None
        return tuple(v if v is not None and math.isfinite(v) else None for v in values)

    x, y = clean(of.x), clean(of.y)
    assert x is not None
    assert y is not None
    return replace(of, x=x, y=y, low=clean(of.low), high=clean(of.high))


def _series(stored: Mapping[str, Any]) -> Series:
    lists = {k: tuple(v) for k, v in stored.items() if isinstance(v, (list, tuple))}
    return Series(**{**stored, **lists})
