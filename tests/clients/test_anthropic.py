"""Anthropic's own client, in both arms: relayed to a tier of its provider, translated to every other."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest

from tests.clients.ways import Line, Way, echo
from tests.rig.serving import Serve
from tests.rig.upstream import ScriptedUpstream
from tests.rig.world import CRITICAL, HIGH, PUBLIC

QUESTION = "How long may a tool be lent?"
MESSAGES = [{"role": "user", "content": QUESTION}]
TOOL = {
    "name": "loan_days",
    "description": "How long something may be lent.",
    "input_schema": {"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"]},
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

#: ``ollama_cloud``'s model thinks, the local one does not.
WAYS = (
    Way("legacy to anthropic", "legacy", "anthropic", PUBLIC, "claude-x"),
    Way("routed to anthropic", "routed", "anthropic", PUBLIC, "anthropic/claude-x"),
    Way("routed to local", "routed", "local_ollama", PUBLIC, "claude-x"),
    Way("routed to cloud", "routed", "ollama_cloud", HIGH, "claude-x"),
    Way("routed to openai", "routed", "openai", CRITICAL, "claude-x"),
)


class Caller:
    """The client on its line."""

    def __init__(self, line: Line, client: anthropic.AsyncAnthropic) -> None:
        self.line = line
        self.client = client
        self.relayed = line.way.tier == "anthropic"
        self.asking: dict[str, Any] = {"model": line.way.model, "max_tokens": 200, "messages": MESSAGES}

    async def ask(self, **fields: Any) -> anthropic.types.Message:
        message: anthropic.types.Message = await self.client.messages.create(**{**self.asking, **fields})
        return message

    async def stream(self, **fields: Any) -> tuple[Any, list[str]]:
        """The message that the client puts together from a stream, and the types of the events."""
        async with self.client.messages.stream(**{**self.asking, **fields}) as stream:
            kinds: list[str] = [event.type async for event in stream]
            return await stream.get_final_message(), kinds


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
async def caller(
    request: pytest.FixtureRequest,
    serve: Serve,
    upstream_processes: tuple[ScriptedUpstream, ScriptedUpstream, ScriptedUpstream],
) -> AsyncIterator[Caller]:
    way: Way = request.param
    local, cloud, openai = upstream_processes
    for upstream in upstream_processes:
        await upstream.reset()
    tier = {
        "provider": "anthropic",
        "base_url": openai.url,
        "api_key": "openai-key",
        "price": {"input_usd_per_1m": 3, "output_usd_per_1m": 15},
        "models": {"default": "claude-x"},
    }
    changes = {"tiers": {"anthropic": tier}, "rollout": {"legacy": {"tier": "anthropic"}}}
    sidecar = serve("anthropic", changes)
    sidecar.set_percent(100 if way.arm == "routed" else 0)
    upstreams = {"local_ollama": local, "ollama_cloud": cloud}
    line = Line(way, sidecar, upstreams.get(way.tier, openai))
    async with anthropic.AsyncAnthropic(
        http_client=anthropic.DefaultAsyncHttpxClient(verify=False),
        base_url=sidecar.base,
        api_key="any",
        default_headers=way.headers,
        max_retries=0,
    ) as client:
        yield Caller(line, client)


async def test_plain(caller: Caller) -> None:
    way = caller.line.way
    raw = await caller.client.messages.with_raw_response.create(**caller.asking, system="Be brief.")
    message = raw.parse()
    assert [(block.type, block.text) for block in message.content if block.type == "text"] == [
        ("text", echo(QUESTION))
    ]
    assert len(message.content) == 1
    assert (message.type, message.role, message.stop_reason) == ("message", "assistant", "end_turn")
    assert message.id.startswith("msg_")
    assert message.usage.input_tokens > 0 < message.usage.output_tokens
    assert (raw.headers["x-sidecar-arm"], raw.headers["x-sidecar-tier"]) == (way.arm, way.tier)
    assert float(raw.headers["x-sidecar-cost-usd"]) >= 0
    (asked,) = await caller.line.asked()
    if caller.relayed:
        assert asked == {**caller.asking, "model": "claude-x", "system": "Be brief."}
    else:
        assert asked["messages"] == [{"role": "system", "content": "Be brief."}, *MESSAGES]


async def test_streaming(caller: Caller) -> None:
    message, kinds = await caller.stream()
    assert message.content[0].type == "text"
    assert message.content[0].text == echo(QUESTION)
    assert (message.stop_reason, message.usage.output_tokens > 0) == ("end_turn", True)
    assert message.usage.input_tokens > 0
    plain = [kind for kind in kinds if kind not in ("text", "content_block_delta")]
    assert plain == [
        *("message_start", "content_block_start", "content_block_stop"),
        *("message_delta", "message_stop"),
    ]
    cut, _ = await caller.stream(max_tokens=4)
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 4)


async def test_a_tool_round_trip(caller: Caller) -> None:
    first = await caller.ask(tools=[TOOL], tool_choice={"type": "any"})
    assert first.stop_reason == "tool_use"
    (use,) = first.content
    assert use.type == "tool_use"
    assert (use.name, use.input) == ("loan_days", {"item": "scripted"})
    result = {"type": "tool_result", "tool_use_id": use.id, "content": [{"type": "text", "text": "21 days"}]}
    second = await caller.ask(
        tools=[TOOL],
        messages=[
            *MESSAGES,
            {
                "role": "assistant",
                "content": [block.model_dump(exclude_none=True) for block in first.content],
            },
            {"role": "user", "content": [result]},
        ],
    )
    assert second.stop_reason == "end_turn"
    sent = (await caller.line.asked())[1]["messages"]
    if not caller.relayed:
        assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
        assert sent[2]["content"] == "21 days"


async def test_a_tool_call_in_a_stream(caller: Caller) -> None:
    message, _ = await caller.stream(tools=[TOOL])
    (use,) = message.content
    assert use.type == "tool_use"
    assert (use.name, use.input) == ("loan_days", {"item": "scripted"})
    assert message.stop_reason == "tool_use"


async def test_thinking_is_shown_to_those_who_ask(caller: Caller) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    if caller.line.way.tier == "local_ollama":
        with pytest.raises(anthropic.BadRequestError, match=r"it lacks thinking|does not support thinking"):
            await caller.ask(thinking=thinking)
        return
    thinks = caller.line.way.tier != "openai"
    for message in (
        await caller.ask(thinking=thinking, max_tokens=2000),
        (await caller.stream(thinking=thinking, max_tokens=2000))[0],
    ):
        assert [block.type for block in message.content] == ["thinking", "text"][not thinks :]


async def test_an_image_and_a_schema(caller: Caller) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "image", "source": source}, {"type": "text", "text": QUESTION}]
    schema = {"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]}
    message = await caller.ask(
        messages=[{"role": "user", "content": content}],
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    assert message.content[0].type == "text"
    assert json.loads(message.content[0].text) == {"days": 1}
    (asked,) = await caller.line.asked()
    assert PIXEL in json.dumps(asked)


async def test_tokens_are_counted_and_cost_nothing(caller: Caller) -> None:
    raw = await caller.client.messages.with_raw_response.count_tokens(
        model=caller.line.way.model, messages=[{"role": "user", "content": "one two three four " * 50}]
    )
    assert 200 < raw.parse().input_tokens < 300
    assert float(raw.headers["x-sidecar-cost-usd"]) == 0
    assert len(await caller.line.asked()) == caller.relayed


async def test_errors_are_anthropics(caller: Caller) -> None:
    with pytest.raises(anthropic.BadRequestError, match="messages: at least one message is required"):
        await caller.ask(messages=[])
    await caller.line.upstream.fault(status=400)
    with pytest.raises(anthropic.BadRequestError) as refused:
        await caller.ask()
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["type"] == "error"
    assert refused.value.body["error"]["type"] == "invalid_request_error"
    await caller.line.upstream.heal()


async def test_a_stream_that_breaks_off_ends_in_an_error_event(caller: Caller) -> None:
    await caller.line.upstream.fault(cut_after=6, cut="fin")
    with pytest.raises((anthropic.APIError, anthropic.APIConnectionError)):
        await caller.stream()
    await caller.line.upstream.heal()
