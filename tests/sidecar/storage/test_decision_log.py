"""The decision log takes records at once, writes them soon, and says what it could not keep."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sidecar.core.vocabulary import Usage
from sidecar.storage import decision_log
from sidecar.storage.database import FILE_NAME, Database, DatabaseBusy, DatabaseFull
from sidecar.storage.decision_log import BATCH_MAX, DecisionLog
from sidecar.storage.decision_search import DecisionSearch
from tests.sidecar.storage.conftest import SetClock
from tests.sidecar.storage.records import POLICY, POLICY_ID, record

REPOSITORY = Path(__file__).parents[3]


async def test_a_record_comes_back_whole(database: Database, log: DecisionLog) -> None:
    made = record(1, app="docs", session="s-1", usage=Usage(7, 3, 2, 1, estimated=True))
    log.record(made)
    await log.flush()
    assert await DecisionSearch(database).get("request-1") == made


async def test_records_are_written_without_being_asked_to(database: Database, log: DecisionLog) -> None:
    for number in range(3):
        log.record(record(number))
    assert log.queued == 3
    await written(log)
    assert await count(database) == 3


async def test_a_full_batch_does_not_wait_for_the_interval(
    database: Database, log: DecisionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision_log, "FLUSH_EVERY_S", 3_600.0)
    log.record(record(0))
    await asyncio.sleep(0)
    for number in range(1, BATCH_MAX):
        log.record(record(number))
    await written(log)
    assert await count(database) == BATCH_MAX


async def test_a_batch_is_one_transaction(database: Database, log: DecisionLog) -> None:
    for number in range(BATCH_MAX):
        log.record(record(number))
    seen = set()
    while log.queued:
        seen.add(await count(database))
        await asyncio.sleep(0)
    assert seen <= {0, BATCH_MAX}


async def test_sequences_go_on_after_a_restart(tmp_path: Path, clock: SetClock) -> None:
    for start in (1, 3):
        database = await Database.open(tmp_path)
        log = await DecisionLog.open(database, clock)
        assert log.written_sequence == start - 1
        log.record(record(start))
        log.record(record(start + 1))
        await log.close()
        page = await DecisionSearch(database).page()
        assert page.decisions[0].sequence == start + 1
        await database.close()


async def test_closing_writes_what_is_queued(tmp_path: Path, clock: SetClock) -> None:
    database = await Database.open(tmp_path)
    log = await DecisionLog.open(database, clock)
    for number in range(BATCH_MAX + 7):
        log.record(record(number))
    await log.close()
    assert (log.queued, log.dropped) == (0, 0)
    assert await count(database) == BATCH_MAX + 7
    await database.close()


async def test_a_locked_database_costs_only_what_is_over_the_bound(
    database: Database, clock: SetClock
) -> None:
    log = await DecisionLog.open(database, clock, queue_max=20)
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        for number in range(50):
            log.record(record(number))
        assert time.monotonic() - began < 0.5, "recording does not wait for the lock"
        with pytest.raises(DatabaseBusy):
            await log.flush()
        assert (log.queued, log.dropped) == (20, 30)
        assert "another program" in log.failing
    await written(log)
    assert log.failing == ""
    page = await DecisionSearch(database).page()
    assert [found.request_id for found in page.decisions] == [
        f"request-{number}" for number in range(19, -1, -1)
    ]
    await log.close()


async def test_a_full_disk_is_survived(database: Database, log: DecisionLog) -> None:
    await limit_pages(database, 0)
    for number in range(400):
        log.record(record(number))
    with pytest.raises(DatabaseFull):
        await log.flush()
    assert "disk is full" in log.failing
    assert log.queued == 400
    await limit_pages(database, 1_000_000)
    await log.flush()
    assert (log.failing, log.queued, log.dropped) == ("", 0, 0)
    assert await count(database) == 400


async def test_closing_on_a_stuck_disk_ends_and_counts_what_is_lost(
    database: Database, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision_log, "CLOSE_S", 0.1)
    log = await DecisionLog.open(database, clock)
    await limit_pages(database, 0)
    for number in range(400):
        log.record(record(number))
    await log.close()
    assert (log.queued, log.dropped) == (0, 400)
    assert await count(database) == 0


async def test_a_database_that_is_gone_does_not_end_the_log_unseen(
    tmp_path: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision_log, "RETRY_S", 0.01)
    monkeypatch.setattr(decision_log, "CLOSE_S", 0.1)
    database = await Database.open(tmp_path)
    log = await DecisionLog.open(database, clock)
    await database.close()
    log.record(record(1))
    async with asyncio.timeout(20):
        while not log.failing:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    await log.close()
    assert log.dropped == 1


async def test_a_call_that_comes_twice_is_kept_and_counted_once(database: Database, log: DecisionLog) -> None:
    log.record(record(1))
    log.record(record(2))
    log.record(record(1))
    await log.flush()
    log.record(record(2))
    log.record(record(3))
    await log.flush()
    page = await DecisionSearch(database).page()
    assert [found.request_id for found in page.decisions] == ["request-3", "request-2", "request-1"]
    async with database.reader() as connection:
        calls = await connection.execute_fetchall(
            "SELECT sum(calls) FROM rollups WHERE grain = 86400 AND facet = 'all'"
        )
    assert list(calls) == [(3,)]
    assert log.dropped == 0


@pytest.mark.parametrize(
    "poison",
    [
        {"model": "\ud800"},
        {"duration_ms": float("nan")},
        {"first_byte_ms": float("inf")},
        {"started_ns": 2**63},
        {"cost_nano_usd": 10**15 + 1},
        {"status": 2**70},
    ],
    ids=["no-utf8", "not-a-number", "infinite", "beyond-time", "beyond-price", "over-64-bits"],
)
async def test_a_record_that_cannot_be_kept_takes_no_other_with_it(
    database: Database, log: DecisionLog, poison: dict[str, Any]
) -> None:
    log.record(record(1))
    log.record(record(2, **poison))
    log.record(record(3))
    await written(log)
    page = await DecisionSearch(database).page()
    assert [found.request_id for found in page.decisions] == ["request-3", "request-1"]
    assert log.dropped == 1


async def test_token_counts_beyond_belief_are_cut(database: Database, log: DecisionLog) -> None:
    for number in range(3):
        log.record(record(number, usage=Usage(2**63, 2**63)))
    await written(log)
    page = await DecisionSearch(database).page()
    assert [found.input_tokens for found in page.decisions] == [10**12] * 3
    assert log.dropped == 0


async def test_a_policy_is_remembered_once_with_its_first_day(
    database: Database, log: DecisionLog, clock: SetClock
) -> None:
    first_ns = clock.now_ns
    await log.remember_policy(POLICY_ID, POLICY)
    clock.now_ns += 1
    another = await DecisionLog.open(database, clock)
    await another.remember_policy(POLICY_ID, POLICY)
    await another.close()
    async with database.reader() as connection:
        rows = await connection.execute_fetchall("SELECT policy_id, first_seen_ns FROM policies")
    assert list(rows) == [(POLICY_ID, first_ns)]


async def test_kill_9_under_load_loses_at_most_the_last_second(tmp_path: Path, clock: SetClock) -> None:
    child = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-m", "tests.sidecar.storage.crash_child", str(tmp_path)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    recorded: list[tuple[str, int]] = []
    with child.stdout:
        for line in child.stdout:
            request_id, at_ns = line.split()
            recorded.append((request_id.decode(), int(at_ns)))
            if len(recorded) == 2_500:
                break
        os.kill(child.pid, signal.SIGKILL)
        killed_ns = time.monotonic_ns()
        child.stdout.read()
    assert child.wait() == -signal.SIGKILL

    database = await Database.open(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        kept = {request_id for (request_id,) in connection.execute("SELECT request_id FROM decisions")}
        bodies = connection.execute("SELECT count(*) FROM decision_bodies").fetchone()
        calls = connection.execute(
            "SELECT sum(calls) FROM rollups WHERE grain = 86400 AND facet = 'all'"
        ).fetchone()
    older = {request_id for request_id, at_ns in recorded if at_ns < killed_ns - 1_000_000_000}
    assert older, "the child ran for more than a second"
    assert older <= kept
    assert bodies == calls == (len(kept),)
    log = await DecisionLog.open(database, clock)
    log.record(record(10_000_000))
    await log.close()
    assert await count(database) == len(kept) + 1
    await database.close()


async def written(log: DecisionLog) -> None:
    """Wait until the log has written everything on its own."""
    async with asyncio.timeout(20):
        while log.queued:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def count(database: Database) -> int:
    async with database.reader() as connection:
        ((rows,),) = await connection.execute_fetchall("SELECT count(*) FROM decisions")
    return int(rows)


async def limit_pages(database: Database, more: int) -> None:
    """Let the file grow by ``more`` pages and no further, as a full disk would."""
    async with database.maintenance() as connection:
        ((pages,),) = await connection.execute_fetchall("PRAGMA page_count")
        await connection.execute_fetchall(f"PRAGMA max_page_count = {pages + more}")
