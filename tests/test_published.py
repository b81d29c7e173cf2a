"""Published rows: one that was changed is named, and the whole report is drawn from them."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import polars
import pytest

from depthwright.figures.chapters import PARTS
from depthwright.figures.interactive import legend
from depthwright.figures.record import Record
from depthwright.figures.theorems import described
from depthwright.published import compared, differences, experiments, found, record, report
from depthwright.results import COLUMNS

PUBLISHED = experiments() / "published"
ROWS = polars.DataFrame(
    {
        "d": [2, 3, 5],
        "contender": ["constructed", "constructed", "trained_width"],
        "neurons": [10, 20, 40],
        "error": [0.5, 0.25, 0.1],
        "error_l2": [0.4, 0.2, 0.1],
        "error_l2_low": [0.39, 0.19, 0.09],
        "error_l2_high": [0.41, 0.21, 0.11],
        "seconds": [1.0, 2.0, 3.0],
        "promise": [0.5, None, float("nan")],
    }
)


def changed(row: int, **values: object) -> polars.DataFrame:
    rows = ROWS.to_dicts()
    rows[row] |= values
    return polars.DataFrame(rows, schema=ROWS.schema)


@pytest.mark.parametrize(
    ("row", "values", "named"),
    [
        (1, {"neurons": 21}, ["neurons is 21, published 20"]),
        (0, {"error": 0.51}, ["error is 0.51, published 0.5"]),
        (0, {"error": 0.5001}, []),
        (2, {"error": 0.12}, []),  # a trained network's
        (2, {"error": 0.3}, ["error is 0.3, published 0.1"]),
        (1, {"error_l2": 0.205, "error_l2_low": 0.2, "error_l2_high": 0.22}, []),  # intervals meet
        (0, {"error_l2": 4.0}, ["error_l2 is 4, published 0.4"]),  # its interval is as it was
        (0, {"contender": "floor"}, ["contender is floor, published constructed"]),
        (0, {"seconds": 100.0}, []),
        (1, {"promise": 0.5}, ["promise is 0.5, published None"]),
    ],
)
def test_what_differs_beyond_interval_or_tolerance_is_named(
    row: int, values: dict[str, object], named: list[str]
) -> None:
    told = differences(changed(row, **values), ROWS)
    place = f"row {row + 1} (d {ROWS['d'][row]}, "
    assert [line.split("): ")[1] for line in told] == named
    assert all(line.startswith(place) for line in told)


def test_intervals_that_do_not_meet_are_named_by_their_number() -> None:
    far = changed(1, error_l2=0.3, error_l2_low=0.29, error_l2_high=0.31)
    named = [re.findall(r"\): (\w+) is", line)[0] for line in differences(far, ROWS)]
    assert named == ["error_l2", "error_l2_low", "error_l2_high"]
    assert differences(ROWS.head(2), ROWS) == ["2 rows were computed and 3 are published"]
    assert differences(ROWS, ROWS.with_columns(new=1)) == [
        "column new is published and was not computed"
    ]


def test_every_figure_has_one_chapter() -> None:
    placed = [name for part in PARTS for name in part.figures]
    assert sorted(placed) == sorted(found())


def test_published_rows_say_with_what_they_were_computed() -> None:
    files = sorted(PUBLISHED.glob("*.parquet"))
    assert len(files) > 15
    for path in files:
        made = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        assert made["scale"] in ("smoke", "cpu", "gpu")
        assert f"experiments/{path.stem}.py" in made["command"]
        assert re.fullmatch(r"[0-9a-f]{40}( / [0-9a-f]{40})*", made["made"]["commit"])
        assert made["made"]["clean"] is True
        assert made["made"]["versions"]["torch"]
    assert sum(path.stat().st_size for path in PUBLISHED.iterdir()) < 1_000_000


def test_a_docstring_becomes_a_chapter() -> None:
    text = (
        "A title.\n\nStatement. Let x\nbe.\n\nBuilds\n    1. one\n    2. two,\n    more\n\n"
        "Claim\n    Both of\n      · this,\n        at length,\n      · that.\n\n"
        "Source\n    us"
    )
    assert described(text) == (
        "A title",
        (
            ("Statement", ("Let x be.",)),
            ("Builds", ("1. one\n2. two, more",)),
            ("Claim", ("Both of\n· this, at length,\n· that.",)),
            ("Source", ("us",)),
        ),
    )


@pytest.fixture(scope="module")
def drawn() -> dict[str, Record]:
    """Every published figure."""
    return {
        file.stem: record(found()[file.stem], PUBLISHED) for file in PUBLISHED.glob("*.parquet")
    }


def test_every_picture_is_headed_by_what_its_rows_show(drawn: dict[str, Record]) -> None:
    for name, one in drawn.items():
        assert one.error == "", name
        title, rest = one.told
        if one.chart and one.chart.thin:
            assert (title, rest) == (one.title, one.sentence)
            continue
        assert f"{title}. {rest}" == one.sentence
        assert rest
        assert re.search(r"\d", title), f"{name} is headed by nothing that was measured: {title}"
        assert len(title) < 180, f"{name}: three lines at most: {title}"


def test_two_lines_of_a_panel_never_look_alike(drawn: dict[str, Record]) -> None:
    for name, one in drawn.items():
        assert one.chart
        for panel in one.chart.panels:
            looks = [tuple({**entry, "name": ""}.values()) for entry in legend(panel)]
            assert len(looks) == len(set(looks)), f"{name}, {panel.y}"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import nothing_of_the_kind\n", "ModuleNotFoundError"),
        ("def rows(\n", "SyntaxError"),
        ("raise SystemExit('no')\n", "SystemExit"),
        ("", "AttributeError"),
    ],
)
def test_an_experiment_that_cannot_be_imported_is_told_in_its_place(
    tmp_path: Path, source: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    ending = "EXPERIMENT = Experiment(rows, chart, sentence)\n" if source else ""
    (file := tmp_path / "mine.py").write_text(f'"""My figure."""\n\n{source}{ending}')
    for suffix in (".parquet", ".json"):
        shutil.copyfile(PUBLISHED / f"bounded_weights{suffix}", tmp_path / f"mine{suffix}")
    assert found(tmp_path) == ({"mine": file} if source else {})
    one = record(file, tmp_path)
    sys.modules.pop("mine", None)
    assert one.error.startswith(f"mine.py cannot be imported: {told}")
    assert one.title == ("mine" if told == "SyntaxError" else "My figure")
    assert (one.chart, one.scale) == (None, "cpu")


@pytest.mark.slow
def test_the_report_is_drawn_from_rows_alone_and_follows_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, files = tmp_path / "published", tmp_path / "experiments"
    own.mkdir()
    files.mkdir()
    for name in ("bounded_weights", "narrow_error_vs_inverse_accuracy", "yours"):
        source = "bounded_weights" if name == "yours" else name
        for suffix in (".parquet", ".json"):
            shutil.copyfile(PUBLISHED / f"{source}{suffix}", own / f"{name}{suffix}")
        text = (experiments() / f"{source}.py").read_text(encoding="utf-8")
        broken = text.replace("import math", "import nothing_of_the_kind", 1)
        (files / f"{name}.py").write_text(broken if name == "yours" else text, encoding="utf-8")
    monkeypatch.setattr("depthwright.published.experiments", lambda: files)
    report(["--published", str(own), "--output", str(tmp_path)])
    page = Path(capsys.readouterr().out.split(maxsplit=1)[1].strip())
    text = page.read_text(encoding="utf-8")
    sections = re.findall(r'<section id="([\w-]+)"', text)
    theorems = [name for name in sections if name.startswith("theorem-")]
    assert sections[0] == "words"
    assert sections[1:4] == ["narrow_error_vs_inverse_accuracy", "bounded_weights", "yours"]
    assert "yours.py cannot be imported: ModuleNotFoundError" in text
    assert "Without a picture: yours." in text
    assert len(theorems) == 10
    assert sections[-1] == "columns"
    for name in theorems:
        (file,) = page.parent.glob(f"theorem_{name.removeprefix('theorem-')}.*")
        assert f'href="{file.name}"' in text
    assert all(f"<td>{column}</td>" in text for column in COLUMNS)
    for suffix in (".png", ".svg", ".csv", ".parquet"):
        assert (page.parent / f"bounded_weights{suffix}").stat().st_size > 0

    # A figure whose rows are of an older version is told, and stops no other.
    old = polars.read_parquet(own / "bounded_weights.parquet").drop("price")
    lacking = tmp_path / "old"
    shutil.copytree(own, lacking)
    old.write_parquet(lacking / "bounded_weights.parquet")
    told = record(found()["bounded_weights"], lacking)
    assert "of an older version" in told.error
    assert told.chart is None

    # Of the same figure with one row changed by hand the change is told.
    computed = page.parent / "figures" / "bounded_weights"
    assert compared(computed, own) == []
    path = own / "bounded_weights.parquet"
    rows = polars.read_parquet(path)
    depth = int(rows["depth"][3])
    rows.with_columns(
        depth=polars.when(polars.int_range(len(rows)) == 3).then(depth + 1).otherwise("depth")
    ).write_parquet(path)
    (difference,) = compared(computed, own)
    assert difference.startswith("bounded_weights: row 4 (")
    assert difference.endswith(f"depth is {depth}, published {depth + 1}")
