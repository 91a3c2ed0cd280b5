"""What of a body is read: keys that are no dialect's, fields with their names, contents side by side."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.core.vocabulary import ANTHROPIC_MESSAGES, OPENAI_CHAT, OPENAI_RESPONSES, Door
from sidecar.wire.requests import DecodedCall, decode

USER = [{"role": "user", "content": "hello"}]
HEAD, TAIL = "my IBAN is DE89 3704 0044", "0532 0130 00"
IBAN = "DE89370400440532013000"


def decoded(door: Door = OPENAI_CHAT, **fields: Any) -> DecodedCall:
    return decode(door, json.dumps({"model": "auto", "messages": USER, "max_tokens": 9, **fields}).encode())


def test_every_key_that_is_no_dialects_is_read() -> None:
    schema = {"type": "object", "properties": {IBAN: {"type": "string"}, "required": {"type": "string"}}}
    call = decoded(
        metadata={"Anna_Schneider": "x"},
        tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}],
        x_future={"a": [{"deepKey": 1}]},
    )
    (keys,) = [text for text in call.texts if IBAN in text]
    assert keys.split("\n\n") == [
        *("Anna_Schneider", "Anna Schneider"),
        *(IBAN, "required", "x_future", "x future", "a", "deepKey", "deep Key"),
    ]


def test_a_field_is_read_with_its_name() -> None:
    field = {
        "password": "Sommer2024!xy",
        "dateOfBirth": "1984-03-12",
        "ssn": 536228726,
        "card": [5425, 2334, 3010, 9903],
        "cards": [{"number": 5425233430109903.0}, None, True],
        "pins": [4711, "0815"],
    }
    lines = (
        "password: Sommer2024!xy\ndate Of Birth: 1984-03-12\nssn: 536228726\ncard: 5425 2334 3010 9903\n"
        "number: 5425233430109903\npins: 4711\npins: 0815"
    )
    used = [{"type": "tool_use", "id": "t", "name": "f", "input": field}]
    called = [{"function": {"name": "f", "arguments": field}}]
    assert lines in decoded(metadata=field).texts
    assert (
        lines in decoded(ANTHROPIC_MESSAGES, messages=[*USER, {"role": "assistant", "content": used}]).texts
    )
    assert lines in decoded(messages=[*USER, {"role": "assistant", "tool_calls": called}]).texts


@pytest.mark.parametrize(
    ("door", "fields"),
    [
        (OPENAI_CHAT, {"messages": [{"role": "user", "content": [
            {"type": "text", "text": HEAD, "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}},
            {"type": "text", "text": TAIL}]}]}),
        (OPENAI_CHAT, {"messages": [{"role": "user", "name": "bob", "content": HEAD},
                                    {"content": TAIL, "role": "user", "name": "bob"}]}),
        (OPENAI_CHAT, {"messages": [{"role": "tool", "tool_call_id": "call_1", "content": HEAD},
                                    {"role": "tool", "tool_call_id": "call_2", "content": TAIL}]}),
        (OPENAI_RESPONSES, {"input": [
            {"id": "m1", "type": "message", "status": "completed", "role": "user",
             "content": [{"type": "input_text", "text": HEAD, "x_new": 7}]},
            {"id": "m2", "type": "message", "status": "completed", "role": "user",
             "content": [{"type": "input_text", "text": TAIL}]}]}),
        (ANTHROPIC_MESSAGES, {"system": HEAD, "temperature": 1, "x_new": "y",
                              "messages": [{"role": "user", "content": TAIL}]}),
    ],
)  # fmt: skip
def test_contents_stand_side_by_side_whatever_stands_between(door: Door, fields: dict[str, Any]) -> None:
    texts = decoded(door, **fields).texts
    assert texts.index(TAIL) == texts.index(HEAD) + 1


LONG = "iVBORw0KGgo" * 600


@pytest.mark.parametrize(
    ("content", "read"),
    [
        (f"data: x;base64, IBAN {IBAN}", True),
        (f"data:image/png;base64,{LONG}", True),
        ([{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{LONG}"}}], False),
        ([{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IBAN}"}}], True),
        ([{"type": "image_url", "image_url": {"url": f"data:image/png;base64, {LONG} {IBAN}"}}], True),
        ([{"type": "image_url", "image_url": {"url": f"data:text/plain;base64,{LONG}"}}], True),
        ([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": LONG}}], False),
        (
            [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": LONG + "!"}}],
            True,
        ),
    ],
)
def test_only_what_is_surely_a_picture_is_left_out(content: Any, read: bool) -> None:
    texts = "".join(decoded(messages=[{"role": "user", "content": content}]).texts)
    assert (LONG in texts or IBAN in texts) is read


def test_only_base64_is_a_bare_picture() -> None:
    messages = [
        {"role": "user", "content": "x", "images": [LONG, f"Patientin Anna Schneider, {IBAN}", "Anna"]}
    ]
    call = decoded(messages=messages)
    assert call.unreadable == ("image",) * 3
    assert {f"Patientin Anna Schneider, {IBAN}", "Anna"} <= set(call.texts)
    assert LONG not in call.texts
