"""Bounds what a call of OpenAI's Responses has its upstream read beyond its bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sidecar.core.bound_parts import (
    MESSAGE_TOKENS,
    TEMPLATE_TOKENS,
    Unbounded,
    client_tools,
    image_tokens,
    one_of,
    refuse_other_case,
    rendered,
)

_CLIENT_TOOLS: Final = frozenset({"function", "custom"})
_TEXT_PARTS: Final = frozenset(
    {"input_text", "output_text", "text", "refusal", "summary_text", "reasoning_text"}
)
_TEXT_ITEMS: Final = frozenset({"reasoning", "function_call", "custom_tool_call"})
_OUTPUT_ITEMS: Final = frozenset({"function_call_output", "custom_tool_call_output"})


def extra_input(fields: Mapping[str, Any], model: str) -> int:
    """The input tokens beyond the bytes of the body. Raises ``Unbounded``."""
    if fields.get("prompt"):
        raise Unbounded("prompt: the prompt is kept at the upstream")
    items = fields.get("input")
    extra = TEMPLATE_TOKENS + MESSAGE_TOKENS
    if isinstance(items, list):
        extra += sum(_item(item, model) for item in items)
    elif items is not None and not isinstance(items, str):
        raise Unbounded("input: expected text or a list of items")
    extra += client_tools(fields.get("tools"), _CLIENT_TOOLS)
    return extra + rendered(fields, "tools", "tool_choice", "text")


def _item(item: Any, model: str) -> int:
    if not isinstance(item, Mapping):
        raise Unbounded("input: expected items that are objects")
    refuse_other_case(item)
    kind = item.get("type", "message")
    if kind == "message":
        return MESSAGE_TOKENS + _parts(item.get("content"), model)
    if one_of(kind, _OUTPUT_ITEMS):
        output = item.get("output")
        return MESSAGE_TOKENS + rendered(item, "output") * isinstance(output, str) + _parts(output, model)
    if kind == "reasoning" and item.get("id") and not item.get("encrypted_content"):
        # The upstream puts in what it kept under the id, however long that is; a summary is only about it.
        raise Unbounded("input: reasoning that is kept at the upstream; send its encrypted_content")
    if one_of(kind, _TEXT_ITEMS):
        return MESSAGE_TOKENS + rendered(item, "arguments", "input")
    raise Unbounded(f"input: {kind if isinstance(kind, str) else 'unknown'} items cannot be bounded")


def _parts(content: Any, model: str) -> int:
    if content is None or isinstance(content, str):
        return 0
    if not isinstance(content, list):
        raise Unbounded("content: expected text or a list of parts")
    return sum(_part(part, model) for part in content)


def _part(part: Any, model: str) -> int:
    if not isinstance(part, Mapping):
        raise Unbounded("content: expected parts that are objects")
    kind = part.get("type")
    if one_of(kind, _TEXT_PARTS):
        return MESSAGE_TOKENS
    if kind != "input_image":
        raise Unbounded(f"{kind if isinstance(kind, str) else 'unknown'} parts cannot be bounded")
    url = part.get("image_url")
    if not isinstance(url, str) or not url.startswith("data:image/"):
        raise Unbounded("an image behind a link cannot be bounded")
    return MESSAGE_TOKENS + image_tokens(model, low=part.get("detail") == "low") - len(url)
