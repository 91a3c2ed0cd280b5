"""OpenAI's own client at the legacy text completions, in both arms and on every tier."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from tests.clients.conftest import LineOf
from tests.clients.ways import OPENAI_WAYS, Line, Way, echo

PROMPT = "How long may a tool be lent?"


class Caller:
    """The client on its line, asking for a model that continues texts where the model is named."""

    def __init__(self, line: Line, client: openai.AsyncOpenAI) -> None:
        self.line = line
        self.completions: Any = client.completions
        named = "gpt-3.5-turbo-instruct" if line.way.tier == "openai" else line.way.model
        self.model = named if line.way.arm == "legacy" else "auto"

    async def ask(self, **fields: Any) -> Any:
        return await self.completions.create(
            **{"model": self.model, "prompt": PROMPT, "max_tokens": 200, **fields}
        )


@pytest.fixture(params=OPENAI_WAYS, ids=lambda way: way.name)
async def caller(request: pytest.FixtureRequest, line_of: LineOf) -> AsyncIterator[Caller]:
    way: Way = request.param
    line = await line_of(way)
    async with openai.AsyncOpenAI(
        http_client=openai.DefaultAsyncHttpxClient(verify=False),
        base_url=line.sidecar.openai_base,
        api_key="any",
        default_headers=way.headers,
        max_retries=0,
    ) as client:
        yield Caller(line, client)


async def test_plain_and_streamed(caller: Caller) -> None:
    answer = await caller.ask()
    assert (answer.object, answer.choices[0].finish_reason) == ("text_completion", "stop")
    assert answer.choices[0].text == echo(PROMPT)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0

    chunks = [chunk async for chunk in await caller.ask(stream=True, stream_options={"include_usage": True})]
    *texts, last = chunks
    assert "".join(chunk.choices[0].text for chunk in texts) == echo(PROMPT)
    assert [chunk.choices[0].finish_reason for chunk in texts[-2:]] == [None, "stop"]
    assert {(chunk.id, chunk.object) for chunk in chunks} == {(chunks[0].id, "text_completion")}
    assert (last.choices, last.usage.prompt_tokens > 0) == ([], True)
    assert not any(chunk.usage for chunk in [item async for item in await caller.ask(stream=True)])


async def test_a_limit_and_an_echo(caller: Caller) -> None:
    answer = await caller.ask(max_tokens=4, echo=True)
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].text.startswith(PROMPT)
    assert answer.usage.completion_tokens == 4
