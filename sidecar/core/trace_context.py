"""Reads and writes W3C trace context (https://www.w3.org/TR/trace-context/), version 00."""

from __future__ import annotations

import re

import msgspec

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class TraceContext(msgspec.Struct, frozen=True):
    """Which trace a call belongs to. ``parent_id`` is the caller's span, empty when the trace begins here.

    ``span_id`` is the call's own span, empty in what has only been read from headers.
    """

    trace_id: str
    parent_id: str = ""
    sampled: bool = True
    state: str = ""
    span_id: str = ""

    def traceparent(self, span_id: str) -> str:
        """The header that makes ``span_id`` the parent of what an upstream does."""
        return f"00-{self.trace_id}-{span_id}-{'01' if self.sampled else '00'}"


def parse_trace_context(traceparent: str | None, tracestate: str | None) -> TraceContext | None:
    """The caller's trace context; None when there is none or it is not valid, as the standard asks."""
    match = _TRACEPARENT.fullmatch(traceparent.strip()) if traceparent else None
    if match is None:
        return None
    version, trace_id, parent_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest) or not int(trace_id, 16) or not int(parent_id, 16):
        return None
    state = tracestate if tracestate and tracestate.isascii() else ""
    return TraceContext(trace_id, parent_id, bool(int(flags, 16) & 1), state)
