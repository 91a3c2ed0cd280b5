"""Reports say of each window what its calls say."""

from __future__ import annotations

import statistics

import pytest

from sidecar.core.vocabulary import Arm, Outcome, TaskType, Usage
from sidecar.storage.database import Database
from sidecar.storage.decision_log import DecisionLog
from sidecar.storage.feedback import Feedback
from sidecar.storage.reports import WINDOWS_S, ErrorKind, Reports, Split, Totals, Window
from tests.sidecar.storage.conftest import SetClock
from tests.sidecar.storage.records import DAY_NS, MINUTE_NS, NOON_NS, SECOND_NS, attempt, record

HOUR_NS = 60 * MINUTE_NS


@pytest.fixture
def reports(database: Database, clock: SetClock) -> Reports:
    return Reports(database, clock)


async def test_an_empty_database_reports_nothing(reports: Reports) -> None:
    for window in Window:
        assert (await reports.overview(window)).totals == Totals()
        (line,) = await reports.series(window)
        assert all(point.totals == Totals() for point in line.points)
        assert await reports.series(window, split=Split.TIER) == ()
        assert await reports.tier_mix(window) == ()
        assert [(arm.arm, arm.totals, arm.tiers) for arm in await reports.arms(window)] == [
            (Arm.LEGACY, Totals(), ()),
            (Arm.ROUTED, Totals(), ()),
        ]
        assert await reports.by_model(window) == ()
        assert await reports.by_app(window) == ()
        assert await reports.errors_by_kind(window) == ()
    assert Totals().error_rate is None
    assert Totals().cost_usd_per_call is None


async def test_the_overview_counts_errors_as_documented(reports: Reports, log: DecisionLog) -> None:
    log.record(record(-1, usage=Usage(100, 50), cost_nano_usd=2_000_000_000, duration_ms=1_000.0))
    log.record(record(-2, usage=None, outcome=Outcome.COMPLETE_WITHOUT_USAGE, duration_ms=1_000.0))
    log.record(record(-3, outcome=Outcome.UPSTREAM_FAILED, status=502, duration_ms=60_000.0))
    log.record(record(-4, outcome=Outcome.UPSTREAM_FAILED, status=400, duration_ms=1.0))
    log.record(record(-5, outcome=Outcome.CLIENT_LEFT, duration_ms=60_000.0))
    await log.flush()
    totals = (await reports.overview(Window.HOUR)).totals
    assert (totals.calls, totals.answered, totals.failed) == (5, 2, 1)
    assert (totals.refused, totals.left_early) == (1, 1)
    assert totals.error_rate == 0.2
    assert (totals.input_tokens, totals.output_tokens) == (130, 65)
    assert totals.cost_usd_per_call == pytest.approx(0.4)
    assert totals.cost_usd_deviation == pytest.approx(statistics.stdev([2, 0, 0, 0, 0]))
    assert totals.latency.count == totals.first_byte.count == 2
    assert totals.latency.p99_ms == pytest.approx(1_000, rel=0.05)
    assert totals.first_byte.p50_ms == pytest.approx(20, rel=0.05)


@pytest.mark.parametrize("window", Window)
async def test_a_window_holds_its_own_calls_and_no_older(
    reports: Reports, log: DecisionLog, window: Window
) -> None:
    overview = await reports.overview(window)
    assert overview.since_s < NOON_NS // SECOND_NS < overview.until_s
    assert overview.until_s - overview.since_s == WINDOWS_S[window][0]
    log.record(record(1, started_ns=overview.since_s * SECOND_NS - 1))
    log.record(record(2, started_ns=overview.since_s * SECOND_NS))
    log.record(record(3, started_ns=NOON_NS))
    await log.flush()
    assert (await reports.overview(window)).totals.calls == 2
    (line,) = await reports.series(window)
    assert [point.start_s for point in line.points] == list(
        range(overview.since_s, overview.until_s, WINDOWS_S[window][1])
    )
    assert [point.totals.calls for point in line.points if point.totals.calls] == [1, 1]
    assert (line.points[0].totals.calls, line.points[-1].totals.calls) == (1, 1)


