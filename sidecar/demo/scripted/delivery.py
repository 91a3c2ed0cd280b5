"""Delivers a reply over HTTP, with the fault it was given, and keeps the log true while it does.

What is billed: the input once the request is understood, the output as it is generated, nothing for a
refusal, everything when the fault says so. An entry is ended before the answer's last byte leaves, so
that whoever has read the answer also finds it in the log.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from collections.abc import Iterable

import msgspec
from aiohttp import web

from sidecar.demo.scripted.faults import Fault
from sidecar.demo.scripted.reply import Chunk, Reply
from sidecar.demo.scripted.request_log import Entry, RequestLog

#: How fast a stream without an end runs when nobody says how fast.
ENDLESS_DRIP_S = 0.001
#: A reset overtakes what the client has not read yet; this lets it read.
BEFORE_RESET_S = 0.05
#: How much of an answer the log keeps.
LOGGED_BYTES_MAX = 1024 * 1024

_GARBAGE = b'{"id": "garbage", "choices": [{"mess'
_HTML = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"


def spoil(reply: Reply, fault: Fault) -> Reply:
    """The reply with its content replaced as the fault demands; its true cost stays."""
    output = reply.tokens.output
    match fault.body:
        case "garbage":
            reply = msgspec.structs.replace(
                reply, chunks=(Chunk(_GARBAGE, output),), closing=(), streamed=False
            )
        case "html":
            reply = msgspec.structs.replace(
                reply, chunks=(Chunk(_HTML, output),), closing=(), streamed=False, content_type="text/html"
            )
        case "empty":
            reply = msgspec.structs.replace(reply, chunks=(Chunk(b"", output),), closing=(), streamed=False)
    if fault.content_type is not None:
        reply = msgspec.structs.replace(reply, content_type=fault.content_type)
    return reply


class Delivery:
    """One reply on its way to one client."""

    def __init__(
        self, request: web.BaseRequest, reply: Reply, fault: Fault, log: RequestLog, entry: Entry
    ) -> None:
        self._request = request
        self._reply = reply
        self._fault = fault
        self._log = log
        self._entry = entry
        self._sent = bytearray()
        self._bills_as_generated = fault.bill is None and reply.status < 300
        billed_at_once = fault.bill is True or (fault.bill is None and fault.close)
        entry.status, entry.content_type = reply.status, reply.content_type
        entry.promised_tokens = reply.tokens.total
        if self._bills_as_generated or billed_at_once:
            entry.input_tokens = reply.tokens.input
        if billed_at_once:
            entry.output_tokens = reply.tokens.output
            self._bills_as_generated = False

    async def run(self, error_event: bytes) -> web.StreamResponse:
        """Send the reply. ``error_event`` is what an error looks like inside this stream."""
        self._log.promise(self._entry)
        try:
            if self._fault.delay_s:
                await asyncio.sleep(self._fault.delay_s)
            if self._fault.close:
                return self._drop()
            if self._reply.streamed:
                return await self._stream(error_event)
            return await self._whole()
        except (asyncio.CancelledError, ConnectionError):
            self._entry.client_left = not self._entry.ended
            raise
        finally:
            self._end()

    async def _whole(self) -> web.StreamResponse:
        chunk = self._reply.chunks[0]
        self._generated(chunk)
        if not self._fault.truncate:
            self._end()
            return web.Response(
                body=chunk.data,
                status=self._reply.status,
                headers=[("Content-Type", self._reply.content_type), *self._reply.headers],
            )
        response = self._response()
        response.content_length = len(chunk.data)
        await response.prepare(self._request)
        self._sent = bytearray(chunk.data[: len(chunk.data) // 2])
        await response.write(bytes(self._sent))
        return await self._hang_up(response, reset=False)

    async def _stream(self, error_event: bytes) -> web.StreamResponse:
        response = self._response()
        await response.prepare(self._request)
        chunks, ending = self._course(error_event)
        drip_s = self._fault.drip_s or (ENDLESS_DRIP_S if self._fault.endless else 0.0)
        waiting: Chunk | None = None
        for chunk in chunks:
            # One chunk is held back, so that the last can leave together with the end of the body.
            if waiting is not None:
                await response.write(waiting.data)
                await asyncio.sleep(drip_s)
            self._generated(chunk)
            waiting = chunk
        last = waiting.data if waiting else b""
        if ending == "end":
            self._end()
            await response.write_eof(last)
            return response
        if last:
            await response.write(last)
        return await self._hang_up(response, reset=ending == "reset")

    def _course(self, error_event: bytes) -> tuple[Iterable[Chunk], str]:
        """The chunks that will be sent, possibly without end, and how the connection ends after them."""
        reply, fault = self._reply, self._fault
        if fault.endless:
            *_, last = reply.chunks
            again = Chunk(last.data, max(1, last.tokens))
            return itertools.chain(reply.chunks, itertools.repeat(again)), "end"
        everything = (*reply.chunks, *reply.closing)
        if fault.error_after is not None:
            return (*everything[: fault.error_after], Chunk(error_event)), "end"
        if fault.cut_after is not None:
            return everything[: fault.cut_after], fault.cut
        return everything, "end"

    def _generated(self, chunk: Chunk) -> None:
        if len(self._sent) < LOGGED_BYTES_MAX:
            self._sent += chunk.data
        self._entry.chunks_sent += 1
        if self._bills_as_generated:
            self._entry.output_tokens += chunk.tokens

    def _response(self) -> web.StreamResponse:
        return web.StreamResponse(
            status=self._reply.status,
            headers=[("Content-Type", self._reply.content_type), *self._reply.headers],
        )

    def _drop(self) -> web.StreamResponse:
        """Close the connection without an answer."""
        self._end()
        if self._request.transport is not None:
            self._request.transport.close()
        return web.Response(status=500)

    async def _hang_up(self, response: web.StreamResponse, *, reset: bool) -> web.StreamResponse:
        """Close the connection inside the answer, once what was written is on its way."""
        self._end()
        transport = self._request.transport
        if transport is None:
            return response
        while transport.get_write_buffer_size():  # noqa: ASYNC110 - transports have no event for it
            await asyncio.sleep(0.001)
        if reset:
            await asyncio.sleep(BEFORE_RESET_S)
            # A linger time of zero makes the kernel send RST instead of FIN.
            connection: socket.socket = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()
        return response

    def _end(self) -> None:
        self._log.end(self._entry, bytes(self._sent))
