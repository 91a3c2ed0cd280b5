"""Unwraps what is written in another coding, and rejoins what a line break split.

Each piece is scanned like any text; what is found in it is reported where the piece came from.
"""

from __future__ import annotations

import binascii
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple
from urllib.parse import unquote

import re2

from sidecar.core.privacy.engines import TooManyMatches
from sidecar.core.privacy.normalise import plain
from sidecar.core.privacy.rules import Rule

PERCENT: Final = "percent"
QUOTED: Final = "quoted"
BROKEN: Final = "broken"

#: More than that in one chunk and nobody can say what they hold.
PIECES_MAX: Final = 4_096
_ENCODED_MAX: Final = 32_768
_AROUND_BREAK: Final = 64
#: No kind's value and cue are shorter, so that columns of short numbers are not joined at every line.
_REJOINED_MIN: Final = 10
_BETWEEN_CHECKS: Final = 32


def _latin1() -> re2.Options:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    return options


_PERCENT_RUN: Final = re.compile(r"[^\s\"'<>]{0,512}?%[0-9A-Fa-f]{2}[^\s\"'<>]{0,4096}")
_BASE64_RUN: Final = re2.compile(rb"[A-Za-z0-9+/_-]{16,}(?:\\\\?\r?\n[ \t]*[A-Za-z0-9+/_-]{8,})*", _latin1())
_DIGIT_LAST: Final = re.compile(r"\d[.-]$")
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2}){16,}$")
#: Escapes as JSON and most languages write them, once or more, and HTML's references, with what they part.
_ESCAPES: Final = re.compile(
    r" ?(?:(?:\\{1,8}(?:u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[nrtbf\"'/])|&#x[0-9a-fA-F]{1,5};?|&#[0-9]{1,6};?"
    r"|&(?:commat|period|plus|nbsp|amp|quot|lt|gt);|(?:=[89A-F][0-9A-F]){2,}) ?)+(?: ?>)* ?"
)
_ESCAPE: Final = re.compile(
    r"\\{1,8}(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([nrtbf\"'/]))|&#x([0-9a-fA-F]{1,5});?|&#([0-9]{1,6});?"
    r"|&(commat|period|plus|nbsp|amp|quot|lt|gt);|=([89A-F][0-9A-F])"
)
#: Escapes that may hide a value: such as stand next to one, or make one up.
_TELLING_ESCAPE: Final = re.compile(
    r"\\{1,8}(?:[nrtbf](?=[\w+( >\\*-])|[\"'](?=\s?[:=,])|/|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2})"
    r"|&#|&(?:commat|period|plus|nbsp);"
)
_ESCAPED_SIGNS: Final = {
    **{"n": "\n", "r": "\n", "t": " ", "b": "", "f": "\n", '"': '"', "'": "'", "/": "/"},
    **{"commat": "@", "period": ".", "plus": "+", "nbsp": " ", "amp": "&", "quot": '"', "lt": "<", "gt": ">"},
}

DECODING_MARKS: Final = (
    Rule(PERCENT, None, shapes=(r"%[0-9a-f]{2}",)),
    Rule(QUOTED, None, shapes=(r"=[c-f][0-9a-f]=[89ab][0-9a-f]",)),
    Rule(
        BROKEN,
        None,
        shapes=(
            r"\d\n\d",
            r"\d[.=-]\n\d",
            r"\d\n-\d",
            r"[a-z@.-]=\n[a-z0-9]",
            r"@\n[a-z]",
            r"[a-z0-9]\n@",
            r"[a-z0-9]\.\n[a-z]",
            r"[a-z0-9]-\n[a-z0-9]",
            r"[a-z0-9_]{16}\n[a-z0-9]{8}",
            r"\b[a-z]{2}\n\d{2}",
            r"\b[a-z]{2}\d{2}\n",
            r"\b[a-z]{2}\d{2}[a-z0-9]\n",
            r"\b[a-z]{2}\d{2}[a-z0-9]{2}\n",
            r"\b[a-z]{2}\d{2}[a-z0-9]{3}\n",
        ),
    ),
)


