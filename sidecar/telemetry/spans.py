"""Makes the spans of one call from its decision record.

::

    SERVER    POST /v1/chat/completions      the call, from its first byte to its ending
    INTERNAL  +-- privacy scan               the verdict: kinds and how often, never the values
    INTERNAL  +-- route                      the why-trace: each rule looked at is an event
    INTERNAL  +-- hold                       the money for an attempt at a priced tier
    CLIENT    +-- chat gpt-4o                one attempt; its id is what the upstream was told

Ids that nobody outside was told of are derived from the call's own span id, so that the same record always
makes the same spans. An upstream's own words are left out: they may quote the prompt. Messages are shown only
where ``content: clean_only`` asks for them, and the privacy gate has found nothing in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any
from urllib.parse import urlsplit

import msgspec

from sidecar.core.pricing import NANO_PER_USD
from sidecar.core.said import Said
from sidecar.core.tiers import TierSpec
from sidecar.core.vocabulary import Attempt, DecisionRecord, Outcome, RefusedCall, RejectedTier, Stages
from sidecar.telemetry import names
from sidecar.telemetry.protobuf import Value

#: A model may be whatever the app wrote.
_NAME_MAX = 120
_NOTHING_MEASURED = Stages(0.0, 0.0, 0.0, 0.0, 0.0)
_SAMPLED = "sampled"
_NO_TIERS: Mapping[str, TierSpec] = {}


class Kind(IntEnum):
    """OTLP's ``SpanKind``."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


class SpanEvent(msgspec.Struct, frozen=True):
    """Something that happened at one moment of a span, in Unix nanoseconds."""

    at_ns: int
    name: str
    attributes: Mapping[str, Value] = {}


class Span(msgspec.Struct, frozen=True):
    """One span. Ids are hexadecimal, times Unix nanoseconds; ``error`` is empty when all went well."""

    name: str
    kind: Kind
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Value]
    events: tuple[SpanEvent, ...] = ()
    error: str = ""
    #: Trace and span ids of what it is linked to.
    links: tuple[tuple[str, str], ...] = ()


def span_tree(
    record: DecisionRecord,
    tiers: Mapping[str, TierSpec] = _NO_TIERS,
    *,
    kept: str = _SAMPLED,
    said: Said | None = None,
) -> list[Span]:
    """The call's spans, its SERVER span first.

    ``tiers`` says where the attempts went, ``kept`` why the call is traced, ``said`` what its last attempt
    is to show of its messages.
    """
    stages = record.stages or _NOTHING_MEASURED
    spans = [
        _server(record, kept),
        _scan(record, stages),
        _route(record, stages),
    ]
    for place, attempt in enumerate(record.attempts):
        if attempt.hold_ms is not None:
            spans.append(_hold(record, attempt, place))
        last = attempt is record.attempts[-1]
        span = _client(record, attempt, tiers.get(attempt.tier), last=last)
        if last and said is not None:
            span.attributes.update(_content(said, attempt.finish_reason))
        spans.append(span)
    return spans


def refusal_span(call: RefusedCall) -> Span:
    """The only span of a call that was turned away at the door."""
    attributes: dict[str, Value] = {
        names.HTTP_METHOD: call.method,
        names.HTTP_ROUTE: call.door,
        names.URL_PATH: call.door,
        names.URL_SCHEME: "http",
        names.HTTP_STATUS: call.status,
        names.HTTP_REQUEST_BYTES: call.request_bytes,
        names.REQUEST_ID: call.request_id,
        names.ERROR_CODE: call.code,
    }
    # What the caller did wrong is no error of a SERVER span, say the conventions.
    error = call.code if call.status >= 500 else ""
    if error:
        attributes[names.ERROR_TYPE] = error
    return Span(
        name=f"{call.method} {call.door}",
        kind=Kind.SERVER,
        span_id=call.span_id,
        parent_id=call.parent_span_id,
        start_ns=call.started_ns,
        end_ns=call.started_ns + round(call.duration_ms * 1_000_000),
        attributes=attributes,
        error=error,
    )


def _at(record: DecisionRecord, ms: float) -> int:
    return record.started_ns + round(ms * 1_000_000)


