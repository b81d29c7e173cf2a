"""The one exception a user is meant to read."""

from __future__ import annotations


class Refusal(ValueError):
    """Bad input, in one sentence that names the value, the limit and the cure.

    The command line prints the sentence and exits with a status that is not 0; no traceback.
    """


def clipped(text: str, limit: int = 60) -> str:
    """As much of what somebody else wrote as fits into a sentence."""
    return text if len(text) <= limit else text[: limit - 3] + "..."
