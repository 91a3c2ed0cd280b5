"""The doors that calls come through, as plain ASGI: on the hot path no framework parses the bytes."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

import msgspec

from sidecar.connections import WHEN_GONE
from sidecar.core.errors import (
    CallerError,
    MethodNotAllowed,
    PolicyRefusal,
    SidecarError,
)
from sidecar.core.feedback_header import FEEDBACK_HEADER, parse_feedback
from sidecar.core.hints import HEADER_PREFIX
from sidecar.core.pricing import usd_text
from sidecar.core.same_site import refuse_cross_site
from sidecar.core.trace_context import TraceContext, parse_trace_context
from sidecar.core.vocabulary import DOORS, Door, RefusedCall
from sidecar.course import Inbound
from sidecar.endpoints.body_limit import too_large
from sidecar.endpoints.request_id import HEADER, new_request_id
from sidecar.exchange import Exchange
from sidecar.in_flight import InFlight
from sidecar.telling import Headers
from sidecar.wire.error_body import error_body

if TYPE_CHECKING:
    # Only its types: a worker process, which has no other use for it, is spared the framework.
    from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

log = logging.getLogger(__name__)


class ClientLeft(Exception):
    """The client closed its connection before its request was whole; there is nobody to answer."""


class AsgiReply:
    """Writes an answer to an ASGI connection."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def _start(self, status: int, headers: Headers, length: int | None) -> None:
        self.started = True
        raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]
        if length is not None:
            raw.append((b"content-length", b"%d" % length))
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        await self._start(status, headers, len(body))
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def start(self, status: int, headers: Headers) -> None:
        await self._start(status, headers, None)

    async def send(self, chunk: bytes) -> None:
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


