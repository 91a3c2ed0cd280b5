"""Takes decision records off the hot path and writes them in batches; bounded, and counts what it drops.

``record`` encodes and queues, nothing more. A flusher writes what is queued every 0.2 s, or sooner when a
batch is full: rows, bodies and roll-ups in one transaction. While the database is locked or the disk is full
it keeps trying; beyond the bound the newest records are dropped and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Final, Self

import msgspec

from sidecar.core.policy import Policy
from sidecar.core.vocabulary import DecisionRecord
from sidecar.storage.database import Clock, Database, StorageError
from sidecar.storage.decision_summary import COLUMNS, DecisionSummary, summarise
from sidecar.storage.rollups import LabelBook, Tabulation, add_to_rollups

logger = logging.getLogger(__name__)

BATCH_MAX: Final = 500
FLUSH_EVERY_S: Final = 0.2
#: Records that may wait. A record is about 2 KB, so a stuck disk costs at most some 20 MB.
QUEUE_MAX: Final = 10_000
RETRY_S: Final = 0.5
#: How long closing tries to write what is still queued.
CLOSE_S: Final = 5.0

#: Rows per statement. Python's lock changes hands once per statement, not per row, which matters
#: while the event loop is busy.
_ROWS_PER_STATEMENT: Final = 32

_encode = msgspec.msgpack.Encoder().encode


class _Queued(msgspec.Struct, frozen=True):
    """A record as it waits: its row, its body, and (tier, fault) of its failed attempts."""

    summary: DecisionSummary
    body: bytes
    faults: tuple[tuple[str, str], ...]


class DecisionLog:
    """Writes decision records. ``dropped`` counts those that were lost since the start."""

    def __init__(self, database: Database, clock: Clock, last_sequence: int, queue_max: int) -> None:
        self._database = database
        self._clock = clock
        self._queue: deque[_Queued] = deque()
        self._queue_max = queue_max
        self._labels = LabelBook()
        self._sequence = last_sequence
        self._something = asyncio.Event()
        self._enough = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._flusher: asyncio.Task[None] | None = None
        self._policies: set[str] = set()
        self.dropped = 0
        #: The highest sequence that readers can see.
        self.written_sequence = last_sequence
        #: Why the last write failed; empty while all is well.
        self.failing = ""

    @classmethod
    async def open(cls, database: Database, clock: Clock, *, queue_max: int = QUEUE_MAX) -> Self:
        """Start the log, and its flusher, where the last one ended."""
        async with database.reader() as connection:
            rows = list(
                await connection.execute_fetchall("SELECT seq FROM sqlite_sequence WHERE name = 'decisions'")
            )
        log = cls(database, clock, rows[0][0] if rows else 0, queue_max)
        log._flusher = asyncio.create_task(log._run(), name="decision-log")
        return log

    @property
    def queued(self) -> int:
        """Records that wait to be written."""
        return len(self._queue)

    def record(self, record: DecisionRecord, body: bytes | None = None) -> None:
        """Queue ``record``; dropped and counted when the queue is full. Never blocks, never raises.

        ``body`` is the record encoded, where somebody has done that already.
        """
        if len(self._queue) >= self._queue_max:
            self.dropped += 1
            return
        try:
            summary, body = summarise(self._sequence + 1, record), body or _encode(record)
        except (ValueError, OverflowError) as error:
            self.dropped += 1
            logger.error("a decision record was dropped: %s", error)
            return
        self._sequence += 1
        faults = tuple((attempt.tier, attempt.fault) for attempt in record.attempts if attempt.fault)
        self._queue.append(_Queued(summary, body, faults))
        self._something.set()
        if len(self._queue) >= BATCH_MAX:
            self._enough.set()

    async def remember_policy(self, policy_id: str, policy: Policy) -> None:
        """Keep ``policy``, so that decisions made under it can be replayed. Raises ``StorageError``."""
        if policy_id in self._policies:
            return
        async with self._database.transaction() as connection:
            await connection.execute(
                "INSERT INTO policies (policy_id, policy, first_seen_ns) VALUES (?, ?, ?) "
                "ON CONFLICT DO NOTHING",
                (policy_id, msgspec.json.encode(policy).decode(), self._clock()),
            )
        self._policies.add(policy_id)

    async def flush(self) -> None:
        """Write what was recorded until now. Raises ``StorageError``; what was not written stays queued."""
        until = self._sequence
        while self._queue and self._queue[0].summary.sequence <= until:
            await self._write_batch()

    async def close(self) -> None:
        """Write what is queued, for at most ``CLOSE_S``; the rest is dropped and counted."""
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.wait([self._flusher])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                while self._queue:
                    await self._try_to_write()
        self.dropped += len(self._queue)
        self._queue.clear()

    async def _run(self) -> None:
        while True:
            await self._something.wait()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._enough.wait(), FLUSH_EVERY_S)
            await self._try_to_write()

    async def _try_to_write(self) -> None:
        try:
            await self._write_batch()
        except StorageError:
            await asyncio.sleep(RETRY_S)
        except Exception as error:
            # A defect must not end the flusher unseen: it shows, and the queue stays bounded.
            self.failing = f"{type(error).__name__}: {error}"
            logger.exception("writing decision records failed")
            await asyncio.sleep(RETRY_S)

    async def _write_batch(self) -> None:
        """Write the oldest records. They leave the queue once they are durable."""
        async with self._flushing:
            batch = list(islice(self._queue, BATCH_MAX))
            if not batch:
                return
            try:
                try:
                    await self._write(batch)
                except sqlite3.IntegrityError:
                    await self._write_one_by_one(batch)
            except StorageError as error:
                if not self.failing:
                    logger.error("decision records cannot be written, trying on: %s", error)
                self.failing = str(error)
                raise
            if self.failing:
                logger.warning("decision records are written again; %d were dropped so far", self.dropped)
            self.failing = ""
            self.written_sequence = batch[-1].summary.sequence
            for _ in batch:
                self._queue.popleft()
            if not self._queue:
                self._something.clear()
            if len(self._queue) < BATCH_MAX:
                self._enough.clear()

    async def _write(self, batch: Sequence[_Queued]) -> None:
        tabulation = Tabulation()
        for queued in batch:
            tabulation.add(queued.summary, queued.faults)
        async with self._database.transaction() as connection:
            for chunk in _chunks(batch):
                await connection.execute(
                    _insert("decisions", COLUMNS, len(chunk)),
                    [value for queued in chunk for value in msgspec.structs.astuple(queued.summary)],
                )
                await connection.execute(
                    _insert("decision_bodies", ("sequence", "body"), len(chunk)),
                    [value for queued in chunk for value in (queued.summary.sequence, queued.body)],
                )
            await connection.executemany(_UPSERT_MINUTE, _minutes(batch))
            await add_to_rollups(connection, tabulation, self._labels)

    async def _write_one_by_one(self, batch: Sequence[_Queued]) -> None:
        """Write a batch of which the database has some already.

        A record may come twice, and a commit may take effect although it reported an error.
        """
        for queued in batch:
            with contextlib.suppress(sqlite3.IntegrityError):
                await self._write([queued])


def _chunks(batch: Sequence[_Queued]) -> Iterator[Sequence[_Queued]]:
    """Chunks of powers of two: SQLite keeps each statement with its last values, so there must be few."""
    start = 0
    while left := len(batch) - start:
        rows = min(1 << (left.bit_length() - 1), _ROWS_PER_STATEMENT)
        yield batch[start : start + rows]
        start += rows


_UPSERT_MINUTE: Final = """
INSERT INTO decision_minutes (minute, first_sequence, last_sequence) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET
    first_sequence = min(first_sequence, excluded.first_sequence),
    last_sequence = max(last_sequence, excluded.last_sequence)
"""


def _minutes(batch: Sequence[_Queued]) -> list[tuple[int, int, int]]:
    """(minute, first sequence, last sequence) for each minute in which calls of ``batch`` began."""
    ranges: dict[int, tuple[int, int]] = {}
    for queued in batch:
        sequence = queued.summary.sequence
        minute = queued.summary.started_ns // 60_000_000_000
        first, _ = ranges.get(minute, (sequence, sequence))
        ranges[minute] = (first, sequence)
    return [(minute, first, last) for minute, (first, last) in ranges.items()]


@cache
def _insert(table: str, columns: tuple[str, ...], rows: int) -> str:
    row = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * rows)}"  # noqa: S608
