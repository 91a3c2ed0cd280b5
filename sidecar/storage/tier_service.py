"""Remembers which tiers an operator has taken out of service: over restarts, until he puts them back."""

from __future__ import annotations

import asyncio
from typing import Self

import msgspec

from sidecar.core.obstacles import OutOfService as OutOfService
from sidecar.storage.database import Clock, Database


class TierService:
    """The tiers out of service, in memory for every call and in the database for the next start."""

    def __init__(self, database: Database, clock: Clock, out: dict[str, OutOfService]) -> None:
        self._database = database
        self._clock = clock
        self._changing = asyncio.Lock()
        #: By the tier's name; follows every change.
        self.out = out

    @classmethod
    async def open(cls, database: Database, clock: Clock) -> Self:
        """Read what is out. Raises ``StorageError``."""
        async with database.reader() as connection:
            rows = await connection.execute_fetchall("SELECT tier, at_ns, actor, reason FROM tiers_out")
        return cls(database, clock, {row[0]: OutOfService(*row) for row in rows})

    async def take_out(self, tier: str, actor: str, reason: str) -> bool:
        """Take ``tier`` out, durably before it takes effect; False when it is out already.

        Raises ``StorageError``.
        """
        async with self._changing:
            if tier in self.out:
                return False
            taken = OutOfService(tier, self._clock(), actor, reason)
            async with self._database.transaction() as connection:
                await connection.execute(
                    "INSERT INTO tiers_out (tier, at_ns, actor, reason) VALUES (?, ?, ?, ?)",
                    msgspec.structs.astuple(taken),
                )
            self.out[tier] = taken
            return True

    async def put_back(self, tier: str) -> bool:
        """Put ``tier`` back, durably before it takes effect; False when it is in service.

        Raises ``StorageError``.
        """
        async with self._changing:
            if tier not in self.out:
                return False
            async with self._database.transaction() as connection:
                await connection.execute("DELETE FROM tiers_out WHERE tier = ?", (tier,))
            del self.out[tier]
            return True
