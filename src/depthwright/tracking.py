"""W&B as a view of a run: what is logged, under which names. The results table is the record.

Offline by default: no key, no prompt, no network. Whatever W&B does, the run goes on: a failure
is said once, as a warning, and the run continues without it.

Names: `CONTENDER/column` of the results table in the summary, `CONTENDER/validation_rmse` over
the training step in the history, `CONTENDER/claim/TERM` in the summary, `comparison` for the
picture. Networks are artifacts of type "network", with their claims as metadata. The config holds
the units of all columns, the versions that computed them, the commit.
"""

from __future__ import annotations

import math
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwright.files import read_text, set_aside, write_text
from depthwright.machine.provenance import checkout, code, versions
from depthwright.refusal import Refusal, need_one_of
from depthwright.results import UNITS

if TYPE_CHECKING:
    from wandb import Run

MODES = ("none", "offline", "online")
LOWERED = {"disabled": "none", "offline": "offline", "dryrun": "offline"}
"""W&B's words for WANDB_MODE → the most that is done then."""
WANDB_KEY = "WANDB_API_KEY"
"""Is never shown; what is wrong with it W&B says when it uses it."""
COMPARISON = "comparison"
"""W&B's job type of one run; the others are those of aggregates and of figures."""
KEPT = "wandb_run.txt"
"""In the folder of what was tracked: where W&B keeps it."""
Point = tuple[float, float]
LARGEST = 10**8
"""Bytes of the largest network that becomes an artifact."""
INIT_TIMEOUT = 30
"""Seconds to wait for W&B's server before going on offline."""


@dataclass
class LoggerConfig:
    """What watches a run."""

    mode: str = "offline"
    """none, offline (to be synced later) or online (needs a key); the variable WANDB_MODE can lower
    it and never raise it."""
    project: str = "depthwright"
    entity: str | None = None
    networks: bool | None = None
    """Whether networks are kept as artifacts; null: those of a single run, and none of a sweep."""
    picture: bool | None = None
    """Whether a run's picture is drawn and logged; null: that of a single run, and none of a sweep,
    whose cells have theirs drawn when they are run once more by themselves."""

    def __post_init__(self) -> None:
        need_one_of("logger.mode", self.mode, MODES)
        most = LOWERED.get(os.environ.get("WANDB_MODE", ""), self.mode)
        self.mode = min(self.mode, most, key=MODES.index)


class Tracker:
    """Forwards to a W&B run, or to nothing once W&B has failed or was not asked for."""

    def __init__(self, run: Run | None = None, *, networks: bool = False) -> None:
        self._run = run
        self._networks = networks
        self.failed = False
        """Whether W&B has failed since."""

    @property
    def folder(self) -> Path | None:
        """Where W&B keeps the run on disk; None when there is none."""
        return None if self._run is None else Path(self._run.dir).parent

    def log(self, step: int | None, metrics: Mapping[str, float]) -> None:
        """One point of the curves; without a step, the next one."""
        self._try(lambda run: run.log(dict(metrics), step=step))

    def summary(self, numbers: Mapping[str, Any]) -> None:
        """Final numbers; those that do not exist are left out."""
        known = {name: value for name, value in numbers.items() if value is not None}
        self._try(lambda run: run.summary.update(known))

    def image(self, name: str, path: Path) -> None:
        """A picture from disk."""

        def send(run: Run) -> None:
            import wandb

            run.log({name: wandb.Image(str(path))})

        self._try(send)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table, whole."""

        def send(run: Run) -> None:
            import wandb

            run.log({name: wandb.Table(columns=list(columns), data=[list(row) for row in rows])})

        self._try(send)

    def network(self, name: str, path: Path, about: Mapping[str, Any]) -> None:
        """A network's file as an artifact, `about` in its metadata; where that is asked for."""

        def send(run: Run) -> None:
            import wandb

            artifact = wandb.Artifact(
                f"{run.id}-{name}", type="network", metadata=_finite(dict(about))
            )
            # the file is whole and stays: no copy, which W&B would put into the user's home
            artifact.add_file(str(path), policy="immutable", skip_cache=True)
            run.log_artifact(artifact)

        if self._networks and path.exists() and path.stat().st_size <= LARGEST:
            self._try(send)

    def lines(
        self, name: str, axis: str, series: Mapping[str, Sequence[Point]], title: str = ""
    ) -> None:
        """A chart of several lines over one axis: label → points."""

        def send(run: Run) -> None:
            import wandb

            chart = wandb.plot.line_series(
                xs=[[x for x, _ in points] for points in series.values()],
                ys=[[y for _, y in points] for points in series.values()],
                keys=list(series),
                title=title or name.replace("_", " "),
                xname=axis,
            )
            run.log({name: chart})

        self._try(send)

    def over(self, axis: str, metrics: str) -> None:
        """The curves `metrics` (a glob) are drawn over `axis` instead of the step."""

        def define(run: Run) -> None:
            run.define_metric(axis, hidden=True)
            run.define_metric(metrics, step_metric=axis)

        self._try(define)

    def finish(self, failed: bool) -> None:
        """Close the run, so that the next one of this process starts afresh."""
        self._try(lambda run: run.finish(exit_code=1 if failed else 0))
        self._run = None

    def _try(self, action: Callable[[Run], object]) -> None:
        if self._run is None:
            return
        try:
            action(self._run)
        except Exception as error:  # whatever W&B raises, the comparison must not be lost
            lost, self._run, self.failed = self._run, None, True
            _abandon(lost)
            warnings.warn(
                f"W&B failed and is left out of this run from here on: {_first_line(error)}",
                stacklevel=3,
            )


