"""The scripted upstream speaks OpenAI's dialect as the official client expects it, strictly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import openai
import pytest

from sidecar.demo.scripted.script import count_tokens
from tests.rig.upstream import ScriptedUpstream, StartUpstream

HELLO: list[Any] = [{"role": "user", "content": "how long may a loan last, and who says so?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string"},
                "unit": {"enum": ["celsius", "kelvin"]},
                "days": {"type": "integer"},
            },
        },
    },
}


@pytest.fixture
async def upstream(scripted_upstream: StartUpstream) -> ScriptedUpstream:
    return await scripted_upstream(models="gpt-4o,text-embedding-3-small,davinci-002", require_key="sk-right")


@pytest.fixture
async def client(upstream: ScriptedUpstream) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=upstream.openai_url, api_key="sk-right", max_retries=0) as client:
        yield client


async def post(upstream: ScriptedUpstream, path: str, body: bytes | dict[str, Any]) -> tuple[int, Any]:
    """Status and decoded body of a request that no client would send."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    headers = {"Authorization": "Bearer sk-right", "Content-Type": "application/json"}
    async with aiohttp.request("POST", upstream.url + path, data=data, headers=headers) as response:
        return response.status, msgspec.json.decode(await response.read())


async def test_a_chat_is_answered_alike_every_time_and_billed_as_reported(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI
) -> None:
    first = await client.chat.completions.create(model="gpt-4o", messages=HELLO)
    second = await client.chat.completions.create(model="gpt-4o", messages=HELLO)

    text = first.choices[0].message.content
    assert text
    assert text.startswith("how long may a loan last")
    assert text == second.choices[0].message.content
    assert first.id != second.id
    assert first.choices[0].finish_reason == "stop"
    assert first.usage is not None
    assert first.usage.completion_tokens == count_tokens(text)
    assert first.usage.prompt_tokens == count_tokens(HELLO[0]["content"]) + 4 + 3
    entries = await upstream.log()
    assert [entry.input_tokens for entry in entries] == [first.usage.prompt_tokens] * 2
    assert [entry.output_tokens for entry in entries] == [first.usage.completion_tokens] * 2


async def test_answers_carry_fields_that_nobody_knows(client: openai.AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO)

    body = msgspec.json.decode(raw.content)
    assert body["x_future"]["nested"] == [1, 2.5, "é"]
    assert body["system_fingerprint"] == "fp_scripted"
    assert body["service_tier"] == "default"
    assert raw.headers["x-request-id"].startswith("req_")


async def test_a_stream_says_the_same_as_the_plain_answer(client: openai.AsyncOpenAI) -> None:
    plain = await client.chat.completions.create(model="gpt-4o", messages=HELLO)
    stream = await client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
    chunks = [chunk async for chunk in stream]

    assert all(len(chunk.choices) == 1 for chunk in chunks)
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)
    deltas = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert len([delta for delta in deltas if delta]) > 5
    assert "".join(deltas) == plain.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "stop"


