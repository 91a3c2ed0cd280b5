"""Calls of OpenAI's Responses are bounded whole, or refused with the field that cannot be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.core.bound_parts import STOP_TOKENS, TEMPLATE_TOKENS
from sidecar.core.bounds import Bound, bound
from sidecar.core.vocabulary import OPENAI_RESPONSES

IMAGE = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 4_000}


def of(**fields: Any) -> Bound:
    body = {"model": "auto", "input": "Hello", **fields}
    return bound(OPENAI_RESPONSES, body, 1_024, len(json.dumps(body)))


def test_the_limit_is_the_callers_or_the_default() -> None:
    assert of().output_limit == 1_024
    assert of(max_output_tokens=50).output_tokens == 50 + STOP_TOKENS
    assert of(instructions="x" * 700).input_tokens >= TEMPLATE_TOKENS + 700


def test_items_tools_and_schemas_are_counted() -> None:
    plain = of().input_tokens
    items = [
        {"role": "user", "content": "hi"},
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a": "<<<<"}'},
        {"type": "function_call_output", "call_id": "c", "output": "<" * 100},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "x"}]},
        {"type": "reasoning", "summary": [], "encrypted_content": "abc"},
    ]
    assert of(input=items).input_tokens > plain + len(json.dumps(items)) + 500
    schema = {"type": "json_schema", "name": "s", "schema": {"type": "object", "title": "<" * 100}}
    assert of(text={"format": schema}).input_tokens > plain + 600
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    assert of(tools=[tool]).input_tokens > plain + 2 * len(json.dumps(tool))
    image = of(input=[{"role": "user", "content": [IMAGE]}]).input_tokens
    assert 40_000 < image - plain < 50_000


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": "5"}, "max_output_tokens"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"input": 3}, "input"),
        ({"input": [3]}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "item_reference"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, "input_file"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "link"),
        ({"input": [{"role": "user", "content": [3]}]}, "content"),
        ({"input": [{"role": "user", "content": 3}]}, "content"),
    ],
    ids=str,
)
def test_what_has_no_bound_is_refused_with_words(fields: dict[str, Any], named: str) -> None:
    found = of(**fields)
    assert found == Bound(refusal=found.refusal)
    assert named in found.refusal


def test_reasoning_by_its_id_is_as_long_as_the_upstream_kept_it() -> None:
    kept = {"type": "reasoning", "id": "rs_1", "summary": []}
    assert "reasoning" in of(input=[kept]).refusal
    assert not of(input=[{**kept, "encrypted_content": "x" * 100}]).refusal
    told = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "x"}]}
    assert not of(input=[told]).refusal
