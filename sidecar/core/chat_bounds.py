"""Bounds what a chat, a text completion or an embedding call has its upstream read beyond its bytes.

The shapes are OpenAI's and Ollama's.
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
    refuse_cache_control,
    refuse_other_case,
    rendered,
)
from sidecar.core.vocabulary import Dialect, Operation

_TEXT_PARTS: Final = frozenset({"text", "refusal"})
#: Tools that the app runs itself; a tool without a type is a function.
_CLIENT_TOOLS: Final = frozenset({None, "function", "custom"})
#: Whose messages a template writes as they are, when there is but text in them.
_PLAIN_ROLES: Final = ("user", "system", "assistant", "developer")


def extra_input(
    operation: Operation, dialect: Dialect, fields: Mapping[str, Any], model: str
) -> tuple[int, int]:
    """The input tokens beyond the bytes of the body, and the number of prompts in it.

    Raises ``Unbounded``.
    """
    if operation is Operation.EMBEDDINGS:
        prompts = _prompts(fields["input"] if "input" in fields else fields.get("prompt"))
        return prompts * MESSAGE_TOKENS, prompts
    if operation is Operation.TEXT_COMPLETION:
        prompts = _prompts(fields.get("prompt") or "")
        images = _images(fields.get("images"), model)
        return TEMPLATE_TOKENS + prompts * MESSAGE_TOKENS + images + rendered(fields, "format"), prompts
    refuse_cache_control(fields)
    messages = fields.get("messages")
    if not isinstance(messages, list):
        raise Unbounded("messages: expected a list")
    extra = TEMPLATE_TOKENS + len(messages) * MESSAGE_TOKENS
    for message in messages:
        extra += _message(dialect, message, model)
    for field in ("tools", "functions"):
        extra += client_tools(fields.get(field), _CLIENT_TOOLS)
        for tool in fields.get(field) or ():
            refuse_cache_control(tool)
    return extra + rendered(fields, "tools", "functions", "response_format", "format", "tool_choice"), 1


def _message(dialect: Dialect, message: Any, model: str) -> int:
    if not isinstance(message, dict):
        raise Unbounded("messages: expected objects")
    refuse_other_case(message)
    content = message.get("content")
    if isinstance(content, str) and message.get("role") in _PLAIN_ROLES and len(message) == 2:
        return 0
    if message.get("audio"):
        raise Unbounded("audio: earlier audio is billed by its length")
    refuse_cache_control(message)
    extra = rendered(message, "tool_calls", "function_call")
    if message.get("role") in ("tool", "function"):
        extra += rendered(message, "content")
    if dialect is Dialect.OLLAMA:
        extra += _images(message.get("images"), model)
    if isinstance(content, list):
        if dialect is Dialect.OLLAMA:
            raise Unbounded("content: expected text")
        extra += sum(_part(part, model) for part in content)
    elif content is not None and not isinstance(content, str):
        raise Unbounded("content: expected text or a list of parts")
    return extra


def _part(part: Any, model: str) -> int:
    if not isinstance(part, Mapping):
        raise Unbounded("content: expected parts that are objects")
    kind = part.get("type")
    refuse_cache_control(part)
    if one_of(kind, _TEXT_PARTS):
        return MESSAGE_TOKENS
    if kind != "image_url":
        raise Unbounded(f"{kind if isinstance(kind, str) else 'unknown'} parts cannot be bounded")
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    if not isinstance(url, str) or not url.startswith("data:image/"):
        raise Unbounded("an image behind a link cannot be bounded")
    detail = image.get("detail") if isinstance(image, Mapping) else None
    return MESSAGE_TOKENS + image_tokens(model, low=detail == "low") - len(url)


def _images(images: Any, model: str) -> int:
    """Ollama's images: a list of base64 texts."""
    if not images:
        return 0
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise Unbounded("images: expected a list of base64 texts")
    return sum(MESSAGE_TOKENS + image_tokens(model) - len(image) for image in images)


def _prompts(prompt: Any) -> int:
    """How many prompts there are: one text, one list of token ids, or a list of either."""
    if isinstance(prompt, str):
        return 1
    if isinstance(prompt, list):
        if all(type(item) is int for item in prompt):
            return 1
        if all(isinstance(item, str) for item in prompt) or all(
            isinstance(item, list) and all(type(token) is int for token in item) for item in prompt
        ):
            return len(prompt)
    raise Unbounded("input: expected text, token ids, or a list of either")
