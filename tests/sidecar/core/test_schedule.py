"""The schedule's windows and what a stage has to have, on clocks that are changed for summer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from sidecar.core.gates import Gate, GateReading, GateState
from sidecar.core.schedule import OpenHours, Schedule, StageWants, Weekday, lacking

BERLIN = ZoneInfo("Europe/Berlin")
WORKDAYS = (Weekday.MON, Weekday.TUE, Weekday.WED, Weekday.THU, Weekday.FRI)
OFFICE = OpenHours(WORKDAYS, 9 * 60, 17 * 60)
NIGHTS = OpenHours((Weekday.FRI,), 22 * 60, 4 * 60)


def ns(text: str, zone: ZoneInfo = BERLIN) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()) * 10**9


def schedule(*windows: OpenHours) -> Schedule:
    return Schedule(True, StageWants(60, 100), {30.0: StageWants(600, 5)}, windows, BERLIN)


@pytest.mark.parametrize(
    ("window", "moment", "is_open"),
    [
        (OFFICE, "2026-03-02T09:00", True),
        (OFFICE, "2026-03-02T08:59", False),
        (OFFICE, "2026-03-02T16:59", True),
        (OFFICE, "2026-03-02T17:00", False),
        (OFFICE, "2026-03-07T12:00", False),
        (NIGHTS, "2026-03-06T22:00", True),
        (NIGHTS, "2026-03-07T03:59", True),
        (NIGHTS, "2026-03-07T04:00", False),
        (NIGHTS, "2026-03-07T22:30", False),
        (NIGHTS, "2026-03-06T03:00", False),
        (OpenHours((), 0, 0), "2026-03-07T12:00", True),
    ],
)
def test_when_a_window_is_open(window: OpenHours, moment: str, is_open: bool) -> None:
    assert schedule(window).open_at(ns(moment)) is is_open


def test_without_windows_it_is_always_open() -> None:
    assert schedule().open_at(0)
    assert schedule().opens_at_ns(12_345) == 12_345


def test_the_next_opening_follows_the_local_clock_through_the_change_to_summer_time() -> None:
    friday_evening = ns("2026-03-27T20:00")
    opens = schedule(OFFICE).opens_at_ns(friday_evening)
    assert opens == ns("2026-03-30T09:00")
    assert datetime.fromtimestamp(opens // 10**9, UTC) - datetime.fromtimestamp(
        friday_evening // 10**9, UTC
    ) == timedelta(days=2, hours=12)


def test_a_window_in_an_hour_that_is_skipped_opens_a_week_later_or_never() -> None:
    only = OpenHours((Weekday.SUN,), 2 * 60, 3 * 60)
    assert schedule(only).opens_at_ns(ns("2026-03-28T12:00")) is None


def reading(gate: Gate, state: GateState) -> GateReading:
    return GateReading(gate, state, None, None, None, 0.05, None, 0, None, None, "")


def test_a_stage_lacks_what_it_lacks_in_words() -> None:
    readings = [reading(Gate.ERROR_RATE, GateState.WAITING), reading(Gate.SPEND, GateState.WARNING)]
    assert lacking(StageWants(600, 100), 0, 40, readings) == (
        "10 min of baking",
        "60 more calls",
        "the gate error_rate to pass (it is waiting)",
    )
    assert lacking(StageWants(600, 100, (Gate.SPEND,)), 600, 100, readings) == ()
    assert lacking(StageWants(3 * 3600, 0, (Gate.SPEND,)), 0, 0, readings) == ("3.0 h of baking",)
    assert lacking(StageWants(90, 0, (Gate.SPEND,)), 0, 0, readings) == ("90 s of baking",)


@pytest.mark.parametrize("state", GateState)
def test_only_what_passes_or_merely_warns_lets_a_stage_go_on(state: GateState) -> None:
    passes = not lacking(StageWants(0, 0), 0, 0, [reading(Gate.P95, state)])
    assert passes is (state in (GateState.PASSING, GateState.WARNING))


def test_a_stage_may_want_something_of_its_own() -> None:
    assert schedule().wants_at(30.0).bake_s == 600
    assert schedule().wants_at(10.0).bake_s == 60
