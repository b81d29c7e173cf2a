"""How long work shows itself: bars on standard error, and a listener for the steps of a run."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol

WAIT = 2.0
"""Seconds before a bar appears."""
EVERY = 0.1
"""Seconds between two changes of a bar."""


class Listener:
    """Receives the progress of a run. This one does nothing; task.py has one that prints."""

    def doing(self, what: str) -> None:
        """The activity from now on."""

    def news(self, message: str) -> None:
        """A message that stays on the screen."""


class Spinner(Protocol):
    """What else moves on the terminal."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


class Bar:
    """`with Bar("exact values") as bar: … bar(0.3) …`: 30 % are done.

    Nothing is drawn in the first two seconds, nor where standard error is not a terminal. A bar
    that is not told a share moves to and fro; bars within others stand below them.
    """

    hidden = False
    """Where several processes share the terminal, none is drawn."""
    spinner: Spinner | None = None
    """Stopped while bars are drawn."""
    _screen: Any = None
    """The display of all bars of this process."""
    _lines = 0
    _lock = threading.RLock()

    def __init__(self, name: str) -> None:
        self.name = name
        self._note = ""
        self._part: float | None = None
        self._next = time.monotonic() + WAIT
        self._timer: threading.Timer | None = None
        self._line: Any = None

    def __enter__(self) -> Bar:
        if not Bar.hidden and sys.stderr.isatty():
            self._timer = threading.Timer(WAIT, self._draw)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __call__(self, part: float, note: str = "") -> None:
        """Share that is done, and a text about it."""
        if self._timer is not None:
            self._part, self._note = part, note
            if (now := time.monotonic()) >= self._next or (self._line is not None and part >= 1):
                self._next = now + EVERY
                self._draw()

    def _draw(self) -> None:
        with Bar._lock:
            if self._timer is None:  # it is over
                return
            if Bar._screen is None:
                Bar._screen = _display()
            if self._line is None:
                self._line = Bar._screen.add_task(self.name, total=None)
                Bar._lines += 1
            if self._part is not None:
                text = f"{self.name}, {self._note}" if self._note else self.name
                Bar._screen.update(self._line, total=1.0, completed=self._part, description=text)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is None:
            return
        self._timer.cancel()
        with Bar._lock:
            self._timer = None
            if self._line is None:
                return
            Bar._lines -= 1
            if Bar._lines:
                Bar._screen.remove_task(self._line)
                return
            Bar._screen.stop()
            Bar._screen = None
        if Bar.spinner is not None:
            Bar.spinner.start()


@contextmanager
def beside(spinner: Spinner) -> Iterator[None]:
    """Bars that are drawn in this block stand in the place of the spinner."""
    Bar.spinner = spinner
    try:
        yield
    finally:
        Bar.spinner = None


def _display() -> Any:
    from rich.console import Console
    from rich.progress import Progress

    if Bar.spinner is not None:
        Bar.spinner.stop()
    screen = Progress(console=Console(stderr=True), transient=True)
    screen.start()
    return screen
