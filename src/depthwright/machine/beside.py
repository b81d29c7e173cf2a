"""A call in a process of its own, so that it can be stopped and holds nobody up."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from typing import Any


class Beside:
    """`Beside(function, *arguments)` starts at once; `ended`, `result()` and `stop()` follow it.

    Function and arguments are sent to a fresh process, so they are of modules it can import.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        context = get_context("spawn")
        self._ours, theirs = context.Pipe(duplex=False)
        heard, told = context.Pipe(duplex=False)
        self._process = context.Process(target=_answer, args=(heard, theirs), daemon=True)
        self._process.start()
        heard.close()
        theirs.close()  # so that the end of the process ends the pipe
        with told, suppress(BrokenPipeError):  # gone already: `result` says it
            told.send((function, arguments))

    def ended(self, seconds: float = 0.0) -> bool:
        """Whether there is an answer, or the process is gone; waits for it so long."""
        return self._ours.poll(seconds)

    def result(self) -> Any:
        """What the function returned; raises what it raised, and EOFError where it was killed."""
        answer, failure = self._ours.recv()
        self._process.join()
        if failure is not None:
            raise failure
        return answer

    def stop(self) -> None:
        """End the process, wherever it is."""
        self._process.terminate()
        self._process.join()
        self._ours.close()


def _answer(heard: Connection, theirs: Connection) -> None:
    # Whoever waits for an answer of the calling process goes first, and hearing the call imports
    # the modules that it needs: seconds of the processor.
    os.nice(10)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        function, arguments = heard.recv()
        theirs.send((function(*arguments), None))
    except Exception as failure:
        theirs.send((None, failure))


def _end_with_parent() -> None:
    """Also where the calling process is killed."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
