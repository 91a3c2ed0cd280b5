"""Makes the spans of the rollout: one for each move, one for each shadow call, each a trace of its own."""

from __future__ import annotations

import os
from typing import Protocol

import msgspec

from sidecar.core.pricing import NANO_PER_USD
from sidecar.core.trace_context import TraceContext
from sidecar.telemetry import names
from sidecar.telemetry.otlp_spans import encode_spans
from sidecar.telemetry.protobuf import Value
from sidecar.telemetry.spans import Kind, Span


class _OwnTrace(msgspec.Struct, frozen=True):
    """A trace that nobody brought."""

    trace_id: str
    trace_state: str = ""
    sampled: bool = True
    parent_span_id: str = ""


def rollout_span(event: str, at_ns: int, attributes: dict[str, Value], error: str) -> bytes:
    """The encoded span ``rollout <event>``; ``error`` says what was broken, empty when nothing was."""
    span = Span(
        name=f"{names.ROLLOUT} {event}",
        kind=Kind.INTERNAL,
        span_id=os.urandom(8).hex(),
        parent_id="",
        start_ns=at_ns,
        end_ns=at_ns,
        attributes=attributes,
        error=error,
    )
    return encode_spans(_OwnTrace(os.urandom(16).hex()), [span])


class ShadowFigures(Protocol):
    """What a span says of a shadow call."""

    @property
    def at_ns(self) -> int: ...
    @property
    def request_id(self) -> str: ...
    @property
    def shadow_of(self) -> str: ...
    @property
    def tier(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def failed(self) -> bool: ...
    @property
    def detail(self) -> str: ...
    @property
    def duration_ms(self) -> float: ...
    @property
    def legacy_ms(self) -> float: ...
    @property
    def cost_nano_usd(self) -> int: ...


def shadow_span(result: ShadowFigures, own: TraceContext, followed: TraceContext) -> bytes:
    """The encoded span of a shadow call: the root of a trace of its own, linked to the call it followed."""
    span = Span(
        name=names.SHADOW,
        kind=Kind.INTERNAL,
        span_id=own.span_id,
        parent_id="",
        start_ns=result.at_ns,
        end_ns=result.at_ns + round(result.duration_ms * 1e6),
        attributes={
            names.REQUEST_ID: result.request_id,
            names.SHADOW_OF: result.shadow_of,
            names.TIER: result.tier,
            names.MODEL: result.model,
            names.REASON: result.reason,
            names.LEGACY_MS: result.legacy_ms,
            names.COST_USD: result.cost_nano_usd / NANO_PER_USD,
        },
        error=result.detail or "the shadow call failed" if result.failed else "",
        links=((followed.trace_id, followed.span_id),) if followed.span_id else (),
    )
    return encode_spans(_OwnTrace(own.trace_id), [span])
