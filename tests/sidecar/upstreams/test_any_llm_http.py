"""What the SDKs below any-llm put on the wire: the tier's key and host, and nothing from the environment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sidecar.core.errors import Fault, UpstreamFault
from sidecar.core.vocabulary import OLLAMA_CHAT, OPENAI_CHAT, Door
from sidecar.demo.scripted.request_log import Entry
from sidecar.upstreams.any_llm_upstream import AnyLLMLane
from tests.rig.upstream import RefusedPort, ScriptedUpstream
from tests.sidecar.upstreams.conftest import OpenLane
from tests.sidecar.upstreams.lanes import HELLO, outbound, read

both_lanes = pytest.mark.parametrize(("name", "door"), [("ollama", OPENAI_CHAT), ("openai", OLLAMA_CHAT)])

STRAY = {
    "OPENAI_API_KEY": "sk-stray",
    "OPENAI_ADMIN_KEY": "sk-stray",
    "OPENAI_ORG_ID": "org-stray",
    "OPENAI_PROJECT_ID": "proj-stray",
    "OPENAI_CUSTOM_HEADERS": "x-stray: stray\nAuthorization: Bearer sk-stray",
    "OLLAMA_API_KEY": "sk-stray",
    "ANTHROPIC_API_KEY": "sk-stray",
    "ANTHROPIC_AUTH_TOKEN": "sk-stray",
    "ANTHROPIC_CUSTOM_HEADERS": "x-stray: stray",
}
ELSEWHERE = ("OPENAI_BASE_URL", "OLLAMA_HOST", "ANTHROPIC_BASE_URL", "LLAMACPP_API_BASE")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


ANSWERS = {
    OPENAI_CHAT: b"""{"model": "m", "created_at": "2025-01-01T00:00:00Z", "done": true,
        "message": {"role": "assistant", "content": "hi"}}""",
    OLLAMA_CHAT: b"""{"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}]}""",
}


@pytest.fixture
def stray_environment(monkeypatch: pytest.MonkeyPatch, refused_port: RefusedPort) -> None:
    """Keys, hosts and headers that the SDKs would take up; none of them is the tier's."""
    for name, value in STRAY.items():
        monkeypatch.setenv(name, value)
    for name in ELSEWHERE:
        monkeypatch.setenv(name, refused_port.url)


@both_lanes
@pytest.mark.parametrize("key", ["", "sk-tier"])
@pytest.mark.usefixtures("stray_environment")
async def test_nothing_of_the_environment_goes_out(
    open_lane: OpenLane, upstream: ScriptedUpstream, name: str, door: Door, key: str
) -> None:
    lane = open_lane(name, upstream.url if name == "ollama" else upstream.openai_url, api_key=key)
    await read(await lane.send(outbound(door, messages=HELLO)))

    (entry,) = await upstream.log()
    assert "stray" not in str(entry.headers)
    headers = {header.lower(): value for header, value in entry.headers}
    assert headers.get("authorization") == (f"Bearer {key}" if key else None)
    assert headers.keys() - {"authorization"} == {
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "host",
        "user-agent",
    }


@both_lanes
async def test_the_calls_headers_go_along(
    lanes: dict[str, AnyLLMLane], upstream: ScriptedUpstream, name: str, door: Door
) -> None:
    traced = (
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("x-request-id", "r1"),
    )
    for stream in (False, True):
        await read(await lanes[name].send(outbound(door, messages=HELLO, stream=stream, headers=traced)))
    await read(await lanes[name].send(outbound(door, messages=HELLO)))

    def headers(entry: Entry) -> set[tuple[str, str]]:
        return {(name.lower(), value) for name, value in entry.headers}

    plain, streamed, untraced = await upstream.log()
    assert set(traced) <= headers(plain) & headers(streamed)
    assert not set(traced) & headers(untraced)


@both_lanes
async def test_calls_made_at_once_keep_their_headers_apart(
    lanes: dict[str, AnyLLMLane], upstream: ScriptedUpstream, name: str, door: Door
) -> None:
    async def one(number: int) -> None:
        messages = [{"role": "user", "content": f"question {number}"}]
        call = outbound(door, messages=messages, stream=True, headers=(("x-call", str(number)),))
        await read(await lanes[name].send(call))

    await asyncio.gather(*(one(number) for number in range(20)))
    for entry in await upstream.log():
        assert f'"question {dict(entry.headers)["x-call"]}"' in entry.body


@both_lanes
async def test_a_redirect_is_not_followed(
    open_lane: OpenLane, upstream: ScriptedUpstream, name: str, door: Door
) -> None:
    async with ScriptedUpstream() as elsewhere:
        await upstream.fault(redirect=elsewhere.url + door.path)
        lane = open_lane(name, upstream.url if name == "ollama" else upstream.openai_url)
        with pytest.raises(UpstreamFault) as failed:
            await lane.send(outbound(door, messages=HELLO))
        assert (failed.value.fault, failed.value.http_status) == (Fault.REDIRECT, 307)
        assert (await elsewhere.totals()).requests == 0


@asynccontextmanager
async def teapot_proxy() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A proxy that refuses every request, and the first lines of those it got."""
    got: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append((await reader.readuntil(b"\r\n\r\n")).splitlines()[0])
        writer.write(b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", got


@both_lanes
async def test_only_a_tier_off_the_machine_may_go_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, open_lane: OpenLane, upstream: ScriptedUpstream, name: str, door: Door
) -> None:
    url = upstream.url if name == "ollama" else upstream.openai_url
    async with teapot_proxy() as (proxy, got):
        for variable in PROXIES:
            monkeypatch.setenv(variable, proxy)
        for variable in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(variable, "")
        off_box = open_lane(name, url, off_box=True, api_key="sk-tier")
        at_home = open_lane(name, url)
        with pytest.raises(UpstreamFault) as failed:
            await off_box.send(outbound(door, messages=HELLO))
        await read(await at_home.send(outbound(door, messages=HELLO)))

    assert failed.value.http_status == 418
    assert len(got) == 1
    assert got[0].startswith(b"POST " + url.encode())
    assert (await upstream.totals()).requests == 1


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """The head of the next request; empty when there is none."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


@both_lanes
async def test_connections_are_used_again(open_lane: OpenLane, name: str, door: Door) -> None:
    answer = ANSWERS[door]
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while head := await read_head(reader):
            length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length"))
            await reader.readexactly(int(length.split(b":")[1]))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n" % len(answer) + answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        lane = open_lane(name, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        for _ in range(5):
            await read(await lane.send(outbound(door, messages=HELLO)))
        await lane.aclose()
    assert connections == 1
