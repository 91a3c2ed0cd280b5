"""Holds and settles money, durably: the account sheet in memory, and its rows on the disk.

The sheet decides at once and is always at or above what is on the disk: a hold counts from the moment it is
asked for, and its room is free again only when its settlement is queued behind it. A hold is on the disk
before ``hold`` returns it; a settlement follows with the next commit. When the process dies in between, the
hold is found open and posted whole, as unknown: a crash can cost room under a cap, never overspend it.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from sidecar.core.alerts import AlertKind
from sidecar.core.budget import (
    ALL_TIERS,
    AccountSheet,
    Cap,
    CapStatus,
    Hold,
    HoldRefusal,
    HoldRequest,
    RefusalReason,
)
from sidecar.core.cap_seeds import SetBy
from sidecar.core.periods import NANOSECONDS, Calendar, PeriodKind
from sidecar.core.pricing import nano_usd
from sidecar.core.settlement import Posting, Settlement, SettlementKind, UsageFlag, posting
from sidecar.storage.cap_book import CapBook
from sidecar.storage.group_commit import GroupCommit
from sidecar.storage.ledger_alerts import AlertBook
from sidecar.storage.ledger_file import LedgerFile, LedgerUnavailable
from sidecar.storage.ledger_recovery import load_sheet, post_open_holds
from sidecar.storage.ledger_reports import LedgerReports, UnreconciledHold
from sidecar.storage.ledger_rows import hold_row, level_row, settlement_row, told_row, usage_row

log = logging.getLogger("sidecar.budget")

#: More open holds than this are calls that were never settled, not calls under way.
OPEN_HOLDS_MAX = 10_000
PRUNE_STEP = 200
UPKEEP_EVERY_S = 60.0
DAY_NS: Final = 86_400 * NANOSECONDS


class UnknownCap(LookupError):
    """No cap of that name is in force."""


class LedgerCounters(msgspec.Struct):
    """What has happened since the ledger was opened, for metrics.

    ``over_hold`` counts settlements whose reported cost was above the hold; it stays at zero as long as the
    bounds are true and the upstreams keep to their limits. ``expired`` are holds that nobody settled,
    ``recovered`` those that a dead process left open.
    """

    holds: int = 0
    exhausted: int = 0
    unavailable: int = 0
    settled: int = 0
    over_hold: int = 0
    absurd_usage: int = 0
    expired: int = 0
    recovered: int = 0


class LedgerLimits(msgspec.Struct, frozen=True):
    """How long the ledger waits, and how long it keeps.

    ``hold_wait_s`` bounds the time that the disk may take for a hold, ``busy_s`` the wait for another
    connection's lock within it; ``retry_s`` is the pause before a failed commit is tried again. A hold that
    nobody settles within ``hold_ttl_s``, which must be longer than any call may take, is posted whole.
    Settled rows are pruned after ``keep_days``; their sums stay.
    """

    hold_wait_s: float = 2.0
    busy_s: float = 0.25
    retry_s: float = 0.25
    hold_ttl_s: float = 3_600.0
    keep_days: int = 90


class BudgetLedger:
    """The ledger of one data directory. Made with ``open``; ``close`` it."""

    def __init__(
        self,
        file: LedgerFile,
        sheet: AccountSheet,
        book: CapBook,
        alerts: AlertBook,
        clock: Callable[[], int],
        limits: LedgerLimits,
    ) -> None:
        self._file = file
        self._sheet = sheet
        self._book = book
        self._clock = clock
        self._limits = limits
        self._flagged: set[str] = set()
        self._closed = False
        self._upkeep_due = asyncio.Event()
        self._commits = GroupCommit(
            file.writer,
            hold_wait_s=limits.hold_wait_s,
            retry_s=limits.retry_s,
            on_alerts=self._upkeep_due.set,
        )
        self._upkeep = asyncio.create_task(self._keep_up(), name="ledger-upkeep")
        self.alerts = alerts
        self.reports = LedgerReports(file.reader)
        self.counters = LedgerCounters()

    @classmethod
    async def open(
        cls,
        path: Path,
        caps: Iterable[Cap],
        zone: str,
        reset_day: int,
        clock: Callable[[], int],
        *,
        alerts_at: Sequence[float] = (0.8, 0.9, 1.0),
        limits: LedgerLimits | None = None,
    ) -> BudgetLedger:
        """Open or create the ledger at ``path``; holds that a dead process left open are posted whole.

        ``caps`` is what the configuration says, see ``core/cap_seeds.py`` for what becomes of it. ``clock``
        gives Unix nanoseconds. ``alerts_at`` are shares of a cap. Raises ``LedgerUnavailable`` when the
        file cannot be opened, ``LedgerInUse`` when another process has it.
        """
        limits = limits or LedgerLimits()
        calendar = Calendar(ZoneInfo(zone), reset_day)
        file = await LedgerFile.open(path, limits.busy_s)
        try:
            recovered = await post_open_holds(file.writer, clock())
            book, alerts = CapBook(file.writer), AlertBook(file.writer)
            await book.load()
            book.follow(caps)
            await book.catch_up(clock())
            sheet = await load_sheet(file.writer, calendar, clock(), alerts_at, await alerts.load())
            for kept in book.in_force().values():
                sheet.put_cap(kept.cap)
        except sqlite3.Error as error:
            await file.close()
            raise LedgerUnavailable(f"{path.name}: {error}") from error
        except BaseException:
            await file.close()
            raise
        ledger = cls(file, sheet, book, alerts, clock, limits)
        ledger.counters.recovered = recovered
        ledger._queue_crossed()
        return ledger

    @property
    def unavailable(self) -> str:
        """Why no hold can be taken now, for people; empty when all is well."""
        return self._commits.unavailable

    @property
    def open_holds(self) -> int:
        """The holds that are not settled: the attempts at priced tiers that are under way."""
        return self._sheet.open_count

    @property
    def waiting_settlements(self) -> int:
        """The settlements that are kept in memory until they can be written."""
        return self._commits.waiting_settlements

    @property
    def commit_failures(self) -> int:
        """How many commits failed since the ledger was opened."""
        return self._commits.failures

    def tell_commits(self, tell: Callable[[float], None]) -> None:
        """Have ``tell`` called with how long each commit took, in seconds; it must not raise."""
        self._commits.on_commit = tell

    def remaining(self, tier: str) -> tuple[int | None, str]:
        """What the tightest cap leaves for ``tier``, in nano-dollars, and its name; None when uncapped."""
        return self._sheet.remaining(tier, self._clock())

    def posted(self, kind: PeriodKind, tier: str = ALL_TIERS) -> int:
        """What ``tier``, or all tiers, posted in the present day, month or total, in nano-dollars."""
        return self._sheet.posted(kind, self._clock(), tier)

    async def hold(self, request: HoldRequest) -> Hold | HoldRefusal:
        """Set money aside; it is on the disk when the hold is returned.

        All caps that apply, or none. When the caller is cancelled while it waits, nothing stays held.
        """
        if refusal := self._unable():
            self.counters.unavailable += 1
            return refusal
        hold = self._sheet.take(request, self._clock())
        if isinstance(hold, HoldRefusal):
            self.counters.exhausted += 1
            self._queue_crossed()
            return hold
        try:
            written = await self._commits.write_hold(hold_row(hold))
        except BaseException:
            self._give_back(hold)
            raise
        if not written:
            self._give_back(hold)
            self.counters.unavailable += 1
            return HoldRefusal(
                RefusalReason.UNAVAILABLE, self.unavailable or "the ledger could not be written"
            )
        self.counters.holds += 1
        return hold

    def settle(self, hold: Hold, settlement: Settlement) -> int:
        """Post what ``hold`` came to, and return it in nano-dollars; 0 when it was settled before.

        Takes effect at once and is written with the next commit. Never raises and never waits.
        """
        request = hold.request
        posted = posting(request.amount_nano_usd, request.price, settlement)
        now_ns = self._clock()
        if not self._sheet.post(hold, posted.nano_usd, now_ns):
            return 0
        self.counters.settled += 1
        self._commits.queue_settlement(settlement_row(hold, posted, now_ns))
        if posted.flag is not UsageFlag.NONE:
            self._flag(hold, settlement, posted.flag, now_ns)
        self._queue_crossed()
        return posted.nano_usd

    async def flush(self) -> None:
        """Wait until settlements and caps are on the disk. Raises ``LedgerUnavailable`` if they cannot be."""
        await self._commits.flush()
        await self._book.catch_up(self._clock())

    async def close(self) -> None:
        """Write what is left, if it can be written, and let go of the file.

        Holds that are still open are posted whole at the next start. Closing twice is closing once.
        """
        if self._closed:
            return
        self._closed = True
        with suppress(LedgerUnavailable, TimeoutError):
            async with asyncio.timeout(self._limits.hold_wait_s):
                await self.flush()
        self._upkeep.cancel()
        await asyncio.wait([self._upkeep])
        with suppress(LedgerUnavailable):
            await self.alerts.tell()
        await self._commits.stop()
        await self._file.close()

    def caps(self) -> list[CapStatus]:
        """Where every cap stands."""
        return self._sheet.status(self._clock())

    def cap_set_by(self, name: str) -> SetBy:
        """Whose word the present value of a cap is. Raises ``UnknownCap``."""
        try:
            return self._book.in_force()[name].set_by
        except KeyError:
            raise UnknownCap(name) from None

    async def set_cap(self, name: str, usd: str | int | Decimal) -> None:
        """Give a cap a new limit, for the next hold on; one below what is spent stops the tier.

        Raises ``UnknownCap``, ``PriceRefused`` (an amount that is none), ``LedgerUnavailable``.
        """
        kept = self._book.in_force().get(name)
        if kept is None:
            raise UnknownCap(name)
        await self._put_cap(msgspec.structs.replace(kept.cap, limit_nano_usd=nano_usd(usd)))

    async def add_cap(self, cap: Cap) -> None:
        """Add a cap; what was spent in its period counts. Raises ``ValueError`` when the name is taken."""
        if cap.name in self._book.in_force():
            raise ValueError(f"there is a cap named {cap.name} already")
        await self._put_cap(cap)

    async def remove_cap(self, name: str) -> None:
        """Remove a cap; the configuration brings it back only by changing it. Raises ``UnknownCap``."""
        if name not in self._book.in_force():
            raise UnknownCap(name)
        await self._book.remove(name, self._clock())
        self._put_in_force()

    def follow(self, caps: Iterable[Cap]) -> None:
        """Take over what changed in the configuration's caps, after it was read anew.

        It is in force for the next hold, whether or not it can be written now; it is, as soon as it can be.
        """
        self._book.follow(caps)
        self._put_in_force()
        self._upkeep_due.set()

    async def unreconciled(self) -> list[UnreconciledHold]:
        """The newest holds whose cost is not known, whole holds being posted for them."""
        return await self.reports.unreconciled()

    async def release(self, hold_id: int) -> bool:
        """Take back what an unreconciled hold posted; False when there is none of that id.

        Raises ``LedgerUnavailable``.
        """
        try:
            rows = await self._file.writer.execute_fetchall(
                "UPDATE ledger_holds SET state = 'released', posted = 0, settled_at_ns = ? "
                "WHERE id = ? AND state = 'unknown' RETURNING tier, amount, held_at_ns",
                (self._clock(), hold_id),
            )
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"hold {hold_id} cannot be released: {error}") from error
        for tier, amount, held_at_ns in rows:
            self._sheet.refund(tier, amount, held_at_ns, self._clock())
            return True
        return False

    def expire(self) -> int:
        """Post the holds whole that nobody settled in time, and return how many there were."""
        oldest_ns = self._clock() - int(self._limits.hold_ttl_s * NANOSECONDS)
        expired = [hold for hold in self._sheet.open_holds() if hold.held_at_ns < oldest_ns]
        for hold in expired:
            log.error("hold %d of request %s was never settled", hold.id, hold.request.request_id)
            self.settle(hold, Settlement(SettlementKind.UNKNOWN))
        self.counters.expired += len(expired)
        return len(expired)

    async def prune(self) -> int:
        """Delete one step of the rows that are past keeping, and return how many; no sum changes.

        Raises ``LedgerUnavailable``.
        """
        keep_from_ns = self._clock() - self._limits.keep_days * DAY_NS
        try:
            rows = await self._file.writer.execute_fetchall(
                "DELETE FROM ledger_holds WHERE id IN (SELECT id FROM ledger_holds ORDER BY id LIMIT ?) "
                "AND held_at_ns < ? AND state <> 'open' RETURNING id",
                (PRUNE_STEP, keep_from_ns),
            )
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"old holds cannot be pruned: {error}") from error
        return len(list(rows))

    def _unable(self) -> HoldRefusal | None:
        why = self.unavailable
        if not why and self.open_holds >= OPEN_HOLDS_MAX:
            why = f"{OPEN_HOLDS_MAX} holds are open"
        return HoldRefusal(RefusalReason.UNAVAILABLE, why) if why else None

    def _give_back(self, hold: Hold) -> None:
        """Nothing was sent for this hold, whether or not it reached the disk."""
        now_ns = self._clock()
        self._sheet.post(hold, 0, now_ns)
        released = Posting(SettlementKind.RELEASED, 0)
        self._commits.queue_settlement(settlement_row(hold, released, now_ns))

    async def _put_cap(self, cap: Cap) -> None:
        await self._book.put(cap, self._clock())
        self._put_in_force()

    def _put_in_force(self) -> None:
        """Let the sheet go by the caps of the book."""
        in_force = self._book.in_force()
        for name in {status.cap.name for status in self.caps()} - in_force.keys():
            self._sheet.drop_cap(name)
        for kept in in_force.values():
            self._sheet.put_cap(kept.cap)
        self._queue_crossed()

    def _flag(self, hold: Hold, settlement: Settlement, flag: UsageFlag, now_ns: int) -> None:
        """Count a usage that cannot be believed, and raise one alarm an hour for each tier."""
        if flag is UsageFlag.OVER_HOLD:
            self.counters.over_hold += 1
        else:
            self.counters.absurd_usage += 1
        hour = now_ns // (3_600 * NANOSECONDS)
        key = f"usage/{hold.request.tier}/{flag}/{hour}"
        if key not in self._flagged:
            self._flagged = {kept for kept in self._flagged if kept.endswith(f"/{hour}")} | {key}
            self._commits.queue_alert(usage_row(key, now_ns, hold, settlement, flag))

    def raise_alert(self, kind: AlertKind, key: str, text: str, detail: dict[str, Any]) -> None:
        """Tell operators of something once for each ``key``, as of a cap: on the pages and by the webhook."""
        self._commits.queue_alert(told_row(kind, key, self._clock(), text, detail))

    def _queue_crossed(self) -> None:
        for crossed in self._sheet.take_crossed():
            self._commits.queue_alert(level_row(crossed, self._clock()))

    async def _keep_up(self) -> None:
        """Expire and prune now and then; tell of alerts and write caps as soon as that can be done."""
        waits = False
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.retry_s if self._book.behind else UPKEEP_EVERY_S):
                    await self._upkeep_due.wait()
            self._upkeep_due.clear()
            self.expire()
            try:
                await self._book.catch_up(self._clock())
                await self.alerts.tell()
                if await self.prune() == PRUNE_STEP:
                    self._upkeep_due.set()
                waits = False
            except LedgerUnavailable as error:
                if not waits:
                    log.warning("the ledger's upkeep waits: %s", error)
                waits = True
