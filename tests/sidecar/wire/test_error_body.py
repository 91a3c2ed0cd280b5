"""Errors wear the caller's dialect, and an upstream's words are found in any."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.core.vocabulary import ANTHROPIC_MESSAGES, OLLAMA_CHAT, OPENAI_CHAT, OPENAI_RESPONSES, Dialect
from sidecar.wire.error_body import (
    error_body,
    error_event,
    says_too_long,
    speaks,
    upstream_message,
    without_key,
)


def test_each_dialect_has_its_shape() -> None:
    openai = json.loads(error_body(Dialect.OPENAI, 400, "bad", "invalid_hint", "quality"))
    assert openai == {
        "error": {
            "message": "bad",
            "type": "invalid_request_error",
            "param": "quality",
            "code": "invalid_hint",
        }
    }
    assert json.loads(error_body(Dialect.OLLAMA, 503, "down", "x")) == {"error": "down"}
    assert json.loads(error_body(Dialect.ANTHROPIC, 404, "none", "x")) == {
        "type": "error",
        "error": {"type": "not_found_error", "message": "none"},
    }


def test_the_event_that_ends_a_broken_stream() -> None:
    assert error_event(OPENAI_CHAT, "cut", "upstream_failed").startswith(b'data: {"error":')
    assert error_event(OPENAI_CHAT, "cut", "upstream_failed").endswith(b"\n\n")
    assert error_event(OLLAMA_CHAT, "cut", "upstream_failed") == b'{"error":"cut"}\n'
    assert error_event(OPENAI_RESPONSES, "cut", "x").startswith(b'event: error\ndata: {"type":"error",')
    assert error_event(ANTHROPIC_MESSAGES, "cut", "x").startswith(b"event: error\ndata: {")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "no such model", "code": "x"}}, "no such model"),
        ({"error": "model not found"}, "model not found"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, "busy"),
        ({"message": "nope"}, "nope"),
        ({"detail": "nope"}, "nope"),
        ({"detail": [{"loc": []}]}, ""),
        ([1], ""),
        ({"error": {"error": {"error": {"error": "deep"}}}}, ""),
    ],
)
def test_an_upstreams_words(body: Any, words: str) -> None:
    assert upstream_message(json.dumps(body).encode()) == words


def test_no_words_in_a_page_of_html() -> None:
    assert upstream_message(b"<html>502 Bad Gateway</html>") == ""


def test_which_dialect_an_error_speaks() -> None:
    openai, ollama = b'{"error":{"message":"x"}}', b'{"error":"x"}'
    assert speaks(Dialect.OPENAI, openai)
    assert not speaks(Dialect.OPENAI, ollama)
    assert speaks(Dialect.OLLAMA, ollama)
    assert not speaks(Dialect.OLLAMA, openai)
    assert not speaks(Dialect.OPENAI, b"<html>")
    assert not speaks(Dialect.OPENAI, b"[]")


@pytest.mark.parametrize(
    ("body", "too_long"),
    [
        (b'{"error": {"message": "too many", "code": "context_length_exceeded"}}', True),
        (b'{"error": {"message": "x", "type": "exceed_context_size_error", "n_ctx": 4096}}', True),
        (b'{"error": {"message": "This model\'s maximum context length is 8192 tokens."}}', True),
        (b'{"object": "error", "message": "This model\'s maximum context length is 4096 tokens."}', True),
        (b'{"error": "the input length exceeds the context length"}', True),
        (b'{"error": "input length exceeds maximum context length"}', True),
        (b'{"type": "error", "error": {"type": "x", "message": "prompt is too long: 9 tokens > 8"}}', True),
        (b'{"error": "model \\"llama9\\" not found"}', False),
        (b'{"error": {"message": "max_tokens is too large", "code": null}}', False),
        (b"<html>maximum context length</html>", False),
        (b"", False),
    ],
)
def test_a_prompt_that_the_context_cannot_hold_is_known(body: bytes, too_long: bool) -> None:
    assert says_too_long(body) is too_long


@pytest.mark.parametrize(
    ("words", "key", "told"),
    [
        (b'{"error":"bad key sk-12345"}', "sk-12345", b'{"error":"bad key [key]"}'),
        (b'{"error":"bad key sk\\/12345 \\u0073k/12345"}', "sk/12345", b'{"error":"bad key [key] [key]"}'),
        (b'data: {"error":"sk\\/1234\\u0035"}\n\n', "sk/12345", b'data: {"error":"[key]"}\n\n'),
        (b'{"error":"a \\"b\\""}', "sk-12345", b'{"error":"a \\"b\\""}'),
        (b'{"error":"there is none"}', "none", b'{"error":"there is none"}'),
        (b"not found", "", b"not found"),
    ],
)
def test_a_key_is_taken_out_of_an_upstreams_words(words: bytes, key: str, told: bytes) -> None:
    assert without_key(words, key) == told
