"""Carries messages between two processes over a pair of sockets: each its length, then itself as msgpack."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Generic, TypeVar, cast

import msgspec

from sidecar.workers.messages import Message

log = logging.getLogger(__name__)

M = TypeVar("M")

_encode = msgspec.msgpack.Encoder().encode


class Channel(asyncio.Protocol, Generic[M]):
    """One end. ``take`` is given each message that comes, ``ended`` called once when no more will."""

    def __init__(
        self, decoder: msgspec.msgpack.Decoder[M], take: Callable[[M], None], ended: Callable[[], None]
    ) -> None:
        self._decode = decoder.decode
        self._take = take
        self._ended = ended
        self._rest = b""
        self._outgoing: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self.closed = asyncio.Event()

    async def connect(self, end: socket.socket) -> None:
        """Begin over ``end``, which belongs to the channel from here on."""
        end.setblocking(False)
        await self._loop.create_unix_connection(lambda: self, sock=end)

    @property
    def waiting_bytes(self) -> int:
        """What the other process has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def send(self, message: Message) -> None:
        """Send ``message``, with all others of this turn of the loop. Never blocks; after the end nothing."""
        if self.closed.is_set():
            return
        body = _encode(message)
        if not self._outgoing:
            self._loop.call_soon(self.flush)
        self._outgoing += (len(body).to_bytes(4), body)

    def flush(self) -> None:
        """Hand what is to be sent to the system now."""
        outgoing, self._outgoing = self._outgoing, []
        if outgoing and self._transport is not None and not self.closed.is_set():
            self._transport.write(b"".join(outgoing))

    async def close(self) -> None:
        """Send what is to be sent, and end."""
        self.flush()
        if self._transport is not None:
            self._transport.close()
            await self.closed.wait()

    def abort(self) -> None:
        """End without waiting for anything."""
        if self._transport is not None:
            self._transport.abort()

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        at, end = 0, len(data)
        while end - at >= 4:
            until = at + 4 + int.from_bytes(data[at : at + 4])
            if until > end:
                break
            self._read(data[at + 4 : until])
            at = until
        self._rest = data[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
        self._ended()

    def _read(self, body: bytes) -> None:
        try:
            self._take(self._decode(body))
        except Exception:
            # A defect in one place must not cut off all others.
            log.exception("a message between hub and worker was not understood")
