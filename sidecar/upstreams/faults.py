"""What an upstream's HTTP status and headers mean for the plan."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from sidecar.core.errors import Fault
from sidecar.wire.error_body import says_too_long

_RETRY_AFTER_MAX_S = 24 * 3600.0
_WHOLE_TYPES = ("application/json",)
_KNOWN_TYPES = frozenset(
    {
        "application/json",
        "application/octet-stream",
        "application/x-ndjson",
        "application/xml",
        "text/event-stream",
        "text/html",
        "text/plain",
        "text/xml",
    }
)
_STREAM_TYPES = ("text/event-stream", "application/x-ndjson", "application/ndjson", *_WHOLE_TYPES)


def is_odd_type(content_type: str | None, *, stream: bool) -> bool:
    """Whether an answer says of itself that it is none, by its ``Content-Type``; without one it does not.

    Clients go by it: openai's hands its caller plain text where it is not JSON.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    return bool(kind) and kind not in (_STREAM_TYPES if stream else _WHOLE_TYPES)


def plain_type(content_type: str | None) -> str:
    """``content_type`` in words that are surely not the call's: an upstream can write anything there."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind if kind in _KNOWN_TYPES else "another content type"


def fault_of_status(status: int, body: bytes) -> Fault:
    """The fault that an HTTP status of 300 or more stands for, with the body that came with it."""
    if status < 400:
        return Fault.REDIRECT
    if status in (401, 403):
        return Fault.AUTH
    if status == 429:
        return Fault.THROTTLED
    if status == 408 or status >= 500:
        return Fault.SERVER_ERROR
    return Fault.TOO_LONG if says_too_long(body) else Fault.REJECTED


def retry_after_s(value: str | None) -> float | None:
    """Seconds from a ``Retry-After`` header (RFC 9110, 10.2.3); None when absent or odd."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), _RETRY_AFTER_MAX_S) if seconds == seconds else None