def _own_id(record: DecisionRecord, number: int) -> str:
    """The id of the ``number``-th span of ours inside the call."""
    return f"{int(record.span_id or '0', 16) ^ number << 32 | 1 << 62:016x}"


def _server(record: DecisionRecord, kept: str) -> Span:
    features, hints = record.features, record.features.hints
    attributes: dict[str, Value] = {
        names.HTTP_METHOD: "POST",
        names.HTTP_ROUTE: features.door,
        names.URL_PATH: features.door,
        names.URL_SCHEME: "http",
        names.HTTP_STATUS: record.status,
        names.HTTP_REQUEST_BYTES: record.request_bytes,
        names.HTTP_RESPONSE_BYTES: record.response_bytes,
        names.REQUEST_ID: record.request_id,
        names.ARM: features.arm.value,
        names.REASON: record.decision.reason,
        names.VERDICT: features.verdict.state.value,
        names.OUTCOME: record.outcome.value,
        names.STREAM: features.stream,
        names.QUALITY: hints.quality.value,
        names.COMPLEXITY: hints.complexity.value,
        names.REQUESTED_MODEL: features.model[:_NAME_MAX],
    }
    if record.tier:
        attributes[names.TIER] = record.tier
        attributes[names.MODEL] = record.model[:_NAME_MAX]
    if hints.task_type is not None:
        attributes[names.TASK_TYPE] = hints.task_type.value
    if kept != _SAMPLED:
        attributes[names.KEPT] = kept
    if record.app:
        attributes[names.APP] = record.app
    # Tried before the one whose answer the caller got, be it broken off or a refusal.
    tried = dict.fromkeys(attempt.tier for attempt in record.attempts if attempt.fault)
    tried.pop(record.tier, None)
    if tried:
        attributes[names.FALLBACK] = ",".join(tried)
    error = ""
    if record.outcome is Outcome.UPSTREAM_FAILED:
        error = record.error_code or f"{record.status}"
        attributes[names.ERROR_TYPE] = error
    if record.error_code:
        attributes[names.ERROR_CODE] = record.error_code
    decided_ns = _at(record, record.stages.decided_ms if record.stages is not None else 0.0)
    return Span(
        name=f"POST {features.door}",
        kind=Kind.SERVER,
        span_id=record.span_id,
        parent_id=record.parent_span_id,
        start_ns=record.started_ns,
        end_ns=_at(record, record.duration_ms),
        attributes=attributes,
        events=tuple(_rejected(names.EVENT_PASSED_OVER, decided_ns, tier) for tier in record.passed_over),
        error=error,
    )


def _scan(record: DecisionRecord, stages: Stages) -> Span:
    verdict = record.features.verdict
    attributes: dict[str, Value] = {
        names.VERDICT: verdict.state.value,
        names.MAY_LEAVE: record.features.may_leave,
    }
    if verdict.why:
        attributes[names.VERDICT_WHY] = verdict.why
    for kind, count in verdict.kinds.items():
        attributes[names.FOUND_PREFIX + kind] = count
    return Span(
        name=names.PRIVACY_SCAN,
        kind=Kind.INTERNAL,
        span_id=_own_id(record, 1),
        parent_id=record.span_id,
        start_ns=_at(record, stages.identified_ms),
        end_ns=_at(record, stages.scanned_ms),
        attributes=attributes,
    )


def _route(record: DecisionRecord, stages: Stages) -> Span:
    decision, decided_ns = record.decision, _at(record, stages.decided_ms)
    steps = [
        SpanEvent(decided_ns, step.rule, {names.RULE_APPLIED: step.applied, names.DETAIL: step.detail})
        for step in decision.trace
    ]
    steps += [_rejected(names.EVENT_REJECTED, decided_ns, tier) for tier in decision.rejected]
    return Span(
        name=names.ROUTE,
        kind=Kind.INTERNAL,
        span_id=_own_id(record, 2),
        parent_id=record.span_id,
        start_ns=_at(record, stages.scanned_ms),
        end_ns=decided_ns,
        attributes={
            names.ARM: record.features.arm.value,
            names.REASON: decision.reason,
            names.PLAN: tuple(planned.tier for planned in decision.plan),
            names.POLICY_ID: record.policy_id,
        },
        events=tuple(steps),
    )


