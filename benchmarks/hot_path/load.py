"""Calls over raw sockets: many connections, each one call after the other, every prompt new."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from typing import cast

_TEXT = """
retrieval passage answer question context index vector model window token prompt cache latency
budget document chapter section paragraph sentence summary evidence source citation query rewrite
grade extract merge river mountain weather harvest engine bridge signal garden market museum station
winter summer library theatre compute measure compare explain describe collect arrange improve
repair deliver observe protect balance connect simple narrow steady careful common distant early
faint gentle hollow modern open patient quiet rapid silent
"""
WORDS = _TEXT.split()


def prompt(size: int, chance: random.Random) -> str:
    """About ``size`` characters of harmless words in an order never seen."""
    return " ".join(chance.choices(WORDS, k=max(1, size // 8)))


def request(
    size: int, chance: random.Random, *, stream: bool = False, text: str = "", headers: str = ""
) -> bytes:
    """The bytes of one chat call with a prompt of about ``size`` characters, or with ``text``.

    ``headers`` are further lines of the head, each with its line end.
    """
    body = json.dumps(
        {
            "model": "auto",
            "messages": [
                {"role": "system", "content": "Answer from the context."},
                {"role": "user", "content": text or prompt(size, chance)},
            ],
            "max_tokens": 64,
            "stream": stream,
        }
    ).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        "authorization: Bearer unused\r\nx-sidecar-quality: critical\r\n"
        f"{headers}content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """Reads one answer at a time; keeps when each piece of it came, in seconds."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses.
        self.transport = cast(asyncio.Transport, transport)

    def call(self, data: bytes) -> asyncio.Future[list[float]]:
        self._buffer = bytearray()
        self._came: list[float] = []
        self._done: asyncio.Future[list[float]] = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        return self._done

    def data_received(self, data: bytes) -> None:
        self._came.append(time.perf_counter())
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        place = head.find(b"content-length:")
        if place >= 0:
            complete = len(self._buffer) >= end + 4 + int(head[place + 15 :].split(b"\r\n", 1)[0])
        else:
            complete = self._buffer.endswith(b"0\r\n\r\n")
        if complete and not self._done.done():
            if not head.startswith(b"http/1.1 200"):
                self._done.set_exception(RuntimeError(bytes(self._buffer[:600]).decode(errors="replace")))
            else:
                self._done.set_result(self._came)

    def connection_lost(self, exc: Exception | None) -> None:
        if hasattr(self, "_done") and not self._done.done():
            self._done.set_exception(ConnectionError(str(exc)))


async def drive(port: int, calls: int, connections: int, make: Callable[[], bytes]) -> list[list[float]]:
    """Make ``calls`` calls; for each, the seconds from sending to every piece that came back."""
    loop = asyncio.get_running_loop()
    ready = [make() for _ in range(calls)]
    taken: list[list[float]] = []

    async def work() -> None:
        _, connection = await loop.create_connection(_Connection, "127.0.0.1", port)
        while ready:
            data = ready.pop()
            began = time.perf_counter()
            taken.append([came - began for came in await connection.call(data)])
        connection.transport.close()

    await asyncio.gather(*(work() for _ in range(connections)))
    return taken
