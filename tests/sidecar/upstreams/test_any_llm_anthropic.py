"""A provider that speaks none of the callers' dialects: Anthropic, as its API reference has it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sidecar.core.errors import Fault, UpstreamFault
from sidecar.core.vocabulary import OLLAMA_CHAT, OPENAI_CHAT, OPENAI_EMBEDDINGS, Usage
from sidecar.upstreams.any_llm_upstream import AnyLLMLane
from tests.sidecar.upstreams.conftest import OpenLane
from tests.sidecar.upstreams.lanes import HELLO, outbound, read_events, read_json, read_lines

TOOL_USE = {"type": "tool_use", "id": "toolu_1", "name": "desk", "input": {"open": True}}
USAGE = {"input_tokens": 12, "cache_read_input_tokens": 100, "output_tokens": 7}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x-20260101",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": USAGE,
}
STREAM: list[dict[str, Any]] = [
    {"type": "message_start", "message": {**MESSAGE, "usage": {**USAGE, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Let me "}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "look."}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {**TOOL_USE, "input": {}}},
    {
        "type": "content_block_delta",
        "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": '{"open"'},
    },
    {
        "type": "content_block_delta",
        "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": ": true}"},
    },
    {"type": "content_block_stop", "index": 1},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 7},
    },
    {"type": "message_stop"},
]
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


class Anthropic:
    """Answers ``/v1/messages`` with the same message, whole or streamed, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.stream = STREAM
        self.status = 200
        self.url = ""

    async def messages(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append((dict(request.headers), body))
        if self.status != 200:
            return web.json_response(OVERLOADED, status=self.status, headers={"Retry-After": "9"})
        if body.get("stream"):
            events = (
                f"event: {event['type']}\ndata: {msgspec.json.encode(event).decode()}\n\n"
                for event in self.stream
            )
            return web.Response(text="".join(events), content_type="text/event-stream")
        content = [{"type": "text", "text": "Let me look."}, TOOL_USE]
        return web.json_response({**MESSAGE, "content": content, "stop_reason": "tool_use"})


@pytest.fixture
async def anthropic() -> AsyncIterator[Anthropic]:
    service = Anthropic()
    app = web.Application()
    app.router.add_post("/v1/messages", service.messages)
    async with TestServer(app) as server:
        service.url = str(server.make_url("/"))
        yield service


@pytest.fixture
def lane(open_lane: OpenLane, anthropic: Anthropic, monkeypatch: pytest.MonkeyPatch) -> AnyLLMLane:
    for variable in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"):
        monkeypatch.setenv(variable, "http://stray.invalid")
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "x-stray: stray")
    return open_lane("anthropic", anthropic.url, off_box=True, api_key="sk-tier")


async def test_a_whole_answer_in_openais_dialect(lane: AnyLLMLane, anthropic: Anthropic) -> None:
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "system", "content": [{"type": "text", "text": "be kind"}]},
        *HELLO,
    ]
    answer = await lane.send(outbound(OPENAI_CHAT, messages=messages, stop="x", user="u", max_tokens=99))

    body = await read_json(answer)
    (choice,) = body["choices"]
    assert choice["message"]["content"] == "Let me look."
    assert msgspec.json.decode(choice["message"]["tool_calls"][0]["function"]["arguments"]) == {"open": True}
    assert choice["finish_reason"] == "tool_calls"
    assert body["created"] > 1_700_000_000
    assert answer.tally.usage == Usage(112, 7, cached_input_tokens=100)
    ((headers, asked),) = anthropic.asked
    assert headers["x-api-key"] == "sk-tier"
    assert "stray" not in str(headers)
    assert asked == {
        "model": "gpt-4o",
        "system": "be brief\nbe kind",
        "messages": HELLO,
        "stop_sequences": ["x"],
        "max_tokens": 99,
    }


