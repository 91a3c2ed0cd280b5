"""Relayed bytes: golden requests, changed only where the contract asks for it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.core.ports import OutboundCall
from sidecar.core.vocabulary import OLLAMA_CHAT, OPENAI_CHAT, OPENAI_EMBEDDINGS, Arm, Door
from sidecar.wire.outbound import relay_body


def call(door: Door, body: bytes, **changes: Any) -> OutboundCall:
    fields = msgspec.json.decode(body)
    plain = {
        "request_id": "r",
        "door": door,
        "arm": Arm.ROUTED,
        "body": body,
        "fields": fields,
        "model": fields["model"],
        "stream": bool(fields.get("stream")),
    }
    return OutboundCall(**(plain | changes))


ODD = (
    b'{\n  "model" : "gpt-x",\t"messages":[{"role":"user","content":"caf\\u00e9 \xe2\x98\x95"}],\r\n'
    b'  "x_future": {"n": 1.0, "e": 1E5, "big": 123456789012345678901234567890},"seed":  7 }'
)


def test_nothing_to_change_leaves_the_very_bytes() -> None:
    assert relay_body(call(OPENAI_CHAT, ODD), limit_field="max_tokens", ask_usage=True) is ODD


@pytest.mark.parametrize(
    ("door", "body", "changes", "expected"),
    [
        (OPENAI_CHAT, ODD, {"model": "gpt-4o"}, ODD.replace(b'"gpt-x"', b'"gpt-4o"')),
        (OPENAI_CHAT, ODD, {"output_limit": 50}, ODD[:-1] + b',"max_completion_tokens":50}'),
        (
            OPENAI_CHAT,
            b'{"model":"m","stream":true,"messages":[]}',
            {},
            b'{"model":"m","stream":true,"messages":[],"stream_options":{"include_usage":true}}',
        ),
        (
            OPENAI_CHAT,
            b'{"model":"m","stream":true,"stream_options":{"x":1, "include_usage":false}}',
            {},
            b'{"model":"m","stream":true,"stream_options":{"x":1, "include_usage":true}}',
        ),
        (
            OPENAI_CHAT,
            b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}',
            {},
            b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}',
        ),
        (
            OPENAI_CHAT,
            b'{"model":"m","metadata":{"task_type":"x", "mine": "1"},"n":1}',
            {"strip_metadata": ("task_type",)},
            b'{"model":"m","metadata":{"mine": "1"},"n":1}',
        ),
        (
            OPENAI_CHAT,
            b'{"model":"m","metadata":{"task_type":"x"},"n":1}',
            {"strip_metadata": ("task_type",)},
            b'{"model":"m","n":1}',
        ),
        (
            OPENAI_CHAT,
            b'{"model":"m","max_tokens":900,"max_completion_tokens":10}',
            {"output_limit": 50},
            b'{"model":"m","max_tokens":50,"max_completion_tokens":10}',
        ),
        (OPENAI_CHAT, b'{"model":"m","max_tokens":9}', {"output_limit": 50}, b'{"model":"m","max_tokens":9}'),
        (OPENAI_EMBEDDINGS, b'{"model":"m","input":"x"}', {"output_limit": 5}, b'{"model":"m","input":"x"}'),
        (
            OLLAMA_CHAT,
            b'{"model":"m","options":{"seed":1,"num_predict":-1}}',
            {"output_limit": 50, "stream": True},
            b'{"model":"m","options":{"seed":1,"num_predict":50}}',
        ),
        (
            OLLAMA_CHAT,
            b'{"model":"m","options":{"num_predict":0}}',
            {"output_limit": 50},
            b'{"model":"m","options":{"num_predict":50}}',
        ),
        (
            OLLAMA_CHAT,
            b'{"model":"m","options":{"num_predict":5}}',
            {"output_limit": 50},
            b'{"model":"m","options":{"num_predict":5}}',
        ),
        (
            OLLAMA_CHAT,
            b'{"model":"m"}',
            {"output_limit": 50},
            b'{"model":"m","options":{"num_predict":50}}',
        ),
    ],
)
def test_only_what_must_change_changes(
    door: Door, body: bytes, changes: dict[str, Any], expected: bytes
) -> None:
    sent = relay_body(call(door, body, **changes), limit_field="max_completion_tokens", ask_usage=True)
    assert sent == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"m","max_completion_tokens":9,"n":1}', b'{"model":"m","n":1,"max_tokens":9}'),
        (b'{"model":"m","max_completion_tokens":900}', b'{"model":"m","max_tokens":50}'),
        (
            b'{"model":"m","max_tokens":9,"max_completion_tokens":8}',
            b'{"model":"m","max_tokens":9,"max_completion_tokens":8}',
        ),
        (
            b'{"model":"m","max_completion_tokens":null}',
            b'{"model":"m","max_completion_tokens":null,"max_tokens":50}',
        ),
    ],
)
def test_an_upstream_that_knows_only_the_older_name_of_the_limit_is_told_by_it(
    body: bytes, expected: bytes
) -> None:
    sent = relay_body(call(OPENAI_CHAT, body, output_limit=50), limit_field="max_tokens", ask_usage=True)
    assert sent == expected


def test_usage_is_not_asked_for_where_bytes_are_to_stay() -> None:
    body = b'{"model":"m","stream":true}'
    assert relay_body(call(OPENAI_CHAT, body), limit_field="max_tokens", ask_usage=False) is body
