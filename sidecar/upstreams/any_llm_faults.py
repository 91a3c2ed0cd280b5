"""Tells what went wrong in an attempt through any-llm, from what was seen on the wire and what was raised.

any-llm turns most failures into ``ProviderError`` without a status, and the SDKs below it each have their
own exceptions over two HTTP libraries. So the wire comes first, and exceptions are known by their names
along the chain of causes. No fault carries an exception's own text: it may quote the prompt. The upstream's
words are kept apart from ours, and never with the tier's key in them.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import msgspec

from sidecar.core.errors import Fault, UpstreamFault
from sidecar.core.tiers import Timeouts
from sidecar.upstreams.any_llm_http import HttpNote
from sidecar.upstreams.faults import fault_of_status, retry_after_s
from sidecar.wire.error_body import upstream_message, without_key
from sidecar.wire.unsupported import unsupported

#: Exceptions of httpx and httpx2 by name; connecting comes first, for it tells that nothing was sent.
_CONNECTING = frozenset({"ConnectError", "ProxyError", "UnsupportedProtocol"})
_TIMED_OUT = frozenset({"ReadTimeout", "WriteTimeout", "PoolTimeout"})
_CUT = frozenset({"ReadError", "WriteError", "CloseError", "RemoteProtocolError", "ClosedResourceError"})


def fault_of(error: BaseException, note: HttpNote, timeouts: Timeouts) -> UpstreamFault:
    """The fault that ``error``, raised by any-llm or by waiting for it, stands for."""
    if isinstance(error, UpstreamFault):
        return error
    if isinstance(error, TimeoutError):
        return UpstreamFault(Fault.TIMEOUT, "no answer in time")
    if note.response is not None and note.response.status_code >= 300:
        body = without_key(note.body, note.key)
        return _refused(note.response.status_code, note.response.headers, body)
    causes = list(_causes(error))
    return (
        _network_fault(causes, timeouts)
        or _told_fault(causes, note.key)
        or _unreadable_fault(causes)
        or _caller_fault(error, note)
        or _unknown_fault(error, note)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """``error`` and what it was raised from, also where that was suppressed (ollama does so).

    A fault in the chain is an earlier attempt's, in whose handling this one was made.
    """
    following: BaseException | None = error
    while following is not None and not isinstance(following, UpstreamFault):
        yield following
        following = (
            getattr(following, "original_exception", None) or following.__cause__ or following.__context__
        )


def _refused(status: int, headers: Any, body: bytes) -> UpstreamFault:
    return UpstreamFault(
        fault_of_status(status, body),
        f"answered {status}",
        http_status=status,
        words=upstream_message(body),
        retry_after_s=retry_after_s(headers.get("retry-after")),
        body=body,
        content_type=headers.get("content-type", "application/json"),
    )


def _network_fault(causes: list[BaseException], timeouts: Timeouts) -> UpstreamFault | None:
    names = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
    if "ConnectTimeout" in names:
        return UpstreamFault(Fault.REFUSED, f"no connection within {timeouts.connect_s:g} s")
    if names & _CONNECTING:
        if any(isinstance(cause, ssl.SSLError) for cause in causes):
            return UpstreamFault(Fault.TLS, "the TLS connection was not accepted")
        if any(isinstance(cause, socket.gaierror) for cause in causes):
            return UpstreamFault(Fault.DNS, "the host name was not found")
        return UpstreamFault(Fault.REFUSED, "the connection was refused")
    if names & _TIMED_OUT:
        return UpstreamFault(Fault.TIMEOUT, "no answer in time")
    if names & _CUT:
        return UpstreamFault(Fault.CUT, "the connection broke off")
    return None


def _told_fault(causes: list[BaseException], key: str) -> UpstreamFault | None:
    """An error that the upstream told inside a stream that had begun well.

    ollama's ``ResponseError`` holds its words in ``error``; openai's ``APIError`` holds the error object in
    ``body``, anthropic's the whole event.
    """
    for cause in causes:
        names = {kind.__name__ for kind in type(cause).__mro__}
        told = getattr(cause, "error" if "ResponseError" in names else "body", None)
        if told and names & {"ResponseError", "APIError"} and "APIResponseValidationError" not in names:
            whole = isinstance(told, dict) and "error" in told
            body = without_key(msgspec.json.encode(told if whole else {"error": told}), key)
            return UpstreamFault(
                Fault.SERVER_ERROR, "the upstream reported an error", words=upstream_message(body), body=body
            )
    return None


def _unreadable_fault(causes: list[BaseException]) -> UpstreamFault | None:
    for cause in causes:
        if isinstance(cause, json.JSONDecodeError):
            if not cause.doc.strip():
                return UpstreamFault(Fault.EMPTY, "answered 200 with nothing")
            return UpstreamFault(Fault.GARBAGE, "answered 200 with something that is no answer")
    return None


def _caller_fault(error: BaseException, note: HttpNote) -> UpstreamFault | None:
    """A request that any-llm or an SDK would not send."""
    if note.sent:
        return None
    if field := getattr(error, "parameter_name", None):
        return unsupported(field, f"{getattr(error, 'provider_name', 'the provider')} cannot honour it")
    if isinstance(error, NotImplementedError):
        return UpstreamFault(Fault.UNSUPPORTED, "the provider does not offer this operation")
    locate = getattr(error, "errors", None)
    if callable(locate):
        return _mistyped(locate()[0])
    if note.watched:
        return UpstreamFault(Fault.UNSUPPORTED, f"any-llm would not send it: {type(error).__name__}")
    return None


def _mistyped(detail: dict[str, Any]) -> UpstreamFault:
    """What pydantic found; of its details only place and type are free of the value."""
    place = ".".join(str(step) for step in detail["loc"])
    if detail["type"] == "literal_error":
        return unsupported(place, "any-llm does not know this value")
    return UpstreamFault(Fault.REJECTED, f"{place}: not of the type that is expected", http_status=400)


def _unknown_fault(error: BaseException, note: HttpNote) -> UpstreamFault:
    if note.response is not None:
        return UpstreamFault(Fault.GARBAGE, "answered 200 with something that is no answer")
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and status >= 300:
        # The provider's SDK brings its own HTTP client, so nothing was seen on the wire.
        return _refused(status, {"retry-after": getattr(error, "retry_after", None)}, b"")
    # Whether it was accepted cannot be told, so it must count as if it had been.
    return UpstreamFault(Fault.SERVER_ERROR, f"the provider's SDK failed with {type(error).__name__}")
