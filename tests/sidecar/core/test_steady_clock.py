"""A wall clock that jumps grants no cap a second time."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from sidecar.core.budget import AccountSheet, Cap, Hold, HoldRefusal, HoldRequest
from sidecar.core.periods import Calendar, PeriodKind
from sidecar.core.pricing import Price
from sidecar.core.steady_clock import BELIEVED_AFTER_NS, OFF_MAX_NS, SteadyClock
from sidecar.core.vocabulary import Arm

S = 10**9
HOUR = 3_600 * S
DAY = 24 * HOUR
NOON = 20_000 * DAY + 12 * HOUR


class Clocks:
    """A wall clock that can be set, and the time that passes."""

    def __init__(self) -> None:
        self.passed = 5 * S
        self.set_ahead = NOON

    def steady(self) -> int:
        return self.passed

    def wall(self) -> int:
        return self.passed + self.set_ahead


def test_one_reading_a_day_ahead_grants_no_second_budget() -> None:
    clocks = Clocks()
    clock = SteadyClock(clocks.wall, clocks.steady)
    sheet = AccountSheet(Calendar(ZoneInfo("UTC")), clock())
    sheet.put_cap(Cap("day", "openai", PeriodKind.DAY, 10))
    whole = HoldRequest("r", 0, "openai", "m", Arm.ROUTED, "", 10, Price(1, 1, 1))
    held = sheet.take(whole, clock())
    assert isinstance(held, Hold)
    sheet.post(held, 10, clock())
    clocks.set_ahead += DAY
    sheet.status(clock())
    assert isinstance(sheet.take(whole, clock()), HoldRefusal)
    clocks.set_ahead -= DAY
    clocks.passed += S
    assert isinstance(sheet.take(whole, clock()), HoldRefusal)
    # The next day comes all the same.
    clocks.passed += 12 * HOUR
    assert isinstance(sheet.take(whole, clock()), Hold)


def test_it_follows_a_clock_that_is_adjusted_bit_by_bit() -> None:
    clocks = Clocks()
    clock = SteadyClock(clocks.wall, clocks.steady)
    for drift in (S, -S, OFF_MAX_NS, 30 * S, OFF_MAX_NS):
        clocks.set_ahead += drift
        clocks.passed += 7 * S
        assert clock() == clocks.wall()


def test_a_new_time_is_believed_once_it_has_lasted() -> None:
    for jump in (DAY, -DAY):
        clocks = Clocks()
        clock = SteadyClock(clocks.wall, clocks.steady)
        clocks.set_ahead += jump
        before = clock()
        assert before == clocks.wall() - jump
        clocks.passed += BELIEVED_AFTER_NS - 1
        assert clock() == before + BELIEVED_AFTER_NS - 1
        clocks.passed += 1
        assert clock() == clocks.wall()


def test_two_wrong_readings_that_do_not_agree_are_none() -> None:
    clocks = Clocks()
    clock = SteadyClock(clocks.wall, clocks.steady)
    for jump in (DAY, 2 * DAY, -DAY):
        clocks.set_ahead += jump
        assert clock() == clocks.passed + NOON
        clocks.passed += BELIEVED_AFTER_NS
        clocks.set_ahead -= jump
