"""`python experiments/NAME.py --scale smoke`, each once: what it leaves, what theory fixes of it.

A new experiment is found missing here until it has a function of its name.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars
import pytest
from polars import col

from command_line import HANGS
from depthwright.constructions import Construction, NarrowPacked, Ridge, SparseRidge
from depthwright.experiment import holds_experiment
from depthwright.figures.interactive import legend
from depthwright.figures.record import read
from depthwright.targets import Cone, Hat, RandomNetwork, Sine
from experiment_files import FOLDER

Check = Callable[[polars.DataFrame], None]
CHECKS: dict[str, Check] = {}
COMMANDS = {
    "dashboard": "test_dashboard.py",
    "gpu_check": "test_gpu_check.py",
    "reproduce": "test_experiment.py",
    "sync": "test_sync.py",
}
"""Files that are no experiments, and where they are tested."""


def expected(check: Check) -> Check:
    CHECKS[check.__name__] = check
    return check


def cone_norm(input_dim: int) -> float:
    """Path norm of ‖x‖ = ∫ |u·x| du / E|u_1|, two neurons a direction: 2/E|u_1|.

    Nothing cheaper equals the cone; within ε of it is ε + (1 − 2ε)·‖x‖, and nothing cheaper.
    """
    return 2 * math.sqrt(math.pi) * math.gamma((input_dim + 1) / 2) / math.gamma(input_dim / 2)


def parameters(*widths: int) -> int:
    return sum((a + 1) * b for a, b in pairwise(widths))


def built_norm(recipe: Construction) -> float:
    """Path norm Σ|a|·‖w‖ of a depth-2 construction, from its plain module."""
    first, _, last = recipe.build().network.to_torch()
    return float((last.weight.detach().abs() @ first.weight.detach().norm(dim=1)).sum())


@expected
def ball_indicator(rows: polars.DataFrame) -> None:
    sizes = dict(rows.select("hidden", "parameters").unique().iter_rows())
    assert sizes.pop("100 × 20") == parameters(100, 100, 20, 1) == 12_141
    assert sizes == {str(n): 102 * n + 1 for n in (100, 200, 400, 800)}
    assert len(rows) == 5 * 2 * 11  # architectures, seeds, validations
    first, last = (rows.filter(col("step") == step)["rmse"].mean() for step in (0, 100))
    assert last < first


@expected
def bounded_weights(rows: polars.DataFrame) -> None:
    by_layer = rows.filter(col("scaling") == "layer")
    # One C = 2^k for every layer: k − 1 doublings after each, itself the k-th (Corollary 3).
    assert (by_layer["depth"] == by_layer["inner_depth"] * by_layer["inner_weight_log2"]).all()
    built = rows.drop_nulls("largest_weight")
    assert len(built) == 6
    assert set(built["largest_weight"]) == {2.0}
    assert set(built["value_gap"]) == {0.0}


@expected
def depth_two_vs_three(rows: polars.DataFrame) -> None:
    ridge = rows.filter((col("what") == "ridge") & (col("input_dim") == 2)).row(0, named=True)
    assert ridge["parameters_built"] == parameters(2, ridge["neurons"], 1)
    floors = rows.filter(col("what") == "floor").sort("input_dim")["path_norm_needed"]
    assert 0 < floors[0] <= built_norm(Ridge(Hat(2), 0.05))
    assert floors[0] < floors[1]
    assert set(rows["contender"].drop_nulls()) == {"depth 2", "depth 3"}


@expected
def certified_checks(rows: polars.DataFrame) -> None:
    """The planted spike stands out of what random inputs show by all its height."""
    assert rows["network"].to_list() == ["as trained", "with a spike"]
    plain, other = rows.iter_rows(named=True)
    assert abs(other["error_at_spike"]) == pytest.approx(
        abs(0.05 + plain["error_at_spike"]), abs=1e-9
    ) or abs(other["error_at_spike"]) == pytest.approx(
        abs(0.05 - plain["error_at_spike"]), abs=1e-9
    )
    for row in (plain, other):
        assert row["error_sup_sampled"] <= row["error_sup_attacked"] <= row["error_sup_certified"]
        assert row["error_at_spike"] <= row["error_sup_certified"]
        assert row["gap"] < 0.1


@expected
def digits(rows: polars.DataFrame) -> None:
    one = rows.row(0, named=True)
    assert (len(rows), one["width"]) == (40, max(64, 10 + 1))  # pixels are not read
    assert one["target_parameters"] == parameters(64, 128, 128, 10)
    assert rows["same"].all()
    assert (rows["error"] <= rows["error_promised"]).all()
    assert one["error_promised"] < rows["margin"].min() / 2


@expected
def misread_inputs(rows: polars.DataFrame) -> None:
    assert dict(rows.select("data", "samples").unique().iter_rows()) == {
        "moons": 1000,
        "iris": 150,
        "diabetes": 442,
    }
    between = col("reading").str.contains("between floats")
    after, before = rows.filter(between), rows.filter(~between)
    assert (after["largest_error"] <= after["error_promised"]).all()
    assert (after["samples_above"] + after["points_above"]).sum() == 0
    assert before["samples_above"].sum() > 0  # two-valued coordinates end their box


@expected
def exact_checks(rows: polars.DataFrame) -> None:
    assert (len(rows), rows["differ"].sum()) == (38, 0)
    values = dict(rows.select("network", "values").iter_rows())
    assert values["layers of zeros"] == 1
    assert values["exact"] == values["exact, slim"] >= 20  # one function


@expected
def exact_speed(rows: polars.DataFrame) -> None:
    assert rows["differ"].sum() == 0
    assert rows["compared"].min() >= 3
    for n, layers in rows.select("n", "layers").iter_rows():
        recipe = NarrowPacked(RandomNetwork(3, n, 3, seed=0), 1e-2, 1e-2)
        assert layers == recipe.architecture().depth


@expected
def lu_narrow(rows: polars.DataFrame) -> None:
    for row in rows.iter_rows(named=True):
        d, k = row["d"], row["k"]
        assert row["target_parameters"] == parameters(d, 2 * k * k, 2 * k * k, 1)
        assert (row["width"], row["error_sup_sampled"] <= (row["promised"] or math.inf)) == (
            {
                "trained": math.ceil(3 * k**1.5),
                "narrow_packed": max(d + 2, 4),
                "narrow_exact_slim": max(2 * d, d + 3 + 1),
            }[row["contender"]],
            True,
        )


@expected
def narrow_checks(rows: polars.DataFrame) -> None:
    widths = {
        "narrow_bits": (10, 10),
        "narrow_minimal": (10, 10),
        "narrow_packed": (4, 4),
        "narrow_bounded": (4, 4),
        "narrow_exact": (7, 9),
        "narrow_exact_slim": (5, 6),
    }
    for (name,), part in rows.group_by("construction"):
        assert tuple(part.sort("target_depth")["width"]) == widths.pop(str(name))
    assert not widths
    assert rows["formula_right"].all()
    assert (rows["error_good"] <= rows["error_promised"]).all()


@expected
def narrow_error_vs_inverse_accuracy(rows: polars.DataFrame) -> None:
    trained = rows.filter(col("construction").str.starts_with("trained"))
    assert len(trained) == 2 * 3  # exponent 1, and two n at exponent 2
    assert (trained["error_good"] > 0).all()
    packed = rows.filter(col("construction") == "narrow_packed")
    depth = {(k, n): layers for k, n, layers in packed.select("exponent", "n", "depth").iter_rows()}
    for exponent, n, layers in trained.select("exponent", "n", "depth").iter_rows():
        assert layers == depth[exponent, n]
    twins = rows.filter(~col("construction").str.starts_with("trained") & (col("n") == 4))
    for (name,), part in twins.group_by("construction"):
        depths = dict(part.select("exponent", "depth").iter_rows())
        # A line in log 1/ε but for whole bits: 3 digits are 9 to 11 of them, 4 are 13 or 14.
        ratio = (depths[8] - depths[4]) / (depths[4] - depths[1])
        assert 13 / 11 <= ratio <= 14 / 9, name
        assert set(part["width"]) == {4 if name == "narrow_packed" else 10}
    built = rows.drop_nulls("error_promised")
    assert len(built) == 11
    assert (built["error_good"] <= built["error_promised"]).all()
    assert (built["error_promised"] <= built["accuracy"]).all()


@expected
def narrow_parameters_vs_width(rows: polars.DataFrame) -> None:
    row = rows.filter((col("target_width") == 64) & (col("input_dim") == 8)).row(0, named=True)
    assert row["target_parameters"] == parameters(8, 64, 64, 1)
    by_name = {str(name): part for (name,), part in rows.group_by("construction")}
    packed = by_name["narrow_packed"]
    assert set(packed["width"]) == {8 + 2, 16 + 2}
    assert set(by_name["narrow_exact"]["width"]) == {2 * (8 + 3 - 1) + 1, 2 * (16 + 4 - 1) + 1}
    crossings = packed.filter("crossing")
    assert len(crossings) == 2
    assert (crossings["ratio"] < 1).all()
    where = ["input_dim", "target_depth", "target_width", "crossing", "built"]
    beside = packed.join(by_name["floor"], on=where, suffix="_least")
    assert len(beside) == len(packed)
    assert (beside["parameters_least"] <= beside["parameters"]).all()


@expected
def narrow_scale(rows: polars.DataFrame) -> None:
    assert rows["width"].to_list() == [32, 64]
    for row in rows.iter_rows(named=True):
        n = row["width"]
        assert row["share"] * parameters(16, n, n, 1) == pytest.approx(row["parameters"], rel=1e-12)
        assert row["formula_right"]
        assert row["same_network"]
        assert row["same_values"]
        assert row["error"] <= row["error_promised"] <= 1e-2


@expected
def narrow_trained_vs_constructed(rows: polars.DataFrame) -> None:
    own = rows.filter(col("contender") == "constructed")
    assert own.select("depth", "width").rows() == [(8, 7), (32, 7)]  # width 2(d + L − 1) + 1
    assert own["best"].max() < 1e-12
    assert len(rows) == 2 * (1 + 4 + 4 + 1)  # four styles; of one hidden layer all are plain
    assert set(rows.filter(col("contender") == "width")["width"]) == {2 + 2}


@expected
def no_polynomial_in_both(rows: polars.DataFrame) -> None:
    for what, column in (("mass", "path_norm_needed"), ("tail", "norms_needed")):
        part = rows.filter(col("what") == what)
        assert part.filter(col("k") == 1)[column].n_unique() == 1  # three ways begin at one target
        found = {str(way): one.sort("k")[column] for (way,), one in part.group_by("way")}
        for values in found.values():
            assert (values.diff().drop_nulls() > 0).all()
        assert found["both"][-1] > max(found["frequency"][-1], found["dimension"][-1])
    trained = rows.filter(col("what") == "trained")
    assert sorted(trained["way"]) == sorted(found)
    assert (trained["low"] <= trained["error_l2_relative"]).all()
    wave, height = Sine(3, 1), 1 / (4 * math.pi)
    recipe = SparseRidge(wave, height / 2, failure_probability=1e-3)
    first = rows.filter(col("k") == 1)
    assert set(first["neurons"].drop_nulls()) == {recipe.architecture().width}
    assert 0 < first["path_norm_needed"].drop_nulls()[0] <= built_norm(recipe) / height


@expected
def path_norm(rows: polars.DataFrame) -> None:
    assert cone_norm(5) == pytest.approx(16 / 3, rel=1e-14)
    floors = rows.filter(col("contender") == "floor")
    for error, floor in floors.select("error_sup_averaged", "path_norm").iter_rows():
        assert floor <= (1 - 2 * error) * cone_norm(5)
        assert floor == pytest.approx((1 - 2 * error) * cone_norm(5), rel=1e-6, abs=1e-9)
    networks = rows.drop_nulls("path_norm_floor")
    assert len(networks) == 5
    assert (networks["path_norm"] >= networks["path_norm_floor"]).all()


@expected
def precision(rows: polars.DataFrame) -> None:
    proved = rows.filter(col("value_bits").is_not_null())
    assert (proved["equal_from"] <= proved["value_bits"]).all()
    many = rows.filter(col("mantissa_bits") >= col("equal_from"))
    assert set(many["error_rounding"]) == {0.0}
    equal = many.filter(col("construction").str.starts_with("narrow_exact"))
    assert len(set(equal["construction"])) == 2
    assert set(equal["error_target"]) == {0.0}  # Theorem 7: equal to the target everywhere
    assert (many["error_target"] <= many["promised"]).all()


@expected
def radial_checks(rows: polars.DataFrame) -> None:
    assert rows["construction"].n_unique() == 4
    assert set(rows["verdict"]) == {"holds"}
    assert (rows["error_sup_attacked"] <= rows["error_promised"]).all()
    assert (rows["error_promised"] <= 0.3).all()


@expected
def longer_training(rows: polars.DataFrame) -> None:
    assert rows["contender"].to_list() == ["solved", *["trained", "tuned"] * 2]
    assert set(rows["parameters"]) == {parameters(5, 40, 1)}
    assert (rows.drop_nulls("network_steps")["network_steps"] <= rows["budget"].max()).all()
    assert (rows.drop_nulls("network_steps")["network_steps"] > 0).all()


@expected
def radial_vs_dimension(rows: polars.DataFrame) -> None:
    one_architecture(rows, "target", {"Cone": parameters(2, 8, 1)})
    (needed,) = rows["path_norm_needed"].drop_nulls()
    assert needed <= (1 - 2 * 0.1) * cone_norm(2)
    assert needed == pytest.approx((1 - 2 * 0.1) * cone_norm(2), rel=1e-6)
    assert rows["contender"].to_list().count("depth 3") == 1


@expected
def radial_vs_inverse_accuracy(rows: polars.DataFrame) -> None:
    one_architecture(rows, "accuracy", {0.2: parameters(2, 8, 1)})
    (needed,) = rows["path_norm_needed"].drop_nulls()
    assert needed == pytest.approx((1 - 2 * 0.2) * cone_norm(2), rel=1e-6)


def one_architecture(rows: polars.DataFrame, line: str, sizes: dict[Any, int]) -> None:
    """Sparse, solved and trained networks have one size; what is certified keeps its claim."""
    equal = rows.filter(col("contender").is_in(["sparse", "solved", "trained", "trained for sup"]))
    found = {at: set(part["parameters"]) for (at,), part in equal.group_by(line)}
    assert found == {at: {size} for at, size in sizes.items()}
    assert (equal["error_l2_low"] < equal["error_l2"]).all()
    assert (equal["error_l2"] < equal["error_sup_attacked"]).all()
    assert (equal.drop_nulls("train_seconds")["network_steps"] <= 3600).all()
    for contender in ("ridge", "depth 3", "certified"):
        own = rows.filter((col("contender") == contender) & col("left_out").is_null())
        assert (own["error_sup_attacked"] <= own["error_promised"]).all()
        assert (own["error_promised"] <= own["accuracy"]).all()


def compared(rows: polars.DataFrame, axis: str, values: tuple[float, ...]) -> polars.DataFrame:
    """The constructed rows of a sweep, which must keep the promises that every comparison has."""
    own = rows.filter(col("contender") == "constructed").sort(axis)
    assert tuple(own[axis]) == values
    assert (own["error_sup_attacked"] <= own["error_sup_certified"]).all()
    assert (own["error_sup_certified"] <= own["accuracy"]).all()
    return own


@expected
def random_feature_floor(rows: polars.DataFrame) -> None:
    compared(rows.drop_nulls("contender"), "terms", (1, 2))
    drawn = rows.drop_nulls("neurons").sort("neurons")
    # C(20, 1) orthonormal functions, of which 10 neurons and a constant span at most 11.
    height = (drawn["floor"][0] / (1 - 11 / 20)) ** 0.5
    assert drawn["floor"].to_list() == pytest.approx([0.45 * height**2, 0.0])
    assert drawn["mean"][0] > drawn["mean"][1]


@expected
def ridge_speed(rows: polars.DataFrame) -> None:
    assert rows["chunk"].to_list() == [32, 64, 128, 256, 512, 2048, 8192]
    assert set(rows["width"]) == {Ridge(Cone(8), 0.1).architecture().width}
    assert 0 < rows["difference"][0] <= rows["rounding_bound"][0]


@expected
def sparse_sizes(rows: polars.DataFrame) -> None:
    budget, promised = rows.drop_nulls("budget"), rows.filter(col("budget").is_null())
    assert (budget["neurons"] <= budget["budget"]).all()
    assert promised["promise"].to_list() == ["99.9 %", "certain"]
    assert (promised["error_sup_attacked"] <= promised["error_promised"]).all()
    assert (promised["error_promised"] <= promised["accuracy"]).all()


@expected
def sweep_speed(rows: polars.DataFrame) -> None:
    assert rows["sweep"].n_unique() == 3
    assert set(rows["cells"]) == {2}
    assert rows["seconds_per_cell"].is_finite().all()


@expected
def training_speed(rows: polars.DataFrame) -> None:
    assert {"this trainer", "torch.func", "bare loop", "one Lightning run each"} <= set(
        rows["trainer"]
    )
    # 4·B·n·d + 6·B·n operations a step: B = 256, n = 64, d = 10.
    work = rows["network_steps_per_second"] * 256 * 64 * 46
    assert (work / rows["limit_gigaflops"] / 1e9).to_list() == pytest.approx(
        rows["share_of_limit"].to_list()
    )
    # The same networks on the same batches.
    assert rows["largest_difference"].max() < rows["error_deviation"][0] / 10


@expected
def triangle_waves(rows: polars.DataFrame) -> None:
    built = rows.filter(col("width") == 0).row(0, named=True)
    assert (built["parameters"], built["wrong"]) == (parameters(1, 2, 2, 2, 1), 0.0)
    narrow = rows.filter((col("width") == 2) & (col("depth") == 2)).row(0, named=True)
    assert narrow["wrong"] >= narrow["floor"] == (8 - 4) / 16  # 4 pieces against 8 flips


def test_every_experiment_and_command_is_run_by_a_test() -> None:
    sources = {file.stem: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.py")}
    # Of training_speed, gpu_check and the two central figures.
    del sources["training_peers"], sources["gpu_parts"], sources["radial_contenders"]
    experiments = {name for name, source in sources.items() if holds_experiment(source)}
    assert CHECKS.keys() == experiments
    assert COMMANDS.keys() == sources.keys() - experiments
    for name, place in COMMANDS.items():
        assert name in (Path(__file__).parents[1] / place).read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CHECKS))
def test_its_command_leaves_rows_chart_sentence_and_record(name: str, tmp_path: Path) -> None:
    command = [str(FOLDER / f"{name}.py"), "--scale", "smoke", "--output", str(tmp_path)]
    threads = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}  # others run beside it
    done = subprocess.run(
        [sys.executable, *command],
        env={k: v for k, v in os.environ.items() if not k.startswith("WANDB")} | threads,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS,
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / name / "smoke"
    record, rows = read(folder), polars.read_parquet(folder / f"{name}.parquet")
    assert record.sentence in done.stdout
    assert record.command == f"python experiments/{name}.py --scale smoke"
    assert (record.name, record.broken, record.error) == (name, (), "")
    assert record.made.versions
    assert record.chart is not None
    for panel in record.chart.panels:
        assert all(any(y is not None for y in one.y) for one in panel.series)
        looks = [tuple({**entry, "name": ""}.values()) for entry in legend(panel)]
        assert len(looks) == len(set(looks)), panel.y
    assert ". " in record.sentence, "the finding, and more"
    assert set(record.columns) <= set(rows.columns)
    assert len(polars.read_csv(folder / f"{name}.csv", infer_schema=False)) == len(rows)
    for suffix in (".png", ".svg"):
        assert (folder / f"{name}{suffix}").stat().st_size > 10_000
    CHECKS[name](rows)
