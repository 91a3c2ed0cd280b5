"""What a rule is: triggers that the engine looks for, and a validator that looks at each place they end."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from sidecar.core.privacy.findings import Hit

# Given the plain text and where a trigger starts and ends, the hits found there.
Validator = Callable[[str, int, int], Iterable[Hit]]


class Trigger(msgspec.Struct, frozen=True):
    """What the engine looks for: a caseless byte expression of one fixed width.

    ``free_left`` and ``free_right`` say that a match must not stand inside a word; the scanner asks that,
    since engines are slow to build with thousands of word boundaries.
    """

    expression: bytes
    width: int
    free_left: bool = False
    free_right: bool = False


class Rule(msgspec.Struct, frozen=True):
    """``shapes`` are expressions made of characters, classes, ``{n}``, ``\\b`` and ``^``.

    ``words`` are literals that stand free on both sides, ``stems`` only begin free (``diabet`` finds
    ``diabetes``), ``parts`` stand anywhere. A rule without a validator is a mark: its places are handed to
    those who weigh nearness. A ``capital`` rule is about matches that begin with a capital.
    """

    name: str
    validate: Validator | None = None
    shapes: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    stems: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    capital: bool = False

    def triggers(self) -> Iterator[Trigger]:
        for shape in self.shapes:
            yield Trigger(shape.encode("latin-1"), shape_width(shape))
        for literals, left, right in (
            (self.words, True, True),
            (self.stems, True, False),
            (self.parts, False, False),
        ):
            short: defaultdict[int, list[str]] = defaultdict(list)
            for literal in literals:
                ascii_ends = (literal[0] + literal[-1]).isascii() and (literal[0] + literal[-1]).isalnum()
                if left and len(literal) <= _SHORT and ascii_ends:
                    short[len(literal)].append(literal)
                else:
                    free_left, free_right = left and literal[0].isalnum(), right and literal[-1].isalnum()
                    yield Trigger(_expression(literal), len(literal), free_left, free_right)
            for width, alike in short.items():
                inner = b"|".join(map(_expression, alike))
                yield Trigger(b"\\b(?:" + inner + b")" + (b"\\b" if right else b""), width)


# Shorter words occur inside others too often for each to be reported and then dismissed.
_SHORT: Final = 4
_SHAPE_TOKEN: Final = re.compile(r"(\\b|\^)|(?:\[(?:\\.|[^\]\\])+\]|\\.|[^\\\[{])(?:\{(\d+)\})?", re.DOTALL)


def shape_width(shape: str) -> int:
    """How many characters ``shape`` matches. Raises ``ValueError`` where that is not fixed."""
    width = place = 0
    while place < len(shape):
        token = _SHAPE_TOKEN.match(shape, place)
        if token is None or token[0][0] in "?*+|().":
            raise ValueError(f"a shape of no fixed width: {shape!r}")
        width += 0 if token[1] else int(token[2] or 1)
        place = token.end()
    return width


def words(text: str) -> tuple[str, ...]:
    """The words in ``text``, which blanks and line breaks part."""
    return tuple(text.split())


def listed(text: str) -> tuple[str, ...]:
    """The literals in ``text``, which commas part; line breaks in it are blanks."""
    return tuple(dict.fromkeys(" ".join(literal.split()) for literal in text.split(",")))


def _expression(literal: str) -> bytes:
    return "".join(map(_escaped, literal)).encode("latin-1")


def _escaped(char: str) -> str:
    if char.isascii():
        return re.escape(char)
    return f"[{char.lower()}{char.upper()}]" if len(char.upper()) == 1 else char


_STAND_IN_WORDS: Final = (
    r"your|example|sample|dummy|placeholder|change.?me|replace|redacted|insert|my|todo|here"
    r"|fixme|foobar|xxx+|beispiel|muster|exemple|ejemplo"
)
_STAND_IN_SIGNS: Final = r"\.\.\.+|\*\*\*+|[<>{}]|\$\(|\A\$[A-Z_]{3,}\Z|\A%[A-Za-z_]+%\Z|\A%[A-Za-z]\Z"
_WORDS: Final = re.compile(_STAND_IN_WORDS, re.IGNORECASE)
_SIGNS: Final = re.compile(_STAND_IN_SIGNS)
_NOT_OF_A_WORD: Final = re.compile(r"[^A-Za-z0-9]+")
_PLACEHOLDER: Final = re.compile(
    _STAND_IN_WORDS.replace("|my|", "|my[-_]|").replace("|here", "|_here")
    + f"|{_STAND_IN_SIGNS}|0123456789|1234567890|abcdef",
    re.IGNORECASE,
)
#: How much of a random value may read like a placeholder by chance.
_BY_CHANCE: Final = 0.2


def is_placeholder(value: str) -> bool:
    """Whether ``value`` stands for a value that the reader is to put in, or is one sign repeated."""
    return _PLACEHOLDER.search(value) is not None or len(set(value)) <= 2


def is_mostly_placeholder(value: str) -> bool:
    """The same of a long and random value, in which a few letters may read like a word by chance.

    A word of its own counts, or one that makes up a good part of the value.
    """
    if len(set(value)) <= 2 or _SIGNS.search(value):
        return True
    read = sum(len(match[0]) for match in _WORDS.finditer(value))
    return read > len(value) * _BY_CHANCE or any(
        _WORDS.fullmatch(word) for word in _NOT_OF_A_WORD.split(value) if len(word) > 2
    )


def around(text: str, start: int, stop: int, count: int) -> str:
    return text[max(0, start - count) : stop + count]


def before(text: str, place: int, count: int) -> str:
    return text[max(0, place - count) : place]


def digits_of(value: str) -> str:
    return "".join(filter(str.isdigit, value))
