"""What an upstream says of a call may quote it, and its key: neither is kept, and no key goes anywhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.rig.world import CHAT, CRITICAL, World, chat

KEY = "sk-live-9911secret"
PROMPT = "zebra7419"
OLLAMA = "/api/chat"
FIRST = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
FIRST |= {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "hi"}}]}


class Echo:
    """An upstream that refuses everything and quotes the whole request, key included, as it does so."""

    url: str
    way = 400

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """400, 500: so refused. 200: an error where an answer is expected. 0: an error inside a stream."""
        said = f"refused: {await request.text()} of {request.headers.get('authorization')}"
        error = {"error": {"message": said, "type": "x", "code": "x"}}
        if self.way:
            return web.json_response(error, status=self.way, headers={"x-quoted": said[:300]})
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for event in (FIRST, error):
            await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")
            await asyncio.sleep(0.1)
        return response


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    upstream = Echo()
    app = web.Application()
    app.router.add_post("/{path:.*}", upstream.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    upstream.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield upstream
    await runner.cleanup()


def kept(directory: Path) -> bytes:
    """Everything on the disk but the configuration."""
    found = [path for path in directory.rglob("*") if path.is_file() and path.name != "sidecar.yaml"]
    return b"".join(path.read_bytes() for path in found)


async def test_neither_the_prompt_is_kept_nor_the_key_told(world: World, echo: Echo) -> None:
    sidecar = await world.sidecar(
        {
            "tiers": {
                "openai": {"base_url": echo.url, "api_key": KEY, "breaker": {"failures_in_a_row": 99}},
                "ollama_cloud": None,
                "local_ollama": {"base_url": "http://127.0.0.1:9"},
            },
            "routing": {
                "rules": [{"name": "all", "when": {"quality": "critical"}, "tier": "openai"}],
                "fallback": ["openai", "local_ollama"],
            },
        }
    )
    expected: dict[int, list[tuple[int, bool]]] = {}
    for echo.way in (400, 429, 500, 200, 0):
        for door in (CHAT, OLLAMA):
            for stream in (False, True):
                body: dict[str, Any] = chat(f"tell me of {PROMPT}", stream=stream)
                response = await sidecar.http.post(door, json=body, headers=CRITICAL)
                assert KEY not in response.text + str(response.headers), (echo.way, door, stream)
                seen = (response.status_code, PROMPT in response.text)
                expected.setdefault(echo.way, []).append(seen)
    # The caller is told what the upstream makes of its call, but for the key; who cannot mend it is not.
    assert expected[400] == [(400, True)] * 4
    assert expected[429] == expected[500] == [(503, False)] * 4
    assert expected[0][1] == (200, True)
    await sidecar.sidecar.services.log.flush()
    for record in await sidecar.records():
        assert record.attempts[0].detail in {
            *("answered 400", "answered 429", "answered 500", "answered 200 with an error"),
            *("answered 200 with something that is no answer", "answered 200 with text/event-stream"),
            *(
                "the upstream reported an error",
                "answered 200 with a stream",
                "answered 200 without a choice",
            ),
            *("the stream ended before its first token", "answered 200 with something that is no stream"),
        }
    on_disk = kept(world.directory)
    assert PROMPT.encode() not in on_disk
    assert KEY.encode() not in on_disk


async def test_the_legacy_arm_relays_a_refusal_without_the_key(world: World, echo: Echo) -> None:
    sidecar = await world.sidecar(
        {
            "tiers": {"openai": {"base_url": echo.url, "api_key": KEY}},
            "rollout": {"percent": 0, "legacy": {"tier": "openai"}},
        }
    )
    response = await sidecar.http.post(CHAT, json=chat(PROMPT), headers=CRITICAL)
    assert (response.status_code, PROMPT in response.text) == (400, True)
    assert KEY not in response.text + str(response.headers)
    assert PROMPT.encode() not in kept(world.directory)
