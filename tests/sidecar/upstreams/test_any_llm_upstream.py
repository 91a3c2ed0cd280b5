"""The any-llm lane against a real server: what goes out, what comes back, and which clients it makes."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from typing import Any

import msgspec
import pytest
from any_llm import AnyLLM
from any_llm.constants import LLMProvider

from sidecar.core.errors import Fault, UpstreamFault
from sidecar.core.tiers import UNTOLD_RETRIES, PriceSpec
from sidecar.core.vocabulary import (
    OLLAMA_CHAT,
    OLLAMA_EMBED,
    OLLAMA_EMBEDDINGS,
    OLLAMA_GENERATE,
    OPENAI_CHAT,
    OPENAI_EMBEDDINGS,
    Door,
    Lane,
    Usage,
)
from sidecar.upstreams.any_llm_upstream import AnyLLMLane
from tests.rig.upstream import ScriptedUpstream
from tests.sidecar.upstreams.conftest import OpenLane
from tests.sidecar.upstreams.lanes import HELLO, make_lane, outbound, read_events, read_json, read_lines

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "place": {"type": "object", "properties": {"name": {"type": "string", "minLength": 1}}},
                "days": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
            },
        },
    },
}


async def sent(upstream: ScriptedUpstream) -> dict[str, Any]:
    """The body of the one request that was made."""
    (entry,) = await upstream.log()
    body: dict[str, Any] = msgspec.json.decode(entry.body)
    return body


async def test_an_openai_chat_is_answered_by_ollama(
    ollama_lane: AnyLLMLane, upstream: ScriptedUpstream
) -> None:
    answer = await ollama_lane.send(outbound(OPENAI_CHAT, messages=HELLO, max_tokens=5, temperature=0))

    body = await read_json(answer)
    assert (answer.status, answer.content_type, answer.lane) == (200, "application/json", Lane.ANY_LLM)
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["content"].startswith("how long")
    assert body["choices"][0]["finish_reason"] == "length"
    assert await sent(upstream) == {
        "model": "gpt-4o",
        "messages": HELLO,
        "stream": False,
        "options": {"num_predict": 5, "temperature": 0.0},
    }
    (entry,) = await upstream.log()
    assert answer.tally.usage == Usage(entry.input_tokens, entry.output_tokens)
    assert (answer.tally.finished, answer.tally.finish_reason) == (True, "length")
    assert answer.tally.output_text_bytes == len(body["choices"][0]["message"]["content"])


async def test_an_openai_stream_from_ollama_has_one_id_and_usage_at_its_end(
    ollama_lane: AnyLLMLane, upstream: ScriptedUpstream
) -> None:
    call = outbound(OPENAI_CHAT, messages=HELLO, stream=True, stream_options={"include_usage": True})
    answer = await ollama_lane.send(call)
    assert answer.content_type == "text/event-stream; charset=utf-8"
    assert answer.tally.output_text_bytes
    assert not answer.tally.finished

    events = await read_events(answer)
    assert len({(event["id"], event["created"]) for event in events}) == 1
    assert abs(events[0]["created"] - time.time()) < 60
    (entry,) = await upstream.log()
    usage = events[-1]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (entry.input_tokens, entry.output_tokens)
    assert answer.tally.usage == Usage(entry.input_tokens, entry.output_tokens)
    text = "".join(event["choices"][0]["delta"].get("content", "") for event in events[:-1])
    assert answer.tally.output_text_bytes == len(text)
    assert answer.tally.finished


@pytest.mark.parametrize("stream", [False, True])
async def test_an_ollama_chat_is_answered_by_openai(
    openai_lane: AnyLLMLane, upstream: ScriptedUpstream, stream: bool
) -> None:
    options = {"num_predict": 5, "num_ctx": 4096}
    call = outbound(OLLAMA_CHAT, messages=HELLO, options=options, keep_alive="5m", stream=stream)
    answer = await openai_lane.send(call)

    lines = await read_lines(answer)
    assert answer.content_type == ("application/x-ndjson" if stream else "application/json; charset=utf-8")
    assert "".join(line["message"]["content"] for line in lines) == "how long may a loan "
    last = lines[-1]
    assert (last["done"], last["done_reason"], last["eval_count"]) == (True, "length", 5)
    assert last["total_duration"] >= last["eval_duration"] > 0
    body = await sent(upstream)
    assert body.pop("stream_options", None) == ({"include_usage": True} if stream else None)
    assert body.pop("stream", False) is stream
    assert body == {"model": "gpt-4o", "messages": HELLO, "max_completion_tokens": 5}
    assert answer.tally.usage is not None
    assert answer.tally.usage.output_tokens == 5


@pytest.mark.parametrize("stream", [False, True])
async def test_generate_is_answered_by_openai(
    openai_lane: AnyLLMLane, upstream: ScriptedUpstream, stream: bool
) -> None:
    call = outbound(OLLAMA_GENERATE, prompt="one two three", system="count", stream=stream)
    answer = await openai_lane.send(call)

    lines = await read_lines(answer)
    assert "".join(line["response"] for line in lines).startswith("one two three one")
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert (await sent(upstream))["messages"] == [
        {"role": "system", "content": "count"},
        {"role": "user", "content": "one two three"},
    ]


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_reach_ollama_with_all_of_their_schema_and_calls_come_back(
    ollama_lane: AnyLLMLane, upstream: ScriptedUpstream, stream: bool
) -> None:
    answer = await ollama_lane.send(outbound(OPENAI_CHAT, messages=HELLO, tools=[WEATHER], stream=stream))

    choices = (
        [event["choices"][0] for event in await read_events(answer)]
        if stream
        else ((await read_json(answer))["choices"])
    )
    assert choices[-1]["finish_reason"] == "tool_calls"
    message = choices[0]["delta" if stream else "message"]
    assert message["content"] is None
    (call,) = message["tool_calls"]
    assert call["function"]["name"] == "weather"
    assert msgspec.json.decode(call["function"]["arguments"]) == {"place": {"name": "scripted"}, "days": 1}
    assert (await sent(upstream))["tools"] == [WEATHER]


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calls_of_openai_come_back_whole_to_ollamas_callers(
    openai_lane: AnyLLMLane, stream: bool
) -> None:
    answer = await openai_lane.send(outbound(OLLAMA_CHAT, messages=HELLO, tools=[WEATHER], stream=stream))

    lines = await read_lines(answer)
    (call,) = lines[0]["message"]["tool_calls"]
    assert call["function"]["arguments"] == {"place": {"name": "scripted"}, "days": 1}
    assert lines[-1]["done_reason"] == "stop"


async def test_a_conversation_with_tools_reaches_ollama_in_its_shape(
    ollama_lane: AnyLLMLane, upstream: ScriptedUpstream
) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"days": 2}'}}
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "be brief"}]},
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "sunny"}]},
    ]
    await read_json(await ollama_lane.send(outbound(OPENAI_CHAT, messages=messages)))

    assert (await sent(upstream))["messages"] == [
        {"role": "system", "content": "be brief"},
        *HELLO,
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "weather", "arguments": {"days": 2}}}],
        },
        {"role": "tool", "content": "sunny", "tool_name": "weather"},
    ]


async def test_thinking_is_shown_in_both_dialects(
    ollama_lane: AnyLLMLane, open_lane: OpenLane, upstream: ScriptedUpstream
) -> None:
    call = outbound(OPENAI_CHAT, model="qwen3", messages=HELLO, reasoning_effort="low")
    message = (await read_json(await ollama_lane.send(call)))["choices"][0]["message"]
    assert message["reasoning"].startswith("Thinking it over")
    assert message["content"].startswith("how long")
    assert (await sent(upstream))["think"] == "low"

    call = outbound(OLLAMA_CHAT, model="qwen3", messages=HELLO, think=False, stream=True)
    lines = await read_lines(await ollama_lane.send(call))
    assert not any("thinking" in line["message"] for line in lines)


async def test_ollamas_own_fields_stand_where_ollama_reads_them(
    ollama_lane: AnyLLMLane, upstream: ScriptedUpstream
) -> None:
    fields: dict[str, Any] = {"keep_alive": "5m", "num_ctx": 4096, "think": False, "stop": "\n", "seed": 3}
    schema = {"type": "object", "properties": {"grade": {"enum": ["yes"]}}}
    response_format = {"type": "json_schema", "json_schema": {"name": "g", "schema": schema}}
    call = outbound(OPENAI_CHAT, messages=HELLO, response_format=response_format, **fields)
    await read_json(await ollama_lane.send(call))

    body = await sent(upstream)
    assert body.pop("messages") == HELLO
    assert body == {
        "model": "gpt-4o",
        "stream": False,
        "keep_alive": "5m",
        "think": False,
        "format": schema,
        "options": {"num_ctx": 4096, "stop": ["\n"], "seed": 3},
    }


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
async def test_embeddings_of_ollama_in_openais_dialect(
    ollama_lane: AnyLLMLane, upstream: ScriptedUpstream, encoding: str | None
) -> None:
    call = outbound(OPENAI_EMBEDDINGS, input=["a", "b"], dimensions=4, user="u", encoding_format=encoding)
    answer = await ollama_lane.send(call)

    body = await read_json(answer)
    assert [item["index"] for item in body["data"]] == [0, 1]
    assert all(isinstance(item["embedding"], str if encoding == "base64" else list) for item in body["data"])
    assert body["usage"] == {"prompt_tokens": 2, "total_tokens": 2}
    assert answer.tally.usage == Usage(2, 0)
    assert await sent(upstream) == {"model": "gpt-4o", "input": ["a", "b"], "dimensions": 4}


async def test_embeddings_of_openai_in_both_of_ollamas_ways(
    openai_lane: AnyLLMLane, upstream: ScriptedUpstream
) -> None:
    many = await read_json(await openai_lane.send(outbound(OLLAMA_EMBED, input=["a", "b"], dimensions=4)))
    one = await read_json(await openai_lane.send(outbound(OLLAMA_EMBEDDINGS, prompt="a")))

    assert [len(vector) for vector in many["embeddings"]] == [4, 4]
    assert many["prompt_eval_count"] == 2
    assert one.keys() == {"embedding"}
    first, second = (msgspec.json.decode(entry.body) for entry in await upstream.log())
    assert first == {"model": "gpt-4o", "input": ["a", "b"], "dimensions": 4, "encoding_format": "float"}
    assert second["input"] == "a"


@pytest.mark.parametrize(("lane", "door"), [("ollama", OPENAI_CHAT), ("openai", OLLAMA_CHAT)])
@pytest.mark.parametrize("stream", [False, True])
async def test_the_limit_that_was_held_for_is_never_exceeded(
    open_lane: OpenLane, lane: str, door: Door, stream: bool
) -> None:
    async with ScriptedUpstream(style="greedy") as greedy:
        opened = open_lane(lane, greedy.url if lane == "ollama" else greedy.openai_url)
        answer = await opened.send(outbound(door, messages=HELLO, stream=stream, output_limit=17))
        await (read_events if stream and door is OPENAI_CHAT else read_lines)(answer)
        assert answer.tally.usage is not None
        assert answer.tally.usage.output_tokens == 17
        assert (await greedy.totals()).output_tokens == 17


async def test_cached_tokens_are_told_apart(openai_lane: AnyLLMLane) -> None:
    messages = [{"role": "user", "content": "word " * 1200}]
    answer = await openai_lane.send(outbound(OLLAMA_CHAT, messages=messages))
    assert answer.tally.usage is not None
    assert 0 < answer.tally.usage.cached_input_tokens < answer.tally.usage.input_tokens


@pytest.mark.parametrize(("lane", "door"), [("ollama", OPENAI_CHAT), ("openai", OLLAMA_CHAT)])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_usage_that_nobody_reported_is_none(
    lanes: dict[str, AnyLLMLane], upstream: ScriptedUpstream, lane: str, door: Door, stream: bool
) -> None:
    await upstream.fault(usage="missing")
    answer = await lanes[lane].send(outbound(door, messages=HELLO, stream=stream))
    await (read_events if stream and door is OPENAI_CHAT else read_lines)(answer)
    assert answer.tally.usage is None
    assert answer.tally.finished


@pytest.mark.parametrize(
    ("lane", "call", "field"),
    [
        ("ollama", outbound(OPENAI_CHAT, messages=HELLO, n=2), "n"),
        (
            "ollama",
            outbound(
                OPENAI_CHAT,
                messages=[
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "http://10.0.0.1/cat.png"}}],
                    }
                ],
            ),
            "messages[0].content[0].image_url",
        ),
        ("ollama", outbound(OPENAI_EMBEDDINGS, input=[1, 2]), "input"),
        ("openai", outbound(OLLAMA_GENERATE, prompt="a", raw=True), "raw"),
        ("openai", outbound(OLLAMA_CHAT, messages=HELLO, options={"mirostat": 1}), "mirostat"),
        ("openai", outbound(OLLAMA_CHAT, messages=HELLO, think="hardest"), "reasoning_effort"),
    ],
)
async def test_what_cannot_be_carried_is_refused_by_name_before_anything_is_sent(
    lanes: dict[str, AnyLLMLane], upstream: ScriptedUpstream, lane: str, call: Any, field: str
) -> None:
    with pytest.raises(UpstreamFault) as refused:
        await lanes[lane].send(call)
    assert refused.value.fault is Fault.UNSUPPORTED
    assert refused.value.message.startswith(field + ": ")
    assert "10.0.0.1" not in refused.value.message
    assert refused.value.try_next
    assert await upstream.log() == []


@pytest.mark.parametrize(
    "call",
    [
        outbound(OLLAMA_CHAT, messages=[{"role": "assistant", "tool_calls": [{"name": "desk"}]}]),
        outbound(OLLAMA_CHAT, messages=HELLO, options=[1]),
        outbound(OLLAMA_CHAT, messages=HELLO, options={"temperature": "hot"}),
        outbound(OLLAMA_CHAT, messages=[{"role": "user", "content": "a", "images": [7]}]),
    ],
)
async def test_a_malformed_request_is_the_callers_fault(
    openai_lane: AnyLLMLane, upstream: ScriptedUpstream, call: Any
) -> None:
    with pytest.raises(UpstreamFault) as refused:
        await openai_lane.send(call)
    assert (refused.value.fault, refused.value.http_status) == (Fault.REJECTED, 400)
    assert await upstream.log() == []


async def test_our_hints_do_not_go_upstream(openai_lane: AnyLLMLane, upstream: ScriptedUpstream) -> None:
    metadata = {"quality": "high", "team": "a"}
    call = outbound(OPENAI_CHAT, messages=HELLO, metadata=metadata, store=True, strip_metadata=("quality",))
    await read_json(await openai_lane.send(call))
    body = await sent(upstream)
    assert (body["metadata"], body["store"]) == ({"team": "a"}, True)


async def test_calls_that_come_at_once_share_one_import_and_one_client(
    openai_lane: AnyLLMLane, upstream: ScriptedUpstream
) -> None:
    call = outbound(OLLAMA_CHAT, messages=HELLO)
    answers = await asyncio.gather(*(openai_lane.send(call) for _ in range(20)))
    assert all(answer.tally.finished for answer in answers)
    assert (await upstream.totals()).requests == 20


@pytest.mark.parametrize(
    ("provider", "off_box", "words"),
    [
        ("no-such-provider", True, "no-such-provider"),
        ("mistral", True, "the package that any-llm's provider 'mistral' needs is not installed"),
        ("liner", False, "cannot be kept on this machine"),
    ],
)
async def test_a_provider_that_cannot_be_had_is_a_fault_that_says_so(
    open_lane: OpenLane, provider: str, off_box: bool, words: str
) -> None:
    lane = open_lane(provider, "http://127.0.0.1:9", off_box=off_box, api_key="k")
    with pytest.raises(UpstreamFault, match=words) as refused:
        await lane.warm()
    assert refused.value.fault is Fault.UNSUPPORTED


async def test_a_provider_that_may_send_a_call_twice_is_refused_at_a_price(open_lane: OpenLane) -> None:
    price = PriceSpec(usd_per_1k_tokens="0.015")
    lane = open_lane("bedrock", "http://127.0.0.1:9", off_box=True, api_key="k", price=price)
    with pytest.raises(UpstreamFault, match="may send a call twice"):
        await lane.warm()


def test_the_providers_that_cannot_be_told_not_to_try_again_are_known() -> None:
    untold = set()
    for provider in LLMProvider:
        with contextlib.suppress(ImportError):
            if AnyLLM.get_provider_class(provider).MAX_RETRIES_SUPPORT == "unsupported":
                untold.add(provider.value)
    # These two are reached without their own SDK.
    assert untold - {"ollama", "lmstudio"} == UNTOLD_RETRIES.keys()


@pytest.mark.parametrize("provider", ["lmstudio", "groq", "deepseek", "moonshot", "llamacpp"])
async def test_providers_of_openais_dialect_need_no_sdk_of_their_own(
    open_lane: OpenLane, upstream: ScriptedUpstream, provider: str
) -> None:
    lane = open_lane(provider, upstream.openai_url)
    answer = await lane.send(outbound(OLLAMA_CHAT, messages=HELLO, options={"num_predict": 5}))
    assert (await read_json(answer))["done_reason"] == "length"
    body = await sent(upstream)
    assert body == {"model": "gpt-4o", "messages": HELLO, "max_tokens": 5}


async def test_closing_a_lane_twice_or_unused_is_fine(upstream: ScriptedUpstream) -> None:
    lane = make_lane("ollama", upstream.url)
    await lane.aclose()
    await read_json(await lane.send(outbound(OPENAI_CHAT, messages=HELLO)))
    await lane.aclose()
    await lane.aclose()


async def test_making_a_lane_imports_nothing_heavy() -> None:
    # Asked of a fresh interpreter: in this one any-llm is long since imported.
    code = (
        "import sys, time, sidecar.upstreams.any_llm_upstream as lane, sidecar.core.tiers as tiers;"
        "lane.AnyLLMLane(tier=tiers.TierSpec(provider='ollama', base_url='http://x', models={}),"
        " clock_s=time.monotonic, wall_s=time.time);"
        "print({'any_llm', 'openai', 'ollama', 'httpx', 'pydantic'} & sys.modules.keys())"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert output.strip() == b"set()"
