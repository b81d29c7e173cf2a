"""Settings of the whole process that several threads may make at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock


def process_wide(
    setting: Callable[[], AbstractContextManager[None]],
) -> Callable[[], AbstractContextManager[None]]:
    """The same setting, made by the first thread that enters and undone by the last that leaves.

    Otherwise the first thread that leaves would undo it for the others, and the last one would
    restore the value that the first had set.
    """
    lock, held, inside = Lock(), setting(), 0

    @contextmanager
    def shared() -> Iterator[None]:
        nonlocal held, inside
        with lock:
            if inside == 0:
                held = setting()
                held.__enter__()
            inside += 1
        try:
            yield
        finally:
            with lock:
                inside -= 1
                if inside == 0:
                    held.__exit__(None, None, None)

    return shared