async def test_a_stream_in_openais_dialect(lane: AnyLLMLane) -> None:
    call = outbound(OPENAI_CHAT, messages=HELLO, stream=True, stream_options={"include_usage": True})
    answer = await lane.send(call)

    events = await read_events(answer)
    assert len({(event["id"], event["created"]) for event in events}) == 1
    deltas = [event["choices"][0]["delta"] for event in events[:-1]]
    assert "".join(delta.get("content", "") for delta in deltas) == "Let me look."
    fragments = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert {fragment["index"] for fragment in fragments} == {0}
    assert "".join(fragment["function"]["arguments"] for fragment in fragments) == '{"open": true}'
    assert events[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert events[-1]["usage"]["prompt_tokens"] == 112
    assert answer.tally.usage == Usage(112, 7, cached_input_tokens=100)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_in_ollamas_dialect(lane: AnyLLMLane, anthropic: Anthropic, stream: bool) -> None:
    answer = await lane.send(outbound(OLLAMA_CHAT, messages=HELLO, stream=stream, output_limit=50))

    lines = await read_lines(answer)
    assert "".join(line["message"]["content"] for line in lines) == "Let me look."
    (calls,) = [line["message"]["tool_calls"] for line in lines if "tool_calls" in line["message"]]
    assert calls[0]["function"] == {"index": 0, "name": "desk", "arguments": {"open": True}}
    assert (lines[-1]["prompt_eval_count"], lines[-1]["eval_count"]) == (112, 7)
    assert anthropic.asked[0][1]["max_tokens"] == 50


async def test_a_limit_is_always_sent(lane: AnyLLMLane, anthropic: Anthropic) -> None:
    await lane.send(outbound(OPENAI_CHAT, messages=HELLO))
    assert anthropic.asked[0][1]["max_tokens"] == 1024


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "expected"), [(400, Fault.REJECTED), (429, Fault.THROTTLED), (529, Fault.SERVER_ERROR)]
)
async def test_refusals(
    lane: AnyLLMLane, anthropic: Anthropic, stream: bool, status: int, expected: Fault
) -> None:
    anthropic.status = status
    with pytest.raises(UpstreamFault, match="answered") as refused:
        await lane.send(outbound(OPENAI_CHAT, messages=HELLO, stream=stream))
    fault = refused.value
    assert (fault.fault, fault.http_status, fault.retry_after_s) == (expected, status, 9.0)
    assert "Overloaded" in fault.words
    assert msgspec.json.decode(fault.body) == OVERLOADED
    assert len(anthropic.asked) == 1


async def test_an_error_inside_a_stream(lane: AnyLLMLane, anthropic: Anthropic) -> None:
    anthropic.stream = [*STREAM[:4], OVERLOADED]
    answer = await lane.send(outbound(OPENAI_CHAT, messages=HELLO, stream=True))
    with pytest.raises(UpstreamFault, match="reported an error") as broken:
        await read_events(answer)
    assert "Overloaded" in broken.value.words
    assert broken.value.fault is Fault.SERVER_ERROR


async def test_a_stream_that_stops_short(lane: AnyLLMLane, anthropic: Anthropic) -> None:
    anthropic.stream = STREAM[:4]
    answer = await lane.send(outbound(OPENAI_CHAT, messages=HELLO, stream=True))
    with pytest.raises(UpstreamFault) as broken:
        await read_events(answer)
    assert broken.value.fault is Fault.CUT


async def test_there_are_no_embeddings(lane: AnyLLMLane, anthropic: Anthropic) -> None:
    with pytest.raises(UpstreamFault) as refused:
        await lane.send(outbound(OPENAI_EMBEDDINGS, input="a"))
    assert refused.value.fault is Fault.UNSUPPORTED
    assert anthropic.asked == []


async def test_the_sdk_writes_no_prompt_into_the_log(
    lane: AnyLLMLane, caplog: pytest.LogCaptureFixture
) -> None:
    # As ANTHROPIC_LOG=debug or an operator's debug logging would have it.
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "anthropic")
    await lane.send(outbound(OPENAI_CHAT, messages=HELLO))
    assert HELLO[0]["content"] not in caplog.text
