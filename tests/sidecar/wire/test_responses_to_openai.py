"""Requests to OpenAI's Responses as chats: golden pairs, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.core.errors import Fault, UpstreamFault
from sidecar.wire.responses_to_openai import chat_fields, shows_reasoning

HI = [{"role": "user", "content": "hi"}]
URL = "data:image/png;base64,AAAA"
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def shaped(**fields: Any) -> dict[str, Any]:
    return chat_fields({"model": "m", "input": "hi", **fields})


def turns(*items: dict[str, Any]) -> Any:
    return shaped(input=list(items))["messages"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"stream": True, "store": False, "background": False, "previous_response_id": None}, {}),
        ({"temperature": 0.5, "top_p": 1, "user": "u"}, {"temperature": 0.5, "top_p": 1, "user": "u"}),
        ({"max_output_tokens": 20}, {"max_tokens": 20}),
        ({"truncation": "auto", "include": ["reasoning.encrypted_content"], "max_tool_calls": 3}, {}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        ({"top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
        ({"reasoning": {"summary": "auto"}}, {}),
        ({"text": {"format": {"type": "text"}, "verbosity": "low"}}, {"verbosity": "low"}),
        (
            {"text": {"format": {"type": "json_object"}}},
            {"response_format": {"type": "json_object"}},
        ),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": SCHEMA, "strict": True},
                }
            },
        ),
        ({"tools": []}, {}),
        (
            {"tools": [{"type": "function", "name": "f", "parameters": SCHEMA, "strict": False}]},
            {
                "tools": [
                    {"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": False}}
                ]
            },
        ),
        ({"tool_choice": "required"}, {"tool_choice": "required"}),
        (
            {"tool_choice": {"type": "function", "name": "f"}},
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        ),
    ],
    ids=str,
)
def test_a_field(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert shaped(**fields) == {"messages": HI, **expected}


def test_instructions_and_parts() -> None:
    assert shaped(instructions="be brief")["messages"] == [{"role": "system", "content": "be brief"}, *HI]
    parts = [
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": URL, "detail": "low"},
        {"type": "input_image", "image_url": URL, "detail": "auto"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"},
    ]
    assert turns({"role": "user", "content": parts})[0]["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": URL}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}},
    ]
    said = [{"type": "output_text", "text": "he", "annotations": []}, {"type": "refusal", "refusal": "llo"}]
    assert turns({"type": "message", "role": "assistant", "content": said, "id": "msg_1"}) == [
        {"role": "assistant", "content": "hello"}
    ]


def test_calls_join_the_assistants_turn_and_images_follow_results() -> None:
    calls = [
        {"type": "function_call", "call_id": f"c{n}", "name": "f", "arguments": "{}", "id": f"fc_{n}"}
        for n in (1, 2)
    ]
    image = {"type": "input_image", "image_url": URL}
    assert turns(
        *HI,
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        {"role": "assistant", "content": "let me"},
        *calls,
        {"type": "function_call_output", "call_id": "c1", "output": "21 days"},
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": "a"}, image],
        },
        {"role": "user", "content": "go on"},
    ) == [
        *HI,
        {
            "role": "assistant",
            "content": "let me",
            "tool_calls": [
                {"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                for n in (1, 2)
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "21 days"},
        {"role": "tool", "tool_call_id": "c2", "content": "a"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": URL}}]},
        {"role": "user", "content": "go on"},
    ]
    assert turns(*HI, calls[0])[-1]["content"] is None


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"background": True}, "background"),
        ({"store": True}, "store"),
        ({"x_future": 1}, "x_future"),
        ({"tools": [{"type": "web_search"}]}, r"tools\[0\]"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice"),
        ({"reasoning": {"context": "x"}}, "reasoning.context"),
        ({"text": {"x_future": 1}}, "text.x_future"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, r"input\[0\]"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
            r"input\[0\].content\[0\]",
        ),
    ],
    ids=str,
)
def test_what_only_openai_can_do_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(UpstreamFault, match=named) as refused:
        shaped(**fields)
    assert refused.value.fault is Fault.UNSUPPORTED


@pytest.mark.parametrize(
    ("reasoning", "shown"),
    [(None, False), ({}, False), ({"effort": "low"}, False), ({"summary": "auto"}, True)],
)
def test_reasoning_is_shown_to_those_who_ask(reasoning: Any, shown: bool) -> None:
    assert shows_reasoning({"reasoning": reasoning}) is shown