async def test_a_stream_ends_with_usage_when_asked_and_then_the_terminator(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI
) -> None:
    stream = await client.chat.completions.create(
        model="gpt-4o", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert all("usage" in chunk.model_fields_set for chunk in chunks)
    assert chunks[-1].choices == []
    usage = chunks[-1].usage
    assert usage is not None
    (entry,) = await upstream.log()
    assert (entry.input_tokens, entry.output_tokens) == (usage.prompt_tokens, usage.completion_tokens)
    assert entry.answer.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("limit_name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("stream", [False, True])
async def test_the_limit_cuts_every_choice(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI, limit_name: str, stream: bool
) -> None:
    options: Any = {limit_name: 3, "n": 2, "stream": stream}
    answer: Any = await client.chat.completions.create(model="gpt-4o", messages=HELLO, **options)
    if stream:
        ends = [choice async for chunk in answer for choice in chunk.choices if choice.finish_reason]
        assert sorted(choice.index for choice in ends) == [0, 1]
    else:
        ends = answer.choices
        assert all(count_tokens(choice.message.content) == 3 for choice in ends)

    assert [choice.finish_reason for choice in ends] == ["length", "length"]
    (entry,) = await upstream.log()
    assert entry.output_tokens == 6


async def test_a_user_message_with_tools_is_answered_with_a_call(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="gpt-4o", messages=HELLO, tools=[WEATHER])

    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.content is None
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "weather"
    assert msgspec.json.decode(call.function.arguments) == {"place": "scripted", "unit": "celsius", "days": 1}


async def test_a_tool_call_is_streamed_over_several_deltas(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="gpt-4o", messages=HELLO, tools=[WEATHER], stream=True
    )
    choices = [chunk.choices[0] async for chunk in stream]

    calls = [choice.delta.tool_calls[0] for choice in choices if choice.delta.tool_calls]
    assert calls[0].id
    assert calls[0].function is not None
    assert calls[0].function.name == "weather"
    pieces = [call.function.arguments or "" for call in calls if call.function]
    assert len(pieces) > 3
    assert msgspec.json.decode("".join(pieces)) == {"place": "scripted", "unit": "celsius", "days": 1}
    assert choices[-1].finish_reason == "tool_calls"


async def test_a_tool_result_is_answered_in_text(client: openai.AsyncOpenAI) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages: Any = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]
    answer = await client.chat.completions.create(model="gpt-4o", messages=messages, tools=[WEATHER])

    assert answer.choices[0].message.tool_calls is None
    assert (answer.choices[0].message.content or "").startswith("sunny")


async def test_a_schema_is_answered_with_json_that_fits_it(client: openai.AsyncOpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {
            "grade": {"enum": ["yes", "no"]},
            "reasons": {"type": "array", "items": {"type": "string"}},
        },
    }
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "grading", "schema": schema}}
    answer = await client.chat.completions.create(
        model="gpt-4o",
        messages=HELLO,
        response_format=wanted,
    )

    assert msgspec.json.decode(answer.choices[0].message.content or "") == {
        "grade": "yes",
        "reasons": ["[scripted openai]"],
    }


async def test_long_prompts_are_reported_as_partly_cached(client: openai.AsyncOpenAI) -> None:
    messages: Any = [{"role": "user", "content": "word " * 1200}]
    answer = await client.chat.completions.create(model="gpt-4o", messages=messages)

    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 1024
    assert answer.usage.prompt_tokens_details is not None
    cached = answer.usage.prompt_tokens_details.cached_tokens
    assert cached
    assert cached % 128 == 0
    assert cached < answer.usage.prompt_tokens


async def test_legacy_completions_plain_and_streamed(client: openai.AsyncOpenAI) -> None:
    model = "davinci-002"
    plain = await client.completions.create(model=model, prompt="once upon a time", max_tokens=5)
    stream = await client.completions.create(
        model=model, prompt="once upon a time", max_tokens=5, stream=True
    )
    choices = [chunk.choices[0] async for chunk in stream]

    assert plain.choices[0].text.startswith("once upon")
    assert plain.choices[0].finish_reason == "length"
    assert plain.usage is not None
    assert plain.usage.completion_tokens == 5
    assert "".join(choice.text for choice in choices) == plain.choices[0].text
    with pytest.raises(openai.NotFoundError, match="This is a chat model"):
        await client.completions.create(model="gpt-4o", prompt="once upon a time")


async def test_embeddings_are_the_same_in_both_encodings_and_every_time(client: openai.AsyncOpenAI) -> None:
    model = "text-embedding-3-small"
    # The client asks for base64 when nobody says, and decodes it.
    packed = await client.embeddings.create(model=model, input=["loans", "desk"])
    floats = await client.embeddings.create(model=model, input=["loans", "desk"], encoding_format="float")

    assert [item.index for item in packed.data] == [0, 1]
    assert [item.embedding for item in packed.data] == [item.embedding for item in floats.data]
    assert packed.data[0].embedding != packed.data[1].embedding
    assert sum(value * value for value in packed.data[0].embedding) == pytest.approx(1, abs=1e-5)
    assert packed.usage.prompt_tokens == count_tokens("loans") + count_tokens("desk")
    short = await client.embeddings.create(model=model, input="loans", dimensions=8)
    assert len(short.data[0].embedding) == 8


