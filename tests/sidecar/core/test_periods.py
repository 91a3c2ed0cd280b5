"""Periods follow each other without gap or overlap, through every change of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.core.periods import SLOT_S, Calendar, Period, PeriodKind, slot

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # the clocks skipped midnight until 2019
    "America/Havana",  # the clocks repeat the hour after midnight
    "America/Scoresbysund",  # the clocks skip the last hour of a Saturday
    "Asia/Beirut",
    "Asia/Kathmandu",  # +05:45
    "Australia/Lord_Howe",  # half an hour of summer time
    "Pacific/Apia",  # left out 2011-12-30
    "Pacific/Kiritimati",
    "Africa/Casablanca",
)


def ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9


def local_ns(zone: str, *when: int) -> int:
    year, month, day, *rest = when
    hour, minute = (*rest, 0, 0)[:2]
    return ns(datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone)))


def hours(period: Period) -> float:
    assert period.end_ns is not None
    return (period.end_ns - period.start_ns) / 3_600e9


moments = st.datetimes(datetime(1990, 1, 1), datetime(2037, 12, 31)).map(
    lambda moment: ns(moment.replace(tzinfo=UTC))
)


@given(
    st.sampled_from(ZONES),
    st.integers(1, 31),
    st.sampled_from([PeriodKind.DAY, PeriodKind.MONTH]),
    moments,
)
@example("Pacific/Apia", 1, PeriodKind.DAY, ns(datetime(2011, 12, 30, 10, tzinfo=UTC)))
@example("America/Sao_Paulo", 1, PeriodKind.DAY, ns(datetime(2018, 11, 4, 3, tzinfo=UTC)))
@example("America/Havana", 1, PeriodKind.DAY, ns(datetime(2024, 11, 3, 5, 30, tzinfo=UTC)))
def test_a_moment_lies_in_its_period_and_the_next_starts_where_it_ends(
    zone: str, reset_day: int, kind: PeriodKind, now: int
) -> None:
    calendar = Calendar(ZoneInfo(zone), reset_day)
    period = calendar.period(kind, now)
    assert period.end_ns is not None
    assert period.start_ns <= now < period.end_ns
    assert calendar.period(kind, period.start_ns) == period
    assert calendar.period(kind, period.end_ns - 1) == period
    following = calendar.period(kind, period.end_ns)
    assert following.start_ns == period.end_ns
    assert following.label > period.label
    assert period.start_ns % (SLOT_S * 10**9) == 0, "a period starts on the edge of a slot"
    assert slot(period.start_ns) > slot(period.start_ns - 1)


@pytest.mark.parametrize(
    ("zone", "day", "length"),
    [
        ("Europe/Berlin", (2025, 3, 30), 23),
        ("Europe/Berlin", (2025, 10, 26), 25),
        ("America/New_York", (2025, 3, 9), 23),
        ("America/Sao_Paulo", (2018, 11, 4), 23),
        ("Australia/Lord_Howe", (2025, 10, 5), 23.5),
        ("UTC", (2025, 3, 30), 24),
    ],
)
def test_a_day_is_as_long_as_the_clocks_make_it(zone: str, day: tuple[int, int, int], length: float) -> None:
    period = Calendar(ZoneInfo(zone)).period(PeriodKind.DAY, local_ns(zone, *day, 12))
    assert hours(period) == length
    assert period.label == datetime(*day).date().isoformat()


def test_the_hour_that_is_repeated_belongs_to_one_day() -> None:
    berlin = Calendar(ZoneInfo("Europe/Berlin"))
    first = datetime(2025, 10, 26, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    again = first.replace(fold=1)
    assert again.timestamp() - first.timestamp() == 3600
    assert berlin.period(PeriodKind.DAY, ns(first)) == berlin.period(PeriodKind.DAY, ns(again))


@pytest.mark.parametrize(
    ("reset_day", "today", "start", "end"),
    [
        (1, (2025, 2, 14), "2025-02-01", (2025, 3, 1)),
        (15, (2025, 2, 14), "2025-01-15", (2025, 2, 15)),
        (15, (2025, 2, 15), "2025-02-15", (2025, 3, 15)),
        (31, (2025, 2, 27), "2025-01-31", (2025, 2, 28)),
        (31, (2025, 2, 28), "2025-02-28", (2025, 3, 31)),
        (31, (2024, 2, 28), "2024-01-31", (2024, 2, 29)),
        (30, (2025, 1, 5), "2024-12-30", (2025, 1, 30)),
        (29, (2025, 12, 31), "2025-12-29", (2026, 1, 29)),
    ],
)
def test_a_month_starts_on_the_reset_day_or_the_last_day_there_is(
    reset_day: int, today: tuple[int, int, int], start: str, end: tuple[int, int, int]
) -> None:
    zone = "Europe/Berlin"
    period = Calendar(ZoneInfo(zone), reset_day).period(PeriodKind.MONTH, local_ns(zone, *today, 12))
    assert period.label == start
    assert period.end_ns == local_ns(zone, *end)


def test_a_total_never_starts_anew() -> None:
    period = Calendar(ZoneInfo("UTC")).period(PeriodKind.TOTAL, local_ns("UTC", 2025, 1, 1))
    assert (period.start_ns, period.end_ns, period.label) == (0, None, "ever")


def test_the_same_moment_is_another_day_elsewhere() -> None:
    now = ns(datetime(2025, 6, 30, 12, tzinfo=UTC) + timedelta(hours=1))
    labels = [
        Calendar(ZoneInfo(zone)).period(PeriodKind.MONTH, now).label
        for zone in ("UTC", "Pacific/Kiritimati", "America/New_York")
    ]
    assert labels == ["2025-06-01", "2025-07-01", "2025-06-01"]


@pytest.mark.parametrize("reset_day", [0, -1, 32])
def test_a_reset_day_is_a_day_of_the_month(reset_day: int) -> None:
    with pytest.raises(ValueError, match="reset_day"):
        Calendar(ZoneInfo("UTC"), reset_day)
