"""Layers out of the lines of the open exact format, from files that anybody may have written.

A line is read in pieces, and each piece is checked before the next is looked at: a file that holds
something else than entries is refused after the first of them, however far it would unpack. What is
read takes a few hundred bytes an entry, and limits on sizes, entries, text and bits leave ten times
the room that the largest networks made here need.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from operator import itemgetter
from typing import Any, TextIO

from depthwright.networks.exact.layer import BIAS, Layer, Patterns
from depthwright.refusal import Refusal, clipped

POWER_LIMIT = 1 << 26
"""Powers of two beyond this are refused: an integer of so many bits takes 8 MB."""
SPAN_LIMIT = 1 << 30
"""Networks whose values might need more bits than this, 128 MB each, are refused, unless the file
itself is long: see SPAN_EACH."""
SPAN_EACH = 32
"""Bits of a value per character of the file so far; the largest networks made here need 2.2."""
LAYER_LIMIT = 1 << 37
"""Bits that a layer's terms may move for one input; it takes seconds."""
DIGITS_LIMIT = POWER_LIMIT // 4
"""Of an integer, hexadecimal."""
TERMS_LIMIT = 1 << 10
"""Terms of one entry; networks made here have a handful."""
EMPTY, EACH = 1 << 20, 64
"""So many neurons a file may declare without any entry, and so many more per entry."""
TEXT_LIMIT = 1 << 33
"""Characters of a whole file."""
HEADER_LIMIT = 1 << 24
"""Characters of the first line."""
PIECE = 1 << 20
"""Characters read at once."""

HEX = re.compile(r"-?[0-9a-f]+\Z")
OPENING = re.compile(r'\s*\{\s*"(weights|biases)"\s*:\s*\[')
FOLLOWING = re.compile(r'\s*,\s*"(weights|biases)"\s*:\s*\[')
LAST = re.compile(r"\s*\}\s*\Z")
CLOSING = re.compile(r"\]\s*\]")
EMPTY_LIST = re.compile(r"\s*\]")
BLANKS = re.compile(r"\s{4096}")
PLACE = itemgetter(0, 1)
"""Row and column of a term."""

Term = tuple[int, int, int, int]


class Lines:
    """The text of a file, a bounded piece at a time."""

    def __init__(self, file: TextIO, name: str) -> None:
        self._file, self.name = file, name
        self.taken = 0
        """Characters read so far."""

    def piece(self, limit: int = PIECE) -> str:
        """The line, or what comes next of it; "" at the end of the file."""
        text = self._file.readline(limit)
        self.taken += len(text)
        if self.taken > TEXT_LIMIT:
            raise Refusal(
                f"{self.name} unpacks to more than {TEXT_LIMIT} characters, ten times the largest "
                "network made here; give a smaller one"
            )
        return text


def parsed(text: str, place: str) -> Any:
    """JSON; what is none is refused."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refusal(f"{place} is not JSON: {clipped(str(error))}") from error


def read_layer(
    lines: Lines, fan_in: int, fan_out: int, patterns: Patterns, place: str
) -> Layer | None:
    """The layer of the next line; None where the file has ended."""
    text = lines.piece()
    if not text:
        return None
    parts = _parts(parsed(text, place), place) if _whole(text) else _in_pieces(lines, text, place)
    terms: list[Term] = []
    most = TERMS_LIMIT * fan_out * (fan_in + 1)
    for key, entries in parts:
        add = _weights if key == "weights" else _biases
        add(terms, entries, fan_in, fan_out, place)
        if len(terms) > most:
            raise Refusal(f"{place}: {len(terms)} terms are too many for {fan_out}×{fan_in}")
    terms.sort(key=PLACE)
    rows, columns, integers, powers = zip(*terms, strict=True) if terms else ((),) * 4
    shared = patterns.share(rows), patterns.share(columns)
    return Layer(fan_in, fan_out, *shared, integers, powers)


def check_cancelled(layer: Layer, place: str) -> None:
    """Refuse an entry that is listed too often, or whose terms add up to 0."""
    if layer.nonzeros == len(layer.rows):
        return
    often = Counter(zip(layer.rows, layer.columns, strict=True)).most_common(1)[0][1]
    if often > TERMS_LIMIT:
        raise Refusal(
            f"{place}: an entry is listed {often} times, more than {TERMS_LIMIT}; add them up"
        )
    if not all(value for _, _, value in layer.entries()):
        raise Refusal(f"{place}: entries listed twice cancel; zeros are left out")


def _whole(text: str) -> bool:
    return len(text) < PIECE or text.endswith("\n")


def _parts(data: Any, place: str) -> Iterator[tuple[str, list[Any]]]:
    """Weights and biases of a short line."""
    if not isinstance(data, dict) or set(data) != {"weights", "biases"}:
        raise _strange(place)
    if not all(isinstance(part, list) for part in data.values()):
        raise Refusal(f"{place}: weights and biases are not both lists")
    yield from data.items()


def _strange(place: str) -> Refusal:
    return Refusal(f"{place} does not hold weights and biases")


def _in_pieces(lines: Lines, text: str, place: str) -> Iterator[tuple[str, list[Any]]]:
    """The same of a long line, some entries at a time."""
    rest = _Rest(lines, text, place)
    first, pattern = "", OPENING
    for _ in range(2):
        key = rest.take(pattern)
        if key == first:
            raise _strange(place)
        first, pattern = key, FOLLOWING
        for entries in rest.entries():
            yield key, entries
    rest.end()


class _Rest:
    """What has not been parsed of a line."""

    def __init__(self, lines: Lines, text: str, place: str) -> None:
        self._lines, self._text, self._place = lines, text, place
        self._ended = False

    def _more(self) -> None:
        """Another piece; refused where there is none, or where none would help."""
        if len(self._text) > DIGITS_LIMIT + PIECE:
            raise Refusal(f"{self._place}: an entry has more than {DIGITS_LIMIT} digits")
        piece = "" if self._ended else self._lines.piece()
        if not piece:
            raise Refusal(f"{self._place} is not JSON: it ends in the middle")
        if BLANKS.search(piece):
            raise Refusal(f"{self._place} holds thousands of blanks in a row; leave them out")
        self._text += piece
        self._ended = piece.endswith("\n")

    def take(self, pattern: re.Pattern[str]) -> str:
        """The key that stands next."""
        if not self._ended and len(self._text) < 2 * PIECE:
            self._text += (piece := self._lines.piece())
            self._ended = piece.endswith("\n") or not piece
        match = pattern.match(self._text)
        if match is None:
            raise _strange(self._place)
        self._text = self._text[match.end() :]
        return match[1]

    def entries(self) -> Iterator[list[Any]]:
        """Those of a list whose bracket was taken, and the bracket that closes it."""
        if match := EMPTY_LIST.match(self._text):
            self._text = self._text[match.end() :]
            return
        comma = False
        while True:
            match = CLOSING.search(self._text)
            end = match.start() + 1 if match else self._text.rfind("]") + 1
            if end:
                part = self._text[:end].lstrip()
                self._text = self._text[match.end() if match else end :]
                if comma and part and part[0] != ",":
                    raise Refusal(f"{self._place} is not JSON: a comma is missing")
                yield parsed(f"[{part[1:] if comma else part}]", self._place)
                comma = True
            if match:
                return
            if comma and (match := EMPTY_LIST.match(self._text)):
                self._text = self._text[match.end() :]
                return
            self._more()

    def end(self) -> None:
        """The line's last bracket."""
        while not LAST.match(self._text):
            if self._text.strip():
                raise _strange(self._place)
            self._more()


