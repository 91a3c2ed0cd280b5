"""Signs of life while a first token is waited for: clients bear them, and they spoil no failover."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import ollama
import openai
import pytest

from tests.rig.world import CHAT, CRITICAL, PUBLIC, RunningSidecar, World, chat

OLLAMA = "/api/chat"
OFTEN: dict[str, Any] = {"keep_alive_s": 0.05}
#: What a stream that has begun is heard from by.
SIGNS = {CHAT: b": waiting for the first token\n\n", OLLAMA: b" "}


async def read(
    sidecar: RunningSidecar, door: str, headers: dict[str, str]
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a streamed call."""
    response = await sidecar.http.post(door, json=chat(stream=True), headers=headers)
    return response.status_code, dict(response.headers), response.content


@pytest.mark.parametrize("door", [CHAT, OLLAMA])
async def test_the_last_tiers_first_token_is_waited_for_with_signs_of_life(world: World, door: str) -> None:
    sidecar = await world.sidecar(OFTEN)
    await world.local.fault(delay_s=0.4)
    status, headers, body = await read(sidecar, door, PUBLIC)
    assert (status, headers["x-sidecar-tier"]) == (200, "local_ollama")
    events = headers["content-type"].startswith("text/event-stream")
    assert events if door == CHAT else headers["content-type"] == "application/x-ndjson"
    assert body.startswith(2 * SIGNS[door])
    if door == OLLAMA:
        assert [json.loads(line)["done"] for line in body.splitlines()][-1] is True
    else:
        assert body.endswith(b"data: [DONE]\n\n")
    assert (await sidecar.record()).outcome == "complete"


@pytest.mark.parametrize("door", [CHAT, OLLAMA])
async def test_a_failure_after_a_sign_of_life_ends_the_stream_with_an_error(world: World, door: str) -> None:
    sidecar = await world.sidecar(OFTEN)
    await world.local.fault(delay_s=0.3, status=500)
    status, _, body = await read(sidecar, door, PUBLIC)
    assert status == 200
    assert body.startswith(SIGNS[door])
    error = json.loads(body.strip().split(b"\n")[-1].removeprefix(b"data: "))["error"]
    assert "no tier could answer" in (error if door == OLLAMA else error["message"])
    record = await sidecar.record()
    assert (record.outcome, record.status, record.error_code) == ("upstream_failed", 200, "no_tier_available")


async def test_a_tier_that_another_can_follow_is_waited_for_in_silence(world: World) -> None:
    sidecar = await world.sidecar(OFTEN)
    await world.openai.fault(delay_s=0.3, status=500)
    _, headers, body = await read(sidecar, CHAT, CRITICAL)
    assert headers["x-sidecar-tier"] == "ollama_cloud"
    assert not body.startswith(b":")


@pytest.mark.parametrize("door", [CHAT, OLLAMA])
async def test_the_legacy_arm_is_waited_for_in_silence(world: World, door: str) -> None:
    sidecar = await world.sidecar({**OFTEN, "rollout": {"percent": 0}})
    await world.local.fault(delay_s=0.3)
    status, _, body = await read(sidecar, door, PUBLIC)
    assert status == 200
    assert not body.startswith(SIGNS[door])


async def test_official_clients_whose_patience_is_shorter_than_the_wait_get_their_answer(
    world: World,
) -> None:
    sidecar = await world.sidecar(OFTEN)
    await world.local.fault(delay_s=1.2)
    messages: list[Any] = [{"role": "user", "content": "hello there"}]

    async def by_openai() -> str:
        async with openai.AsyncOpenAI(
            base_url=f"{sidecar.base}/v1", api_key="any", default_headers=PUBLIC, max_retries=0, timeout=0.6
        ) as client:
            chunks = await client.chat.completions.create(model="auto", messages=messages, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])

    async def by_ollama() -> str:
        async with ollama.AsyncClient(sidecar.base, headers=PUBLIC, timeout=0.6, trust_env=False) as client:
            chunks = await client.chat(model="auto", messages=messages, stream=True)
            return "".join([chunk.message.content or "" async for chunk in chunks])

    def by_blocking_ollama() -> str:
        with ollama.Client(sidecar.base, headers=PUBLIC, timeout=0.6, trust_env=False) as client:
            chunks = client.chat(model="auto", messages=messages, stream=True)
            return "".join(chunk.message.content or "" for chunk in chunks)

    answers = await asyncio.gather(by_openai(), by_ollama(), asyncio.to_thread(by_blocking_ollama))
    assert len(set(answers)) == 1
    assert answers[0]