async def test_models_are_listed_and_found(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == [
        "gpt-4o",
        "text-embedding-3-small",
        "davinci-002",
    ]
    assert (await client.models.retrieve("gpt-4o")).id == "gpt-4o"
    with pytest.raises(openai.NotFoundError) as found:
        await client.models.retrieve("gpt-9")
    assert found.value.code == "model_not_found"


async def test_a_wrong_key_is_refused_and_costs_nothing(upstream: ScriptedUpstream) -> None:
    async with openai.AsyncOpenAI(base_url=upstream.openai_url, api_key="sk-wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.chat.completions.create(model="gpt-4o", messages=HELLO)

    assert refused.value.code == "invalid_api_key"
    assert (await upstream.totals()).input_tokens == 0


async def test_an_unknown_model_is_not_found(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        await client.chat.completions.create(model="llama3.2", messages=HELLO)
    assert refused.value.code == "model_not_found"


TURN = {"role": "user", "content": "hi"}
GOOD: dict[str, Any] = {"model": "gpt-4o", "messages": [TURN]}


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"messages": [TURN]}, None, None),
        ({"model": "gpt-4o"}, "missing_required_parameter", "messages"),
        ({**GOOD, "messages": []}, "empty_array", "messages"),
        ({**GOOD, "messages": "hi"}, "invalid_type", "messages"),
        ({**GOOD, "messages": [{"role": "robot", "content": "hi"}]}, "invalid_value", "messages[0].role"),
        ({**GOOD, "messages": [{"content": "hi"}]}, "missing_required_parameter", "messages[0].role"),
        ({**GOOD, "messages": [{"role": "user", "content": None}]}, None, "messages[0].content"),
        (
            {**GOOD, "messages": [{"role": "tool", "content": "x", "tool_call_id": "c"}]},
            None,
            "messages[0].role",
        ),
        ({**GOOD, "stream": "yes"}, "invalid_type", "stream"),
        ({**GOOD, "n": True}, "invalid_type", "n"),
        ({**GOOD, "max_tokens": 0}, "integer_below_min_value", "max_tokens"),
        ({**GOOD, "temperature": 3}, "integer_above_max_value", "temperature"),
        (
            {**GOOD, "max_tokens": 1, "max_completion_tokens": 1},
            "invalid_parameter_combination",
            "max_tokens",
        ),
        ({**GOOD, "stream_options": {"include_usage": True}}, None, "stream_options"),
        ({**GOOD, "metadata": {"batch_size": 3}}, "invalid_type", "metadata.batch_size"),
        ({**GOOD, "tools": [{"type": "function", "function": {}}]}, "missing_required_parameter", None),
        ({**GOOD, "keep_alive": "5m"}, None, None),
        (b'{"model": "gpt-4o", "messages": [', None, None),
        (b"[]", None, None),
    ],
)
async def test_what_openai_refuses_is_refused_in_its_shape(
    upstream: ScriptedUpstream, body: bytes | dict[str, Any], code: str | None, param: str | None
) -> None:
    status, answer = await post(upstream, "/v1/chat/completions", body)

    assert status == 400
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert answer["error"]["type"] == "invalid_request_error"
    assert answer["error"]["code"] == code
    if param is not None:
        assert answer["error"]["param"] == param


async def test_fields_of_tomorrow_are_let_pass(upstream: ScriptedUpstream) -> None:
    status, _ = await post(upstream, "/v1/chat/completions", {**GOOD, "x_tomorrow": {"a": 1}})
    assert status == 200


async def test_unknown_paths_and_methods_are_refused(upstream: ScriptedUpstream) -> None:
    assert (await post(upstream, "/v1/nothing", GOOD))[0] == 404
    status, answer = await post(upstream, "/v1/models", GOOD)
    assert (status, answer["error"]["code"]) == (405, "method_not_supported")
