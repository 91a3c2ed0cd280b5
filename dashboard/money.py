"""Shows where the caps stand, for the pages that have them."""

from __future__ import annotations

import msgspec

from sidecar.core.budget import CapStatus
from sidecar.core.cap_seeds import SetBy
from sidecar.services import Services


class CapRow(msgspec.Struct, frozen=True):
    """One cap. Money in nano-dollars, shares of the limit as 0 to 1, times as Unix nanoseconds.

    ``runs_out_at_ns`` is set while some is left that will not last. ``state`` is ``good``, ``warning`` or
    ``error``, with ``state_words`` beside it.
    """

    name: str
    tier: str
    period: str
    limit_nano_usd: int
    posted_nano_usd: int
    held_nano_usd: int
    remaining_nano_usd: int
    posted_share: float
    held_share: float
    state: str
    state_words: str
    resets_at_ns: int | None
    runs_out_at_ns: int | None
    set_by_operator: bool


_NEARLY = 0.8


def cap_rows(services: Services) -> tuple[CapRow, ...]:
    """All caps, in the order they were added."""
    return tuple(
        _row(status, services.ledger.cap_set_by(status.cap.name) is SetBy.OPERATOR)
        for status in services.ledger.caps()
    )


def _row(status: CapStatus, set_by_operator: bool) -> CapRow:
    cap = status.cap
    limit = cap.limit_nano_usd
    posted = status.posted_nano_usd / limit if limit else 1.0
    held = status.held_nano_usd / limit if limit else 0.0
    state, words, runs_out_at_ns = "good", "within its limit", None
    if limit == 0:
        state, words = "warning", "switched off: a limit of nothing"
    elif status.remaining_nano_usd == 0:
        state, words = "error", "used up"
    elif status.runs_out_at_ns is not None:
        state, words = "warning", "runs out before it resets"
        runs_out_at_ns = status.runs_out_at_ns
    elif posted + held >= _NEARLY:
        state, words = "warning", "nearly used up"
    return CapRow(
        name=cap.name,
        tier=cap.tier,
        period=str(cap.period),
        limit_nano_usd=limit,
        posted_nano_usd=status.posted_nano_usd,
        held_nano_usd=status.held_nano_usd,
        remaining_nano_usd=status.remaining_nano_usd,
        posted_share=min(1.0, posted),
        held_share=min(1.0 - min(1.0, posted), held),
        state=state,
        state_words=words,
        resets_at_ns=status.period.end_ns,
        runs_out_at_ns=runs_out_at_ns,
        set_by_operator=set_by_operator,
    )
