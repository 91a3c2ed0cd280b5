"""The audit log keeps every change and lets none be rewritten."""

from __future__ import annotations

import pytest

from sidecar.storage.audit_log import AuditEntry, AuditLog
from sidecar.storage.database import Database
from tests.sidecar.storage.records import NOON_NS


async def test_a_change_is_kept_old_and_new(database: Database) -> None:
    log = AuditLog(database)
    await log.record("ann", "set", "cap openai-month", {"usd": 80}, None, "removed for the test", NOON_NS)
    page = await log.page()
    assert page.entries == (
        AuditEntry(1, NOON_NS, "ann", "set", "cap openai-month", {"usd": 80}, None, "removed for the test"),
    )
    assert page.next_cursor is None


async def test_pages_go_back_in_time_and_are_not_shifted_by_new_changes(database: Database) -> None:
    log = AuditLog(database)
    for number in range(7):
        await log.record("ann", "set", "rollout", number, number + 1, "", number)
    seen: list[int] = []
    cursor = None
    while True:
        page = await log.page(cursor, limit=3)
        seen += [entry.old for entry in page.entries]
        cursor = page.next_cursor
        if cursor is None:
            break
        await log.record("bob", "set", "rollout", 99, 100, "", 99)
    assert seen == [6, 5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'eve'", "DELETE FROM audit"])
async def test_what_is_written_stays(database: Database, statement: str) -> None:
    log = AuditLog(database)
    await log.record("ann", "set", "rollout", 10, 30, "", NOON_NS)

    async def tamper() -> None:
        async with database.transaction() as connection:
            await connection.execute(statement)

    with pytest.raises(Exception, match="append-only"):
        await tamper()
    assert [entry.actor for entry in (await log.page()).entries] == ["ann"]


async def test_a_cursor_of_another_listing_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        await AuditLog(database).page("ZGVjaXNpb25zOjc")