def _rejected(event: str, at_ns: int, tier: RejectedTier) -> SpanEvent:
    attributes: dict[str, Value] = {names.TIER: tier.tier, names.REASON: tier.reason}
    if tier.detail:
        attributes[names.DETAIL] = tier.detail
    return SpanEvent(at_ns, event, attributes)


def _hold(record: DecisionRecord, attempt: Attempt, place: int) -> Span:
    return Span(
        name=names.HOLD,
        kind=Kind.INTERNAL,
        span_id=_own_id(record, 3 + place),
        parent_id=record.span_id,
        start_ns=_at(record, attempt.started_ms - (attempt.hold_ms or 0.0)),
        end_ns=_at(record, attempt.started_ms),
        attributes={names.TIER: attempt.tier, names.HELD_USD: attempt.held_nano_usd / NANO_PER_USD},
    )


def _client(record: DecisionRecord, attempt: Attempt, tier: TierSpec | None, *, last: bool) -> Span:
    features, model = record.features, attempt.model[:_NAME_MAX]
    attributes: dict[str, Value] = {
        names.OPERATION: features.operation.value,
        names.REQUEST_MODEL: model,
        names.TIER: attempt.tier,
        names.LANE: attempt.lane.value,
        names.WAITED_S: _seconds(attempt.waited_ms),
    }
    if tier is not None:
        attributes |= _provider(tier.provider, tier.base_url)
    if attempt.status is not None:
        attributes[names.HTTP_STATUS] = attempt.status
    if attempt.settlement:
        attributes[names.SETTLEMENT] = attempt.settlement
    if attempt.cost_nano_usd:
        attributes[names.COST_USD] = attempt.cost_nano_usd / NANO_PER_USD
    if attempt.finish_reason:
        attributes[names.FINISH_REASONS] = (attempt.finish_reason,)
    if last and record.usage is not None and not attempt.fault:
        attributes[names.INPUT_TOKENS] = record.usage.input_tokens
        attributes[names.OUTPUT_TOKENS] = record.usage.output_tokens
        if record.usage.cached_input_tokens:
            attributes[names.CACHED_INPUT_TOKENS] = record.usage.cached_input_tokens
        if record.usage.estimated:
            attributes[names.USAGE_ESTIMATED] = True
    error = attempt.fault
    if not error and attempt.status is not None and attempt.status >= 400:
        error = str(attempt.status)
    if error:
        attributes[names.ERROR_TYPE] = error
    events: tuple[SpanEvent, ...] = ()
    if features.stream and attempt.first_byte_ms is not None:
        attributes[names.TIME_TO_FIRST_CHUNK] = _seconds(attempt.first_byte_ms - attempt.started_ms)
        events = (SpanEvent(_at(record, attempt.first_byte_ms), names.EVENT_FIRST_TOKEN),)
        if attempt.finish_reason and not error:
            events += (SpanEvent(_at(record, attempt.ended_ms), names.EVENT_END_OF_STREAM),)
    return Span(
        name=f"{features.operation.value} {model}",
        kind=Kind.CLIENT,
        span_id=attempt.span_id,
        parent_id=record.span_id,
        start_ns=_at(record, attempt.started_ms),
        end_ns=_at(record, attempt.ended_ms),
        attributes=attributes,
        events=events,
        error=error,
    )


def _content(said: Said, finish_reason: str) -> dict[str, Value]:
    """Messages in the JSON that OpenTelemetry's conventions give them."""
    attributes: dict[str, Value] = {
        names.INPUT_MESSAGES: _json([_message(role, text) for role, text in said.messages])
    }
    if said.answer:
        answer = {**_message("assistant", said.answer), "finish_reason": finish_reason}
        attributes[names.OUTPUT_MESSAGES] = _json([answer])
    if said.withheld:
        attributes[names.OUTPUT_WITHHELD] = said.withheld
    return attributes


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _seconds(ms: float) -> float:
    """To the microsecond, which is as well as it was measured."""
    return round(ms / 1000, 6)


def _provider(provider: str, base_url: str) -> dict[str, Value]:
    url = urlsplit(base_url)
    return {
        names.PROVIDER: provider,
        names.SERVER_ADDRESS: url.hostname or "",
        names.SERVER_PORT: url.port or (443 if url.scheme == "https" else 80),
    }
