"""The report page: every figure, the CSV's numbers, nothing from the network; and in a browser."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars
import pytest

from command_line import HANGS
from depthwright.figures import record as records
from depthwright.figures import report
from depthwright.figures.chart import Chart, Panel, Series, series
from depthwright.figures.record import Record
from depthwright.figures.report import Entry

pytest.importorskip("plotly", reason="the extra: pip install -e '.[report]'")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
ROWS = polars.DataFrame(
    {
        "d": [3, 2, 5],
        "error": [0.1234567890123456, 1e-7, 3.0],
        "low": [0.1, 5e-8, 2.0],
        "high": [0.2, 2e-7, 4.0],
        "promised": [0.5, 0.5, None],
        "who": ["</script><b>", "a & b", "plain"],
    }
)


def chart(rows: polars.DataFrame) -> Chart:
    interval = ("low", "high")
    errors = (
        series(rows, "d", "error", "constructed", interval=interval, note="who"),
        series(rows, "d", "promised", "promised", "promised", interval=None),
        series(rows, "d", "high", "trained", "sampled", interval=interval, band=True),
    )
    sizes = (series(rows, "d", "high", "constructed", "size"),)
    return Chart(
        (
            Panel("d", "error", errors, y_log=True, lines=(("ε", 0.3),), ticks=(2, 3, 5)),
            Panel("d", "size", sizes),
        )
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two experiments, one that failed, and one that left no figure."""
    folder = tmp_path_factory.mktemp("report")
    entries = []
    for name in ("first", "second"):
        made = Record(
            name, f"The {name}", "What.\n\nHow.", "smoke", "python x", "It is so. Then more."
        )
        records.write(
            Record(**vars(made) | {"chart": chart(ROWS)}),
            ROWS,
            folder / name,
        )
        entries.append(Entry(records.read(folder / name), folder / name))
    failed = Record("third", "The third", "", "smoke", "python y", error="ValueError: <why>")
    scripted = Record("fourth", "The fourth", "", "smoke", "python z", "printed")
    entries += [Entry(failed), Entry(scripted)]
    return report.write(entries, folder / "page", "All of them")


