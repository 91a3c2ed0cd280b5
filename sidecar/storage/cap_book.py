"""Keeps the caps in force, each change of them with its date, and the last word of the configuration."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable

import aiosqlite

from sidecar.core.budget import Cap
from sidecar.core.cap_seeds import SetBy, StoredCap, changes
from sidecar.core.periods import PeriodKind
from sidecar.storage.ledger_file import LedgerUnavailable

_READ = "SELECT name, tier, period, limit_nano, set_by, seed, removed FROM ledger_caps"
_WRITE = """
INSERT INTO ledger_caps (name, tier, period, limit_nano, set_by, seed, removed, changed_at_ns)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET
  tier = excluded.tier, period = excluded.period, limit_nano = excluded.limit_nano,
  set_by = excluded.set_by, seed = excluded.seed, removed = excluded.removed,
  changed_at_ns = excluded.changed_at_ns
"""


class CapBook:
    """The durable caps. Every method that writes raises ``LedgerUnavailable`` when it cannot."""

    def __init__(self, writer: aiosqlite.Connection) -> None:
        self._writer = writer
        self._stored: dict[str, StoredCap] = {}
        self._unwritten: dict[str, StoredCap] = {}
        self._writing = asyncio.Lock()

    async def load(self) -> None:
        """Read what is kept."""
        self._stored = {
            name: StoredCap(Cap(name, tier, PeriodKind(period), limit), SetBy(set_by), seed, bool(removed))
            for name, tier, period, limit, set_by, seed, removed in await self._writer.execute_fetchall(_READ)
        }

    def in_force(self) -> dict[str, StoredCap]:
        """The caps that count now, by name."""
        return {name: kept for name, kept in self._stored.items() if not kept.removed}

    @property
    def behind(self) -> bool:
        """Whether changes are in force that are not written yet."""
        return bool(self._unwritten)

    def follow(self, configured: Iterable[Cap]) -> None:
        """Take over what changed in the configuration: in force at once, durable after ``catch_up``.

        A crash in between loses nothing: the next start finds the configuration changed as well.
        """
        for change in changes(self._stored, configured):
            self._stored[change.cap.name] = self._unwritten[change.cap.name] = change

    async def catch_up(self, now_ns: int) -> None:
        """Write the changes that are not written yet."""
        async with self._writing:
            for name, change in list(self._unwritten.items()):
                await self._write(change, now_ns)
                if self._unwritten[name] is change:
                    del self._unwritten[name]

    async def put(self, cap: Cap, now_ns: int) -> None:
        """An operator adds a cap, or changes one."""
        async with self._writing:
            kept = self._stored.get(cap.name)
            await self._write_word(StoredCap(cap, SetBy.OPERATOR, kept.seed if kept else ""), kept, now_ns)

    async def remove(self, name: str, now_ns: int) -> None:
        """An operator takes a cap away, for good: the configuration brings it back only by changing it."""
        async with self._writing:
            kept = self._stored[name]
            word = StoredCap(kept.cap, SetBy.OPERATOR, kept.seed, removed=True)
            await self._write_word(word, kept, now_ns)

    async def _write_word(self, word: StoredCap, before: StoredCap | None, now_ns: int) -> None:
        """Write an operator's word; it is in force unless the configuration has changed in the meantime."""
        await self._write(word, now_ns)
        name = word.cap.name
        if self._stored.get(name) is before:
            self._stored[name] = word
            self._unwritten.pop(name, None)

    async def _write(self, kept: StoredCap, now_ns: int) -> None:
        cap = kept.cap
        row = (
            cap.name,
            cap.tier,
            cap.period,
            cap.limit_nano_usd,
            kept.set_by,
            kept.seed,
            kept.removed,
            now_ns,
        )
        try:
            await self._writer.execute_fetchall(_WRITE, row)
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"the cap {cap.name} cannot be written: {error}") from error
