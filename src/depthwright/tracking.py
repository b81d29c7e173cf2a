"""W&B as a view of a run: what is logged, under which names. The results table is the record.

Offline by default: no key, no prompt, no network. Whatever W&B does, the run goes on: a failure
is said once, as a warning, and the run continues without it.

Names: `CONTENDER/column` of the results table in the summary, `CONTENDER/validation_rmse` over
the training step in the history, `claim/TERM` in the summary, `comparison` for the picture.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwright.refusal import Refusal

if TYPE_CHECKING:
    from wandb import Run

MODES = ("none", "offline", "online")
INIT_TIMEOUT = 30
"""Seconds to wait for W&B's server before going on offline."""


@dataclass
class LoggerConfig:
    """What watches a run."""

    mode: str = "offline"
    """none, offline (to be synced later) or online (needs a key)."""
    project: str = "depthwright"
    entity: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise Refusal(f"logger.mode={self.mode!r} is unknown; choose one of {', '.join(MODES)}")


class Tracker:
    """Forwards to a W&B run, or to nothing once W&B has failed or was not asked for."""

    def __init__(self, run: Run | None = None) -> None:
        self._run = run

    @property
    def folder(self) -> Path | None:
        """Where W&B keeps the run on disk; None when there is none."""
        return None if self._run is None else Path(self._run.dir).parent

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One point of the curves."""
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
            self._run = None
            warnings.warn(
                f"W&B failed and is left out of this run from here on: {_first_line(error)}",
                stacklevel=3,
            )


@contextmanager
def track(
    logger: LoggerConfig,
    folder: Path,
    run_id: str,
    name: str,
    group: str,
    config: Mapping[str, Any],
) -> Iterator[Tracker]:
    """A tracker that is finished on every way out."""
    about = {"dir": folder, "id": run_id, "name": name, "group": group, "config": dict(config)}
    tracker = Tracker(_start(logger, about))
    try:
        yield tracker
    except BaseException:
        tracker.finish(failed=True)
        raise
    tracker.finish(failed=False)


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
            x_save_requirements=False,  # a quarter of a second a run; versions are in the config
        )
        return wandb.init(
            project=logger.project, entity=logger.entity, mode=mode, settings=settings, **about
        )

    try:
        if logger.mode == "online":
            try:
                if _has_key():
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


def _has_key() -> bool:
    import wandb

    return bool(wandb.login(prompt=False))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
