"""The ledger on its real file: durable before it says so, exact, and the same after a restart."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from sidecar.core.alerts import Alert, AlertKind
from sidecar.core.budget import Hold, HoldRefusal, RefusalReason
from sidecar.core.cap_seeds import SetBy
from sidecar.core.periods import PeriodKind
from sidecar.core.pricing import Price
from sidecar.core.settlement import Settlement, SettlementKind
from sidecar.core.vocabulary import Arm, Usage
from sidecar.storage.budget_ledger import BudgetLedger, LedgerLimits, UnknownCap
from sidecar.storage.ledger_file import LedgerInUse, LedgerUnavailable
from sidecar.storage.ledger_reports import Dimension
from tests.sidecar.budget_model import DAY_NS, START_NS
from tests.sidecar.storage.ledger_rig import (
    RELEASED,
    UNKNOWN,
    Clock,
    cap,
    held,
    opened,
    reported,
    request,
    rows,
)

HOUR_NS = DAY_NS // 24


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


async def test_a_hold_is_on_the_disk_when_it_is_returned(path: Path) -> None:
    async with opened(path, cap(100)) as ledger:
        hold = await held(ledger, 40, request_id="abc")
        found = rows(path, "SELECT id, request_id, tier, model, amount, state, posted FROM ledger_holds")
        assert found == [(hold.id, "abc", "openai", "gpt-4o", 40, "open", 0)]
        assert ledger.remaining("openai") == (60, "all")


async def test_a_settlement_posts_what_was_used_once(path: Path) -> None:
    async with opened(path, cap(100)) as ledger:
        hold = await held(ledger, 40)
        assert ledger.settle(hold, reported(25)) == 25
        assert ledger.settle(hold, UNKNOWN) == 0
        assert ledger.remaining("openai") == (75, "all")
        await ledger.flush()
        assert rows(path, "SELECT state, posted, input_tokens FROM ledger_holds") == [("reported", 25, 25)]
        assert (ledger.counters.holds, ledger.counters.settled) == (1, 1)
        assert ledger.posted(PeriodKind.DAY) == ledger.posted(PeriodKind.TOTAL, "openai") == 25


@pytest.mark.parametrize(
    ("settlement", "state", "posted"),
    [
        (reported(7), "reported", 7),
        (Settlement(SettlementKind.ESTIMATED, Usage(9, 3, estimated=True)), "estimated", 12),
        (RELEASED, "released", 0),
        (UNKNOWN, "unknown", 40),
        (reported(41), "reported", 40),
        (reported(Usage(-3, 1)), "reported", 40),
    ],
)
async def test_every_ending_has_its_row(path: Path, settlement: Settlement, state: str, posted: int) -> None:
    async with opened(path, cap(100)) as ledger:
        ledger.settle(await held(ledger, 40), settlement)
    assert rows(path, "SELECT state, posted FROM ledger_holds") == [(state, posted)]


async def test_when_a_cap_is_used_up_nothing_is_held_under_any(path: Path) -> None:
    async with opened(path, cap(100), cap(30, "day", "openai", PeriodKind.DAY)) as ledger:
        refusal = await ledger.hold(request(31))
        assert isinstance(refusal, HoldRefusal)
        assert (refusal.reason, refusal.cap) == (RefusalReason.EXHAUSTED, "day")
        assert [status.held_nano_usd for status in ledger.caps()] == [0, 0]
        assert rows(path, "SELECT count(*) FROM ledger_holds") == [(0,)]
        assert ledger.counters.exhausted == 1


async def test_concurrent_holds_never_exceed_the_cap_and_share_commits(path: Path) -> None:
    async with opened(path, cap(20 * 5)) as ledger:
        answers = await asyncio.gather(*(ledger.hold(request(5)) for _ in range(500)))
        holds = [answer for answer in answers if isinstance(answer, Hold)]
        assert len(holds) == 20
        assert len({hold.id for hold in holds}) == 20
        assert rows(path, "SELECT sum(amount) FROM ledger_holds") == [(100,)]
        for hold in holds:
            ledger.settle(hold, reported(5))
        await ledger.flush()
        assert ledger.remaining("openai") == (0, "all")


async def test_what_a_dead_process_held_is_posted_whole_and_can_be_released(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(path, cap(100)) as ledger:
        ledger.settle(await held(ledger, 10), reported(10))
        lost = await held(ledger, 40, request_id="lost")
    with caplog.at_level(logging.WARNING):
        async with opened(path, cap(100)) as ledger:
            assert ledger.counters.recovered == 1
            assert "$0.00000004 is posted" in caplog.text
            assert ledger.remaining("openai") == (50, "all")
            [unreconciled] = await ledger.unreconciled()
            assert (unreconciled.id, unreconciled.request_id) == (lost.id, "lost")
            assert unreconciled.amount_nano_usd == 40
            assert await ledger.release(lost.id)
            assert not await ledger.release(lost.id)
            assert ledger.remaining("openai") == (90, "all")
            assert await ledger.unreconciled() == []
            assert (await held(ledger, 1)).id > lost.id
    async with opened(path, cap(100)) as ledger:
        assert ledger.remaining("openai") == (89, "all"), "the last hold was left open"


async def test_a_hold_of_known_cost_cannot_be_released(path: Path) -> None:
    async with opened(path, cap(100)) as ledger:
        hold = await held(ledger, 40)
        assert not await ledger.release(hold.id)
        ledger.settle(hold, reported(30))
        await ledger.flush()
        assert not await ledger.release(hold.id)
        assert ledger.remaining("openai") == (70, "all")


async def test_only_one_process_may_have_the_ledger(path: Path) -> None:
    async with opened(path):
        with pytest.raises(LedgerInUse):
            await BudgetLedger.open(path, (), "UTC", 1, Clock())
    async with opened(path):
        pass


@pytest.fixture
def no_ledger(path: Path) -> Path:
    path.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    return path


async def test_a_file_that_is_no_ledger_is_refused(no_ledger: Path) -> None:
    with pytest.raises(LedgerUnavailable):
        await BudgetLedger.open(no_ledger, (), "UTC", 1, Clock())


@pytest.mark.parametrize("ticks", range(6))
async def test_a_caller_that_leaves_while_it_waits_leaves_nothing_held(path: Path, ticks: int) -> None:
    async with opened(path, cap(100)) as ledger:
        waiting = asyncio.create_task(ledger.hold(request(40)))
        for _ in range(ticks):
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert ledger.remaining("openai") == (100, "all")
        await ledger.flush()
        assert set(rows(path, "SELECT state, posted FROM ledger_holds")) <= {("released", 0)}
    async with opened(path, cap(100)) as ledger:
        assert ledger.counters.recovered == 0
        assert ledger.remaining("openai") == (100, "all")


async def test_a_hold_that_nobody_settles_is_posted_whole(path: Path) -> None:
    clock = Clock()
    async with opened(path, cap(100), clock=clock, limits=LedgerLimits(hold_ttl_s=600)) as ledger:
        forgotten = await held(ledger, 40)
        clock.now_ns += 500 * 10**9
        under_way = await held(ledger, 10)
        clock.now_ns += 200 * 10**9
        assert ledger.expire() == ledger.counters.expired == 1
        assert ledger.settle(forgotten, reported(5)) == 0
        assert ledger.settle(under_way, reported(5)) == 5
        assert ledger.remaining("openai") == (55, "all")
        await ledger.flush()
        assert [hold.id for hold in await ledger.unreconciled()] == [forgotten.id]


async def test_a_new_day_has_its_own_sum_and_the_month_goes_on(path: Path) -> None:
    clock = Clock()
    day, month = cap(50, "day", period=PeriodKind.DAY), cap(120, "month")
    async with opened(path, day, month, clock=clock) as ledger:
        ledger.settle(await held(ledger, 50), reported(50))
        late = await held(ledger, 0)
        clock.now_ns += DAY_NS
        await held(ledger, 45)
        ledger.settle(late, RELEASED)
        assert ledger.remaining("openai") == (5, "day")
    async with opened(path, day, month, clock=clock) as ledger:
        assert ledger.remaining("openai") == (5, "day")
        assert {status.cap.name: status.posted_nano_usd for status in ledger.caps()} == {
            "day": 45,
            "month": 95,
        }


async def test_a_clock_that_was_set_back_over_a_restart_brings_nothing_back(path: Path) -> None:
    clock = Clock()
    day = cap(50, "day", period=PeriodKind.DAY)
    async with opened(path, day, clock=clock) as ledger:
        ledger.settle(await held(ledger, 50), reported(50))
    for wrong in (START_NS - 3 * DAY_NS, 0):
        clock.now_ns = wrong
        async with opened(path, day, clock=clock) as ledger:
            assert ledger.remaining("openai") == (0, "day")
            clock.now_ns = START_NS + HOUR_NS
            assert ledger.remaining("openai") == (0, "day")
            clock.now_ns = START_NS + DAY_NS
            assert ledger.remaining("openai") == (50, "day")


async def test_caps_can_be_changed_live_and_stay_changed(path: Path) -> None:
    seeds = (cap(100), cap(50, "day", period=PeriodKind.DAY))
    async with opened(path, *seeds) as ledger:
        ledger.settle(await held(ledger, 40), reported(40))
        await ledger.set_cap("all", Decimal("0.00000007"))
        assert ledger.remaining("openai") == (10, "day")
        assert ledger.cap_set_by("all") is SetBy.OPERATOR
        assert ledger.cap_set_by("day") is SetBy.CONFIG
        await ledger.remove_cap("day")
        assert ledger.remaining("openai") == (30, "all")
        await ledger.add_cap(cap(45, "mine", "openai", PeriodKind.TOTAL))
        assert ledger.remaining("openai") == (5, "mine")
        await ledger.set_cap("all", "0.00000001")
        assert isinstance(await ledger.hold(request(0)), HoldRefusal)
    async with opened(path, *seeds) as ledger:
        assert {s.cap.name: s.cap.limit_nano_usd for s in ledger.caps()} == {"all": 10, "mine": 45}
        ledger.follow([cap(300)])
        await ledger.flush()
        assert {s.cap.name: s.cap.limit_nano_usd for s in ledger.caps()} == {"all": 300, "mine": 45}
        ledger.follow([])
        assert [s.cap.name for s in ledger.caps()] == ["mine"]
    changes = rows(path, "SELECT name, limit_nano, set_by, removed FROM ledger_cap_changes ORDER BY id")
    assert changes == [
        ("all", 100, "config", 0),
        ("day", 50, "config", 0),
        ("all", 70, "operator", 0),
        ("day", 50, "operator", 1),
        ("mine", 45, "operator", 0),
        ("all", 10, "operator", 0),
        ("all", 300, "config", 0),
        ("day", 50, "config", 1),
        ("all", 300, "config", 1),
    ]


async def test_a_cap_that_is_not_there_cannot_be_changed(path: Path) -> None:
    async with opened(path, cap(100)) as ledger:
        for change in (ledger.set_cap("none", 1), ledger.remove_cap("none")):
            with pytest.raises(UnknownCap):
                await change
        with pytest.raises(UnknownCap):
            ledger.cap_set_by("none")
        with pytest.raises(ValueError, match="already"):
            await ledger.add_cap(cap(5))
        with pytest.raises(ValueError, match="amount"):
            await ledger.set_cap("all", "-1")
        assert ledger.remaining("openai") == (100, "all")


async def test_ten_thousand_settlements_add_up_to_the_nano_dollar(path: Path) -> None:
    random = Random(7)
    prices = {
        ("openai", "gpt-4o"): Price(2_500_000_001, 10_000_000_007, 1_250_000_003),
        ("openai", "gpt-4o-mini"): Price(150_000_000, 600_000_000, 75_000_000),
        ("ollama_cloud", "gpt-oss:120b"): Price(1_000_000_000, 1_000_000_000, 1_000_000_000),
    }
    clock = Clock()
    dimensions: tuple[Dimension, ...] = ("tier", "model", "arm", "app", "hour")
    by_hand: dict[Dimension | None, Counter[str | int]] = {name: Counter() for name in (None, *dimensions)}

    async def call(ledger: BudgetLedger, number: int) -> None:
        tier, model = random.choice(list(prices))
        arm, app = random.choice(list(Arm)), random.choice(["", "search", "chat"])
        used = Usage(random.randint(1, 4_000), random.randint(0, 1_000))
        used = Usage(used.input_tokens, used.output_tokens, random.randint(0, used.input_tokens))
        price = prices[tier, model]
        hour = clock.now_ns // HOUR_NS * HOUR_NS
        hold = await held(
            ledger,
            price.worst(4_000, 1_000),
            tier,
            request_id=str(number),
            model=model,
            arm=arm,
            app=app,
            price=price,
        )
        exact = (used.input_tokens - used.cached_input_tokens) * price.input
        exact += used.cached_input_tokens * price.cached_input + used.output_tokens * price.output
        cost = -(-exact // 10**6)
        assert ledger.settle(hold, reported(used)) == cost
        keys: tuple[str | int, ...] = ("", tier, model, arm, app, hour)
        for dimension, key in zip((None, *dimensions), keys, strict=True):
            by_hand[dimension][key] += cost

    async with opened(path, cap(10**18), clock=clock) as ledger:
        for hundred in range(100):
            clock.now_ns += 7 * 60 * 10**9
            await asyncio.gather(*(call(ledger, hundred * 100 + number) for number in range(100)))
        await ledger.flush()
        assert ledger.counters.over_hold == ledger.counters.absurd_usage == 0
        assert ledger.posted(PeriodKind.TOTAL) == by_hand[None][""]
        [total] = await ledger.reports.spend()
        assert (total.posted_nano_usd, total.calls) == (by_hand[None][""], 10_000)
        assert rows(path, "SELECT sum(posted) FROM ledger_holds") == [(by_hand[None][""],)]
        for dimension in dimensions:
            spent = await ledger.reports.spend([dimension])
            assert {row.key[0]: row.posted_nano_usd for row in spent} == dict(by_hand[dimension])
            charted = await ledger.reports.posted(dimension, 0)
            sums = {row.key[0]: 0 for row in charted}
            for row in charted:
                sums[row.key[0]] += row.nano_usd
            assert sums == dict(by_hand[dimension])
            assert sum(row.calls for row in charted) == total.calls
            assert sum(row.tokens for row in charted) == total.input_tokens + total.output_tokens
        first_hour = min(key for key in by_hand["hour"] if isinstance(key, int))
        [spent_first] = await ledger.reports.spend((), first_hour, first_hour + HOUR_NS)
        assert spent_first.posted_nano_usd == by_hand["hour"][first_hour]
        clock.now_ns += 100 * DAY_NS
        while await ledger.prune():
            pass
        assert rows(path, "SELECT count(*) FROM ledger_holds") == [(0,)]
        assert await ledger.reports.spend() == [total]
    async with opened(path, clock=clock) as ledger:
        assert ledger.posted(PeriodKind.TOTAL) == by_hand[None][""]


async def test_reports_tell_estimates_flags_and_unknowns_apart(path: Path) -> None:
    async with opened(path, cap(1_000)) as ledger:
        assert await ledger.reports.spend() == []
        ledger.settle(await held(ledger, 40), reported(Usage(10, 5, 2)))
        ledger.settle(await held(ledger, 40), Settlement(SettlementKind.ESTIMATED, Usage(8, 1)))
        ledger.settle(await held(ledger, 40), reported(50))
        ledger.settle(await held(ledger, 40), RELEASED)
        unknown = await held(ledger, 40)
        ledger.settle(unknown, UNKNOWN)
        await ledger.flush()
        [spent] = await ledger.reports.spend(["tier"])
        assert spent.key == ("openai",)
        assert (spent.posted_nano_usd, spent.unreconciled_nano_usd) == (15 + 9 + 40 + 40, 40)
        assert (spent.calls, spent.estimated, spent.flagged) == (4, 1, 1)
        assert (spent.input_tokens, spent.output_tokens, spent.cached_tokens) == (10 + 8 + 50, 6, 2)
        await ledger.release(unknown.id)
        [spent] = await ledger.reports.spend(["tier"])
        assert (spent.posted_nano_usd, spent.unreconciled_nano_usd, spent.calls) == (64, 0, 3)


async def test_unsettled_and_recent_rows_are_not_pruned(path: Path) -> None:
    clock = Clock()
    async with opened(path, clock=clock) as ledger:
        old_open = await held(ledger, 1)
        ledger.settle(await held(ledger, 1), reported(1))
        clock.now_ns += 91 * DAY_NS
        recent = await held(ledger, 1)
        ledger.settle(recent, reported(1))
        await ledger.flush()
        assert await ledger.prune() == 1
        assert await ledger.prune() == 0
        assert rows(path, "SELECT id FROM ledger_holds ORDER BY id") == [(old_open.id,), (recent.id,)]


async def test_alerts_are_told_once_and_not_again_after_a_restart(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Alert] = []
    heard = asyncio.Event()

    def listen(alert: Alert) -> None:
        told.append(alert)
        heard.set()

    clock = Clock()
    async with opened(path, cap(100), clock=clock) as ledger:
        ledger.alerts.subscribe(listen)
        ledger.settle(await held(ledger, 85), reported(85))
        await asyncio.wait_for(heard.wait(), 5)
        assert [(alert.kind, alert.detail["percent"]) for alert in told] == [(AlertKind.LEVEL_CROSSED, 80)]
        assert told[0].detail["posted_usd"] == "0.000000085"
        assert "all is at 80 %" in caplog.text
        assert rows(path, "SELECT kind FROM ledger_alerts") == [("level_crossed",)]
        heard.clear()
        ledger.settle(await held(ledger, 8), reported(8))
        await asyncio.wait_for(heard.wait(), 5)
    async with opened(path, cap(100), clock=clock) as ledger:
        ledger.alerts.subscribe(listen)
        await ledger.flush()
        heard.clear()
        ledger.settle(await held(ledger, 7), reported(7))
        await asyncio.wait_for(heard.wait(), 5)
        assert [alert.detail["percent"] for alert in told] == [80, 90, 100]
        assert [alert.detail["percent"] for alert in await ledger.alerts.latest()] == [100, 90, 80]


async def test_a_listener_that_fails_keeps_no_other_from_hearing(path: Path) -> None:
    heard = asyncio.Event()

    def fail(alert: Alert) -> None:
        raise RuntimeError("not today")

    async with opened(path, cap(100), alerts_at=(0.5,)) as ledger:
        ledger.alerts.subscribe(fail)
        ledger.alerts.subscribe(lambda alert: heard.set())
        ledger.settle(await held(ledger, 85), reported(85))
        await asyncio.wait_for(heard.wait(), 5)


async def test_a_cap_already_exceeded_when_it_is_opened_is_told_of(path: Path) -> None:
    async with opened(path) as ledger:
        ledger.settle(await held(ledger, 85), reported(85))
    async with opened(path, cap(80), alerts_at=(0.855, 1.0)) as ledger:
        await ledger.flush()
        assert {alert.detail["percent"] for alert in await ledger.alerts.latest()} == {85.5, 100.0}


async def test_a_report_above_the_hold_is_counted_and_alarmed_once_an_hour(path: Path) -> None:
    clock = Clock()
    async with opened(path, cap(10**6), clock=clock) as ledger:
        for _ in range(3):
            ledger.settle(await held(ledger, 40), reported(41))
        ledger.settle(await held(ledger, 40), reported(Usage(10**30, 1)))
        ledger.settle(await held(ledger, 40), reported(Usage(1, -1)))
        clock.now_ns += HOUR_NS
        ledger.settle(await held(ledger, 40), reported(41))
        await ledger.flush()
        assert (ledger.counters.over_hold, ledger.counters.absurd_usage) == (4, 2)
        assert ledger.remaining("openai") == (10**6 - 6 * 40, "all")
        alerts = await ledger.alerts.latest()
        assert [alert.detail["flag"] for alert in reversed(alerts)] == [
            "over_hold",
            "absurd_usage",
            "over_hold",
        ]
        assert "reported to cost $0.000000041; its whole hold of $0.00000004 is posted" in alerts[-1].text
        assert rows(path, "SELECT count(*) FROM ledger_holds WHERE flag <> ''") == [(6,)]


async def test_words_that_are_no_text_or_too_long_are_stored_all_the_same(path: Path) -> None:
    async with opened(path, cap(100)) as ledger:
        hold = await held(
            ledger, 10, model="half \ud800 of it", app="x" * 5_000, request_id="'; DROP TABLE--"
        )
        ledger.settle(hold, reported(10))
    assert rows(path, "SELECT model, length(app), request_id FROM ledger_holds") == [
        ("half ? of it", 200, "'; DROP TABLE--")
    ]


async def test_memory_does_not_grow_with_the_calls(path: Path) -> None:
    async with opened(path, cap(10**9)) as ledger:
        for _ in range(20):
            holds = await asyncio.gather(*(held(ledger, 5) for _ in range(50)))
            for hold in holds:
                ledger.settle(hold, reported(5))
        await ledger.flush()
        assert ledger.waiting_settlements == 0
        assert ledger.open_holds == 0
