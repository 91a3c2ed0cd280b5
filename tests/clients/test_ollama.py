"""Ollama's own client, blocking and asynchronous, in both arms and on every tier."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import ollama
import pydantic
import pytest

from tests.clients.conftest import LineOf
from tests.clients.ways import EMBEDDING_MODEL, OLLAMA_WAYS, Line, Way, echo, parts, result

QUESTION = "How long may a tool be lent?"
MESSAGES = [{"role": "user", "content": QUESTION}]


def loan_days(item: str) -> int:
    """How long something may be lent.

    Args:
        item: what is lent
    """
    return len(item)


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
        return await result(self.client.chat(**{"model": self.model, "messages": MESSAGES, **fields}))

    async def chat_stream(self, **fields: Any) -> list[Any]:
        return await parts(await self.chat(stream=True, **fields))


@pytest.fixture(params=OLLAMA_WAYS, ids=lambda way: way.name)
def way(request: pytest.FixtureRequest) -> Way:
    chosen: Way = request.param
    return chosen


@pytest.fixture(params=[ollama.Client, ollama.AsyncClient], ids=["sync", "async"])
async def caller(request: pytest.FixtureRequest, way: Way, line_of: LineOf) -> AsyncIterator[Caller]:
    line = await line_of(way)
    client = request.param(line.sidecar.base, headers=way.headers, trust_env=False, verify=False)
    yield Caller(line, client)
    await result(client.close())


async def test_plain(caller: Caller) -> None:
    answer = await caller.chat()
    assert answer.message.content == echo(QUESTION)
    assert (answer.done, answer.done_reason, answer.message.role) == (True, "stop", "assistant")
    assert answer.prompt_eval_count > 0
    assert answer.eval_count > 0
    assert answer.total_duration > 0
    assert answer.created_at
    (asked,) = await caller.line.asked()
    assert asked["model"] == answer.model


async def test_streaming(caller: Caller) -> None:
    *chunks, last = await caller.chat_stream()
    assert "".join(chunk.message.content or "" for chunk in (*chunks, last)) == echo(QUESTION)
    assert len({chunk.model for chunk in (*chunks, last)}) == 1
    assert not any(chunk.done or chunk.done_reason for chunk in chunks)
    assert (last.done, last.done_reason) == (True, "stop")
    assert last.prompt_eval_count > 0
    assert last.eval_count > 0
    assert len(chunks) > 5


async def test_generate(caller: Caller) -> None:
    answer = await result(caller.client.generate(model=caller.model, prompt=QUESTION, system="Be brief."))
    assert answer.response == echo(QUESTION)
    assert answer.done_reason == "stop"
    stream = await result(caller.client.generate(model=caller.model, prompt=QUESTION, stream=True))
    chunks = await parts(stream)
    assert "".join(chunk.response for chunk in chunks) == echo(QUESTION)
    assert [chunk.done for chunk in chunks[-2:]] == [False, True]


async def test_a_limit_is_kept(caller: Caller) -> None:
    answer = await caller.chat(options={"num_predict": 4}, think=False)
    assert (answer.done_reason, answer.eval_count) == ("length", 4)
    chunks = await caller.chat_stream(options={"num_predict": 4}, think=False)
    assert chunks[-1].done_reason == "length"


async def test_a_tool_round_trip(caller: Caller) -> None:
    first = await caller.chat(tools=[loan_days])
    (call,) = first.message.tool_calls
    assert (call.function.name, dict(call.function.arguments)) == ("loan_days", {"item": "scripted"})
    messages = [
        *MESSAGES,
        first.message,
        {"role": "tool", "tool_name": "loan_days", "content": str(loan_days(**call.function.arguments))},
    ]
    second = await caller.chat(tools=[loan_days], messages=messages)
    assert not second.message.tool_calls
    assert second.message.content in (echo(QUESTION), echo("8"))
    sent = (await caller.line.asked())[1]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[2]["content"] == "8"


async def test_a_tool_call_in_a_stream(caller: Caller) -> None:
    chunks = await caller.chat_stream(tools=[loan_days])
    (call,) = [call for chunk in chunks for call in chunk.message.tool_calls or ()]
    assert (call.function.name, dict(call.function.arguments)) == ("loan_days", {"item": "scripted"})
    assert chunks[-1].done


async def test_structured_output(caller: Caller) -> None:
    answer = await caller.chat(format=Loan.model_json_schema())
    assert Loan.model_validate_json(answer.message.content).days == 1


async def test_json_mode(caller: Caller) -> None:
    answer = await caller.chat(format="json")
    assert isinstance(json.loads(answer.message.content), dict)


async def test_embeddings(caller: Caller) -> None:
    answer = await result(caller.client.embed(model=EMBEDDING_MODEL, input=["one", "two"]))
    assert [len(vector) for vector in answer.embeddings] == [256, 256]
    assert answer.model == EMBEDDING_MODEL
    one = await result(caller.client.embeddings(model=EMBEDDING_MODEL, prompt="one"))
    assert list(one.embedding) == pytest.approx(list(answer.embeddings[0]))


async def test_the_models_on_offer(caller: Caller) -> None:
    names = {model.model for model in (await result(caller.client.list())).models}
    assert {"auto", "scripted-small:latest", "llama3.2", "openai/gpt-4o"} <= names
    shown = await result(caller.client.show("ollama_cloud/gpt-oss:120b"))
    assert "completion" in shown.capabilities
    running = await result(caller.client.ps())
    assert running.models
