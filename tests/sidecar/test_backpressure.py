"""A client that reads slowly slows the upstream down: what is on the way stays within the buffers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket

import pytest

from tests.rig.world import CHAT, CRITICAL, HIGH, World, chat

OLLAMA = "/api/chat"
WORD = "x" * 32_768
#: What kernels and HTTP clients buffer between three parties on one machine, with air. A stream of
#: ``CHUNKS`` is far more than that.
BUFFERED_MAX = 24 * 2**20
CHUNKS = 4_000


class Torrent:
    """An upstream that streams 128 MB as fast as they are taken, and counts what was taken."""

    def __init__(self, dialect: str) -> None:
        self.sent = 0
        self.left = False
        if dialect == "openai":
            piece = {"id": "a", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
            piece["choices"] = [{"index": 0, "delta": {"content": WORD}, "finish_reason": None}]
            self._head, self._chunk = b"text/event-stream", b"data: %s\n\n" % json.dumps(piece).encode()
        else:
            line = {"model": "gpt-oss:120b", "created_at": "2026-01-01T00:00:00Z", "done": False}
            line["message"] = {"role": "assistant", "content": WORD}
            self._head, self._chunk = b"application/x-ndjson", json.dumps(line).encode() + b"\n"

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: %s\r\n\r\n" % self._head)
            for _ in range(CHUNKS):
                writer.write(self._chunk)
                await writer.drain()
                self.sent += len(self._chunk)
        self.left = True
        writer.close()

    async def stuck(self) -> int:
        """What had been sent when nothing more was taken."""
        before = -1
        while self.sent != before:
            before = self.sent
            await asyncio.sleep(0.3)
        return before


@pytest.mark.parametrize(
    ("door", "headers", "tier", "dialect"),
    [
        (CHAT, CRITICAL, "openai", "openai"),
        (OLLAMA, HIGH, "ollama_cloud", "ollama"),
        (CHAT, HIGH, "ollama_cloud", "ollama"),
        (OLLAMA, CRITICAL, "openai", "openai"),
    ],
    ids=["relay to openai", "relay to ollama", "any-llm to ollama", "any-llm to openai"],
)
async def test_a_client_that_does_not_read_holds_the_upstream_back(
    world: World, door: str, headers: dict[str, str], tier: str, dialect: str
) -> None:
    torrent = Torrent(dialect)
    async with torrent as url:
        base_url = f"{url}/v1" if dialect == "openai" else url
        sidecar = await world.sidecar({"tiers": {tier: {"base_url": base_url}}})
        body = json.dumps(chat(stream=True)).encode()
        head = [f"POST {door} HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", sidecar.port))
        reader, writer = await asyncio.open_connection(sock=client, limit=2**16)
        writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        held_back_at = await torrent.stuck()
        assert 0 < held_back_at < BUFFERED_MAX
        # As much as it reads is sent on, and no more.
        read = 0
        while read < 2 * 2**20:
            read += len(await reader.read(2**16))
        assert read // 2 < await torrent.stuck() - held_back_at + BUFFERED_MAX // 8 < BUFFERED_MAX
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        async with asyncio.timeout(10):
            while not torrent.left:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert sidecar.sidecar.services.in_flight.now == 0