class Piece(NamedTuple):
    """A text made from ``source[start:end]``; findings in it are reported as that span.

    Where ``steps`` are given, pairs of an offset in the text and the one in the source that it came from,
    a finding is reported as what it was made of.
    """

    text: str
    start: int
    end: int
    steps: Sequence[tuple[int, int]] = ()

    def span(self, start: int, end: int) -> tuple[int, int]:
        """What ``text[start:end]`` was made of."""
        if not self.steps:
            return self.start, self.end
        return self.origin(start), min(max(self.origin(end), self.origin(start) + 1), self.end)

    def origin(self, place: int) -> int:
        """Where in the source the character at ``place`` came from."""
        made, source = self.steps[bisect_right(self.steps, (place, 1 << 60)) - 1]
        return min(source + place - made, self.end)


def pieces(
    text: str, data: bytes, marks: Mapping[str, Sequence[int]], check_time: Callable[[], None]
) -> Iterator[Piece]:
    """The pieces in ``text``, whose bytes are ``data``: long runs, and what ``marks`` announce.

    Raises ``TooManyMatches`` where there are too many to look at.
    """
    for count, piece in enumerate(_all_pieces(text, data, marks), 1):
        if count > PIECES_MAX:
            raise TooManyMatches
        if count % _BETWEEN_CHECKS == 0:
            check_time()
        yield piece


def _all_pieces(text: str, data: bytes, marks: Mapping[str, Sequence[int]]) -> Iterator[Piece]:
    yield from _percent_pieces(text, marks.get(PERCENT, ()))
    for run in _BASE64_RUN.finditer(data):
        for start in range(run.start(), run.end(), _ENCODED_MAX):
            decoded = _base64(text[start : min(run.end(), start + _ENCODED_MAX)])
            if decoded:
                yield Piece(decoded, run.start(), run.end())
    if marks.get(QUOTED) or (("\\" in text or "&" in text) and _TELLING_ESCAPE.search(text)):
        yield _unescaped(text)
    yield from _rejoined(text, marks.get(BROKEN, ()))


def _rejoined(text: str, places: Sequence[int]) -> Iterator[Piece]:
    last = -1
    for place in places:
        start, end = max(0, place - _AROUND_BREAK), min(len(text), place + _AROUND_BREAK)
        broken = text.rfind("\n", start, place)
        if broken <= last or broken < 0:
            continue
        last = broken
        left, right = text[start:broken], text[broken + 1 : end]
        left, right = left.rpartition("\n")[2].removesuffix("="), right.partition("\n")[0]
        if len(left) + len(right) < _REJOINED_MIN:
            continue
        if left.endswith((".", "-")) and "@" not in left + right and not _DIGIT_LAST.search(left):
            continue  # the end of a sentence, or a hyphenated word
        yield Piece(left + right, start, end)
        if left.endswith("-"):
            yield Piece(left[:-1] + right, start, end)
        elif left[-1:].isdigit():
            yield Piece(left + " " + right, start, end)


def _percent_pieces(text: str, places: Sequence[int]) -> Iterator[Piece]:
    done = 0
    for place in places:
        if place <= done:
            continue
        start = max(text.rfind(gap, 0, place) for gap in " \n\t\"'<>") + 1
        run = _PERCENT_RUN.match(text, max(start, place - 512))
        if run is None:
            continue
        done = run.end()
        decoded = unquote(run[0], errors="replace")
        if "+" in decoded:
            decoded = re.sub(r"[&;]", "\n", decoded) + "\n" + decoded.replace("+", " ")
        else:
            decoded = re.sub(r"[&;]", "\n", decoded)
        yield Piece(plain(decoded), run.start(), run.end())


