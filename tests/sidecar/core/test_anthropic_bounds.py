"""Anthropic's message calls are bounded whole, or refused with the field that cannot be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.core.bound_parts import MESSAGE_TOKENS, STOP_TOKENS, TEMPLATE_TOKENS
from sidecar.core.bounds import Bound, bound
from sidecar.core.vocabulary import ANTHROPIC_COUNT_TOKENS, ANTHROPIC_MESSAGES

USER = [{"role": "user", "content": "Hello"}]
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 4_000}}


def of(**fields: Any) -> Bound:
    body = {"model": "auto", "max_tokens": 100, "messages": USER, **fields}
    return bound(ANTHROPIC_MESSAGES, body, 1_024, len(json.dumps(body)))


def test_the_limit_is_the_callers_and_the_bytes_bound_the_input() -> None:
    found = of(system=[{"type": "text", "text": "be brief"}])
    assert (found.output_limit, found.output_tokens) == (100, 100 + STOP_TOKENS)
    assert found.input_tokens >= TEMPLATE_TOKENS + MESSAGE_TOKENS + len("Hellobe brief")
    assert bound(ANTHROPIC_COUNT_TOKENS, {"messages": USER}, 1_024, 100) == Bound()


def test_tools_and_what_they_say_are_counted_twice_over() -> None:
    tool = {"name": "f", "description": "<" * 500, "input_schema": {"type": "object"}}
    assert of(tools=[tool]).input_tokens > of().input_tokens + 6 * 500
    said = [{"type": "tool_result", "tool_use_id": "t", "content": "<" * 500}]
    parts = [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x"}]}]
    for content in (said, parts):
        assert of(messages=[{"role": "user", "content": content}]).input_tokens > of().input_tokens


def test_an_image_counts_by_its_size_and_a_text_document_by_its_bytes() -> None:
    image = of(messages=[{"role": "user", "content": [IMAGE]}])
    assert 40_000 < image.input_tokens - of().input_tokens < 50_000
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x" * 900}}
    assert of(messages=[{"role": "user", "content": [document]}]).input_tokens > 900


def test_writing_to_the_cache_is_held_for_twice() -> None:
    block = {"type": "text", "text": "long", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    assert of(system=[block]).input_tokens > 2 * of().input_tokens


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"mcp_servers": [{"url": "http://x"}]}, "mcp_servers"),
        ({"container": "c"}, "container"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 10**9}, "max_tokens"),
        ({"Max_Tokens": 5}, "max_tokens"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [1]}, "messages"),
        ({"messages": [{"role": "user", "content": 3}]}, "content"),
        ({"messages": [{"role": "user", "content": [3]}]}, "content"),
        ({"messages": [{"role": "user", "content": [{"type": "container_upload"}]}]}, "container_upload"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url"}}]}]},
            "links",
        ),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools"),
        ({"tools": {}}, "tools"),
    ],
    ids=str,
)
def test_what_has_no_bound_is_refused_with_words(fields: dict[str, Any], named: str) -> None:
    found = of(**fields)
    assert found == Bound(refusal=found.refusal)
    assert named in found.refusal
