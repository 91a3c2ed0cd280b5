"""The account sheet keeps every cap, whatever happens in whatever order."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sidecar.core.budget import (
    FULL,
    AccountSheet,
    Cap,
    Hold,
    HoldRefusal,
    HoldRequest,
    RefusalReason,
)
from sidecar.core.periods import Calendar, PeriodKind
from sidecar.core.pricing import NANO_USD_MAX
from sidecar.core.vocabulary import Arm
from tests.sidecar.budget_model import DAY_NS, PRICE, START_NS, BudgetModel, ModelHold

TIERS = ("openai", "ollama_cloud")
NAMES = ("a", "b", "c")
HOUR_NS = DAY_NS // 24

tiers = st.sampled_from(TIERS)
amounts = st.integers(0, 60)
caps = st.builds(
    Cap,
    st.sampled_from(NAMES),
    st.sampled_from([*TIERS, "*"]),
    st.sampled_from(PeriodKind),
    st.integers(0, 200),
)


def request(amount: int, tier: str = "openai") -> HoldRequest:
    return HoldRequest("request", 1, tier, "model", Arm.ROUTED, "", amount, PRICE)


def sheet_of(*caps: Cap, levels: tuple[int, ...] = (8_000, 9_000, FULL)) -> AccountSheet:
    sheet = AccountSheet(Calendar(ZoneInfo("Europe/Berlin")), START_NS, alert_levels=levels)
    for cap in caps:
        sheet.put_cap(cap)
    return sheet


def take(sheet: AccountSheet, amount: int, now_ns: int = START_NS, tier: str = "openai") -> Hold:
    hold = sheet.take(request(amount, tier), now_ns)
    assert isinstance(hold, Hold)
    return hold


class SheetMachine(RuleBasedStateMachine):
    """The sheet and the plainest account, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.model = BudgetModel()
        self.clock_ns = START_NS
        self.sheet = AccountSheet(self.model.calendar, START_NS)
        self.taken: dict[int, Hold] = {}
        self.committed: dict[str, int] = {}

    @initialize(cap=caps)
    def start_with_a_cap(self, cap: Cap) -> None:
        self.put_cap(cap)

    @rule(tier=tiers, amount=amounts)
    def hold(self, tier: str, amount: int) -> None:
        allowed = self.model.allows(tier, amount)
        hold = self.sheet.take(request(amount, tier), self.clock_ns)
        assert isinstance(hold, Hold) is allowed
        if isinstance(hold, Hold):
            self.taken[hold.id] = hold
            self.model.holds[hold.id] = ModelHold(tier, amount, self.model.now_ns)
            self.committed = self.model.committed()
            for cap in self.model.caps.values():
                assert not cap.covers(tier) or self.committed[cap.name] <= cap.limit_nano_usd

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), share=st.integers(0, 100))
    def settle(self, data: st.DataObject, share: int) -> None:
        hold = self.taken[data.draw(st.sampled_from(sorted(self.taken)))]
        was_open = self.model.holds[hold.id].open
        posted = hold.request.amount_nano_usd * share // 100
        assert self.sheet.post(hold, posted, self.clock_ns) is was_open
        if was_open:
            self.model.settle(hold.id, posted)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def refund(self, data: st.DataObject) -> None:
        hold_id = data.draw(st.sampled_from(sorted(self.taken)))
        hold = self.model.holds[hold_id]
        if not hold.open:
            self.sheet.refund(hold.tier, hold.posted, hold.held_at_ns, self.clock_ns)
            hold.posted = 0

    @rule(hours=st.integers(0, 40 * 24))
    def time_passes(self, hours: int) -> None:
        self.clock_ns += hours * HOUR_NS
        self.model.now_ns = max(self.model.now_ns, self.clock_ns)
        self.committed = self.model.committed()

    @rule(hours=st.integers(1, 100))
    def the_clock_is_set_back(self, hours: int) -> None:
        self.clock_ns -= hours * HOUR_NS

    @rule(cap=caps)
    def put_cap(self, cap: Cap) -> None:
        self.sheet.put_cap(cap)
        self.model.caps[cap.name] = cap
        self.committed = self.model.committed()

    @rule(name=st.sampled_from(NAMES))
    def drop_cap(self, name: str) -> None:
        self.sheet.drop_cap(name)
        self.model.caps.pop(name, None)

    @invariant()
    def every_cap_holds(self) -> None:
        for status in self.sheet.status(self.clock_ns):
            posted, held = self.model.sums(status.cap)
            assert (status.posted_nano_usd, status.held_nano_usd) == (posted, held)
            assert posted + held <= max(status.cap.limit_nano_usd, self.committed[status.cap.name])
        for tier in TIERS:
            rooms = [
                (max(0, cap.limit_nano_usd - sum(self.model.sums(cap))), cap.name)
                for cap in self.model.caps.values()
                if cap.covers(tier)
            ]
            room, name = self.sheet.remaining(tier, self.clock_ns)
            assert room == min((room for room, _ in rooms), default=None)
            assert not rooms or (room, name) in rooms
        assert self.sheet.open_count == len(self.model.open_ids())


