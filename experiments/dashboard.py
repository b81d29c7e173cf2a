"""The W&B dashboard, as code: errors against d and 1/ε, sizes, promises against measurements.

    python experiments/dashboard.py [--project NAME] [--entity NAME] [--json FILE]

Saved to W&B where there is a key, as a new view of the project whose address is printed; `--json`
writes the specification to a file instead, without a key or a network. The panels draw the
aggregate runs of all experiments (one line per experiment and contender; see
`depthwright.runs.aggregate`) and, below them, single runs. Needs pip install -e '.[dashboard]'.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwright import constructions, results
from depthwright.cli import guard
from depthwright.comparison import CONSTRUCTED
from depthwright.files import need_writable, write_json
from depthwright.refusal import Refusal
from depthwright.runs import aggregate
from depthwright.tracking import LoggerConfig, need_key
from depthwright.training.matching import RULES

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import LinePlot, ScatterPlot
    from wandb_workspaces.workspaces import Workspace

CONTENDERS = (
    CONSTRUCTED,
    *(f"trained_{rule}" for rule in RULES),
    *(f"{CONSTRUCTED}_{name}" for name in constructions.REGISTRY),
)
AXES = {"input_dim": "input dimension d", "inverse_accuracy": "1/ε"}
TITLE = "Depthwright: constructed against trained"


def build(project: str, entity: str | None) -> Workspace:
    import wandb_workspaces.workspaces as ws

    against: list[Any] = [
        _lines(f"error against {AXES[axis]}", axis, list(aggregate.ERRORS[:-1])) for axis in AXES
    ]
    promised = [
        _lines(
            f"promised and measured sup error against {AXES[axis]}",
            axis,
            ["error_promised", "error_sup_attacked"],
            [name for name in CONTENDERS if name.startswith(CONSTRUCTED)],
        )
        for axis in AXES
    ]
    sizes: list[Any] = [
        _lines(f"parameters over the construction's, against {AXES[axis]}", axis, ["size_ratio"])
        for axis in AXES
    ]
    return ws.Workspace(
        entity=entity or "",
        project=project,
        name=TITLE,
        sections=[
            ws.Section(name="Error", panels=against, is_open=True),
            ws.Section(
                name="Promise against measurement",
                panels=[*promised, _promise_of_runs()],
                is_open=True,
            ),
            ws.Section(name="Size ratio", panels=sizes, is_open=True),
            ws.Section(name="Training", panels=[_training()], is_open=False),
        ],
    )


def _lines(
    title: str, axis: str, columns: list[str], contenders: tuple[str, ...] | list[str] = CONTENDERS
) -> LinePlot:
    import wandb_workspaces.reports.v2 as wr

    unit = results.UNITS.get(columns[0], "ratio")
    return wr.LinePlot(
        title=title,
        x=f"{axis}/{axis}",
        y=[f"{axis}/{name}/{column}" for name in contenders for column in columns],
        title_x=AXES[axis],
        title_y=unit,
        log_x=True,
        log_y=True,
        ignore_outliers=False,
    )


def _promise_of_runs() -> ScatterPlot:
    """One point per run. A claim that holds gives a point below the diagonal."""
    import wandb_workspaces.reports.v2 as wr

    return wr.ScatterPlot(
        title="each run: promised (x), attacked (y)",
        x=wr.SummaryMetric(f"{CONSTRUCTED}/error_promised"),
        y=wr.SummaryMetric(f"{CONSTRUCTED}/error_sup_attacked"),
        log_x=True,
        log_y=True,
    )


def _training() -> LinePlot:
    import wandb_workspaces.reports.v2 as wr

    return wr.LinePlot(
        title="rivals while training: lowest validation error",
        y=[f"trained_{rule}/validation_rmse" for rule in RULES],
        title_x="optimiser step",
        title_y=results.UNITS["error_l2"],
        log_y=True,
    )


def specification(workspace: Workspace) -> dict[str, Any]:
    """The JSON that W&B's server is sent."""
    return json.loads(workspace._to_model().model_dump_json(by_alias=True, exclude_none=True))


def main(arguments: list[str] | None = None) -> None:
    default = LoggerConfig()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--project", default=default.project)
    parser.add_argument("--entity", default=os.environ.get("WANDB_ENTITY"))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write it here, send nothing")
    given = parser.parse_args(arguments)
    try:
        workspace = build(given.project, given.entity)
    except ImportError as error:
        raise Refusal(
            "the dashboard needs wandb-workspaces; pip install -e '.[dashboard]'"
        ) from error
    if given.json:
        need_writable(given.json.parent)
        write_json(given.json, specification(workspace))
        print(f"specification  {given.json.absolute()}")
        return
    need_key("or write the specification to a file with --json FILE")
    import wandb

    try:
        workspace.entity = given.entity or wandb.Api().default_entity or ""
        saved = workspace.save()
    except Exception as error:  # whatever W&B raises
        raise Refusal(
            f"W&B did not take the dashboard ({type(error).__name__}: {error}); write the "
            "specification to a file with --json FILE"
        ) from error
    print(f"dashboard  {saved.url}")


if __name__ == "__main__":
    guard(main)
