"""A bar on standard error for work that takes longer than two seconds, if anyone is looking."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

WAIT = 2.0
"""Seconds before a bar appears."""


class Patience:
    """`with Patience("exact values") as bar: … bar(0.3) …`: 30 % are done.

    Nothing is drawn in the first two seconds, nor where standard error is not a terminal.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._start = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Patience:
        return self

    def __call__(self, part: float) -> None:
        """So much is done."""
        if self._bar is None:
            if time.monotonic() - self._start < WAIT or not sys.stderr.isatty():
                return
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self.name, total=1.0)
            self._bar.start()
        self._bar.update(self._task, completed=part)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