TestSheet = SheetMachine.TestCase
TestSheet.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_all_caps_that_apply_or_none() -> None:
    sheet = sheet_of(
        Cap("tier", "openai", PeriodKind.MONTH, 100),
        Cap("all", "*", PeriodKind.DAY, 50),
        Cap("other", "ollama_cloud", PeriodKind.DAY, 1),
    )
    take(sheet, 30)
    refusal = sheet.take(request(30), START_NS)
    assert isinstance(refusal, HoldRefusal)
    assert (refusal.reason, refusal.cap) == (RefusalReason.EXHAUSTED, "all")
    assert "$0.00000002 left of $0.00000005" in refusal.detail
    assert [status.held_nano_usd for status in sheet.status(START_NS)] == [30, 30, 0]
    assert sheet.remaining("openai", START_NS) == (20, "all")
    assert sheet.remaining("local_ollama", START_NS) == (20, "all")


def test_a_tier_under_no_cap_is_counted_all_the_same() -> None:
    sheet = sheet_of()
    assert sheet.remaining("openai", START_NS) == (None, "")
    sheet.post(take(sheet, 70), 60, START_NS)
    sheet.put_cap(Cap("late", "openai", PeriodKind.TOTAL, 50))
    assert sheet.remaining("openai", START_NS) == (0, "late")
    assert sheet.posted(PeriodKind.DAY, START_NS) == sheet.posted(PeriodKind.TOTAL, START_NS, "openai") == 60


@pytest.mark.parametrize("amount", [-1, NANO_USD_MAX + 1])
def test_an_amount_that_is_none_is_refused_even_under_no_cap(amount: int) -> None:
    assert isinstance(sheet_of().take(request(amount), START_NS), HoldRefusal)


def test_a_hold_posts_to_the_day_in_which_it_was_taken() -> None:
    sheet = sheet_of(Cap("day", "*", PeriodKind.DAY, 100), Cap("month", "*", PeriodKind.MONTH, 500))
    late = take(sheet, 80)
    tomorrow = START_NS + DAY_NS
    assert sheet.remaining("openai", tomorrow) == (100, "day")
    sheet.post(late, 70, tomorrow)
    assert sheet.remaining("openai", tomorrow) == (100, "day")
    assert [status.posted_nano_usd for status in sheet.status(tomorrow)] == [0, 70]


def test_a_clock_that_is_set_back_brings_no_spent_day_back() -> None:
    sheet = sheet_of(Cap("day", "*", PeriodKind.DAY, 100))
    take(sheet, 100, START_NS + DAY_NS)
    assert isinstance(sheet.take(request(1), START_NS), HoldRefusal)
    assert isinstance(sheet.take(request(1), START_NS + DAY_NS), HoldRefusal)


def test_a_hold_taken_while_the_clock_was_behind_is_settled_like_any() -> None:
    sheet = sheet_of(Cap("day", "*", PeriodKind.DAY, 100))
    take(sheet, 40, START_NS + DAY_NS)
    sheet.post(take(sheet, 60, START_NS), 10, START_NS)
    assert sheet.remaining("openai", START_NS) == (50, "day")


def test_a_cap_lowered_below_what_is_spent_stops_the_tier_and_raised_opens_it() -> None:
    sheet = sheet_of(Cap("day", "*", PeriodKind.DAY, 100))
    sheet.post(take(sheet, 80), 80, START_NS)
    sheet.put_cap(Cap("day", "*", PeriodKind.DAY, 50))
    assert isinstance(sheet.take(request(0), START_NS), HoldRefusal)
    assert sheet.status(START_NS)[0].remaining_nano_usd == 0
    sheet.put_cap(Cap("day", "*", PeriodKind.DAY, 90))
    take(sheet, 10)


