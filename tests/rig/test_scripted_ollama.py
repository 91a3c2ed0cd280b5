"""The scripted upstream speaks Ollama's dialect as the official client expects it, strictly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import ollama
import openai
import pytest

from sidecar.demo.scripted.script import count_tokens
from tests.rig.upstream import ScriptedUpstream, StartUpstream

HELLO = [{"role": "user", "content": "how long may a loan last, and who says so?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    },
}


@pytest.fixture
async def upstream(scripted_upstream: StartUpstream) -> ScriptedUpstream:
    return await scripted_upstream(name="ollama", models="llama3.2,gpt-oss:120b,nomic-embed-text")


@pytest.fixture
async def client(upstream: ScriptedUpstream) -> AsyncIterator[ollama.AsyncClient]:
    async with ollama.AsyncClient(upstream.url) as client:
        yield client


async def post(upstream: ScriptedUpstream, path: str, body: bytes | dict[str, Any]) -> tuple[int, str, bytes]:
    """Status, content type and body of a request that no client would send."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    async with aiohttp.request("POST", upstream.url + path, data=data) as response:
        return response.status, response.headers["Content-Type"], await response.read()


async def test_a_chat_streams_unless_told_not_to(upstream: ScriptedUpstream) -> None:
    status, content_type, body = await post(upstream, "/api/chat", {"model": "llama3.2", "messages": HELLO})
    lines = [msgspec.json.decode(line) for line in body.splitlines()]

    assert (status, content_type) == (200, "application/x-ndjson")
    assert len(lines) > 5
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1]["done_reason"] == "stop"
    text = "".join(line["message"]["content"] for line in lines)
    assert lines[-1]["eval_count"] == count_tokens(text)
    (entry,) = await upstream.log()
    assert entry.output_tokens == lines[-1]["eval_count"]
    assert entry.input_tokens == lines[-1]["prompt_eval_count"]


async def test_the_client_reads_the_same_streamed_and_whole(client: ollama.AsyncClient) -> None:
    whole = await client.chat("llama3.2", HELLO)
    parts = [part async for part in await client.chat("llama3.2", HELLO, stream=True)]

    assert whole.done
    assert whole.message.content == "".join(part.message.content or "" for part in parts)
    assert (whole.eval_count, whole.prompt_eval_count) == (parts[-1].eval_count, parts[-1].prompt_eval_count)
    assert whole.total_duration


async def test_generate_streamed_and_whole(client: ollama.AsyncClient) -> None:
    whole = await client.generate("llama3.2", "once upon a time", system="be brief")
    parts = [part async for part in await client.generate("llama3.2", "once upon a time", "", stream=True)]

    assert (whole.response or "").startswith("once upon a time")
    assert whole.response == "".join(part.response or "" for part in parts)
    assert whole.prompt_eval_count == count_tokens("be brief") + count_tokens("once upon a time") + 2 * 4 + 3


@pytest.mark.parametrize("stream", [False, True])
async def test_num_predict_cuts(client: ollama.AsyncClient, stream: bool) -> None:
    chat: Any = client.chat
    answer = await chat("llama3.2", HELLO, options={"num_predict": 3}, stream=stream)
    last = [part async for part in answer][-1] if stream else answer

    assert last.done_reason == "length"
    assert last.eval_count == 3


async def test_an_unlimited_num_predict_does_not_cut(client: ollama.AsyncClient) -> None:
    answer = await client.chat("llama3.2", HELLO, options={"num_predict": -1})
    assert answer.done_reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_are_called_and_their_results_answered(client: ollama.AsyncClient, stream: bool) -> None:
    chat: Any = client.chat
    answer = await chat("llama3.2", HELLO, tools=[WEATHER], stream=stream)
    parts = [part async for part in answer] if stream else [answer]
    (call,) = [call for part in parts for call in part.message.tool_calls or ()]
    assert call.function.name == "weather"
    assert call.function.arguments == {"place": "scripted"}

    history: Any = [
        *HELLO,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_name": "weather", "content": "sunny"},
    ]
    final = await client.chat("llama3.2", history, tools=[WEATHER])
    assert final.message.content
    assert not final.message.tool_calls


async def test_a_format_is_kept_to(client: ollama.AsyncClient) -> None:
    schema = {"type": "object", "properties": {"relevant": {"type": "boolean"}}}
    answer = await client.chat("llama3.2", HELLO, format=schema)
    assert msgspec.json.decode(answer.message.content or "") == {"relevant": True}
    loose = await client.chat("llama3.2", HELLO, format="json")
    assert isinstance(msgspec.json.decode(loose.message.content or ""), dict)


async def test_thinking_models_think_first_unless_told_not_to(client: ollama.AsyncClient) -> None:
    parts = [part async for part in await client.chat("gpt-oss:120b", HELLO, stream=True)]
    thought = [bool(part.message.thinking) for part in parts]
    assert thought[0]
    assert not thought[-1]
    assert thought == sorted(thought, reverse=True)

    quiet = await client.chat("gpt-oss:120b", HELLO, think=False)
    assert quiet.message.thinking is None
    with pytest.raises(ollama.ResponseError, match="does not support thinking") as refused:
        await client.chat("llama3.2", HELLO, think=True)
    assert refused.value.status_code == 400


async def test_an_empty_chat_loads_the_model(client: ollama.AsyncClient) -> None:
    assert (await client.chat("llama3.2", [])).done_reason == "load"
    assert (await client.generate("llama3.2", "", keep_alive=0)).done_reason == "unload"


