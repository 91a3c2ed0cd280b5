"""Writes holds, settlements and alerts as the JSON rows that the ledger's commit takes.

The columns and their order are those that ``schema/ledger_001.sql`` documents at ``ledger_commit``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from sidecar.core.alerts import AlertKind
from sidecar.core.budget import FULL, Hold, LevelCrossed
from sidecar.core.periods import slot
from sidecar.core.pricing import usd_text
from sidecar.core.settlement import Posting, Settlement, UsageFlag
from sidecar.core.vocabulary import Usage

_NO_USAGE = Usage()


def hold_row(hold: Hold) -> bytes:
    """The row of a hold, in the order of columns that ``ledger_commit`` documents."""
    request = hold.request
    texts = (request.tier, _text(request.model), request.arm, _text(request.app))
    when = (hold.held_at_ns, slot(hold.held_at_ns), request.amount_nano_usd)
    return msgspec.json.encode((hold.id, _text(request.request_id), request.attempt, *texts, *when))


def settlement_row(hold: Hold, posted: Posting, now_ns: int) -> bytes:
    """The row of a settlement, in the order of columns that ``ledger_commit`` documents."""
    usage = posted.usage or _NO_USAGE
    tokens = (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens)
    return msgspec.json.encode((hold.id, posted.kind, posted.nano_usd, now_ns, *tokens, posted.flag))


def level_row(crossed: LevelCrossed, now_ns: int) -> bytes:
    """The row of a cap's alert, in the order of columns that ``ledger_commit`` documents."""
    cap, period = crossed.cap, crossed.period
    percent = crossed.level * 100 / FULL
    posted, limit = usd_text(crossed.posted_nano_usd), usd_text(cap.limit_nano_usd)
    text = f"{cap.name} is at {percent:g} %: ${posted} of ${limit} ({cap.period} since {period.label})"
    detail = {
        "cap": cap.name,
        "tier": cap.tier,
        "period": str(cap.period),
        "period_start": period.label,
        "percent": percent,
        "posted_usd": posted,
        "usd": limit,
    }
    return _row(crossed.key, now_ns, AlertKind.LEVEL_CROSSED, text, detail)


def usage_row(key: str, now_ns: int, hold: Hold, settlement: Settlement, flag: UsageFlag) -> bytes:
    """The row of an alert on a usage that cannot be believed."""
    request = hold.request
    claim = "reported a usage that cannot be"
    if flag is UsageFlag.OVER_HOLD and settlement.usage:
        claim = f"was reported to cost ${usd_text(request.price.cost(settlement.usage))}"
    held = usd_text(request.amount_nano_usd)
    text = f"{request.tier}: request {_text(request.request_id)} {claim}; its whole hold of ${held} is posted"
    detail = {
        "tier": request.tier,
        "model": _text(request.model),
        "request_id": _text(request.request_id),
        "flag": str(flag),
        "held_usd": held,
        # As text: what an upstream reports need not be a number that fits anywhere.
        "usage": repr(settlement.usage)[:500],
    }
    return _row(key, now_ns, AlertKind.USAGE_FLAGGED, text, detail)


def told_row(kind: AlertKind, key: str, now_ns: int, text: str, detail: dict[str, Any]) -> bytes:
    """The row of an alert that another part raises."""
    return _row(key, now_ns, kind, text, detail)


def _row(key: str, now_ns: int, kind: AlertKind, text: str, detail: dict[str, Any]) -> bytes:
    return msgspec.json.encode((key, now_ns, kind, text, msgspec.json.encode(detail).decode()))


def _text(text: str) -> str:
    """``text`` as it can be stored: of bounded length, and whole UTF-8 even if a caller sent half of it."""
    return text[:200].encode(errors="replace").decode()
