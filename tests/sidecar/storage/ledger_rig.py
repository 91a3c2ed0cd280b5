"""What the ledger's tests share: a clock that is told the time, requests, an open ledger, its rows."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from sidecar.core.budget import Cap, Hold, HoldRequest
from sidecar.core.periods import PeriodKind
from sidecar.core.settlement import Settlement, SettlementKind
from sidecar.core.vocabulary import Arm, Usage
from sidecar.storage.budget_ledger import BudgetLedger, LedgerLimits
from tests.sidecar.budget_model import PRICE, START_NS, usage

ZONE = "Europe/Berlin"
RESET_DAY = 31

RELEASED = Settlement(SettlementKind.RELEASED)
UNKNOWN = Settlement(SettlementKind.UNKNOWN)


class Clock:
    """Unix nanoseconds, as told."""

    def __init__(self, now_ns: int = START_NS) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns


def cap(limit: int, name: str = "all", tier: str = "*", period: PeriodKind = PeriodKind.MONTH) -> Cap:
    return Cap(name, tier, period, limit)


def request(amount: int, tier: str = "openai", request_id: str = "r", **fields: Any) -> HoldRequest:
    known = {"attempt": 1, "model": "gpt-4o", "arm": Arm.ROUTED, "app": "", "price": PRICE, **fields}
    return HoldRequest(request_id=request_id, tier=tier, amount_nano_usd=amount, **known)


def reported(tokens: int | Usage) -> Settlement:
    """The upstream reported a usage that costs so many nano-dollars."""
    return Settlement(SettlementKind.REPORTED, tokens if isinstance(tokens, Usage) else usage(tokens))


@asynccontextmanager
async def opened(
    path: Path, *caps: Cap, clock: Clock | None = None, limits: LedgerLimits | None = None, **options: Any
) -> AsyncIterator[BudgetLedger]:
    """A ledger at ``path``, closed at the end."""
    ledger = await BudgetLedger.open(
        path, caps, ZONE, RESET_DAY, clock or Clock(), limits=limits or LedgerLimits(), **options
    )
    try:
        yield ledger
    finally:
        await ledger.close()


async def held(ledger: BudgetLedger, amount: int, tier: str = "openai", **fields: Any) -> Hold:
    """A hold that must be granted."""
    hold = await ledger.hold(request(amount, tier, **fields))
    assert isinstance(hold, Hold), hold
    return hold


def rows(path: Path, sql: str) -> list[Any]:
    """What any other program would read from the file."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()
