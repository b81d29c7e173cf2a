"""How long work shows itself: a bar on standard error, and a listener for the steps of a run."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

WAIT = 2.0
"""Seconds before a bar appears."""


class Listener:
    """Receives the progress of a run. This one does nothing; task.py has one that prints."""

    def doing(self, what: str, *, has_bar: bool = False) -> None:
        """The activity from now on; `has_bar`: it draws a bar of its own."""

    def news(self, message: str) -> None:
        """A message that stays on the screen."""


class Bar:
    """`with Bar("exact values") as bar: … bar(0.3) …`: 30 % are done.

    Nothing is drawn in the first two seconds, nor where standard error is not a terminal.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._start = time.monotonic()
        self._drawn: Any = None

    def __enter__(self) -> Bar:
        return self

    def __call__(self, part: float, note: str = "") -> None:
        """Share that is done, and a text about it."""
        if self._drawn is None:
            if time.monotonic() - self._start < WAIT or not sys.stderr.isatty():
                return
            from rich.console import Console
            from rich.progress import Progress

            self._drawn = Progress(console=Console(stderr=True), transient=True)
            self._task = self._drawn.add_task(self.name, total=1.0)
            self._drawn.start()
        text = f"{self.name}, {note}" if note else self.name
        self._drawn.update(self._task, completed=part, description=text)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._drawn is not None:
            self._drawn.stop()
