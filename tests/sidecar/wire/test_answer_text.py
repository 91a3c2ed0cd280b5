"""The text of answers, as every dialect writes it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.wire.answer_text import answer_text


def sse(*events: Any) -> bytes:
    return b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events) + b"data: [DONE]\n\n"


def lines(*objects: Any) -> bytes:
    return b"".join(json.dumps(it).encode() + b"\n" for it in objects)


WHOLE: dict[str, Any] = {
    "openai chat": {"choices": [{"index": 0, "message": {"role": "assistant", "content": "a loan"}}]},
    "openai chat in parts": {"choices": [{"message": {"content": [{"type": "text", "text": "a loan"}]}}]},
    "openai completion": {"choices": [{"index": 0, "text": "a loan"}, {"index": 1, "text": "another"}]},
    "openai responses": {"output": [{"content": [{"type": "output_text", "text": "a loan"}]}, "odd"]},
    "ollama chat": {"message": {"content": "a loan"}, "done": True},
    "ollama generate": {"response": "a loan", "done": True},
    "anthropic": {"type": "message", "content": [{"type": "text", "text": "a loan"}, {"type": "tool_use"}]},
}


@pytest.mark.parametrize("body", WHOLE.values(), ids=WHOLE)
def test_whole_answers(body: Any) -> None:
    assert answer_text(json.dumps(body, indent=1).encode()) == "a loan"


STREAMS = {
    "openai chat": sse(
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
        {"choices": [{"index": 0, "delta": {"content": "a "}}, {"index": 1, "delta": {"content": "no"}}]},
        {"choices": [{"index": 0, "delta": {"content": "loan"}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {}},
    ),
    "openai responses": sse(
        {"type": "response.output_text.delta", "delta": "a "},
        {"type": "response.reasoning_text.delta", "delta": "hm"},
        {"type": "response.output_text.delta", "delta": "loan"},
        {"type": "response.completed", "response": {"output": [{"content": [{"text": "a loan"}]}]}},
    ),
    "ollama chat": lines({"message": {"content": "a "}}, {"message": {"content": "loan"}}, {"done": True}),
    "ollama generate": lines({"response": "a "}, {"response": "loan"}, {"done": True, "response": ""}),
    "anthropic": b": keep alive\n\n"
    + sse(
        {"type": "message_start", "message": {"content": []}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a "}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "loan"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
    ),
    "cut inside an event": sse({"choices": [{"delta": {"content": "a loan"}}]}) + b'data: {"choices": [{"del',
    "cut inside a line": lines({"response": "a "}, {"response": "loan"}) + b'{"respon',
}


@pytest.mark.parametrize("body", STREAMS.values(), ids=STREAMS)
def test_streams(body: bytes) -> None:
    assert answer_text(body) == "a loan"


@pytest.mark.parametrize(
    "body", [b"", b"[1]", b"<html>", b"{}", b"\xff\xfe", b'{"choices": {"a": 1}}', b"{" * 9]
)
def test_what_is_no_answer_has_no_text(body: bytes) -> None:
    assert answer_text(body) == ""
