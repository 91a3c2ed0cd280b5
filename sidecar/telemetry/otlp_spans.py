"""Encodes spans as OTLP takes them (https://opentelemetry.io/docs/specs/otlp/, ``trace.proto``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, Protocol

from sidecar.telemetry import names
from sidecar.telemetry.protobuf import (
    Value,
    attributes,
    fixed32,
    fixed64,
    join,
    message,
    number,
    text,
    varint,
)
from sidecar.telemetry.spans import Span, SpanEvent

_STATUS_ERROR: Final = 2
_SAMPLED: Final = 0x01
_REMOTENESS_KNOWN: Final = 0x100
_PARENT_REMOTE: Final = 0x200


def resource(values: Mapping[str, Value]) -> bytes:
    """The ``Resource`` that every export names, as field 1."""
    return message(1, attributes(1, values))


def scope(version: str) -> bytes:
    """The ``InstrumentationScope``, as field 1."""
    return message(1, text(1, names.SCOPE) + text(2, version))


class Traced(Protocol):
    """What the spans of one trace have in common: a decision record's own names for it."""

    @property
    def trace_id(self) -> str: ...
    @property
    def trace_state(self) -> str: ...
    @property
    def sampled(self) -> bool: ...
    @property
    def parent_span_id(self) -> str: ...


def encode_spans(record: Traced, spans: Sequence[Span]) -> bytes:
    """The spans of one call, each as field 2 of a ``ScopeSpans``."""
    trace = message(1, bytes.fromhex(record.trace_id))
    state = text(3, record.trace_state) if record.trace_state else b""
    sampled = _SAMPLED if record.sampled else 0
    encoded = []
    for span in spans:
        remote = _PARENT_REMOTE if span.parent_id and span.parent_id == record.parent_span_id else 0
        body = [
            trace,
            message(2, bytes.fromhex(span.span_id)),
            state,
            message(4, bytes.fromhex(span.parent_id)) if span.parent_id else b"",
            text(5, span.name),
            number(6, span.kind),
            fixed64(7, span.start_ns),
            fixed64(8, max(span.start_ns, span.end_ns)),
            attributes(9, span.attributes),
            *[_event(event) for event in span.events],
            *[_link(*link) for link in span.links],
            message(15, text(2, span.error) + number(3, _STATUS_ERROR)) if span.error else b"",
            fixed32(16, sampled | _REMOTENESS_KNOWN | remote),
        ]
        encoded.append(message(2, join(body)))
    return join(encoded)


def export_request(resource_field: bytes, scope_field: bytes, spans: Sequence[bytes]) -> bytes:
    """An ``ExportTraceServiceRequest`` of what ``encode_spans`` returned."""
    # Not by `message`, which would copy the spans twice.
    size = len(scope_field) + sum(map(len, spans))
    scope_spans = b"\x12" + varint(size)
    head = resource_field + scope_spans + scope_field
    return b"".join((b"\x0a", varint(len(head) + sum(map(len, spans))), head, *spans))


def _link(trace_id: str, span_id: str) -> bytes:
    return message(13, message(1, bytes.fromhex(trace_id)) + message(2, bytes.fromhex(span_id)))


def _event(event: SpanEvent) -> bytes:
    return message(11, fixed64(1, event.at_ns) + _event_body(event.name, tuple(event.attributes.items())))


@lru_cache(maxsize=4096, typed=True)
def _event_body(name: str, items: tuple[tuple[str, Value], ...]) -> bytes:
    """The same rules are looked at in call after call, mostly with the same result."""
    return text(2, name) + attributes(3, dict(items))
