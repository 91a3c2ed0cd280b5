"""What operators see and change of the budgets: caps, spend, holds of unknown cost; all is audited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from sidecar.core.budget import Cap, CapStatus
from sidecar.core.periods import PeriodKind
from sidecar.core.pricing import nano_usd, usd_text
from sidecar.storage.budget_ledger import BudgetLedger, UnknownCap
from sidecar.storage.ledger_reports import Dimension, Spend, UnreconciledHold

#: Writes one change to the audit log: actor, action, subject, old, new, reason.
Changed = Callable[[str, str, str, Any, Any, str], Awaitable[None]]


class StaleCap(Exception):
    """The cap was changed since the caller looked; ``usd`` is what it is now."""

    def __init__(self, name: str, usd: str) -> None:
        super().__init__(f"the cap {name} is at ${usd} by now")
        self.usd = usd


class CapView(msgspec.Struct, frozen=True):
    """One cap. Money are exact decimal strings in dollars, times ISO 8601 in UTC.

    ``resets_at`` is null for a total; ``runs_out_at`` is when the recent rate would use the cap up within
    its period, null when it would not. ``set_by`` tells whose value is in force.
    """

    name: str
    tier: str
    period: str
    usd: str
    posted: str
    held: str
    remaining: str
    resets_at: str | None
    runs_out_at: str | None
    set_by: str


class HoldView(msgspec.Struct, frozen=True):
    """A hold whose cost is not known: all of ``usd`` is posted until it is released."""

    id: int
    request_id: str
    tier: str
    model: str
    usd: str
    held_at: str


class SpendView(msgspec.Struct, frozen=True):
    """What one group of calls cost; ``group`` has a value for each dimension asked for."""

    group: dict[str, str]
    usd: str
    unreconciled_usd: str
    calls: int
    estimated: int
    flagged: int
    input_tokens: int
    output_tokens: int


class BudgetDesk:
    """The budgets as operators handle them."""

    def __init__(
        self,
        ledger: BudgetLedger,
        tiers: Callable[[], Sequence[str]],
        changed: Changed,
    ) -> None:
        self._ledger = ledger
        self._tiers = tiers
        self._changed = changed
        # What a caller expects is still so when its change is made.
        self._changing = asyncio.Lock()

    def caps(self) -> list[CapView]:
        """Every cap, as it stands now."""
        return [self._view(status) for status in self._ledger.caps()]

    def cap(self, name: str) -> CapView:
        """One cap. Raises ``UnknownCap``."""
        for status in self._ledger.caps():
            if status.cap.name == name:
                return self._view(status)
        raise UnknownCap(name)

    async def set_cap(
        self,
        name: str,
        usd: str | int | Decimal,
        *,
        actor: str,
        reason: str = "",
        expected_usd: str | None = None,
    ) -> CapView:
        """Change a cap's limit, effective for the next hold.

        Raises ``UnknownCap``, ``ValueError`` for an amount that is none, ``StaleCap`` when
        ``expected_usd`` is not what the limit is now, ``LedgerUnavailable``.
        """
        async with self._changing:
            before = self._expected(name, expected_usd)
            await self._ledger.set_cap(name, usd)
            after = self.cap(name)
            await self._changed(actor, "budget.set", name, before.usd, after.usd, reason)
            return after

    async def add_cap(
        self, name: str, tier: str, period: str, usd: str | int | Decimal, *, actor: str, reason: str = ""
    ) -> CapView:
        """Add a cap; what was spent in its period counts. Raises ``ValueError``, ``LedgerUnavailable``."""
        known = ("*", *self._tiers())
        if tier not in known:
            raise ValueError(f"there is no tier {tier[:80]!r}; write one of {', '.join(known)}")
        if period not in list(PeriodKind):
            raise ValueError(f"a period is {', '.join(PeriodKind)}, not {period[:80]!r}")
        async with self._changing:
            await self._ledger.add_cap(Cap(name, tier, PeriodKind(period), nano_usd(usd)))
            after = self.cap(name)
            new = {"tier": tier, "period": period, "usd": after.usd}
            await self._changed(actor, "budget.add", name, None, new, reason)
            return after

    async def remove_cap(
        self, name: str, *, actor: str, reason: str = "", expected_usd: str | None = None
    ) -> None:
        """Remove a cap. Raises as ``set_cap``."""
        async with self._changing:
            before = self._expected(name, expected_usd)
            await self._ledger.remove_cap(name)
            old = {"tier": before.tier, "period": before.period, "usd": before.usd}
            await self._changed(actor, "budget.remove", name, old, None, reason)

    async def unreconciled(self) -> list[HoldView]:
        """The newest holds whose cost is not known. Raises ``LedgerUnavailable``."""
        await self._ledger.flush()
        return [_hold_view(hold) for hold in await self._ledger.unreconciled()]

    async def release(self, hold_id: int, *, actor: str, reason: str = "") -> bool:
        """Take back what such a hold posted; False when there is none. Raises ``LedgerUnavailable``."""
        released = await self._ledger.release(hold_id)
        if released:
            await self._changed(actor, "hold.release", str(hold_id), "unreconciled", "released", reason)
        return released

    async def spend(
        self, by: Sequence[Dimension], since_ns: int = 0, until_ns: int | None = None
    ) -> list[SpendView]:
        """What was spent, exactly, grouped. Raises ``LedgerUnavailable``."""
        await self._ledger.flush()
        return [_spend_view(by, spend) for spend in await self._ledger.reports.spend(by, since_ns, until_ns)]

    def _expected(self, name: str, expected_usd: str | None) -> CapView:
        cap = self.cap(name)
        if expected_usd is not None and nano_usd(expected_usd) != nano_usd(cap.usd):
            raise StaleCap(name, cap.usd)
        return cap

    def _view(self, status: CapStatus) -> CapView:
        cap = status.cap
        return CapView(
            name=cap.name,
            tier=cap.tier,
            period=cap.period,
            usd=usd_text(cap.limit_nano_usd),
            posted=usd_text(status.posted_nano_usd),
            held=usd_text(status.held_nano_usd),
            remaining=usd_text(status.remaining_nano_usd),
            resets_at=_iso(status.period.end_ns),
            runs_out_at=_iso(status.runs_out_at_ns),
            set_by=self._ledger.cap_set_by(cap.name),
        )


def _iso(at_ns: int | None) -> str | None:
    if at_ns is None:
        return None
    return datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _hold_view(hold: UnreconciledHold) -> HoldView:
    return HoldView(
        id=hold.id,
        request_id=hold.request_id,
        tier=hold.tier,
        model=hold.model,
        usd=usd_text(hold.amount_nano_usd),
        held_at=_iso(hold.held_at_ns) or "",
    )


def _spend_view(by: Sequence[Dimension], spend: Spend) -> SpendView:
    group: dict[str, str] = {
        str(name): (_iso(value) or "") if isinstance(value, int) else value
        for name, value in zip(by, spend.key, strict=True)
    }
    return SpendView(
        group=group,
        usd=usd_text(spend.posted_nano_usd),
        unreconciled_usd=usd_text(spend.unreconciled_nano_usd),
        calls=spend.calls,
        estimated=spend.estimated,
        flagged=spend.flagged,
        input_tokens=spend.input_tokens,
        output_tokens=spend.output_tokens,
    )
