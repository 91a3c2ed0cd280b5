"""OpenAI-shaped messages as each family of upstreams takes them, and what none of them can take."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.core.errors import Fault, UpstreamFault
from sidecar.wire.target_messages import anthropic_messages, ollama_messages

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
FAR_IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def tool_call(arguments: str, **more: Any) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": "desk", "arguments": arguments}, **more}


@pytest.mark.parametrize(
    ("openai", "ollama"),
    [
        ({"role": "user", "content": "hi"}, {"role": "user", "content": "hi"}),
        ({"role": "developer", "content": "be brief"}, {"role": "system", "content": "be brief"}),
        (
            {"role": "system", "content": [text("be brief"), text("be kind")]},
            {"role": "system", "content": "be brief\nbe kind"},
        ),
        (
            {"role": "user", "content": [text("what is it"), IMAGE], "name": "ada"},
            {"role": "user", "content": "what is it", "images": ["iVBORw0KGgo="]},
        ),
        (
            {"role": "assistant", "content": None, "refusal": "no"},
            {"role": "assistant", "content": "no"},
        ),
        (
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            {"role": "assistant", "content": "no"},
        ),
        (
            {"role": "assistant", "content": "4", "reasoning": "2 and 2"},
            {"role": "assistant", "content": "4", "thinking": "2 and 2"},
        ),
        (
            {"role": "assistant", "content": None, "tool_calls": [tool_call("")]},
            {"role": "assistant", "content": "", "tool_calls": [tool_call("{}")]},
        ),
        (
            {"role": "tool", "tool_call_id": "c1", "content": [text("open"), text("till six")]},
            {"role": "tool", "tool_call_id": "c1", "content": "open\ntill six"},
        ),
    ],
)
def test_messages_for_ollama(openai: dict[str, Any], ollama: dict[str, Any]) -> None:
    assert ollama_messages([openai]) == [ollama]


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"role": "user", "content": [text("a"), FAR_IMAGE]}, "messages[1].content[1].image_url"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png,raw"}}]},
            "messages[1].content[0].image_url",
        ),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, "messages[1].content[0]"),
        ({"role": "user", "content": [{"type": "file", "file": {}}]}, "messages[1].content[0]"),
        ({"role": "tool", "tool_call_id": "c", "content": [IMAGE]}, "messages[1].content"),
        (
            {"role": "assistant", "tool_calls": [tool_call("{}"), {"type": "custom", "custom": {}}]},
            "messages[1].tool_calls[1]",
        ),
        (
            {"role": "assistant", "tool_calls": [tool_call("[1]")]},
            "messages[1].tool_calls[0].function.arguments",
        ),
        (
            {"role": "assistant", "tool_calls": [tool_call('{"a": ')]},
            "messages[1].tool_calls[0].function.arguments",
        ),
    ],
)
def test_what_ollama_would_lose_is_refused_by_its_place(message: dict[str, Any], field: str) -> None:
    with pytest.raises(UpstreamFault) as refused:
        ollama_messages([{"role": "user", "content": "hi"}, message])
    assert refused.value.fault is Fault.UNSUPPORTED
    assert refused.value.message.startswith(field + ": ")
    assert "example.org" not in refused.value.message


@pytest.mark.parametrize(
    ("openai", "anthropic"),
    [
        (
            {"role": "user", "content": [text("a"), FAR_IMAGE]},
            {"role": "user", "content": [text("a"), FAR_IMAGE]},
        ),
        (
            {"role": "developer", "content": [text("be brief"), text("be kind")]},
            {"role": "system", "content": "be brief\nbe kind"},
        ),
        (
            {"role": "assistant", "content": [text("wait")], "tool_calls": [tool_call("")]},
            {"role": "assistant", "content": "wait", "tool_calls": [tool_call("{}")]},
        ),
        (
            {"role": "tool", "tool_call_id": "c1", "content": [text("open")]},
            {"role": "tool", "tool_call_id": "c1", "content": [text("open")]},
        ),
    ],
)
def test_messages_for_anthropic(openai: dict[str, Any], anthropic: dict[str, Any]) -> None:
    assert anthropic_messages([openai]) == [anthropic]


def test_an_image_in_a_system_message_is_refused_for_anthropic() -> None:
    with pytest.raises(UpstreamFault) as refused:
        anthropic_messages([{"role": "system", "content": [IMAGE]}])
    assert refused.value.fault is Fault.UNSUPPORTED
    assert refused.value.message.startswith("messages[0].content: ")
