"""Forgets decisions that are too old or too many, and fine roll-ups that nobody charts any more.

It works in small steps. Each is one short transaction, and between two of them the writer is free for the
decision log. The audit log and the history of the rollout are kept for good.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import takewhile
from typing import Final

import aiosqlite
import msgspec

from sidecar.storage.database import Clock, Database, StorageError
from sidecar.storage.rollups import DAY_S, HOUR_S, MINUTE_S, QUARTER_S, Facet

logger = logging.getLogger(__name__)

#: Rows per transaction, some milliseconds of the writer's time; decisions have many indexes, roll-ups one.
STEP_ROWS: Final = 100
STEP_ROLLUPS: Final = 1_000
#: Pages given back to the file system per step.
STEP_PAGES: Final = 64
#: How long the writer is left alone between two steps.
PAUSE_S: Final = 0.02
#: Free pages that stay in the file for what comes next: 4 MB.
SPARE_PAGES: Final = 1_024

#: How long each grain of the roll-ups is kept, in seconds; days are kept for good.
KEPT_S: Final = {MINUTE_S: 2 * DAY_S, QUARTER_S: 8 * DAY_S, HOUR_S: 60 * DAY_S}


class RetentionLimits(msgspec.Struct, frozen=True):
    """What may stay; None sets no limit. ``size_mb`` counts the pages in use, in units of a million bytes."""

    days: float | None = 30
    size_mb: float | None = 4_000


class Forgotten(msgspec.Struct, frozen=True):
    """What one run removed: decisions, roll-up rows, and pages of the file."""

    decisions: int
    rollups: int
    pages: int


class Retention:
    """Keeps the database within its limits."""

    def __init__(self, database: Database, clock: Clock, limits: RetentionLimits) -> None:
        self._database = database
        self._clock = clock
        self.limits = limits

    async def run_forever(self, every_s: float = 60.0) -> None:
        """Enforce the limits again and again, until cancelled."""
        while True:
            try:
                await self.enforce()
            except StorageError as error:
                logger.warning("retention will try again: %s", error)
            await asyncio.sleep(every_s)

    async def enforce(self) -> Forgotten:
        """Bring the database within its limits. Raises ``StorageError`` when it cannot."""
        decisions = 0
        if self.limits.days is not None:
            cutoff_ns = self._clock() - round(self.limits.days * DAY_S * 1e9)
            while gone := await self._forget_decisions(cutoff_ns):
                decisions += gone
        while await self._too_large() and (gone := await self._forget_decisions(None)):
            decisions += gone
        rollups = 0
        for grain, kept_s in KEPT_S.items():
            before_s = self._clock() // 1_000_000_000 - kept_s
            for facet in Facet:
                while gone := await self._forget_rollups(grain, facet, before_s):
                    rollups += gone
        pages = 0
        while gone := await self._give_pages_back():
            pages += gone
        return Forgotten(decisions, rollups, pages)

    async def _forget_decisions(self, cutoff_ns: int | None) -> int:
        """Remove the oldest decisions, those that began before ``cutoff_ns`` if it is given; how many."""
        async with self._database.transaction() as connection:
            oldest = await connection.execute_fetchall(
                "SELECT sequence, started_ns FROM decisions ORDER BY sequence LIMIT ?", (STEP_ROWS,)
            )
            doomed = list(takewhile(lambda row: cutoff_ns is None or row[1] < cutoff_ns, oldest))
            if not doomed:
                return 0
            last, started_ns = doomed[-1]
            await connection.execute(
                "DELETE FROM feedback WHERE request_id IN "
                "(SELECT request_id FROM decisions WHERE sequence <= ?)",
                (last,),
            )
            await connection.execute("DELETE FROM decisions WHERE sequence <= ?", (last,))
            await connection.execute("DELETE FROM decision_bodies WHERE sequence <= ?", (last,))
            await connection.execute(
                "DELETE FROM decision_minutes WHERE minute <= ? AND last_sequence <= ?",
                (started_ns // 60_000_000_000, last),
            )
        await asyncio.sleep(PAUSE_S)
        return len(doomed)

    async def _forget_rollups(self, grain: int, facet: Facet, before_s: int) -> int:
        async with self._database.transaction() as connection:
            cursor = await connection.execute(_FORGET_ROLLUPS, (grain, facet.value, before_s, STEP_ROLLUPS))
            gone = cursor.rowcount
        if gone:
            await asyncio.sleep(PAUSE_S)
        return gone

    async def _too_large(self) -> bool:
        if self.limits.size_mb is None:
            return False
        async with self._database.reader() as connection:
            pages = await _pragma(connection, "page_count") - await _pragma(connection, "freelist_count")
            return pages * await _pragma(connection, "page_size") > self.limits.size_mb * 1_000_000

    async def _give_pages_back(self) -> int:
        """Shrink the file by some of its free pages; how many."""
        async with self._database.maintenance() as connection:
            free = await _pragma(connection, "freelist_count")
            wanted = min(STEP_PAGES, free - SPARE_PAGES)
            if wanted <= 0:
                return 0
            # As a script: it runs until it is done, where a statement would stop after the first page.
            await connection.executescript(f"PRAGMA incremental_vacuum({wanted})")
            gone = free - await _pragma(connection, "freelist_count")
        await asyncio.sleep(PAUSE_S)
        return gone


#: Up to a moment rather than row by row, so that the primary key finds the rows: some more than asked for go.
_FORGET_ROLLUPS: Final = """
DELETE FROM rollups WHERE grain = ?1 AND facet = ?2 AND start_s <= (
    SELECT max(start_s) FROM (
        SELECT start_s FROM rollups WHERE grain = ?1 AND facet = ?2 AND start_s < ?3
        ORDER BY start_s LIMIT ?4
    )
)
"""


async def _pragma(connection: aiosqlite.Connection, name: str) -> int:
    ((value,),) = await connection.execute_fetchall(f"PRAGMA {name}")
    return int(value)
