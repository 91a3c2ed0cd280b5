"""Weighs nearness: a health term and whose it is, a name and a private fact."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sidecar.core.privacy.findings import NAME_KIND, Hit
from sidecar.core.privacy.health import HEALTH, OWN, PRIVATE, RECORD, SELF

Marks = Mapping[str, Sequence[int]]

_NEAR: Final = 120
_SENTENCE: Final = 90
_STOP: Final = re.compile(r"[.!?]\s+[A-Z\xc0-\xde]|\n\s*\n|\n[-*|#]")
_COMPLETED_BY_NAME: Final = ("address", "date_of_birth", "phone")
_PARAGRAPH: Final = re.compile(r"\n\s*\n")


def _near(places: Sequence[int], low: int, high: int) -> Iterator[int]:
    for index in range(bisect_left(places, low), len(places)):
        if places[index] > high:
            return
        yield places[index]


def _together(text: str, one: int, other: int, stop: re.Pattern[str]) -> bool:
    return stop.search(text, min(one, other), max(one, other)) is None


def tie(text: str, hits: Sequence[Hit], marks: Marks) -> Iterator[Hit]:
    """The hits that follow from others being near: ``health``, ``person_fact``, and names made certain."""
    names = sorted(hit.start for hit in hits if hit.kind == NAME_KIND)
    yield from _health(text, marks, names)
    facts = marks.get(PRIVATE, ())
    for hit in hits:
        if hit.kind == NAME_KIND and _any_together(text, facts, hit, _NEAR):
            yield Hit(hit.start, hit.end, "person_fact", True)
        elif hit.kind in _COMPLETED_BY_NAME and not hit.certain and _any_together(text, names, hit, 80):
            yield hit._replace(certain=True)


def _any_together(text: str, places: Sequence[int], hit: Hit, reach: int) -> bool:
    near = _near(places, hit.start - reach, hit.end + reach)
    return any(_together(text, hit.start, place, _PARAGRAPH) for place in near)


def _health(text: str, marks: Marks, names: Sequence[int]) -> Iterator[Hit]:
    selves, records, own = (marks.get(mark, ()) for mark in (SELF, RECORD, OWN))
    if not (selves or records or names or own):
        return
    for place in marks.get(HEALTH, ()):
        if any(
            _together(text, name, place, _PARAGRAPH) for name in _near(names, place - _NEAR, place + _NEAR)
        ) or any(
            _together(text, self, place, _STOP)
            for self in _near(selves, place - _SENTENCE, place + _SENTENCE)
        ):
            yield Hit(place - 1, place, "health", True)
        elif any(
            _together(text, word, place, _STOP) for word in _near(own, place - _SENTENCE, place + 60)
        ) or any(
            _together(text, record, place, _STOP) for record in _near(records, place - _NEAR, place + 60)
        ):
            yield Hit(place - 1, place, "health", False)
