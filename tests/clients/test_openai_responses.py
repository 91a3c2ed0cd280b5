"""OpenAI's own client at the Responses, in both arms: relayed to OpenAI, translated to every other tier."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pydantic
import pytest

from tests.clients.conftest import LineOf
from tests.clients.ways import OPENAI_WAYS, Line, Way, echo

QUESTION = "How long may a tool be lent?"
TOOL = {
    "type": "function",
    "name": "loan_days",
    "description": "How long something may be lent.",
    "parameters": {"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"]},
    "strict": False,
}
PIXEL = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Loan(pydantic.BaseModel):
    item: str
    days: int


class Caller:
    """The client on its line."""

    def __init__(self, line: Line, client: openai.AsyncOpenAI) -> None:
        self.line = line
        self.responses: Any = client.responses
        #: The local Ollama's own Responses, as the legacy arm calls it, are the same here.
        self.relayed = line.way.arm == "legacy" or line.way.tier == "openai"
        self.asking: dict[str, Any] = {"model": line.way.model, "input": QUESTION}

    async def ask(self, **fields: Any) -> Any:
        return await self.responses.create(**{**self.asking, **fields})

    async def stream(self, **fields: Any) -> tuple[Any, list[Any]]:
        """The response that the client puts together from a stream, and the events."""
        async with self.responses.stream(**{**self.asking, **fields}) as stream:
            events = [event async for event in stream]
            return await stream.get_final_response(), events


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


async def test_plain(caller: Caller) -> None:
    raw = await caller.responses.with_raw_response.create(
        **caller.asking, instructions="Be brief.", metadata={"app": "desk", "team": "tools"}
    )
    response = raw.parse()
    assert response.output_text == echo(QUESTION)
    assert (response.object, response.status, response.error) == ("response", "completed", None)
    assert response.id.startswith("resp_")
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens > 0
    way = caller.line.way
    assert (raw.headers["x-sidecar-arm"], raw.headers["x-sidecar-tier"]) == (way.arm, way.tier)
    assert (response.metadata, response.instructions) == ({"team": "tools"}, "Be brief.")
    (asked,) = await caller.line.asked()
    if caller.relayed:
        assert asked["input"] == QUESTION
    else:
        assert [message["content"] for message in asked["messages"]] == ["Be brief.", QUESTION]


async def test_streaming(caller: Caller) -> None:
    response, events = await caller.stream()
    assert response.output_text == echo(QUESTION)
    assert response.usage.output_tokens > 0
    kinds = [event.type for event in events if event.type != "response.output_text.delta"]
    assert kinds == [
        *("response.created", "response.in_progress", "response.output_item.added"),
        *("response.content_part.added", "response.output_text.done"),
        *(["response.content_part.done"] if "response.content_part.done" in kinds else []),
        *("response.output_item.done", "response.completed"),
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))


async def test_a_limit_is_kept(caller: Caller) -> None:
    question = QUESTION * 6
    whole = await caller.ask(input=question, max_output_tokens=16)
    stream = await caller.ask(input=question, max_output_tokens=16, stream=True)
    last = [event async for event in stream][-1]
    assert last.type == "response.incomplete"
    for response in (whole, last.response):
        assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        assert response.usage.output_tokens == 16


async def test_a_tool_round_trip(caller: Caller) -> None:
    first = await caller.ask(tools=[TOOL])
    (call,) = first.output
    assert (call.type, call.name, json.loads(call.arguments)) == (
        "function_call", "loan_days", {"item": "scripted"},
    )  # fmt: skip
    second = await caller.ask(
        tools=[TOOL],
        input=[
            {"role": "user", "content": QUESTION},
            call.model_dump(exclude_none=True),
            {"type": "function_call_output", "call_id": call.call_id, "output": "21 days"},
        ],
    )
    assert second.output_text in (echo(QUESTION), echo("21 days"))
    if not caller.relayed:
        sent = (await caller.line.asked())[1]["messages"]
        assert [message["role"] for message in sent] == ["user", "assistant", "tool"]


async def test_a_tool_call_in_a_stream(caller: Caller) -> None:
    response, events = await caller.stream(tools=[TOOL])
    (call,) = response.output
    assert (call.name, json.loads(call.arguments)) == ("loan_days", {"item": "scripted"})
    assert "response.function_call_arguments.done" in [event.type for event in events]


async def test_structured_output(caller: Caller) -> None:
    response = await caller.responses.parse(**caller.asking, text_format=Loan)
    assert isinstance(response.output_parsed, Loan)
    assert response.output_parsed.days == 1


async def test_an_image(caller: Caller) -> None:
    content = [{"type": "input_text", "text": QUESTION}, {"type": "input_image", "image_url": PIXEL}]
    response = await caller.ask(input=[{"role": "user", "content": content}])
    assert response.output_text == echo(QUESTION)
    assert PIXEL.split(",")[1] in json.dumps(await caller.line.asked())


async def test_a_stream_that_breaks_off_raises(caller: Caller) -> None:
    await caller.line.upstream.fault(cut_after=6, cut="fin")
    with pytest.raises((openai.APIError, RuntimeError)):
        await caller.stream()
    await caller.line.upstream.heal()
