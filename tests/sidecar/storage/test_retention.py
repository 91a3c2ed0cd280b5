"""What is too old or too much goes, in steps that leave room for the decision log."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from sidecar.storage import retention
from sidecar.storage.database import Database
from sidecar.storage.decision_log import DecisionLog
from sidecar.storage.decision_search import DecisionSearch
from sidecar.storage.feedback import Feedback
from sidecar.storage.retention import Retention, RetentionLimits
from tests.sidecar.storage.conftest import SetClock
from tests.sidecar.storage.records import DAY_NS, MINUTE_NS, NOON_NS, record

UNLIMITED = RetentionLimits(days=None, size_mb=None)


async def test_decisions_go_by_age(database: Database, log: DecisionLog, clock: SetClock) -> None:
    for number in range(10):
        log.record(record(number, started_ns=NOON_NS - (10 - number) * DAY_NS))
    feedback = Feedback(database, clock, log.flush)
    await feedback.rate("request-0", 1.0)
    await feedback.rate("request-9", 1.0)
    gone = await Retention(database, clock, RetentionLimits(days=4.5, size_mb=None)).enforce()
    assert gone.decisions == 6
    search = DecisionSearch(database)
    page = await search.page()
    assert [found.request_id for found in page.decisions] == [f"request-{number}" for number in (9, 8, 7, 6)]
    assert await search.get("request-0") is None
    assert await feedback.get("request-0") is None
    assert await feedback.get("request-9") is not None
    assert await counts(database, "decision_bodies", "decision_minutes") == [4, 4]
    assert (
        await Retention(database, clock, RetentionLimits(days=4.5, size_mb=None)).enforce()
    ).decisions == 0


async def test_without_limits_decisions_stay(database: Database, log: DecisionLog, clock: SetClock) -> None:
    log.record(record(1, started_ns=NOON_NS - 3_000 * DAY_NS))
    await log.flush()
    assert (await Retention(database, clock, UNLIMITED).enforce()).decisions == 0


async def test_the_oldest_decisions_go_by_size_and_the_file_shrinks(
    tmp_path: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SPARE_PAGES", 0)
    database = await Database.open(tmp_path)
    log = await DecisionLog.open(database, clock)
    for number in range(4_000):
        log.record(record(number, started_ns=NOON_NS + number))
    await log.flush()
    gone = await Retention(database, clock, RetentionLimits(days=None, size_mb=2)).enforce()
    left = (await counts(database, "decisions"))[0]
    assert 0 < left == 4_000 - gone.decisions
    assert gone.pages > 0
    page = await DecisionSearch(database).page(limit=1)
    assert page.decisions[0].request_id == "request-3999"
    await log.close()
    await database.close()
    assert database.path.stat().st_size <= 2_000_000


async def test_fine_rollups_go_before_coarse_ones(
    database: Database, log: DecisionLog, clock: SetClock
) -> None:
    for number, days in enumerate([0, 1, 3, 9, 61, 4_000]):
        log.record(record(number, started_ns=NOON_NS - days * DAY_NS))
    await log.flush()
    gone = await Retention(database, clock, UNLIMITED).enforce()
    async with database.reader() as connection:
        rows = await connection.execute_fetchall(
            "SELECT grain, count(*) FROM rollups WHERE facet = 'all' GROUP BY grain"
        )
    assert {row[0]: row[1] for row in rows} == {60: 2, 900: 3, 3_600: 4, 86_400: 6}
    assert gone.rollups > 0


async def test_calls_are_written_between_two_steps(
    database: Database, log: DecisionLog, clock: SetClock
) -> None:
    for number in range(20 * retention.STEP_ROWS):
        log.record(record(number, started_ns=NOON_NS - 40 * DAY_NS + number))
    await log.flush()
    running = asyncio.create_task(Retention(database, clock, RetentionLimits(days=30)).enforce())
    flushed = 0
    while not running.done():
        log.record(record(1_000_000 + flushed))
        await log.flush()
        flushed += 1
        await asyncio.sleep(0)
    assert (await running).decisions == 20 * retention.STEP_ROWS
    assert flushed > 20
    assert await counts(database, "decisions") == [flushed]


async def test_the_audit_trail_stays(database: Database, clock: SetClock) -> None:
    async with database.transaction() as connection:
        await connection.execute("INSERT INTO audit VALUES (1, 1, 'a', 'b', 'c', '1', '2', 'd')")
    await Retention(database, clock, RetentionLimits(days=0.001)).enforce()
    assert await counts(database, "audit") == [1]


async def test_it_runs_until_it_is_cancelled(database: Database, log: DecisionLog, clock: SetClock) -> None:
    running = asyncio.create_task(
        Retention(database, clock, RetentionLimits(days=30)).run_forever(every_s=0.001)
    )
    for number in range(3):
        log.record(record(number, started_ns=NOON_NS - 31 * DAY_NS - MINUTE_NS))
        await log.flush()
        async with asyncio.timeout(10):
            while (await counts(database, "decisions")) != [0]:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def counts(database: Database, *tables: str) -> list[int]:
    found = []
    async with database.reader() as connection:
        for table in tables:
            ((count,),) = await connection.execute_fetchall(f"SELECT count(*) FROM {table}")
            found.append(count)
    return found
