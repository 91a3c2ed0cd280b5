"""Reads the ledger back after a start: what a dead process left open, and the sums of the present periods."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from decimal import Decimal

import aiosqlite

from sidecar.core.budget import FULL, AccountSheet
from sidecar.core.periods import NANOSECONDS, SLOT_S, Calendar, PeriodKind, slot
from sidecar.core.pricing import usd_text
from sidecar.core.spend_rate import WINDOW_NS

log = logging.getLogger("sidecar.budget")


async def post_open_holds(writer: aiosqlite.Connection, now_ns: int) -> int:
    rows = await writer.execute_fetchall(
        "UPDATE ledger_holds SET state = 'unknown', posted = amount, settled_at_ns = ? "
        "WHERE state = 'open' RETURNING amount",
        (now_ns,),
    )
    amounts = [amount for (amount,) in rows]
    if amounts:
        log.warning(
            "%d holds were open when the sidecar last ended; $%s is posted for them until it is reconciled",
            len(amounts),
            usd_text(sum(amounts)),
        )
    return len(amounts)


async def load_sheet(
    writer: aiosqlite.Connection,
    calendar: Calendar,
    now_ns: int,
    alerts_at: Sequence[float],
    alerted: list[str],
) -> AccountSheet:
    """The sheet as the rows have it.

    A clock that is behind the newest row is not believed: the ledger stays in that row's period, so that
    spend is not forgotten. Rows later than now count in the present period for the same reason.
    """
    ((newest,),) = await writer.execute_fetchall("SELECT ifnull(max(slot), 0) FROM ledger_spend")
    newest_ns = newest * SLOT_S * NANOSECONDS
    if newest_ns > now_ns:
        log.error("the clock is behind the ledger: caps stay in the period of the newest row until it passes")
    now_ns = max(now_ns, newest_ns)
    last_ids = [
        last
        for (last,) in await writer.execute_fetchall(
            "SELECT seq FROM sqlite_sequence WHERE name = 'ledger_holds'"
        )
    ]
    sheet = AccountSheet(
        calendar,
        now_ns,
        alert_levels=[int(Decimal(str(share)) * FULL) for share in alerts_at],
        alerted=alerted,
        last_id=max(last_ids, default=0),
    )
    for kind in PeriodKind:
        start = slot(calendar.period(kind, now_ns).start_ns)
        posted = await writer.execute_fetchall(
            "SELECT tier, sum(posted) FROM ledger_spend WHERE slot >= ? GROUP BY tier", (start,)
        )
        sheet.load(kind, {row[0]: row[1] for row in posted})
    recent = await writer.execute_fetchall(
        "SELECT tier, slot, sum(posted) FROM ledger_spend WHERE slot >= ? GROUP BY slot, tier ORDER BY slot",
        (slot(now_ns - WINDOW_NS),),
    )
    for tier, at, nano in recent:
        sheet.load_recent(tier, nano, at * SLOT_S * NANOSECONDS)
    return sheet