class Parsed(HTMLParser):
    """Tags with their attributes, table cells, inlined data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[list[str]] = []
        self.data: dict[str, Any] = {}
        self._open: dict[str, str | None] = {}
        self._tag = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag, self._open = tag, dict(attrs)
        self.tags.append((tag, self._open))
        if tag == "tr":
            self.cells.append([])

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""

    def handle_data(self, data: str) -> None:
        if self._tag == "td":
            self.cells[-1].append(self._open.get("title") or data)
        elif self._open.get("class") == "data" and self._tag == "script":
            self.data[str(self._open["data-figure"])] = json.loads(data)


@pytest.fixture(scope="module")
def parsed(page: Path) -> Parsed:
    return Parsed(page.read_text(encoding="utf-8"))


def test_the_page_holds_every_experiment_and_every_panel(page: Path, parsed: Parsed) -> None:
    sections = [a["id"] for tag, a in parsed.tags if tag == "section"]
    links = [a["href"] for tag, a in parsed.tags if tag == "a" and "download" not in a]
    assert sections == ["first", "second", "third", "fourth"]
    assert links == [f"#{name}" for name in sections]
    named = [
        a["data-series"]
        for _, a in parsed.tags
        if a.get("data-figure") == "first" and "data-series" in a
    ]
    assert named == ["constructed", "promised", "trained", "constructed"]  # below its own panel
    plots = [a["data-figure"] for _, a in parsed.tags if a.get("class") == "plot"]
    assert plots == ["first", "first", "second", "second"]
    assert {name: len(panels) for name, panels in parsed.data.items()} == {"first": 2, "second": 2}
    text = page.read_text(encoding="utf-8")
    assert "ValueError: &lt;why&gt;" in text
    assert "<h3>It is so</h3>" in text  # the finding; the figure's name is below it and in the list
    assert '<p class="soft">The second</p>' in text
    assert '<p class="sentence">Then more.</p>' in text


def test_the_page_loads_nothing(page: Path, parsed: Parsed) -> None:
    for tag, attributes in parsed.tags:
        for name in ("src", "srcset", "href", "data", "action", "poster"):
            value = attributes.get(name) or ""
            assert not re.match(r"(https?:)?//", value), (tag, value)
        if tag != "a":
            assert (attributes.get("src") or "data:").startswith("data:"), (tag, attributes)
        assert tag not in ("link", "iframe", "object", "embed"), tag
    policy = [a["content"] for tag, a in parsed.tags if a.get("http-equiv")]
    assert len(policy) == 1
    assert str(policy[0]).startswith("default-src 'none'")


def test_the_page_shows_the_numbers_of_the_csv(page: Path, parsed: Parsed) -> None:
    with (page.parent / "first.csv").open(encoding="utf-8", newline="") as file:
        header, *wanted = csv.reader(file)
    shown = [row for row in parsed.cells if row]
    assert header == ROWS.columns
    assert shown == [[v or "—" for v in row] for row in wanted] * 2
    in_order = sorted(wanted, key=lambda row: int(row[0]))
    constructed = parsed.data["first"][0]["data"][0]
    assert constructed["x"] == [float(row[0]) for row in in_order]
    assert constructed["y"] == [float(row[1]) for row in in_order]
    gaps = [float(row[3]) - float(row[1]) for row in in_order]
    assert constructed["error_y"]["array"] == gaps
    assert constructed["text"] == [row[5] for row in in_order]


def test_files_lie_beside_the_page_and_hold_the_rows(page: Path) -> None:
    for name in ("first", "second"):
        for suffix in (".png", ".svg", ".csv", ".parquet"):
            assert (page.parent / f"{name}{suffix}").stat().st_size > 0
        assert polars.read_parquet(page.parent / f"{name}.parquet").equals(ROWS)
        assert "<svg" in (page.parent / f"{name}.svg").read_text(encoding="utf-8")


def test_a_chart_survives_its_file_and_gaps_become_null() -> None:
    whole = chart(ROWS)
    assert Chart.from_json(json.loads(json.dumps(whole.to_json()))) == whole
    gap = Chart((Panel("x", "y", (Series("a", (1.0, 2.0), (float("inf"), 2.0)),)),))
    assert gap.to_json()["panels"][0]["series"][0]["y"] == (None, 2.0)


def test_exponents_and_indices_are_set_as_such() -> None:
    told = "at most 5.31e-14, 1e-05 and 2·M_ε in R^100, no_polynomial_in_both, code 1234e56789"
    assert str(report.formulas(told)) == (
        "at most 5.31·10<sup>−14</sup>, 10<sup>−5</sup> and 2·M<sub>ε</sub> in R<sup>100</sup>, "
        "no_polynomial_in_both, code 1234e56789"
    )


def test_a_panel_without_series_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        Panel("x", "y", ())


PROBE = """
<script>
window.trouble = [];
addEventListener("error", (e) => trouble.push("error: " + (e.message || e.target.outerHTML)), true);
addEventListener("securitypolicyviolation", (e) => trouble.push("request: " + e.blockedURI));
for (const level of ["error", "warn"]) {
  const told = console[level];
  console[level] = (...words) => { trouble.push(level + ": " + words.join(" ")); told(...words); };
}
</script>
"""
REPORT = """
<script>
BREAK_IT
setTimeout(() => {
  const drawn = (plot) => plot.querySelectorAll(".scatterlayer .trace").length;
  const plots = [...document.querySelectorAll(".plot")];
  const before = plots.map(drawn);
  const buttons = [...document.querySelectorAll('button[data-series="constructed"]')];
  buttons[0].click();
  const types = [plots[0].layout.xaxis.type, plots[0].layout.yaxis.type];
  for (const axis of "xy") document.querySelector(`button[data-axis="${axis}"]`).click();
  setTimeout(() => {
    types.push(plots[0].layout.xaxis.type, plots[0].layout.yaxis.type);
    const out = document.createElement("pre");
    out.id = "probe";
    out.textContent = JSON.stringify({
      trouble, before, after: plots.map(drawn), types,
      pressed: buttons.map((b) => b.getAttribute("aria-pressed")),
      loaded: performance.getEntriesByType("resource").map((e) => e.name),
      overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      width: innerWidth,
    });
    document.body.append(out);
    if (parent !== window) parent.postMessage(out.textContent, "*");
  }, 600);
}, 600);
</script>
"""


FRAME = """<!doctype html><body style="margin:0">
<iframe src="probed.html" style="width: WIDTHpx; height: 900px; border: 0"></iframe>
<script>addEventListener("message", (e) => {
  const out = document.createElement("pre");
  out.id = "probe"; out.textContent = e.data; document.body.append(out);
});</script>
"""
"""A window cannot be narrower than 500 pixels or so; a frame in it can."""


def browse(page: Path, folder: Path, width: int, harm: str = "") -> dict[str, Any]:
    """What a browser of this width makes of the page, `harm` done to it first."""
    text = page.read_text(encoding="utf-8")
    text = text.replace("<title>", PROBE + "<title>", 1)
    head, end = text.rsplit("</body>", 1)
    probed = folder / "probed.html"
    probed.write_text(head + REPORT.replace("BREAK_IT", harm) + "</body>" + end, encoding="utf-8")
    shown = folder / "frame.html"
    shown.write_text(FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    done = subprocess.run(
        [
            str(CHROMIUM),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={folder / 'profile'}",
            f"--window-size={max(width, 600)},1000",
            "--virtual-time-budget=8000",
            "--dump-dom",
            shown.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=True,
    )
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(found[1].replace("&gt;", ">").replace("&lt;", "<"))
    return answer


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
@pytest.mark.parametrize("width", [400, 1600])
def test_in_a_browser_all_is_drawn_toggles_and_asks_for_nothing(
    page: Path, tmp_path: Path, width: int
) -> None:
    seen = browse(page, tmp_path, width)
    assert seen["width"] == width
    assert seen["trouble"] == []
    assert seen["loaded"] == []
    assert seen["before"] == [5, 1, 5, 1]  # a band is two traces
    assert seen["after"] == [4, 0, 5, 1]  # switched off in the first figure, both panels
    assert seen["pressed"] == ["false", "false", "true", "true"]
    assert seen["types"] == ["linear", "log", "log", "linear"]
    assert seen["overflow"] <= 0


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_the_browser_check_sees_a_request_and_an_error(page: Path, tmp_path: Path) -> None:
    harm = 'new Image().src = "http://localhost:9/x.png"; console.error("told");'
    seen = browse(page, tmp_path, 1600, harm)
    assert "error: told" in seen["trouble"]
    assert any(line.startswith("request: ") for line in seen["trouble"])
