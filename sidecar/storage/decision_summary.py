"""The searchable part of a decision record: one struct that is both the table's row and a list's line."""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

from sidecar.core.vocabulary import DecisionRecord

#: Texts that the app, a model or an upstream wrote are cut to this many characters in columns and filters.
TEXT_MAX: Final = 256
#: Sums over all calls must fit SQLite's 64 bits: a trillion tokens, a million dollars, in one call.
TOKENS_MAX: Final = 10**12
COST_MAX_NANO_USD: Final = 10**15


class DecisionSummary(msgspec.Struct, frozen=True, gc=False):
    """One line of the decisions table, without the why-trace.

    ``sequence`` grows in the order in which calls ended. Absent texts are empty. ``fallback`` says that more
    than one tier was tried. ``requested_model`` is what the app asked for, ``model`` what answered.
    """

    sequence: int
    request_id: str
    started_ns: int
    duration_ms: float
    first_byte_ms: float | None
    outcome: str
    status: int
    error_code: str
    arm: str
    tier: str
    model: str
    requested_model: str
    reason: str
    verdict: str
    fallback: bool
    app: str
    session: str
    door: str
    task_type: str
    input_tokens: int
    output_tokens: int
    cost_nano_usd: int
    trace_id: str


COLUMNS: Final = DecisionSummary.__struct_fields__
_FALLBACK: Final = COLUMNS.index("fallback")


def summarise(sequence: int, record: DecisionRecord) -> DecisionSummary:
    """The searchable part of ``record``, under its ``sequence``. Enums become plain strings for SQLite.

    Raises ``ValueError`` for times and costs that no call can have. Tokens are an upstream's word, and
    are cut to ``TOKENS_MAX``.
    """
    if not (
        0 <= record.started_ns < 2**63
        and 0 <= record.duration_ms < math.inf
        and (record.first_byte_ms is None or 0 <= record.first_byte_ms < math.inf)
        and 0 <= record.cost_nano_usd <= COST_MAX_NANO_USD
    ):
        raise ValueError(f"call {record.request_id} has an impossible time or cost")
    features = record.features
    hints = features.hints
    usage = record.usage
    return DecisionSummary(
        sequence,
        record.request_id,
        record.started_ns,
        record.duration_ms,
        record.first_byte_ms,
        record.outcome.value,
        record.status,
        record.error_code[:TEXT_MAX],
        features.arm.value,
        record.tier,
        record.model[:TEXT_MAX],
        features.model[:TEXT_MAX],
        record.decision.reason,
        features.verdict.state.value,
        fell_back(record),
        record.app[:TEXT_MAX],
        record.session[:TEXT_MAX],
        features.door,
        hints.task_type.value if hints.task_type is not None else "",
        min(usage.input_tokens, TOKENS_MAX) if usage is not None else 0,
        min(usage.output_tokens, TOKENS_MAX) if usage is not None else 0,
        record.cost_nano_usd,
        record.trace_id,
    )


def fell_back(record: DecisionRecord) -> bool:
    """Whether more than one tier was tried for the call."""
    attempts = record.attempts
    return len(attempts) > 1 and any(attempt.tier != attempts[0].tier for attempt in attempts)


def from_row(row: Any) -> DecisionSummary:
    """The summary in a row selected with ``COLUMNS``."""
    values = list(row)
    values[_FALLBACK] = bool(values[_FALLBACK])
    return DecisionSummary(*values)
