"""Puts numbers, times and foreign texts into words for people; pure, and the templates' filters."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Final

from sidecar.core.durations import in_words

NANO: Final = 1_000_000_000
#: What an absent value looks like.
NONE: Final = "–"

#: Texts that come from apps, models and upstreams are cut to this many characters where they are listed.
CUT_CHARS: Final = 60

_TIER_TITLES: Final = {"local_ollama": "Local Ollama", "ollama_cloud": "Ollama Cloud", "openai": "OpenAI"}


def usd(nano: int | None) -> str:
    """Nano-dollars with the precision they deserve: cents from a dollar on, three digits below it."""
    if nano is None:
        return NONE
    sign, dollars = ("-" if nano < 0 else ""), abs(Decimal(nano)) / NANO
    if dollars == 0:
        return "$0"
    if dollars >= 1:
        return f"{sign}${dollars:,.2f}"
    # Three significant digits: the first one stands this many places behind the point.
    places = max(2, -dollars.adjusted() + 2)
    digits = f"{dollars:.{min(places, 9)}f}".rstrip("0")
    whole, _, decimals = digits.partition(".")
    return f"{sign}${whole}.{decimals.ljust(2, '0')}"


def usd_exact(nano: int | None) -> str:
    """Nano-dollars to the last digit, for titles and forms; no currency sign."""
    if nano is None:
        return NONE
    dollars, rest = divmod(abs(nano), NANO)
    decimals = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if nano < 0 else ''}{dollars}.{decimals}"


def ms(value: float | None) -> str:
    """A duration in milliseconds, in the unit that reads best."""
    return NONE if value is None else in_words(value)


def count(value: int | float | None) -> str:
    """A number with its thousands set apart."""
    return NONE if value is None else f"{value:,.0f}"


def percent(share: float | None, decimals: int = 1) -> str:
    """A share of 0 to 1 as a percentage; what is not nothing is never shown as nothing."""
    if share is None:
        return NONE
    least = 10**-decimals
    if 0 < share * 100 < least:
        return f"<{least:g} %"
    text = f"{share * 100:.{decimals}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def number(value: float) -> str:
    """A plain number without needless digits."""
    return f"{value:g}"


def cut(text: object, chars: int = CUT_CHARS) -> str:
    """Foreign text made harmless to a layout: one line, control characters visible, cut.

    Marks that turn the direction of writing or hide text are shown as their code points: a session
    must not be able to rewrite the row that it stands in.
    """
    shown = "".join(map(_visible, str(text)[: chars + 1]))
    return shown if len(shown) <= chars else shown[: chars - 1] + "…"


def _visible(char: str) -> str:
    if char in "\n\r\t":
        return " "
    kind = unicodedata.category(char)
    if kind in ("Cc", "Cf", "Cs", "Co", "Cn"):
        return f"\\u{ord(char):04x}"
    return " " if kind.startswith("Z") else char


def tier_title(name: str) -> str:
    """A tier's name as people write it."""
    return _TIER_TITLES.get(name) or name or NONE


def moment(at_ns: int, zone: tzinfo, now_ns: int) -> str:
    """A time in ``zone``: the clock alone for today, the date with it otherwise."""
    then = _at(at_ns).astimezone(zone)
    today = _at(now_ns).astimezone(zone).date()
    if then.date() == today:
        return f"{then:%H:%M:%S}"
    return f"{then:%d %b %H:%M:%S}" if then.year == today.year else f"{then:%d %b %Y %H:%M}"


def full_moment(at_ns: int, zone: tzinfo) -> str:
    """Date and time in ``zone``, with the zone's name."""
    return f"{_at(at_ns).astimezone(zone):%d %b %Y %H:%M:%S %Z}"


def utc(at_ns: int) -> str:
    """Date and time in UTC, to the millisecond."""
    return f"{_at(at_ns):%Y-%m-%d %H:%M:%S}.{at_ns // 1_000_000 % 1_000:03d} UTC"


def iso(at_ns: int) -> str:
    """Date and time in UTC as machines read it."""
    return f"{_at(at_ns):%Y-%m-%dT%H:%M:%SZ}"


def ago(at_ns: int, now_ns: int) -> str:
    """How long ago, or in how long, roughly."""
    seconds = (now_ns - at_ns) // NANO
    span = span_words(abs(seconds))
    return f"{span} ago" if seconds >= 0 else f"in {span}"


def span_words(seconds: int) -> str:
    """A span of time in its two largest units at most."""
    for unit, below, next_unit in ((86_400, "h", 3_600), (3_600, "min", 60)):
        if seconds >= unit:
            name = "d" if unit == 86_400 else "h"
            rest = seconds % unit // next_unit
            return f"{seconds // unit} {name}" + (f" {rest} {below}" if rest else "")
    return f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"


def choose(value: str, words: Mapping[str, str]) -> str:
    """The words for a code, or the code itself, readable."""
    return words.get(value) or value.replace("_", " ")


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _at(at_ns: int) -> datetime:
    return _EPOCH + timedelta(seconds=at_ns // NANO)
