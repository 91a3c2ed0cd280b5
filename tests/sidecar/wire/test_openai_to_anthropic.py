"""any-llm's answers as Anthropic's messages and events: golden bodies and streams."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from anthropic.types import Message

from sidecar.core.errors import Fault, UpstreamFault
from sidecar.wire.openai_to_anthropic import MessageEvents, message_body
from sidecar.wire.timings import Timings

HEAD = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "llama3.2"}
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}
COUNTED = {
    "input_tokens": 5,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 4,
    "output_tokens": 3,
}
CALL = {"id": "c1", "type": "function", "function": {"name": "desk", "arguments": '{"a": 1}'}}
USE = {"type": "tool_use", "id": "c1", "name": "desk", "input": {"a": 1}}


def whole(message: dict[str, Any], finish: str = "stop", *, thinking: bool = False) -> dict[str, Any]:
    answer = {**HEAD, "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": USAGE}
    body = message_body(answer, model="asked-for", thinking=thinking)
    Message.model_validate_json(body, strict=False)
    decoded: dict[str, Any] = msgspec.json.decode(body)
    return decoded


def test_a_whole_message() -> None:
    assert whole({"role": "assistant", "content": "hi"}) == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "llama3.2",
        "content": [{"type": "text", "text": "hi"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": COUNTED,
    }


@pytest.mark.parametrize(
    ("message", "finish", "content", "reason"),
    [
        (
            {"content": "hi", "tool_calls": [CALL]},
            "tool_calls",
            [{"type": "text", "text": "hi"}, USE],
            "tool_use",
        ),
        ({"content": "", "tool_calls": [CALL]}, "stop", [USE], "tool_use"),
        ({"content": "", "tool_calls": [CALL]}, "length", [], "max_tokens"),
        ({"content": "", "refusal": "no"}, "content_filter", [{"type": "text", "text": "no"}], "refusal"),
        ({"content": "hi", "reasoning": "hm"}, "stop", [{"type": "text", "text": "hi"}], "end_turn"),
    ],
)
def test_what_it_says_and_why_it_ends(
    message: dict[str, Any], finish: str, content: list[dict[str, Any]], reason: str
) -> None:
    body = whole(message, finish)
    assert (body["content"], body["stop_reason"]) == (content, reason)


def test_thinking_comes_first_when_asked_for() -> None:
    assert whole({"content": "hi", "reasoning": "hm"}, thinking=True)["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "hi"},
    ]


def test_unreadable_arguments_are_garbage() -> None:
    call = {**CALL, "function": {"name": "desk", "arguments": "[1"}}
    with pytest.raises(UpstreamFault) as refused:
        whole({"content": "", "tool_calls": [call]})
    assert refused.value.fault is Fault.GARBAGE


def delta(finish: str | None = None, **said: Any) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": 0, "delta": said, "finish_reason": finish}]}


def fragment(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    return {
        "tool_calls": [
            {"index": index, **more, "function": {"arguments": arguments, **more.pop("function", {})}}
        ]
    }


def events(chunks: list[dict[str, Any]], *, thinking: bool = False) -> list[dict[str, Any]]:
    writer = MessageEvents(model="m", thinking=thinking)
    text = b"".join(writer.feed(chunk, 1.0) for chunk in chunks) + writer.end(1.0, Timings(1, 2))
    told = []
    for event in text.split(b"\n\n")[:-1]:
        name, data = event.split(b"\ndata: ")
        told.append(msgspec.json.decode(data))
        assert name == b"event: " + told[-1]["type"].encode()
    return told


def test_a_stream_of_blocks() -> None:
    told = events(
        [
            delta(role="assistant", reasoning="hm"),
            delta(content="hi"),
            delta(content=" you"),
            delta(**fragment(0, "", id="c1", function={"name": "desk"})),
            delta(**fragment(0, '{"a"')),
            delta(**fragment(0, ": 1}")),
            delta(**fragment(1, "{}", id="c2", function={"name": "desk"})),
            delta("stop"),
            {**HEAD, "choices": [], "usage": USAGE},
        ],
        thinking=True,
    )
    assert [event["type"] for event in told] == [
        "message_start",
        *("content_block_start", "content_block_delta", "content_block_stop"),
        *("content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"),
        *("content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"),
        *("content_block_start", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop"),
    ]
    assert told[0]["message"] == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "llama3.2",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**COUNTED, "input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0},
    }
    starts = [event["content_block"] for event in told if event["type"] == "content_block_start"]
    assert starts == [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "text", "text": ""},
        {"type": "tool_use", "id": "c1", "name": "desk", "input": {}},
        {"type": "tool_use", "id": "c2", "name": "desk", "input": {}},
    ]
    assert [event["index"] for event in told if "index" in event] == [
        0,
        0,
        0,
        1,
        1,
        1,
        1,
        2,
        2,
        2,
        2,
        3,
        3,
        3,
    ]
    assert told[-2] == {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": COUNTED,
    }


def test_thinking_that_nobody_asked_for_is_not_shown() -> None:
    told = events([delta(reasoning="hm"), delta("length", content="hi")])
    assert "thinking" not in str(told)
    assert told[-2]["delta"]["stop_reason"] == "max_tokens"


def test_fragments_of_two_calls_that_come_mixed_are_garbage() -> None:
    with pytest.raises(UpstreamFault, match="mixed"):
        events([delta(**fragment(0, "")), delta(**fragment(1, "")), delta(**fragment(0, ""))])
