"""What goes wrong reaches an app as the typed error that its client has for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import ollama
import openai
import pytest
from langchain_core.messages import AIMessageChunk
from langchain_openai import ChatOpenAI

from tests.clients.ways import parts
from tests.rig.world import CRITICAL, HIGH, PUBLIC, RunningSidecar, World

MESSAGES = [{"role": "user", "content": "hello there"}]
#: A prompt that alone is over the limit of one megabyte, by more than any socket buffer holds.
HUGE = [{"role": "user", "content": "x" * 8 * 2**20}]

#: Makes a chat call with a client on a sidecar: ``(sidecar, headers, fields)``; a stream comes as its parts.
Chat = Callable[..., Awaitable[Any]]


async def _openai_async(sidecar: RunningSidecar, headers: dict[str, str], **fields: Any) -> Any:
    async with openai.AsyncOpenAI(
        http_client=openai.DefaultAsyncHttpxClient(verify=False),
        base_url=f"{sidecar.base}/v1",
        api_key="any",
        default_headers=headers,
        max_retries=0,
    ) as client:
        answer = await client.chat.completions.create(**{"model": "auto", "messages": MESSAGES, **fields})
        return [part async for part in answer] if isinstance(answer, AsyncIterator) else answer


async def _openai_sync(sidecar: RunningSidecar, headers: dict[str, str], **fields: Any) -> Any:
    def call() -> Any:
        with openai.OpenAI(
            http_client=openai.DefaultHttpxClient(verify=False),
            base_url=f"{sidecar.base}/v1",
            api_key="any",
            default_headers=headers,
            max_retries=0,
        ) as client:
            answer: Any = client.chat.completions.create(**{"model": "auto", "messages": MESSAGES, **fields})
            return list(answer) if fields.get("stream") else answer

    return await asyncio.to_thread(call)


async def _ollama_async(sidecar: RunningSidecar, headers: dict[str, str], **fields: Any) -> Any:
    async with ollama.AsyncClient(sidecar.base, headers=headers, trust_env=False, verify=False) as client:
        answer: Any = await client.chat(**{"model": "auto", "messages": MESSAGES, **fields})
        return [part async for part in answer] if fields.get("stream") else answer


async def _ollama_sync(sidecar: RunningSidecar, headers: dict[str, str], **fields: Any) -> Any:
    def call() -> Any:
        with ollama.Client(sidecar.base, headers=headers, trust_env=False, verify=False) as client:
            answer: Any = client.chat(**{"model": "auto", "messages": MESSAGES, **fields})
            return list(answer) if fields.get("stream") else answer

    return await asyncio.to_thread(call)


openai_manners = pytest.mark.parametrize("chat", [_openai_sync, _openai_async], ids=["sync", "async"])
ollama_manners = pytest.mark.parametrize("chat", [_ollama_sync, _ollama_async], ids=["sync", "async"])


@openai_manners
async def test_openais_client_tells_whose_fault_it_is(world: World, chat: Chat) -> None:
    sidecar = await world.sidecar({"limits": {"max_body_mb": 1}})
    with pytest.raises(openai.BadRequestError) as bad_hint:
        await chat(sidecar, {"x-sidecar-quality": "best"})
    assert (bad_hint.value.code, bad_hint.value.param) == ("invalid_hint", "x-sidecar-quality")
    assert "low, medium, high, critical" in bad_hint.value.message
    with pytest.raises(openai.APIStatusError) as too_large:
        await chat(sidecar, {}, messages=HUGE)
    assert (too_large.value.status_code, too_large.value.code) == (413, "request_too_large")
    await world.openai.fault(status=404)
    with pytest.raises(openai.NotFoundError) as unknown:
        await chat(sidecar, PUBLIC, model="openai/gpt-none")
    assert unknown.value.code == "model_not_found"
    await world.local.fault(status=429, retry_after=7)
    with pytest.raises(openai.InternalServerError) as nobody:
        await chat(sidecar, PUBLIC)
    assert (nobody.value.status_code, nobody.value.code) == (503, "no_tier_available")
    assert nobody.value.response.headers["retry-after"] == "7"
    assert nobody.value.response.headers["x-sidecar-fallback"] == "local_ollama"
    for error in (bad_hint, too_large, unknown, nobody):
        assert error.value.response.headers["x-sidecar-request-id"]


@ollama_manners
async def test_ollamas_client_tells_whose_fault_it_is(world: World, chat: Chat) -> None:
    sidecar = await world.sidecar({"limits": {"max_body_mb": 1}})
    with pytest.raises(ollama.ResponseError, match="low, medium, high, critical") as bad_hint:
        await chat(sidecar, {"x-sidecar-quality": "best"})
    with pytest.raises(ollama.ResponseError, match="larger than 1048576 bytes") as too_large:
        await chat(sidecar, {}, messages=HUGE)
    await world.cloud.fault(status=404)
    with pytest.raises(ollama.ResponseError, match="The model does not exist") as unknown:
        await chat(sidecar, PUBLIC, model="ollama_cloud/none")
    await world.local.fault(status=429)
    with pytest.raises(ollama.ResponseError, match="no tier could answer") as nobody:
        await chat(sidecar, PUBLIC)
    statuses = [error.value.status_code for error in (bad_hint, too_large, unknown, nobody)]
    assert statuses == [400, 413, 404, 503]


@openai_manners
async def test_the_legacy_arm_hands_on_openais_own_errors(world: World, chat: Chat) -> None:
    legacy = {"rollout": {"percent": 0, "legacy": {"tier": "openai"}}}
    sidecar = await world.sidecar(legacy)
    await world.openai.fault(status=429, retry_after=7, times=1)
    with pytest.raises(openai.RateLimitError) as throttled:
        await chat(sidecar, PUBLIC, model="gpt-4o")
    assert throttled.value.code == "rate_limit_exceeded"
    assert throttled.value.response.headers["retry-after"] == "7"
    assert throttled.value.response.headers["x-sidecar-arm"] == "legacy"
    # A throttled tier rests for as long as it asked; another sidecar has not heard of that.
    sidecar = await world.sidecar(legacy)
    await world.openai.fault(status=404, times=1)
    with pytest.raises(openai.NotFoundError):
        await chat(sidecar, PUBLIC, model="gpt-none")
    await world.openai.fault(code="context_length_exceeded", times=1)
    with pytest.raises(openai.BadRequestError) as too_long:
        await chat(sidecar, PUBLIC, model="gpt-4o")
    assert too_long.value.code == "context_length_exceeded"


@pytest.mark.parametrize("headers", [CRITICAL, HIGH], ids=["relayed", "translated"])
@pytest.mark.parametrize("cut", ["reset", "end"])
@openai_manners
async def test_openais_client_learns_of_a_broken_stream(
    world: World, chat: Chat, cut: str, headers: dict[str, str]
) -> None:
    sidecar = await world.sidecar()
    upstream = world.openai if headers is CRITICAL else world.cloud
    await upstream.fault(cut_after=9, cut=cut)
    with pytest.raises(openai.APIError, match="broke off") as broken:
        await chat(sidecar, headers, stream=True)
    assert not isinstance(broken.value, openai.APIStatusError)
    assert broken.value.code == "upstream_failed"


@pytest.mark.parametrize("headers", [HIGH, CRITICAL], ids=["relayed", "translated"])
@pytest.mark.parametrize("cut", ["reset", "end"])
@ollama_manners
async def test_ollamas_client_learns_of_a_broken_stream(
    world: World, chat: Chat, cut: str, headers: dict[str, str]
) -> None:
    sidecar = await world.sidecar()
    upstream = world.openai if headers is CRITICAL else world.cloud
    await upstream.fault(cut_after=9, cut=cut)
    with pytest.raises(ollama.ResponseError, match="broke off"):
        await chat(sidecar, headers, stream=True)


async def test_langchain_learns_of_a_broken_stream(world: World) -> None:
    sidecar = await world.sidecar()
    await world.openai.fault(cut_after=9)
    async with openai.DefaultAsyncHttpxClient() as http:
        model = ChatOpenAI(
            model="auto",
            base_url=f"{sidecar.base}/v1",
            default_headers=CRITICAL,
            max_retries=0,
            http_async_client=http,
            api_key=lambda: "any",
        )
        stream = model.astream("hello there")
        assert isinstance(await anext(stream), AIMessageChunk)
        with pytest.raises(openai.APIError, match="broke off"):
            await parts(stream)
