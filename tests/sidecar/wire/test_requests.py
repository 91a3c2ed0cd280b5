"""Calls are decoded as far as needed, and refused in words when they are not well formed."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import CallerError
from sidecar.core.vocabulary import DOORS, OLLAMA_CHAT, OLLAMA_GENERATE, OPENAI_CHAT, OPENAI_EMBEDDINGS, Door
from sidecar.wire.requests import decode


def body(**fields: Any) -> bytes:
    return msgspec.json.encode({"model": "m", **fields})


USER = [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize(
    ("door", "bytes_", "words"),
    [
        (OPENAI_CHAT, b"", "not valid JSON"),
        (OPENAI_CHAT, b'{"model":"m","messages":[', "not valid JSON"),
        (OPENAI_CHAT, b"[1]", "must be a JSON object"),
        (OPENAI_CHAT, b'{"model":"\xff"}', "not valid JSON"),
        (OPENAI_CHAT, b'{"a":' * 5000 + b"1" + b"}" * 5000, "nested too deeply|not valid JSON"),
        (OPENAI_CHAT, msgspec.json.encode({"messages": USER}), "you must provide a model"),
        (OPENAI_CHAT, body(model=7, messages=USER), "model must be a string"),
        (OPENAI_CHAT, body(messages="hi"), "messages must be a list"),
        (OPENAI_CHAT, body(), "messages must be a list"),
        (OPENAI_CHAT, body(messages=[]), "at least one message"),
        (OPENAI_CHAT, body(messages=["hi"]), r"messages\[0\] must be an object"),
        (OPENAI_CHAT, body(messages=[{"content": "x"}]), r"messages\[0\].role must be a string"),
        (OPENAI_CHAT, body(messages=[{"role": "user", "content": 7}]), r"messages\[0\].content must be"),
        (OPENAI_CHAT, body(messages=USER, stream="yes"), "stream must be true or false"),
        (OPENAI_CHAT, body(messages=USER, tools={}), "tools must be a list"),
        (OPENAI_CHAT, body(messages=USER, max_tokens="many"), "whole number"),
        (OPENAI_CHAT, body(messages=USER, max_tokens=0), "at least 1"),
        (OPENAI_CHAT, body(messages=USER, max_tokens=True), "whole number"),
        (
            OPENAI_CHAT,
            b'{"model":"m","messages":[{"role":"user","content":"a","content":"b"}]}',
            "stands twice",
        ),
        (
            OPENAI_CHAT,
            b'{"model":"m","model":"n","messages":[{"role":"user","content":"a"}]}',
            "stands twice",
        ),
        (OLLAMA_CHAT, b'{"model":"m","Model":"dear","messages":[]}', "stands twice"),
        (
            OLLAMA_CHAT,
            '{"model":"m","stream":false,"\u017ftream":true,"messages":[]}'.encode(),
            "stands twice",
        ),
        (OPENAI_EMBEDDINGS, body(), "input must be"),
        (OPENAI_EMBEDDINGS, body(input=[]), "input must be"),
        (OPENAI_EMBEDDINGS, body(input=["a", 1]), "input must be"),
        (OLLAMA_GENERATE, body(prompt=["x"]), "prompt must be a string"),
        (OLLAMA_CHAT, body(messages=USER, options=[]), "options must be an object"),
        (DOORS["/api/embeddings"], body(), "prompt must be a string"),
    ],
)
def test_what_is_wrong_is_said(door: Door, bytes_: bytes, words: str) -> None:
    with pytest.raises(CallerError, match=words):
        decode(door, bytes_)


def test_streaming_is_the_default_in_ollamas_dialect_only() -> None:
    assert decode(OLLAMA_CHAT, body(messages=USER)).stream
    assert decode(OLLAMA_GENERATE, body(prompt="x")).stream
    assert not decode(OLLAMA_CHAT, body(messages=USER, stream=False)).stream
    assert not decode(OPENAI_CHAT, body(messages=USER)).stream
    assert not decode(DOORS["/api/embed"], body(input="x")).stream


def test_every_text_that_would_be_sent_is_read() -> None:
    call = decode(
        OPENAI_CHAT,
        body(
            messages=[
                {"role": "system", "content": "S"},
                {"role": "user", "content": [{"type": "text", "text": "P1"}, {"type": "text", "text": "P2"}]},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"q":"ARG"}'}}
                    ],
                },
                {"role": "tool", "tool_call_id": "c", "content": "RESULT"},
            ],
            tools=[
                {
                    "type": "function",
                    "function": {
                        "name": "f",
                        "description": "DESC",
                        "parameters": {"jane@example.org": {"enum": ["E"]}},
                    },
                }
            ],
            user="U",
            future={"deep": ["F", 4915112345678]},
        ),
    )
    assert {"S", "P1", "P2", '{"q":"ARG"}', "RESULT", "DESC", "U"} <= set(call.texts)
    assert "deep: F\ndeep: 4915112345678" in call.texts
    assert {"jane@example.org", "enum: E"} <= set("\n".join(call.texts).split("\n"))
    assert call.parts == (("system", "S"), ("user", "P1"), ("user", "P2"), ("tool", "RESULT"))
    assert call.needs == {"tools"}


@pytest.mark.parametrize(
    ("door", "fields", "unreadable"),
    [
        (
            OPENAI_CHAT,
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
                        ],
                    }
                ]
            },
            {"image"},
        ),
        (
            OPENAI_CHAT,
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "https://a.example/x.png"}}],
                    }
                ]
            },
            {"image"},
        ),
        (
            OPENAI_CHAT,
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
                        ],
                    }
                ]
            },
            {"audio"},
        ),
        (
            OPENAI_CHAT,
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}}
                        ],
                    }
                ]
            },
            {"file"},
        ),
        (
            OLLAMA_CHAT,
            {"messages": [{"role": "user", "content": "x", "images": ["AAAA", "BBBB"]}]},
            {"image"},
        ),
        (OLLAMA_GENERATE, {"prompt": "x", "images": ["AAAA"]}, {"image"}),
        (OPENAI_EMBEDDINGS, {"input": [1, 2, 3]}, {"token ids"}),
        (OPENAI_EMBEDDINGS, {"input": [[1, 2], [3]]}, {"token ids"}),
    ],
)
def test_what_no_text_scan_can_read_is_named(
    door: Door, fields: dict[str, Any], unreadable: set[str]
) -> None:
    assert set(decode(door, body(**fields)).unreadable) == unreadable


def test_parts_and_messages_stand_side_by_side() -> None:
    parts = [{"type": "text", "text": "P1"}, {"type": "text", "text": "P2"}]
    messages = [{"role": "user", "content": parts}, {"role": "assistant", "content": "A"}, *USER]
    texts = decode(OPENAI_CHAT, body(messages=messages)).texts
    assert texts[1:] == ("", "P1", "P2", "A", "hello")
    # What is empty does not stand between two that a model reads as one.
    parts.insert(1, {"type": "text", "text": ""})
    assert decode(OPENAI_CHAT, body(messages=messages)).texts == texts
    odd = [{"role": "jane@example.org", "content": "x", "type": "jane"}]
    assert {"jane@example.org", "jane"} <= set(decode(OPENAI_CHAT, body(messages=odd)).texts)


def test_an_image_address_is_still_read_as_text() -> None:
    url = "https://a.example/?who=jane"
    part = {"type": "image_url", "image_url": {"url": url}}
    assert url in decode(OPENAI_CHAT, body(messages=[{"role": "user", "content": [part]}])).texts


def test_batches_are_counted() -> None:
    assert decode(OPENAI_EMBEDDINGS, body(input=["a", "b", "c"])).batch_size == 3
    assert decode(DOORS["/api/embed"], body(input="a")).batch_size == 1
    assert decode(OPENAI_EMBEDDINGS, body(input=[[1], [2]])).batch_size == 2


@pytest.mark.parametrize(
    ("door", "fields", "limit"),
    [
        (OPENAI_CHAT, {"messages": USER, "max_tokens": 9}, 9),
        (OPENAI_CHAT, {"messages": USER, "max_completion_tokens": 8, "max_tokens": 9}, 8),
        (OPENAI_CHAT, {"messages": USER}, None),
        (OLLAMA_CHAT, {"messages": USER, "options": {"num_predict": 7}}, 7),
        (OLLAMA_CHAT, {"messages": USER, "options": {"num_predict": -1}}, None),
    ],
)
def test_the_callers_output_limit(door: Door, fields: dict[str, Any], limit: int | None) -> None:
    assert decode(door, body(**fields)).output_limit == limit


@given(st.binary(max_size=200), st.sampled_from(sorted(DOORS)))
def test_any_bytes_are_decoded_or_refused(data: bytes, path: str) -> None:
    with contextlib.suppress(CallerError):
        decode(DOORS[path], data)
