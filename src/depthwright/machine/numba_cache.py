"""Compiled code that numba keeps on disk between processes, and what it is made of.

Numba recompiles a stored function when its own file or a variable that it closes over has changed,
but not when a function that it calls has, in another file. So a stored function closes over the
`digest` of the other files that it is made of, and what it calls is not stored by itself: that
would be read from the disk without a check of those files.

Where neither the package's folder nor the user's cache can be written to, nothing is stored and
every process compiles again. What compiles for more than two seconds is named in the log of this
package, at level INFO.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
from numba.core import event

from depthwright.progress import WAIT
from depthwright.refusal import Refusal

log = logging.getLogger("depthwright")
_messages: dict[Callable[..., Any], str] = {}
"""Entry → the message shown while it is compiled."""


def digest(*modules: ModuleType) -> str:
    """Digest of the modules' source files."""
    sources = (Path(str(module.__file__)).read_bytes() for module in modules)
    return hashlib.sha256(b"".join(sources)).hexdigest()


def stored(name: str, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """As `numba.njit`, for an entry `name`: stored on disk where there is a folder for it."""

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            made = numba.njit(cache=True, **options)(function)
            later = "kept for the next time"
        except RuntimeError:  # "no locator available": neither folder can be written to
            made = numba.njit(**options)(function)
            later = "to keep it, set NUMBA_CACHE_DIR to a folder that can be written to"
        _messages[function] = f"compiling {name} for this processor; {later}"
        return made

    return compiled


def need_compiler() -> None:
    """Refusal where NUMBA_DISABLE_JIT keeps compiled code from running.

    Without compilation most of this code is far too slow, and the training step does not run.
    """
    config: Any = numba.config
    if config.DISABLE_JIT:
        raise Refusal(
            f"NUMBA_DISABLE_JIT={os.environ.get('NUMBA_DISABLE_JIT', 1)} switches off the compiler "
            "that values and training need; unset it"
        )


class _Announcement(event.Listener):
    """Prints what is being compiled when it takes long; at most one message at a time."""

    def __init__(self) -> None:
        self._open: list[threading.Timer | None] = []

    def on_start(self, event: Any) -> None:
        """Compilation of an entry starts, or of a function that it calls."""
        message = _messages.get(event.data["dispatcher"].py_func)
        timer = threading.Timer(WAIT, log.info, [message]) if message else None
        if timer:
            timer.daemon = True
            timer.start()
        self._open.append(timer)

    def on_end(self, event: Any) -> None:
        """Compilation ended, with or without an error."""
        timer = self._open.pop()
        if timer:
            timer.cancel()


event.register("numba:compile", _Announcement())