def _unescaped(text: str) -> Piece:
    """``text`` without its escapes, in one piece, since a value's cue may be some lines before it."""
    made: list[str] = []
    steps = [(0, 0)]
    length = last = 0
    for run in _ESCAPES.finditer(text):
        signs = _ESCAPE.sub(_sign, run[0])
        if any("\ud800" <= sign <= "\udfff" for sign in signs):
            signs = signs.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if "\x80" <= max(signs, default="") <= "\xff":
            with suppress(UnicodeDecodeError):  # the bytes of UTF-8, one by one
                signs = signs.encode("latin-1").decode()
        made += (text[last : run.start()], plain(signs))
        length += run.start() - last
        steps.append((length, run.start()))
        length += len(made[-1])
        last = run.end()
        steps.append((length, last))
    return Piece("".join([*made, text[last:]]), 0, len(text), steps)


def _sign(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2] or escape[4] or escape[7]
    if code or escape[5]:
        return chr(int(code, 16) if code else int(escape[5]))
    return _ESCAPED_SIGNS[escape[3] or escape[6]]


_LEGIBLE: Final = bytes([9, 10, 13, *range(0x20, 0x7F)])
_LATIN: Final = bytes([*_LEGIBLE, *range(0xC2, 0x100)])
_CONTINUING: Final = bytes(range(0x80, 0xC0))
#: The upper bytes of UTF-16 up to U+05FF.
_UPPER_BYTES: Final = bytes(range(6))


def _base64(run: str) -> str:
    """What ``run`` says in base 16 or 64; empty where it does not decode to text.

    The run may be the rest of one that a chunk cut, so every alignment is tried.
    """
    if run.isalpha() and run[1:].islower():
        return ""  # a long word
    value = re.sub(r"[\s\\]", "", run)
    for offset in range(4):
        sample = _raw(value[offset : offset + 64])
        if len(sample) < 8:
            continue
        illegible = len(sample.translate(None, _LEGIBLE))
        if illegible <= 0.1 * len(sample):
            return plain(_raw(value[offset:]).decode("utf-8", "replace"))
        if _is_utf8(sample):
            return plain(_raw(value[offset:]).lstrip(_CONTINUING).decode("utf-8", "replace"))
        if len(sample.translate(None, _LATIN)) <= 0.1 * len(sample) and len(sample) > 16:
            return plain(_raw(value[offset:]).decode("latin-1"))
        for coding in ("utf-16-le", "utf-16-be"):
            if _is_wide(sample, coding):
                return plain(_raw(value[offset:]).decode(coding, "replace"))
    return ""


def _is_utf8(sample: bytes) -> bool:
    """Whether ``sample``, which may begin and end within a character, is UTF-8 and all of it shows."""
    try:
        text = sample.lstrip(_CONTINUING).decode()
    except UnicodeDecodeError as error:
        if error.start < len(error.object) - 3:
            return False
        text = error.object[: error.start].decode()
    return len(text) > 3 and _shows(text)


def _is_wide(sample: bytes, coding: str) -> bool:
    """Whether nearly all of ``sample`` is of the alphabets that UTF-16 begins with; chance makes none."""
    upper = sample[1::2] if coding == "utf-16-le" else sample[::2]
    return 4 * len(upper.translate(None, _UPPER_BYTES)) <= len(upper) and _shows(
        sample.decode(coding, "replace")
    )


_HIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def _shows(text: str) -> bool:
    return _HIDDEN.search(text) is None


def _raw(value: str) -> bytes:
    """The bytes that ``value`` codes in base 16 or 64, of either alphabet; none where it is neither."""
    try:
        if _HEX.match(value):
            return binascii.unhexlify(value)
        value = value[: len(value) - (len(value) % 4 == 1)].replace("-", "+").replace("_", "/")
        return binascii.a2b_base64(value + "=" * (-len(value) % 4))
    except ValueError:
        return b""
