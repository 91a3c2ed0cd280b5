"""OpenAI's own client, blocking and asynchronous, in both arms and on every tier."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pydantic
import pytest

from tests.clients.conftest import LineOf
from tests.clients.ways import EMBEDDING_MODEL, OPENAI_WAYS, Line, Way, echo, parts, result

QUESTION = "How long may a tool be lent?"
MESSAGES = [{"role": "user", "content": QUESTION}]
TOOL = {
    "type": "function",
    "function": {
        "name": "loan_days",
        "description": "How long something may be lent.",
        "parameters": {"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"]},
    },
}


class Loan(pydantic.BaseModel):
    item: str
    days: int


class Caller:
    """The client on its line; ``client`` is typed loosely because it is one of two classes."""

    def __init__(self, line: Line, client: Any) -> None:
        self.line = line
        self.client = client
        self.model = line.way.model

    async def chat(self, **fields: Any) -> Any:
        return await result(
            self.client.chat.completions.create(**{"model": self.model, "messages": MESSAGES, **fields})
        )

    async def chat_stream(self, **fields: Any) -> list[Any]:
        return await parts(await self.chat(stream=True, **fields))


@pytest.fixture(params=OPENAI_WAYS, ids=lambda way: way.name)
def way(request: pytest.FixtureRequest) -> Way:
    chosen: Way = request.param
    return chosen


@pytest.fixture(
    params=[
        (openai.OpenAI, openai.DefaultHttpxClient),
        (openai.AsyncOpenAI, openai.DefaultAsyncHttpxClient),
    ],
    ids=["sync", "async"],
)
async def caller(request: pytest.FixtureRequest, way: Way, line_of: LineOf) -> AsyncIterator[Caller]:
    line = await line_of(way)
    client_class, http_class = request.param
    client = client_class(
        # Reading the certificates that nobody asks for here takes longer than the test.
        http_client=http_class(verify=False),
        base_url=line.sidecar.openai_base,
        api_key="any",
        default_headers=way.headers,
        max_retries=0,
    )
    yield Caller(line, client)
    await result(client.close())


async def test_plain(caller: Caller) -> None:
    way = caller.line.way
    raw = await result(
        caller.client.chat.completions.with_raw_response.create(model=caller.model, messages=MESSAGES)
    )
    answer = raw.parse()
    assert answer.choices[0].message.content == echo(QUESTION)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.object == "chat.completion"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert (raw.headers["x-sidecar-arm"], raw.headers["x-sidecar-tier"]) == (way.arm, way.tier)
    assert raw.headers["x-sidecar-model"] == answer.model
    assert float(raw.headers["x-sidecar-cost-usd"]) >= 0
    for name in ("request-id", "reason", "trace-id"):
        assert raw.headers[f"x-sidecar-{name}"]
    (asked,) = await caller.line.asked()
    assert asked["model"] == answer.model


async def test_streaming(caller: Caller) -> None:
    chunks = await caller.chat_stream()
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == echo(QUESTION)
    assert len({(chunk.id, chunk.model, chunk.object) for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "stop"]
    assert not any(chunk.usage for chunk in chunks)
    assert len(chunks) > 5


async def test_streaming_with_usage(caller: Caller) -> None:
    *chunks, last = await caller.chat_stream(stream_options={"include_usage": True})
    assert last.choices == []
    assert last.usage.total_tokens == last.usage.prompt_tokens + last.usage.completion_tokens > 0
    assert not any(chunk.usage for chunk in chunks)
    assert last.id == chunks[0].id


async def test_a_limit_is_kept(caller: Caller) -> None:
    answer = await caller.chat(max_tokens=4)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 4
    chunks = await caller.chat_stream(max_completion_tokens=4)
    assert chunks[-1].choices[0].finish_reason == "length"


async def test_a_tool_round_trip(caller: Caller) -> None:
    first = await caller.chat(tools=[TOOL])
    assert first.choices[0].finish_reason == "tool_calls"
    (call,) = first.choices[0].message.tool_calls
    assert (call.type, call.function.name) == ("function", "loan_days")
    assert json.loads(call.function.arguments) == {"item": "scripted"}
    second = await caller.chat(
        tools=[TOOL],
        messages=[
            *MESSAGES,
            first.choices[0].message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "twenty one days"},
        ],
    )
    assert second.choices[0].finish_reason == "stop"
    assert second.choices[0].message.content in (echo(QUESTION), echo("twenty one days"))
    sent = (await caller.line.asked())[1]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[2]["content"] == "twenty one days"


async def test_a_tool_call_in_a_stream(caller: Caller) -> None:
    chunks = await caller.chat_stream(tools=[TOOL])
    deltas = [delta for chunk in chunks for delta in chunk.choices[0].delta.tool_calls or ()]
    assert [delta.function.name for delta in deltas if delta.function.name] == ["loan_days"]
    assert len({delta.id for delta in deltas if delta.id}) == 1
    assert json.loads("".join(delta.function.arguments or "" for delta in deltas)) == {"item": "scripted"}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_structured_output(caller: Caller) -> None:
    answer = await result(
        caller.client.chat.completions.parse(model=caller.model, messages=MESSAGES, response_format=Loan)
    )
    loan = answer.choices[0].message.parsed
    assert isinstance(loan, Loan)
    assert loan.days == 1


async def test_json_mode(caller: Caller) -> None:
    answer = await caller.chat(response_format={"type": "json_object"})
    assert isinstance(json.loads(answer.choices[0].message.content), dict)


async def test_embeddings(caller: Caller) -> None:
    # The client asks for base64 of itself and turns it into numbers.
    answer = await result(caller.client.embeddings.create(model=EMBEDDING_MODEL, input=["one", "two"]))
    assert [item.index for item in answer.data] == [0, 1]
    assert all(len(item.embedding) == 256 for item in answer.data)
    assert answer.data[0].embedding != answer.data[1].embedding
    assert answer.model == EMBEDDING_MODEL
    plain = await result(
        caller.client.embeddings.create(model=EMBEDDING_MODEL, input="one", encoding_format="float")
    )
    assert plain.data[0].embedding == pytest.approx(answer.data[0].embedding, abs=1e-6)


async def test_the_models_on_offer(caller: Caller) -> None:
    models = await result(caller.client.models.list())
    names = {model.id for model in models.data}
    assert {"auto", "openai/gpt-4o", "llama3.2", "ollama_cloud/gpt-oss:120b"} <= names
    pinned = await result(caller.client.models.retrieve("ollama_cloud/gpt-oss:120b"))
    assert pinned.owned_by == "ollama_cloud"
    with pytest.raises(openai.NotFoundError) as caught:
        await result(caller.client.models.retrieve("no/such model"))
    assert caught.value.code == "model_not_found"