async def test_a_series_can_be_split_and_stepped(reports: Reports, log: DecisionLog) -> None:
    for number in range(4):
        log.record(record(number, started_ns=NOON_NS - number * HOUR_NS, tier="openai", model="gpt-4o"))
    log.record(record(9, started_ns=NOON_NS))
    await log.flush()
    lines = await reports.series(Window.DAY, step_s=2 * 3_600, split=Split.TIER)
    assert [line.label for line in lines] == ["openai", "local_ollama"]
    assert [len(line.points) for line in lines] == [12, 12]
    assert [point.totals.calls for point in lines[0].points][-3:] == [1, 2, 1]
    by_model = await reports.series(Window.MONTH, split=Split.MODEL)
    assert [(line.label, line.points[-1].totals.calls) for line in by_model] == [
        ("gpt-4o", 4),
        ("llama3.2", 1),
    ]


@pytest.mark.parametrize(
    ("window", "step_s"), [(Window.MONTH, 60), (Window.MONTH, 900), (Window.HOUR, 30), (Window.HOUR, 7 * 60)]
)
async def test_a_step_that_does_not_suit_is_refused(reports: Reports, window: Window, step_s: int) -> None:
    with pytest.raises(ValueError, match="does not suit"):
        await reports.series(window, step_s=step_s)


async def test_mix_arms_and_tables_share_out_the_calls(reports: Reports, log: DecisionLog) -> None:
    parts = [
        (6, {"tier": "local_ollama", "model": "llama3.2", "app": "docs"}),
        (3, {"tier": "openai", "model": "gpt-4o", "app": "search", "cost_nano_usd": 10**9}),
        (1, {"tier": "openai", "model": "gpt-4o-mini", "app": "docs", "arm": Arm.LEGACY}),
        (2, {"tier": "", "model": "", "outcome": Outcome.UPSTREAM_FAILED, "status": 503}),
    ]
    number = 0
    for count, part in parts:
        for _ in range(count):
            log.record(record(-(number := number + 1), reason=f"reason-{count}", **part))  # type: ignore[arg-type]
    await log.flush()
    mix = await reports.tier_mix(Window.DAY)
    assert [(share.label, share.share, share.totals.calls) for share in mix] == [
        ("local_ollama", 0.6, 6),
        ("openai", 0.4, 4),
    ]
    legacy, routed = await reports.arms(Window.DAY)
    assert (legacy.totals.calls, routed.totals.calls) == (1, 11)
    assert [(share.label, share.totals.calls) for share in legacy.tiers] == [("openai", 1)]
    assert [(share.label, share.totals.cost_nano_usd) for share in routed.tiers] == [
        ("local_ollama", 0),
        ("openai", 3 * 10**9),
    ]
    assert [(m.label, m.totals.calls) for m in await reports.by_model(Window.DAY)] == [
        ("llama3.2", 6),
        ("gpt-4o", 3),
        ("gpt-4o-mini", 1),
    ]
    of_openai = await reports.by_model(Window.DAY, tier="openai")
    assert [(m.label, m.share) for m in of_openai] == [("gpt-4o", 0.75), ("gpt-4o-mini", 0.25)]
    assert [(a.label, a.totals.calls) for a in await reports.by_app(Window.DAY)] == [
        ("docs", 7),
        ("search", 3),
    ]
    assert [r.label for r in await reports.by_reason(Window.DAY)] == [
        "reason-6",
        "reason-3",
        "reason-2",
        "reason-1",
    ]
    assert [t.label for t in await reports.by_task_type(Window.DAY)] == [TaskType.GENERATION]


async def test_errors_are_told_by_tier_and_kind(reports: Reports, log: DecisionLog) -> None:
    for number in range(3):
        tried = (attempt("openai", "timeout"), attempt("local_ollama"))
        log.record(record(-number, attempts=tried))
    log.record(
        record(-9, outcome=Outcome.UPSTREAM_FAILED, status=503, tier="", error_code="no_tier_available")
    )
    await log.flush()
    assert await reports.errors_by_kind(Window.HOUR) == (
        ErrorKind("attempt", "openai", "timeout", 3),
        ErrorKind("call", "", "no_tier_available", 1),
    )


async def test_ratings_are_reported_by_arm(
    reports: Reports, database: Database, log: DecisionLog, clock: SetClock
) -> None:
    feedback = Feedback(database, clock, log.flush)
    for number, score in enumerate([1.0, 0.5, 0.0]):
        log.record(record(number, started_ns=NOON_NS - DAY_NS // 4))
        await feedback.rate(f"request-{number}", score)
    legacy, routed = await reports.arms(Window.DAY)
    assert (legacy.totals.ratings, legacy.totals.score_mean) == (0, None)
    assert (routed.totals.ratings, routed.totals.score_mean) == (3, 0.5)
    assert routed.totals.score_deviation == pytest.approx(0.5)
