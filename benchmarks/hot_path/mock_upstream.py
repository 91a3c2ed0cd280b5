"""An OpenAI-shaped upstream at the level of the protocol, so that it is never the bottleneck.

Answers at once what it has ready; a stream is 50 chunks, ``--pace-ms`` apart. Anything sent to ``/v1/traces``
or ``/v1/metrics`` is taken and dropped. Prints its port.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import cast

import uvloop

CHUNKS = 50
MODEL = "gpt-4o"
_USAGE = {"prompt_tokens": 900, "completion_tokens": 60, "total_tokens": 960}


def _response(body: bytes, kind: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


_MESSAGE = {"role": "assistant", "content": "Retrieval finds passages; the model answers from them. " * 4}
_PLAIN = _response(
    json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": MODEL,
            "choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}],
            "usage": _USAGE,
        }
    ).encode(),
    "application/json",
)
_TAKEN = _response(b"{}", "application/json")


def _chunk(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


def _event(delta: dict[str, str], finish: str | None = None, usage: object = None) -> bytes:
    data = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": MODEL,
        "choices": [] if usage else [{"index": 0, "delta": delta, "finish_reason": finish}],
        "usage": usage,
    }
    return b"data: " + json.dumps(data).encode() + b"\n\n"


_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
#: The events of a stream: those with a chunk each, and those that come with the last.
EVENTS = [_event({"content": f"word{number} "}) for number in range(CHUNKS - 1)]
LAST_EVENTS = [_event({}, "stop"), _event({}, usage=_USAGE), b"data: [DONE]\n\n"]
_CHUNKS = [*map(_chunk, EVENTS), b"".join(map(_chunk, LAST_EVENTS)) + b"0\r\n\r\n"]


class Upstream(asyncio.Protocol):
    """One connection; requests come one after the other."""

    def __init__(self, pace_s: float) -> None:
        self._pace_s = pace_s
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end]).lower()
            place = head.find(b"content-length:")
            length = int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            body = bytes(self._buffer[end + 4 : end + 4 + length])
            del self._buffer[: end + 4 + length]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if b"/chat/completions" not in head.split(b"\r\n", 1)[0]:
            self._transport.write(_TAKEN)
        elif b'"stream":true' in body.replace(b" ", b""):
            self._transport.write(_STREAM_HEAD)
            self._next(0)
        else:
            self._transport.write(_PLAIN)

    def _next(self, number: int) -> None:
        if number < CHUNKS and not self._transport.is_closing():
            self._transport.write(_CHUNKS[number])
            asyncio.get_running_loop().call_later(self._pace_s, self._next, number + 1)


async def _serve(pace_s: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Upstream(pace_s), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pace-ms", type=float, default=1.0)
    uvloop.run(_serve(parser.parse_args().pace_ms / 1000))