class DataPlane:
    """Receives calls and hands them to the exchange."""

    def __init__(
        self,
        exchange: Exchange,
        in_flight: InFlight,
        *,
        max_body_bytes: Callable[[], int],
        allowed_hosts: Callable[[], Collection[str]],
        begin_trace: Callable[[TraceContext | None], TraceContext],
        refused: Callable[[RefusedCall], None],
        rate: Callable[[str, float], None],
        clock_ns: Callable[[], int],
        clock_s: Callable[[], float],
    ) -> None:
        """``begin_trace`` gives the trace context of a call that brought another, or none.

        ``refused`` is told of each call that was turned away.
        ``rate`` takes the ratings of earlier answers that a call brings along.
        """
        self._exchange = exchange
        self._in_flight = in_flight
        self._max_body_bytes = max_body_bytes
        self._allowed_hosts = allowed_hosts
        self._begin_trace = begin_trace
        self._refused = refused
        self._rate = rate
        self._clock_ns = clock_ns
        self._clock_s = clock_s

    async def call(self, door: Door, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """One request through ``door``."""
        started_ns, started_s = self._clock_ns(), self._clock_s()
        headers = read_headers(scope)
        trace = self._begin_trace(parse_trace_context(headers.get("traceparent"), headers.get("tracestate")))
        inbound = Inbound(new_request_id(started_ns), door, headers, b"", started_ns, started_s, trace)
        reply = AsgiReply(send)
        try:
            if scope["method"] != "POST":
                raise MethodNotAllowed(f"{door.path} takes POST, not {scope['method']}")
            refuse_cross_site(headers, self._allowed_hosts())
            self._in_flight.check()
            if FEEDBACK_HEADER in headers:
                for rating in parse_feedback(headers[FEEDBACK_HEADER]):
                    self._rate(*rating)
            body = await read_body(receive, headers, self._max_body_bytes())
            inbound = msgspec.structs.replace(inbound, body=body)
            with self._in_flight.under_way():
                await self._serve_while_listening(inbound, scope, reply)
        except ClientLeft:
            return
        except (CallerError, PolicyRefusal) as error:
            self._refused(self._refusal(inbound, scope["method"], error))
            await _tell(reply, inbound, error)
        except Exception as error:
            log.error("call %s failed inside: %s", inbound.request_id, _where(error))
            if not reply.started:
                await _tell(reply, inbound, SidecarError("the sidecar failed inside"))

    def _refusal(self, inbound: Inbound, method: str, error: SidecarError) -> RefusedCall:
        trace = inbound.trace
        return RefusedCall(
            request_id=inbound.request_id,
            method=method,
            door=inbound.door.path,
            code=error.code,
            status=error.status,
            started_ns=inbound.started_ns,
            duration_ms=round((self._clock_s() - inbound.started_s) * 1000, 3),
            request_bytes=len(inbound.body),
            trace_id=trace.trace_id,
            span_id=trace.span_id,
            parent_span_id=trace.parent_id,
            sampled=trace.sampled,
            trace_state=trace.state,
        )

    async def _serve_while_listening(self, inbound: Inbound, scope: HTTPScope, reply: AsgiReply) -> None:
        """Serve the call in this task, and cancel it when the client goes away."""
        task = asyncio.current_task()
        assert task is not None
        gone = False

        def leave() -> None:
            nonlocal gone
            if not gone:  # told twice, it would cancel what sees the call to its end
                gone = True
                task.cancel()

        when_gone: Callable[[Callable[[], None] | None], None] = scope["state"][WHEN_GONE]
        when_gone(leave)
        try:
            await self._exchange.serve(inbound, reply)
        except asyncio.CancelledError:
            if not gone:
                raise
            task.uncancel()
        finally:
            when_gone(None)


def doors_of(data_plane: DataPlane) -> dict[str, ASGIApp]:
    """What answers at each door, by its path."""
    return {path: _at(door, data_plane) for path, door in DOORS.items()}


def _at(door: Door, data_plane: DataPlane) -> ASGIApp:
    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        http: HTTPScope = scope  # type: ignore[assignment]
        await data_plane.call(door, http, receive, send)

    return handler


def with_doors(doors: Mapping[str, ASGIApp], app: ASGIApp) -> ASGIApp:
    """``app`` with the doors before it: a call at one does not go through the framework's routing."""

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        await doors.get(scope["path"], app)(scope, receive, send)

    return dispatch


def read_headers(scope: HTTPScope) -> Mapping[str, str]:
    """The request's headers with lower-case names; of a repeated one the last counts.

    Those of our own are joined instead, as HTTP has it: who says two things of a call is not to be taken at
    the word that comes last.
    """
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    headers = dict(pairs)
    if len(headers) < len(pairs):
        for ours in {name for name, _ in pairs if name.startswith(HEADER_PREFIX)}:
            headers[ours] = ", ".join([value for name, value in pairs if name == ours])
    return headers


async def read_body(receive: Receive, headers: Mapping[str, str], limit: int) -> bytes:
    """The request's body. Raises ``RequestTooLarge`` over ``limit`` bytes, ``ClientLeft`` when it is cut."""
    if headers.get("content-encoding", "identity") != "identity":
        raise CallerError("send the body uncompressed, without Content-Encoding")
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise too_large(limit)
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        if message["type"] != "http.request":
            continue
        piece = message["body"]
        size += len(piece)
        if size > limit:
            raise too_large(limit)
        pieces.append(piece)
        if not message["more_body"]:
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _where(error: BaseException) -> str:
    """The innermost line that raised ``error``; its text is left out, as it may hold a piece of a prompt."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {frame.filename}:{frame.lineno} in {frame.name}"


async def _tell(reply: AsgiReply, inbound: Inbound, error: SidecarError) -> None:
    headers = [
        ("content-type", "application/json"),
        (HEADER, inbound.request_id),
        ("x-sidecar-trace-id", inbound.trace.trace_id),
    ]
    if isinstance(error, CallerError | PolicyRefusal):
        headers.append(("x-sidecar-cost-usd", usd_text(0)))
    if isinstance(error, PolicyRefusal) and error.retry_after_s is not None:
        headers.append(("retry-after", str(error.retry_after_s)))
    if isinstance(error, MethodNotAllowed):
        headers.append(("allow", "POST"))
    # The server reads what is left of the body into nothing. Closing the connection instead would reset it,
    # and a client that is still sending would see that, not this answer.
    body = error_body(inbound.door.dialect, error.status, error.message, error.code, error.param)
    await reply.whole(error.status, headers, body)