def _finite(value: Any) -> Any:
    """As JSON takes it: what is not finite becomes null."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _abandon(run: Run) -> None:
    """Leave nothing of it that the next run of this process would go into."""
    import wandb

    try:
        run.finish(exit_code=1)
    except Exception:  # its process is gone: the next run starts another
        with suppress(Exception):
            wandb.teardown(exit_code=1)


@contextmanager
def track(
    logger: LoggerConfig,
    folder: Path,
    run_id: str,
    name: str,
    group: str,
    config: Mapping[str, Any],
    tags: Sequence[str] = (),
    kind: str = COMPARISON,
) -> Iterator[Tracker]:
    """A tracker that is finished on every way out."""
    about = {
        "dir": folder,
        "id": run_id,
        "name": name,
        "group": group,
        "tags": list(tags),
        "job_type": kind,
        "config": {**config, "units": UNITS, "versions": versions(), "code": code()}
        | dict(zip(("commit", "clean"), checkout(), strict=True)),
    }
    tracker = Tracker(_start(logger, about), networks=bool(logger.networks))
    try:
        yield tracker
    except BaseException:
        tracker.finish(failed=True)
        raise
    tracker.finish(failed=False)


class Renewal(StrEnum):
    """What became of a run that was to be brought up to date."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    """W&B did not take it, or took it offline only; that has been said."""


def renew(
    logger: LoggerConfig, folder: Path, digest: str, log: Callable[[Tracker], None], **about: Any
) -> Renewal:
    """Write a run anew where what it shows (`digest`) has changed.

    It takes the place of what was there: in the folder, and on W&B's server too, for a run that is
    started online under an id overwrites. Of several at once each waits for the one before.
    `about` is what `track` is told. Whatever W&B does, nothing is raised.
    """
    from filelock import FileLock

    if logger.mode == "none":
        return Renewal.UNCHANGED
    mark = folder / "shown.sha256"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if read_text(mark) == f"{logger.mode} {digest}":
            return Renewal.UNCHANGED
        set_aside(mark)
        mark.unlink(missing_ok=True)
        shutil.rmtree(folder / "wandb", ignore_errors=True)
        with track(logger, folder, **about) as tracker:
            log(tracker)
            kept = tracker.folder
        if kept is None or tracker.failed:
            return Renewal.FAILED
        write_text(folder / KEPT, f"{kept}\n")
        mode = "offline" if is_offline(kept) else "online"
        write_text(mark, f"{mode} {digest}")
    return Renewal.WRITTEN if mode == logger.mode else Renewal.FAILED


def _start(logger: LoggerConfig, about: Mapping[str, Any]) -> Run | None:
    if logger.mode == "none":
        return None

    def start(mode: Any) -> Run:
        import wandb

        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            init_timeout=INIT_TIMEOUT,
            reinit="create_new",  # a run of the caller's own is none of ours
            x_save_requirements=False,  # a quarter of a second a run; versions are in the config
        )
        run = wandb.init(
            project=logger.project, entity=logger.entity, mode=mode, settings=settings, **about
        )
        with suppress(AttributeError):
            # Its hooks on imports would raise out of our imports once W&B's process is gone.
            run._unregister_telemetry_import_hooks(run.id)
        return run

    try:
        if logger.mode == "online":
            try:
                if has_key():
                    return start("online")
                warnings.warn(
                    "W&B has no key here, so this run is kept offline; set WANDB_API_KEY or run "
                    "`wandb login`, then `wandb sync`",
                    stacklevel=4,
                )
            except Exception as error:  # no network, a bad key: offline holds the same numbers
                warnings.warn(
                    f"W&B cannot be reached ({_first_line(error)}); this run is kept offline, "
                    "to be sent later with `wandb sync`",
                    stacklevel=4,
                )
        return start("offline")
    except Exception as error:  # an unwritable folder, say: the comparison goes on without a view
        warnings.warn(f"W&B does not start and is left out: {_first_line(error)}", stacklevel=4)
        return None


def need_sound(logger: LoggerConfig) -> None:
    """Raises Refusal where W&B does not understand one of its own variables and is to be used."""
    given = {k: v for k, v in os.environ.items() if k.startswith("WANDB_") and k != WANDB_KEY}
    if logger.mode == "none" or not given:
        return
    from wandb import Settings

    for name, value in given.items():
        try:
            Settings().update_from_env_vars({name: value})
        except Exception as error:
            raise Refusal(
                f"W&B does not understand {name}={value} ({_first_line(error)}); "
                "mend it, unset it or choose logger=none"
            ) from error


def is_offline(folder: Path) -> bool:
    """Whether the W&B run kept there was started offline, and is still to be sent."""
    return folder.name.startswith("offline-")


def has_key() -> bool:
    """Whether W&B has a key, and its server takes it; raises what W&B raises if it does not."""
    import wandb

    return bool(wandb.login(prompt=False))


def need_key(otherwise: str) -> None:
    """Raises Refusal, which says what to do otherwise, where W&B cannot be reached with a key."""
    if LoggerConfig(mode="online").mode != "online":
        raise Refusal(f"WANDB_MODE={os.environ['WANDB_MODE']} keeps W&B offline; unset it")
    need_sound(LoggerConfig(mode="online"))
    try:
        if has_key():
            return
    except Exception as error:  # no network, a bad key
        raise Refusal(f"W&B cannot be reached ({_first_line(error)}); {otherwise}") from error
    raise Refusal(f"W&B has no key here: set WANDB_API_KEY or run `wandb login`; {otherwise}")


def _first_line(error: Exception) -> str:
    """What W&B complains of; where its settings do, what they say of the first one."""
    if isinstance(error, ValueError) and hasattr(error, "errors"):  # pydantic's
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return next(iter(str(error).splitlines()), type(error).__name__)
