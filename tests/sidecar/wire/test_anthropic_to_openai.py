"""Anthropic's requests as OpenAI-shaped ones: golden pairs, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.core.errors import Fault, UpstreamFault
from sidecar.wire.anthropic_to_openai import chat_fields

USER = [{"role": "user", "content": "hi"}]
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
PNG_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
TEXT = {"type": "text", "text": "look", "cache_control": {"type": "ephemeral"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def shaped(**fields: Any) -> dict[str, Any]:
    return chat_fields({"model": "m", "max_tokens": 9, "messages": USER, **fields})


def turns(*messages: dict[str, Any]) -> Any:
    return shaped(messages=list(messages))["messages"]


def test_the_plainest_request() -> None:
    assert shaped(stream=True, system="", metadata=None) == {
        "messages": USER,
        "max_tokens": 9,
        "think": False,
    }


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"temperature": 0.5, "top_p": 0.9, "top_k": 4}, {"temperature": 0.5, "top_p": 0.9, "top_k": 4}),
        ({"stop_sequences": ["x", "y"]}, {"stop": ["x", "y"]}),
        ({"stop_sequences": []}, {}),
        ({"metadata": {"user_id": "u"}}, {"user": "u"}),
        ({"service_tier": "auto", "cache_control": {"type": "ephemeral"}}, {}),
        ({"thinking": {"type": "disabled"}}, {}),
        ({"tools": []}, {}),
        (
            {"tools": [{"name": "f", "description": "d", "input_schema": SCHEMA, "strict": True}]},
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "f", "parameters": SCHEMA, "description": "d", "strict": True},
                    }
                ]
            },
        ),
        ({"tool_choice": {"type": "auto"}}, {"tool_choice": "auto"}),
        ({"tool_choice": {"type": "none"}}, {"tool_choice": "none"}),
        (
            {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
            {"tool_choice": "required", "parallel_tool_calls": False},
        ),
        (
            {"tool_choice": {"type": "tool", "name": "f"}},
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        ),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "response", "schema": SCHEMA, "strict": True},
                }
            },
        ),
    ],
    ids=str,
)
def test_a_field(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert shaped(**fields) == {"messages": USER, "max_tokens": 9, "think": False, **expected}


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 8192}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 30000}}, "high"),
        ({"thinking": {"type": "adaptive"}}, "medium"),
        ({"output_config": {"effort": "max"}, "thinking": {"type": "adaptive"}}, "max"),
    ],
)
def test_thinking_is_an_effort(fields: dict[str, Any], effort: str) -> None:
    assert shaped(**fields)["reasoning_effort"] == effort


def test_system_blocks_and_images() -> None:
    assert shaped(system=[TEXT, {"type": "text", "text": "2"}])["messages"][0] == {
        "role": "system",
        "content": "look\n2",
    }
    assert turns({"role": "user", "content": [TEXT]}) == [{"role": "user", "content": "look"}]
    link = {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}
    assert turns({"role": "user", "content": [PNG, TEXT, link]}) == [
        {
            "role": "user",
            "content": [
                PNG_PART,
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
            ],
        }
    ]


def test_documents() -> None:
    text = {
        "type": "document",
        "title": "T",
        "source": {"type": "text", "media_type": "text/plain", "data": "d"},
    }
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"}}
    assert turns({"role": "user", "content": [text, pdf]})[0]["content"] == [
        {"type": "text", "text": "T\nd"},
        {
            "type": "file",
            "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,AA"},
        },
    ]


def test_tools_are_called_and_answer() -> None:
    uses = [{"type": "tool_use", "id": f"t{n}", "name": "f", "input": {"n": n}} for n in (1, 2)]
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    results = [
        {"type": "tool_result", "tool_use_id": "t1", "content": [TEXT, PNG]},
        {"type": "tool_result", "tool_use_id": "t2", "content": "no such desk", "is_error": True},
        {"type": "text", "text": "go on"},
    ]
    assert turns(
        *USER,
        {"role": "assistant", "content": [thought, {"type": "text", "text": "let me"}, *uses]},
        {"role": "user", "content": results},
    ) == [
        *USER,
        {
            "role": "assistant",
            "content": "let me",
            "tool_calls": [
                {"id": f"t{n}", "type": "function", "function": {"name": "f", "arguments": f'{{"n":{n}}}'}}
                for n in (1, 2)
            ],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "look"},
        {"role": "tool", "tool_call_id": "t2", "content": "Error: no such desk"},
        {"role": "user", "content": [PNG_PART, {"type": "text", "text": "go on"}]},
    ]
    assert turns({"role": "assistant", "content": uses[:1]})[0]["content"] is None


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"x_future": 1}, "x_future"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, r"tools\[0\]"),
        ({"output_config": {"task_budget": 3}}, "output_config.task_budget"),
        (
            {"messages": [{"role": "user", "content": [{"type": "search_result"}]}]},
            r"messages\[0\].content\[0\]",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file"}}]}]},
            r"messages\[0\].content\[0\]",
        ),
        ({"messages": [{"role": "assistant", "content": [{"type": "server_tool_use"}]}]}, r"content\[0\]"),
    ],
    ids=str,
)
def test_what_only_anthropic_can_do_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(UpstreamFault, match=named) as refused:
        shaped(**fields)
    assert refused.value.fault is Fault.UNSUPPORTED
