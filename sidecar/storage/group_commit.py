"""Writes the ledger's rows in groups: everything that waits goes to the disk in one commit.

While one commit is on its way to the disk, the next ones gather. So a hold waits for at most the commit
under way and its own, however many calls there are. Settlements are in no hurry: they go with the next
hold, or by themselves after ``LINGER_S``.

A commit that fails refuses the holds in it and keeps its settlements and alerts, in order, to be tried
again until they are written. As long as that lasts the ledger is unavailable and takes no hold, so what is
kept is at most one settlement for each open hold. Holds come before settlements within a commit: what was
given back in the same commit is written as given back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import aiosqlite

from sidecar.storage.ledger_file import LedgerUnavailable

log = logging.getLogger("sidecar.budget")

#: One row as JSON, in the order of columns that ``ledger_commit`` documents.
Row = bytes

#: How long a settlement waits for a hold to share its commit with.
LINGER_S = 0.05

_COMMIT = "INSERT INTO ledger_commit (holds, settlements, alerts) VALUES (?, ?, ?)"


class GroupCommit:
    """The one writer of holds, settlements and alerts."""

    def __init__(
        self,
        connection: aiosqlite.Connection,
        *,
        hold_wait_s: float,
        retry_s: float,
        on_alerts: Callable[[], None],
    ) -> None:
        """``on_alerts`` is called when alerts have become durable."""
        self._connection = connection
        self._hold_wait_s = hold_wait_s
        self._retry_s = retry_s
        self._on_alerts = on_alerts
        self._holds: list[tuple[Row, asyncio.Future[bool]]] = []
        self._settlements: list[Row] = []
        self._alerts: list[Row] = []
        self._flushes: list[asyncio.Future[bool]] = []
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._linger: asyncio.TimerHandle | None = None
        self._watchdog: asyncio.Handle | None = None
        self._failure = ""
        self.failures = 0
        #: Told of how long each commit took, in seconds.
        self.on_commit: Callable[[float], None] = _tell_nobody
        self._task = self._loop.create_task(self._run(), name="ledger-group-commit")

    @property
    def unavailable(self) -> str:
        """Why nothing can be written now; empty when all is well."""
        return self._failure

    @property
    def waiting_settlements(self) -> int:
        """The settlements that are not on the disk yet."""
        return len(self._settlements)

    async def write_hold(self, row: Row) -> bool:
        """True once the hold is on the disk; False when it cannot be, or the disk takes too long.

        After False, or when cancelled while it waits, the hold may yet have been written: its release must
        be queued as a settlement.
        """
        written: asyncio.Future[bool] = self._loop.create_future()
        self._holds.append((row, written))
        self._wake.set()
        return await written

    def queue_settlement(self, row: Row) -> None:
        """Write ``row`` with the next commit that succeeds."""
        self._settlements.append(row)
        self._wake_soon()

    def queue_alert(self, row: Row) -> None:
        """Write ``row`` with the next commit that succeeds."""
        self._alerts.append(row)
        self._wake_soon()

    async def flush(self) -> None:
        """Wait until all that is queued is on the disk. Raises ``LedgerUnavailable`` when it cannot be."""
        flushed: asyncio.Future[bool] = self._loop.create_future()
        self._flushes.append(flushed)
        self._wake.set()
        if not await flushed:
            raise LedgerUnavailable(self._failure)

    async def stop(self) -> None:
        """Stop writing; what is still queued stays unwritten."""
        if self._linger is not None:
            self._linger.cancel()
        self._task.cancel()
        await asyncio.wait([self._task])
        self._failure = "the ledger is closed"
        _answer([*(future for _, future in self._holds), *self._flushes], False)

    def _wake_soon(self) -> None:
        if self._linger is None:
            self._linger = self._loop.call_later(LINGER_S, self._wake.set)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await self._commit():
                await asyncio.sleep(self._retry_s)
                self._wake.set()

    async def _commit(self) -> bool:
        """Write all that is queued now; whether it was written."""
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        holds, self._holds = self._holds, []
        settlements, self._settlements = self._settlements, []
        alerts, self._alerts = self._alerts, []
        flushes, self._flushes = self._flushes, []
        waiting = [future for _, future in holds]
        written = False
        try:
            if holds or settlements or alerts:
                batch = (_json([row for row, _ in holds]), _json(settlements), _json(alerts))
                self._watchdog = self._loop.call_later(self._hold_wait_s, self._overdue, waiting, 3)
                began_s = self._loop.time()
                await self._connection.execute_fetchall(_COMMIT, batch)
                self.on_commit(self._loop.time() - began_s)
            written = True
        except Exception as error:
            # Whatever it was, the money must not hang: refuse, keep, and try again.
            self.failures += 1
            self._fail(f"{type(error).__name__}: {error}")
        finally:
            if self._watchdog is not None:
                self._watchdog.cancel()
            if not written:
                self._settlements[:0] = settlements
                self._alerts[:0] = alerts
            _answer([*waiting, *flushes], written)
        if written:
            self._recover()
            if alerts:
                self._on_alerts()
        return written

    def _overdue(self, waiting: list[asyncio.Future[bool]], rounds: int) -> None:
        """Refuse the holds that wait for a commit that the disk does not finish.

        Only the disk's time counts. When it was the event loop that had no time, the commit's answer is
        waiting for its turn by now: it is let past first, for as many ``rounds`` as it needs.
        """
        if rounds:
            self._watchdog = self._loop.call_soon(self._overdue, waiting, rounds - 1)
            return
        self._fail(f"the disk did not take a hold within {self._hold_wait_s:g} s")
        queued, self._holds = self._holds, []
        _answer([*waiting, *(future for _, future in queued)], False)

    def _fail(self, why: str) -> None:
        if not self._failure:
            log.error("the ledger cannot be written, priced tiers are closed: %s", why)
        self._failure = why

    def _recover(self) -> None:
        if self._failure:
            log.warning("the ledger can be written again, priced tiers are open")
        self._failure = ""


def _tell_nobody(took_s: float) -> None:
    """Until somebody wants to know."""


def _json(rows: list[Row]) -> str:
    return "[" + b",".join(rows).decode() + "]"


def _answer(waiting: list[asyncio.Future[bool]], written: bool) -> None:
    for future in waiting:
        if not future.done():
            future.set_result(written)
