"""Bounds what an Anthropic message call has its upstream read beyond its bytes.

Writing to Anthropic's cache costs up to twice the price of input (what is kept for an hour), so a call that
asks for it (``cache_control``) is held for twice its input, and ``wire/anthropic_fold`` counts it likewise.
"""

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

#: The most that writing a token to the cache costs, as a multiple of reading it.
CACHE_WRITE_FACTOR = 2
_CLIENT_TOOLS: Final = frozenset({None, "custom"})
_TEXT_BLOCKS: Final = frozenset({"text", "thinking", "redacted_thinking"})


def extra_input(fields: Mapping[str, Any], model: str) -> int:
    """The input tokens beyond the bytes of the body. Raises ``Unbounded``."""
    messages = fields.get("messages")
    if not isinstance(messages, list):
        raise Unbounded("messages: expected a list")
    extra = TEMPLATE_TOKENS + len(messages) * MESSAGE_TOKENS + _blocks(fields.get("system"), model)
    for message in messages:
        if not isinstance(message, dict):
            raise Unbounded("messages: expected objects")
        refuse_other_case(message)
        extra += _blocks(message.get("content"), model)
    extra += client_tools(fields.get("tools"), _CLIENT_TOOLS)
    return extra + rendered(fields, "tools", "tool_choice", "output_config", "output_format")


def writes_to_the_cache(fields: Any) -> bool:
    """Whether ``cache_control`` stands anywhere in the call."""
    if isinstance(fields, dict):
        return bool(fields.get("cache_control")) or any(map(writes_to_the_cache, fields.values()))
    return isinstance(fields, list) and any(map(writes_to_the_cache, fields))


def _blocks(content: Any, model: str) -> int:
    if content is None or isinstance(content, str):
        return 0
    if not isinstance(content, list):
        raise Unbounded("content: expected text or a list of blocks")
    return sum(_block(block, model) for block in content)


def _block(block: Any, model: str) -> int:
    if not isinstance(block, Mapping):
        raise Unbounded("content: expected blocks that are objects")
    kind = block.get("type")
    if one_of(kind, _TEXT_BLOCKS):
        return MESSAGE_TOKENS
    if kind == "tool_use":
        return MESSAGE_TOKENS + rendered(block, "input")
    if kind == "tool_result":
        inside = block.get("content")
        text = rendered(block, "content") if isinstance(inside, str) else 0
        return MESSAGE_TOKENS + text + _blocks(inside, model)
    source = block.get("source")
    if not isinstance(source, Mapping):
        raise Unbounded(f"{kind if isinstance(kind, str) else 'unknown'} blocks cannot be bounded")
    if kind == "document" and source.get("type") in ("text", "content"):
        return MESSAGE_TOKENS + _blocks(source.get("content"), model)
    data = source.get("data")
    if kind == "image" and source.get("type") == "base64" and isinstance(data, str):
        return MESSAGE_TOKENS + image_tokens(model) - len(data)
    raise Unbounded("images behind links and files cannot be bounded")
