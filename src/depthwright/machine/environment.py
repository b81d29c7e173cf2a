"""Settings of the process in which a command runs: output, home, display.

None of this happens in a program that imports the package.
"""

from __future__ import annotations

import codecs
import functools
import io
import logging
import os
import sys
import tempfile
import threading
import time
import unicodedata
from pathlib import Path

PLAIN = {
    "ε": "eps",
    "δ": "delta",
    "Σ": "sum",
    "σ": "sigma",
    "φ": "phi",
    "ϕ": "phi",
    "π": "pi",
    "μ": "mu",
    "∫": "integral of ",
    "ℓ": "l",
    "‖": "||",
    "·": "*",
    "×": "x",
    "−": "-",
    "–": "-",
    "—": "-",
    "…": "...",
    "²": "^2",
    "³": "^3",
    "⁵": "^5",
    "⁻": "^-",
    "≤": "<=",
    "≥": ">=",
    "±": "+-",
    "→": "->",
    "√": "sqrt",
    "∈": "in",
    "½": "1/2",
}
"""Replacements for letters that the output cannot encode."""
COMPILER = frozenset({"NUMBA_DISABLE_JIT", "NUMBA_NUM_THREADS"})
"""Variables that can keep compiled code from running at all."""
WORKER = "LokyProcess"
"""How the names of joblib's processes begin."""
CACHE = ".cache"
"""In the results folder: caches of libraries, where the user's cache cannot be written to."""


@functools.cache
def end_with_parent() -> None:
    """In a worker of joblib: end when the process that started it has ended, however it did.

    It would wait for more work for five minutes otherwise.
    """
    import multiprocessing

    if not multiprocessing.current_process().name.startswith(WORKER):
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def prepare() -> None:
    """What every command does first, before slow imports."""
    codecs.register_error("plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain")
    os.environ["MPLBACKEND"] = "agg"  # pictures are only saved; Jupyter sets its own backend
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to cli.guard, not out as a traceback
    log = logging.getLogger("depthwright")
    if not log.handlers:
        log.addHandler(_ToStderr())
        log.setLevel(logging.INFO)


class _ToStderr(logging.Handler):
    """Writes to sys.stderr as it is at that moment: progress bars replace it for a while."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr, flush=True)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """A codec's error handler: letters outside ASCII are replaced by ASCII."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return "".join(PLAIN.get(letter) or _nearest(letter) for letter in wrong), error.end


def _nearest(letter: str) -> str:
    return unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode() or "?"


def give_cache(output: Path) -> None:
    """Libraries keep their files in the results folder where the user's cache cannot be written to.

    Compiled code, the font list and the log of W&B's process go there; without a folder each of
    them would fail, warn or repeat its work in every process.
    """
    home, own = os.environ.get("HOME"), os.environ.get("XDG_CACHE_HOME")
    if (own or home) and _writable(Path(own or f"{home}/.cache")):
        return
    os.environ["XDG_CACHE_HOME"] = str(output / CACHE)
    os.environ.setdefault("MPLCONFIGDIR", str(output / CACHE / "matplotlib"))


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