async def test_embeddings_new_and_old(upstream: ScriptedUpstream, client: ollama.AsyncClient) -> None:
    new = await client.embed("nomic-embed-text", ["loans", "desk"])
    old = await client.embeddings("nomic-embed-text", "loans")

    assert len(new.embeddings) == 2
    assert list(new.embeddings[0]) == list(old.embedding)
    assert new.prompt_eval_count == count_tokens("loans") + count_tokens("desk")
    entries = await upstream.log()
    assert [entry.input_tokens for entry in entries] == [new.prompt_eval_count, count_tokens("loans")]


async def test_what_is_there_is_shown(upstream: ScriptedUpstream, client: ollama.AsyncClient) -> None:
    names = [model.model for model in (await client.list()).models]
    assert names == ["llama3.2:latest", "gpt-oss:120b", "nomic-embed-text:latest"]
    assert [model.model for model in (await client.ps()).models] == names
    shown = await client.show("gpt-oss:120b")
    assert shown.capabilities == ["completion", "tools", "vision", "thinking"]
    assert (await client.show("nomic-embed-text")).capabilities == ["embedding"]
    async with aiohttp.request("GET", f"{upstream.url}/api/version") as response:
        assert "version" in await response.json()
    async with aiohttp.request("GET", upstream.url) as response:
        assert await response.text() == "Ollama is running"
    async with aiohttp.request("HEAD", upstream.url) as response:
        assert response.status == 200


async def test_a_tag_of_latest_is_the_same_model(client: ollama.AsyncClient) -> None:
    assert (await client.chat("llama3.2:latest", HELLO)).done


async def test_an_unknown_model_is_not_found(client: ollama.AsyncClient) -> None:
    for call in (client.chat("gpt-4o", HELLO), client.generate("gpt-4o", "hi"), client.embed("gpt-4o", "hi")):
        with pytest.raises(ollama.ResponseError, match='model "gpt-4o" not found') as refused:
            await call
        assert refused.value.status_code == 404


async def test_it_has_openai_compatibility_beside(upstream: ScriptedUpstream) -> None:
    async with openai.AsyncOpenAI(base_url=upstream.openai_url, api_key="ollama", max_retries=0) as client:
        answer = await client.chat.completions.create(
            model="llama3.2", messages=[{"role": "user", "content": "good morning"}]
        )
    assert (answer.choices[0].message.content or "").startswith("good morning")


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/api/chat", b"", 400, "missing request body"),
        ("/api/chat", b"{nonsense", 400, "invalid character"),
        ("/api/chat", {"messages": HELLO}, 400, "model is required"),
        ("/api/chat", {"model": "llama3.2", "messages": "hi"}, 400, "cannot unmarshal string"),
        ("/api/chat", {"model": "llama3.2", "messages": ["hi"]}, 400, "cannot unmarshal string"),
        ("/api/chat", {"model": "llama3.2", "messages": [{"role": "robot", "content": "x"}]}, 400, "robot"),
        ("/api/chat", {"model": "llama3.2", "messages": [{"role": "user", "content": [{}]}]}, 400, "content"),
        ("/api/chat", {"model": "llama3.2", "messages": HELLO, "stream": "no"}, 400, "of type bool"),
        (
            "/api/chat",
            {"model": "llama3.2", "messages": HELLO, "options": {"num_predict": "9"}},
            500,
            "integer",
        ),
        ("/api/chat", {"model": "llama3.2", "messages": HELLO, "format": "xml"}, 500, "invalid format"),
        ("/api/chat", {"model": "nomic-embed-text", "messages": HELLO}, 400, "does not support chat"),
        ("/api/generate", {"model": "llama3.2", "prompt": 7}, 400, "of type string"),
        ("/api/embed", {"model": "nomic-embed-text", "input": [1]}, 400, "invalid input type"),
        ("/api/embed", {"model": "nomic-embed-text", "input": 1}, 400, "invalid input type"),
        ("/api/show", {}, 400, "model is required"),
        ("/api/show", {"model": "gpt-4o"}, 404, "not found"),
    ],
)
async def test_what_ollama_refuses_is_refused_in_its_shape(
    upstream: ScriptedUpstream, path: str, body: bytes | dict[str, Any], status: int, words: str
) -> None:
    answered, _, raw = await post(upstream, path, body)

    answer = msgspec.json.decode(raw)
    assert answered == status
    assert set(answer) == {"error"}
    assert words in answer["error"]


async def test_unknown_fields_are_ignored(upstream: ScriptedUpstream) -> None:
    body = {"model": "llama3.2", "messages": HELLO, "tomorrow": 1, "options": {"mood": "good"}}
    assert (await post(upstream, "/api/chat", body))[0] == 200


async def test_an_option_that_is_null_is_as_if_left_out(upstream: ScriptedUpstream) -> None:
    body = {"model": "llama3.2", "messages": HELLO, "options": {"num_ctx": None, "temperature": None}}
    assert (await post(upstream, "/api/chat", body))[0] == 200


async def test_unknown_paths_and_methods_are_plain_text(upstream: ScriptedUpstream) -> None:
    status, content_type, body = await post(upstream, "/api/nothing", {})
    assert (status, body) == (404, b"404 page not found")
    assert content_type.startswith("text/plain")
    assert (await post(upstream, "/api/tags", {}))[0] == 405
