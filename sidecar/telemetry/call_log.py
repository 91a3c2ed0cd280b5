"""Writes one line for each call to the logger ``sidecar.calls``: what it was, who answered, how it ended."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from functools import lru_cache

from sidecar.core.pricing import usd_text
from sidecar.core.vocabulary import DecisionRecord, Outcome, RefusedCall
from sidecar.telemetry.log_stream import NeverWaiting

calls = logging.getLogger("sidecar.calls")

_LEVELS = {Outcome.UPSTREAM_FAILED: logging.WARNING}


def write_lines(records: Sequence[DecisionRecord | RefusedCall]) -> None:
    """A line for each of ``records``. No prompt, no key, no word that an upstream wrote."""
    if not calls.isEnabledFor(logging.WARNING):
        return
    with contextlib.ExitStack() as stack:
        for handler in logging.getLogger().handlers:
            if isinstance(handler, NeverWaiting):
                stack.enter_context(handler.together())
        for record in records:
            _write_line(record)


def _write_line(record: DecisionRecord | RefusedCall) -> None:
    if isinstance(record, RefusedCall):
        level = logging.WARNING if record.status >= 500 else logging.INFO
    else:
        level = _LEVELS.get(record.outcome, logging.INFO)
    if calls.isEnabledFor(level):
        fields = refusal_fields(record) if isinstance(record, RefusedCall) else line_fields(record)
        words = " ".join([f"{key}={value}" for key, value in fields.items()])
        # Not by `calls.log`, which would look for who calls it.
        calls.handle(
            calls.makeRecord(calls.name, level, __file__, 0, words, (), None, extra={"call": fields})
        )


def line_fields(record: DecisionRecord) -> dict[str, str | int | float]:
    """What the line says, in order; the ids are named by OpenTelemetry's conventions for logs."""
    features = record.features
    fields: dict[str, str | int | float] = {
        "request_id": record.request_id,
        "trace_id": record.trace_id,
        "span_id": record.span_id,
        "trace_flags": "01" if record.sampled else "00",
        "door": features.door,
        "arm": features.arm.value,
        "tier": record.tier or "-",
        "model": _one_word(record.model) or "-",
        "reason": record.decision.reason,
        "verdict": features.verdict.state.value,
        "outcome": record.outcome.value,
        "status": record.status,
        "duration_ms": record.duration_ms,
        "cost_usd": usd_text(record.cost_nano_usd),
    }
    if record.first_byte_ms is not None:
        fields["first_byte_ms"] = record.first_byte_ms
    if record.usage is not None:
        fields["input_tokens"] = record.usage.input_tokens
        fields["output_tokens"] = record.usage.output_tokens
    if failed := ",".join(f"{attempt.tier}:{attempt.fault}" for attempt in record.attempts if attempt.fault):
        fields["failed"] = failed
    if record.error_code:
        fields["error_code"] = record.error_code
    return fields


def refusal_fields(call: RefusedCall) -> dict[str, str | int | float]:
    """The same for a call that was turned away at the door."""
    return {
        "request_id": call.request_id,
        "trace_id": call.trace_id,
        "span_id": call.span_id,
        "trace_flags": "01" if call.sampled else "00",
        "door": call.door,
        "outcome": "refused",
        "status": call.status,
        "duration_ms": call.duration_ms,
        "error_code": call.code,
    }


@lru_cache(maxsize=256)
def _one_word(model: str) -> str:
    """A model name that cannot pose as another field: the app may have written anything."""
    return "".join(char if "!" <= char <= "~" else "?" for char in model[:120])
