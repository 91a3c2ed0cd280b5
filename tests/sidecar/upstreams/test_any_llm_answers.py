"""Streams that are left: the upstream stops at once, whoever leaves and however."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from sidecar.core.errors import UpstreamFault
from sidecar.core.ports import Answer
from sidecar.core.vocabulary import OLLAMA_CHAT, OPENAI_CHAT, Door
from sidecar.upstreams.any_llm_upstream import AnyLLMLane
from tests.rig.upstream import ScriptedUpstream
from tests.sidecar.upstreams.conftest import OpenLane
from tests.sidecar.upstreams.lanes import HELLO, outbound, read

both_lanes = pytest.mark.parametrize(("name", "door"), [("ollama", OPENAI_CHAT), ("openai", OLLAMA_CHAT)])

FIRST_TOKEN = {
    OPENAI_CHAT: b'{"model":"m","created_at":"2025-01-01T00:00:00Z","done":false,'
    b'"message":{"role":"assistant","content":"hi"}}\n',
    OLLAMA_CHAT: b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n',
}


class Generating:
    """A server that says one token and then waits until its client leaves."""

    def __init__(self, door: Door) -> None:
        self._token = FIRST_TOKEN[door]
        self.left = asyncio.Event()
        self.left_s = 0.0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length"))
        await reader.readexactly(int(length.split(b":")[1]))
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n")
        writer.write(b"Content-Type: text/event-stream\r\n\r\n")
        writer.write(b"%x\r\n%b\r\n" % (len(self._token), self._token))
        await reader.read()
        self.left_s = time.monotonic()
        self.left.set()
        writer.close()


@asynccontextmanager
async def generating(door: Door) -> AsyncIterator[Generating]:
    server_side = Generating(door)
    server = await asyncio.start_server(server_side.serve, "127.0.0.1", 0)
    async with server:
        server_side.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield server_side


@both_lanes
@pytest.mark.parametrize("started", [False, True])
async def test_closing_a_stream_stops_the_upstream_at_once(
    open_lane: OpenLane, name: str, door: Door, started: bool
) -> None:
    took_s = []
    # The best of three: a busy machine may be late once, an unclosed socket is late every time.
    gc.disable()
    try:
        for _ in range(3):
            async with generating(door) as upstream:
                answer = await open_lane(name, upstream.url).send(outbound(door, messages=HELLO, stream=True))
                chunks = answer.chunks()
                if started:
                    assert b"hi" in await anext(chunks)
                closed_s = time.monotonic()
                await answer.aclose()
                async with asyncio.timeout(5):
                    await upstream.left.wait()
                took_s.append(upstream.left_s - closed_s)
    finally:
        gc.enable()
    assert min(took_s) < 0.1


@both_lanes
async def test_a_cancelled_reader_stops_the_upstream(open_lane: OpenLane, name: str, door: Door) -> None:
    async with generating(door) as upstream:
        answer = await open_lane(name, upstream.url).send(outbound(door, messages=HELLO, stream=True))
        reading = asyncio.create_task(read(answer))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        async with asyncio.timeout(5):
            await upstream.left.wait()


@both_lanes
async def test_leaving_the_loop_over_the_chunks_stops_the_upstream(
    open_lane: OpenLane, name: str, door: Door
) -> None:
    async with generating(door) as upstream:
        answer = await open_lane(name, upstream.url).send(outbound(door, messages=HELLO, stream=True))
        async with aclosing(answer.chunks()) as chunks:  # type: ignore[type-var]
            await anext(chunks)
        async with asyncio.timeout(5):
            await upstream.left.wait()


@both_lanes
async def test_a_reader_in_another_task_is_let_go(open_lane: OpenLane, name: str, door: Door) -> None:
    async with generating(door) as upstream:
        answer = await open_lane(name, upstream.url).send(outbound(door, messages=HELLO, stream=True))
        chunks = answer.chunks()
        await anext(chunks)
        waiting = asyncio.ensure_future(anext(chunks))
        await asyncio.sleep(0.01)
        await answer.aclose()
        async with asyncio.timeout(5):
            await upstream.left.wait()
            with pytest.raises(UpstreamFault):
                await waiting


@both_lanes
async def test_closing_is_harmless_at_any_time(lanes: dict[str, AnyLLMLane], name: str, door: Door) -> None:
    call = outbound(door, messages=HELLO, stream=True)

    async def closed_twice(answer: Answer) -> None:
        await answer.aclose()
        await answer.aclose()

    await closed_twice(await lanes[name].send(call))
    read_to_the_end = await lanes[name].send(call)
    await read(read_to_the_end)
    await closed_twice(read_to_the_end)
    assert read_to_the_end.tally.finished
    await closed_twice(await lanes[name].send(outbound(door, messages=HELLO)))


@both_lanes
async def test_the_upstream_bills_no_more_than_was_generated_until_then(
    lanes: dict[str, AnyLLMLane], upstream: ScriptedUpstream, name: str, door: Door
) -> None:
    await upstream.fault(endless=True, drip_s=0.01)
    answer = await lanes[name].send(outbound(door, messages=HELLO, stream=True))
    await answer.aclose()
    async with asyncio.timeout(5):
        while not (totals := await upstream.totals()).clients_left:  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.01)
    assert totals.clients_left == 1
    assert totals.output_tokens < 50