def _weights(terms: list[Term], entries: list[Any], fan_in: int, fan_out: int, place: str) -> None:
    for entry in entries:
        good = type(entry) is list and len(entry) == 4 and type(entry[0]) is type(entry[1]) is int
        if not (good and 0 <= entry[0] < fan_out and 0 <= entry[1] < fan_in):
            raise Refusal(
                f"{place}: {short(entry)} is not [row < {fan_out}, column < {fan_in}, hex, power]"
            )
        row, column, text, power = entry
        terms.append((row, column, _integer(text, place), _power(power, place)))


def _biases(terms: list[Term], entries: list[Any], fan_in: int, fan_out: int, place: str) -> None:
    for entry in entries:
        good = type(entry) is list and len(entry) == 3 and type(entry[0]) is int
        if not (good and 0 <= entry[0] < fan_out):
            raise Refusal(f"{place}: {short(entry)} is not [row < {fan_out}, hex, power]")
        row, text, power = entry
        terms.append((row, BIAS, _integer(text, place), _power(power, place)))


def _integer(text: Any, place: str) -> int:
    if not (type(text) is str and HEX.match(text)):
        raise Refusal(f"{place}: {short(text)} is not an integer in hexadecimal")
    if len(text) > DIGITS_LIMIT + 1:
        raise Refusal(f"{place}: an entry has more than {DIGITS_LIMIT} digits")
    integer = int(text, 16)
    if integer == 0:
        raise Refusal(f"{place}: an entry is 0; zeros are left out")
    return integer


def _power(power: Any, place: str) -> int:
    if not (type(power) is int and -POWER_LIMIT <= power <= POWER_LIMIT):
        raise Refusal(f"{place}: {short(power)} is not a power of two within ±2^26")
    return power


def spans(
    layer: Layer, before: list[tuple[int, int]], characters: int, place: str
) -> list[tuple[int, int]]:
    """Per value a, b: it is a multiple of 2^a below 2^b in size, for all finite float64 inputs.

    Powers are limited one by one, but a chain of layers adds them up, and exact evaluation would
    shift an integer by all of them where a large and a small value meet: for every term of a row.
    `characters` of the file have been read.
    """
    lows: list[int | None] = [None] * layer.fan_out
    tops, counts = [0] * layer.fan_out, [0] * layer.fan_out
    for row, column, integer, power in layer.terms:
        if column == BIAS:
            low, top = power, power + integer.bit_length()
        else:
            low, top = before[column]
            low, top = low + power, top + power + integer.bit_length()
        known = lows[row]
        if known is None:
            lows[row], tops[row] = low, top
        else:
            if low < known:
                lows[row] = low
            if top > tops[row]:
                tops[row] = top
        counts[row] += 1
    found = []
    widest = moved = 0
    for low, top, count in zip(lows, tops, counts, strict=True):  # type: ignore[assignment]
        if low is None:
            found.append((0, 0))
            continue
        top += count.bit_length()
        found.append((low, top))
        if top - low > widest:
            widest = top - low
        moved += (top - low) * count
    if widest > (limit := max(SPAN_LIMIT, SPAN_EACH * characters)):
        raise Refusal(
            f"{place}: a value there may need {widest} bits, more than {limit}; "
            "its powers of two, those of the layers before included, lie too far apart"
        )
    if moved > LAYER_LIMIT:
        raise Refusal(
            f"{place}: the terms there may need {moved} bits in all, more than {LAYER_LIMIT}; "
            "their powers of two, those of the layers before included, lie too far apart"
        )
    return found


def short(value: Any) -> str:
    """As much of it as fits into a sentence."""
    try:
        return clipped(repr(value))
    except (ValueError, RecursionError):  # more digits, or deeper, than Python prints
        return f"an integer of {value.bit_length()} bits" if type(value) is int else "something"
