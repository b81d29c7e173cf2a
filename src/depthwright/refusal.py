"""The one exception a user is meant to read, and the checks that raise it of numbers and words."""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Iterable
from numbers import Integral


class Refusal(ValueError):
    """Bad input, in one sentence that names the value, the limit and the cure.

    The command line prints the sentence and exits with a status that is not 0; no traceback.
    """


MOST_SEED = 2**63 - 3
"""Torch takes seeds below 2^64 and SQL below 2^63; the two after it are taken as well."""


def need_whole(name: str, value: int, least: int, most: int) -> None:
    """Raises Refusal unless `value` is a whole number from `least` to `most`."""
    if not isinstance(value, Integral):
        raise Refusal(f"{name}={value!r} is no whole number; give one of at least {least}")
    if value < least:
        raise Refusal(f"{name}={value} is below {least}; give a whole number of at least {least}")
    if value > most:
        raise Refusal(f"{name}={value} is above {most}; give a whole number of at most {most}")


def need_seed(name: str, value: int) -> None:
    """Raises Refusal for what no generator of random numbers takes."""
    if isinstance(value, Integral) and value < 0:
        raise Refusal(f"{name}={value} is negative; seeds start at 0")
    need_whole(name, value, 0, MOST_SEED)


def need_probability(name: str, value: float) -> None:
    """Raises Refusal unless 0 ≤ `value` < 1."""
    _need_float(name, value)
    if not 0 <= value < 1:
        raise Refusal(f"{name}={value} is not in [0, 1); ask for example for 0.01")


def need_positive(name: str, value: float, most: float = sys.float_info.max) -> None:
    """Raises Refusal unless 0 < `value` ≤ `most`."""
    _need_float(name, value)
    if not (math.isfinite(value) and value > 0):
        raise Refusal(f"{name}={value} is not a positive number; give one above 0")
    if value > most:
        raise Refusal(f"{name}={value} is above {most:g}; give a positive number of at most that")


def _need_float(name: str, value: object) -> None:
    """Raises Refusal for float32 as well, in which bounds would be compared."""
    if not isinstance(value, (float, Integral)):
        raise Refusal(f"{name}={value!r} is no float; give {name}=float(…)")


def need_one_of(name: str, value: object, known: Iterable[str]) -> None:
    """Raises Refusal unless `value` is one of the words `known`."""
    if value not in (words := list(known)):
        raise Refusal(f"{name}={value!r} is unknown; choose one of {', '.join(words)}")


def misspelt(given: str, known: Iterable[str], kind: str = "key") -> str:
    """The sentence of a word that is none of `known`: what was meant, perhaps, and what there is.

    Of keys with dots the last part is compared, and the others are those of all of `known`.
    """
    where, dot, last = given.rpartition(".")
    words = sorted(known)
    close = difflib.get_close_matches(last, words, n=1)
    meant = f"did you mean {where}{dot}{close[0]}? Choose" if close else "choose"
    return f"{given} is no {kind}; {meant} from {', '.join(words)}"


def clipped(text: str, limit: int = 60) -> str:
    """As much of what somebody else wrote as fits into a sentence."""
    return text if len(text) <= limit else text[: limit - 3] + "..."
