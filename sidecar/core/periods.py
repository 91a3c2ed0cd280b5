"""Says which day, month or total a moment belongs to, in the operator's time zone.

A period starts at local midnight and ends where the next one starts, so that periods follow each other
without a gap or an overlap: a day in which the clocks change is 23 or 25 hours long. Where the clocks
skip midnight itself, the day starts when midnight would have been by the clocks before the change.

A month starts on ``reset_day``; in a month that is too short, on its last day.
"""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum

import msgspec

NANOSECONDS = 1_000_000_000

#: Spend is summed by quarters of an hour: the midnights of every time zone in use fall on their edges.
SLOT_S = 15 * 60

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class PeriodKind(StrEnum):
    """How long a cap lasts before it starts anew; a total never does."""

    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


class Period(msgspec.Struct, frozen=True):
    """A stretch of time, from ``start_ns`` to just before ``end_ns``, in Unix nanoseconds.

    ``end_ns`` is None for a total. ``label`` is the local date of its first day; a total's is ``ever``.
    """

    kind: PeriodKind
    start_ns: int
    end_ns: int | None
    label: str


_TOTAL = Period(PeriodKind.TOTAL, 0, None, "ever")


class Calendar:
    """The periods of one time zone and one reset day."""

    __slots__ = ("_reset_day", "_zone")

    def __init__(self, zone: tzinfo, reset_day: int = 1) -> None:
        """``reset_day`` is the day of the month, 1 to 31, on which months start."""
        if not 1 <= reset_day <= 31:
            raise ValueError(f"reset_day is a day of the month, 1 to 31, not {reset_day}")
        self._zone = zone
        self._reset_day = reset_day

    def period(self, kind: PeriodKind, now_ns: int) -> Period:
        """The period of ``kind`` that ``now_ns``, Unix nanoseconds, belongs to."""
        if kind is PeriodKind.TOTAL:
            return _TOTAL
        today = (_EPOCH + timedelta(seconds=now_ns // NANOSECONDS)).astimezone(self._zone).date()
        first = today if kind is PeriodKind.DAY else self._month_start(today)
        # Around a midnight that the clocks skip or repeat, the local date can be one off.
        if self._midnight_ns(first) > now_ns:
            first = self._before(kind, first)
        elif self._midnight_ns(self._after(kind, first)) <= now_ns:
            first = self._after(kind, first)
        return Period(
            kind, self._midnight_ns(first), self._midnight_ns(self._after(kind, first)), first.isoformat()
        )

    def _month_start(self, day: date) -> date:
        start = self._reset_in(day.year, day.month)
        return start if start <= day else self._before(PeriodKind.MONTH, start)

    def _after(self, kind: PeriodKind, first: date) -> date:
        if kind is PeriodKind.DAY:
            return first + timedelta(days=1)
        return self._reset_in(first.year + first.month // 12, first.month % 12 + 1)

    def _before(self, kind: PeriodKind, first: date) -> date:
        if kind is PeriodKind.DAY:
            return first - timedelta(days=1)
        return self._reset_in(first.year - (first.month == 1), (first.month - 2) % 12 + 1)

    def _reset_in(self, year: int, month: int) -> date:
        return date(year, month, min(self._reset_day, calendar.monthrange(year, month)[1]))

    def _midnight_ns(self, day: date) -> int:
        midnight = datetime(day.year, day.month, day.day, tzinfo=self._zone)
        return (midnight.astimezone(UTC) - _EPOCH) // timedelta(seconds=1) * NANOSECONDS


def slot(at_ns: int) -> int:
    """The quarter of an hour that ``at_ns`` falls in, counted from 1970-01-01 UTC."""
    return at_ns // (SLOT_S * NANOSECONDS)