def test_a_level_is_told_of_once_per_period_and_limit() -> None:
    sheet = sheet_of(Cap("day", "*", PeriodKind.DAY, 100))
    sheet.post(take(sheet, 79), 79, START_NS)
    assert sheet.take_crossed() == []
    sheet.post(take(sheet, 12), 12, START_NS)
    crossed = sheet.take_crossed()
    assert [(level.level, level.posted_nano_usd) for level in crossed] == [(8_000, 91), (9_000, 91)]
    sheet.post(take(sheet, 9), 9, START_NS)
    assert [level.level for level in sheet.take_crossed()] == [FULL]
    sheet.put_cap(Cap("day", "*", PeriodKind.DAY, 120))
    assert [level.level for level in sheet.take_crossed()] == [8_000], "another limit, another 80 %"
    sheet.put_cap(Cap("day", "*", PeriodKind.DAY, 100))
    assert sheet.take_crossed() == []
    sheet.post(take(sheet, 85, START_NS + DAY_NS), 85, START_NS + DAY_NS)
    assert [level.level for level in sheet.take_crossed()] == [8_000], "another day"


def test_a_level_told_of_before_a_restart_is_not_told_of_again() -> None:
    cap = Cap("day", "*", PeriodKind.DAY, 100)
    first = sheet_of(cap)
    first.post(take(first, 90), 90, START_NS)
    keys = [level.key for level in first.take_crossed()]
    again = AccountSheet(
        Calendar(ZoneInfo("Europe/Berlin")), START_NS, alert_levels=(8_000, 9_000, FULL), alerted=keys[:1]
    )
    again.load(PeriodKind.DAY, {"openai": 90})
    again.put_cap(cap)
    assert [level.key for level in again.take_crossed()] == keys[1:]


def test_a_cap_is_used_up_when_the_next_call_no_longer_fits() -> None:
    sheet = sheet_of(Cap("day", "*", PeriodKind.DAY, 100))
    assert isinstance(sheet.take(request(150), START_NS), HoldRefusal)
    assert sheet.take_crossed() == [], "one call that asks for too much uses nothing up"
    sheet.post(take(sheet, 95), 95, START_NS)
    sheet.take_crossed()
    assert isinstance(sheet.take(request(10), START_NS), HoldRefusal)
    assert [(level.level, level.posted_nano_usd) for level in sheet.take_crossed()] == [(FULL, 95)]


def test_calls_under_way_do_not_count_as_used_up() -> None:
    sheet = sheet_of(Cap("day", "*", PeriodKind.DAY, 100))
    sheet.post(take(sheet, 10), 10, START_NS)
    take(sheet, 90)
    assert isinstance(sheet.take(request(20), START_NS), HoldRefusal)
    assert sheet.take_crossed() == []


def test_a_cap_of_nothing_is_a_tier_switched_off() -> None:
    sheet = sheet_of(Cap("off", "openai", PeriodKind.TOTAL, 0))
    assert isinstance(sheet.take(request(1), START_NS), HoldRefusal)
    assert sheet.take_crossed() == []


def test_a_cap_says_when_it_runs_out_and_when_it_starts_anew() -> None:
    sheet = sheet_of(
        Cap("day", "openai", PeriodKind.DAY, 100), Cap("other", "ollama_cloud", PeriodKind.DAY, 100)
    )
    later = START_NS + HOUR_NS // 2
    sheet.post(take(sheet, 10), 10, START_NS)
    sheet.post(take(sheet, 10, later), 10, later)
    spent, other = sheet.status(later)
    assert spent.runs_out_at_ns == later + 4 * HOUR_NS // 2
    assert spent.period.label == "2025-03-29"
    assert other.runs_out_at_ns is None


def test_what_is_settled_leaves_nothing_behind() -> None:
    sheet = sheet_of(Cap("day", "*", PeriodKind.DAY, 10**6))
    for _ in range(1_000):
        sheet.post(take(sheet, 5), 3, START_NS)
    assert sheet.open_holds() == []
    assert sheet.status(START_NS)[0].posted_nano_usd == 3_000


@pytest.mark.parametrize("name", ["", "a/b", "a b", "é", "x" * 65])
def test_a_caps_name_fits_into_an_address(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Cap(name, "*", PeriodKind.DAY, 1)


@pytest.mark.parametrize("limit", [-1, NANO_USD_MAX + 1])
def test_a_caps_limit_is_an_amount(limit: int) -> None:
    with pytest.raises(ValueError, match="limit"):
        Cap("x", "*", PeriodKind.DAY, limit)
