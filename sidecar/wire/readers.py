"""Reads the texts of a call by role, each door in its own shape, and refuses what is no such shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sidecar.core.errors import CallerError
from sidecar.core.vocabulary import (
    ANTHROPIC_COUNT_TOKENS,
    ANTHROPIC_MESSAGES,
    OLLAMA_EMBED,
    OLLAMA_EMBEDDINGS,
    OLLAMA_GENERATE,
    OPENAI_CHAT,
    OPENAI_COMPLETIONS,
    OPENAI_EMBEDDINGS,
    OPENAI_RESPONSES,
    Door,
)
from sidecar.wire.call_text import CallText

_ROLES_MAX = 10_000
_ANTHROPIC_ROLES = ("user", "assistant", "system")

#: (role, text) in order, and how many inputs or prompts the call holds.
Read = tuple[list[tuple[str, str]], int]
Reader = Callable[[dict[str, Any], CallText], Read]


def reader_of(door: Door) -> Reader:
    """What reads the calls of ``door``; it raises ``CallerError`` that names the field."""
    return _READERS.get(door, _read_messages)


def _read_messages(fields: dict[str, Any], text: CallText) -> Read:
    messages = fields.get("messages")
    if not isinstance(messages, list):
        raise CallerError("messages must be a list of objects", param="messages")
    if len(messages) > _ROLES_MAX:
        raise CallerError(
            f"messages holds {len(messages)} items; at most {_ROLES_MAX} are taken", param="messages"
        )
    parts: list[tuple[str, str]] = []
    for number, message in enumerate(messages):
        if not isinstance(message, dict):
            raise CallerError(f"messages[{number}] must be an object", param=f"messages[{number}]")
        role = message.get("role")
        if not isinstance(role, str) or not role:
            raise CallerError(f"messages[{number}].role must be a string", param=f"messages[{number}].role")
        content = message.get("content")
        if isinstance(content, str):
            parts.append((role, content))
        elif isinstance(content, list):
            parts += [
                (role, part["text"])
                for part in content
                if isinstance(part, dict) and isinstance(part.get("text"), str)
            ]
        elif content is not None:
            raise CallerError(
                f"messages[{number}].content must be a string or a list of parts",
                param=f"messages[{number}].content",
            )
    return parts, 1


def _read_chat(fields: dict[str, Any], text: CallText) -> Read:
    parts = _read_messages(fields, text)
    if not fields["messages"]:
        raise CallerError("messages must hold at least one message", param="messages")
    return parts


def _read_anthropic(fields: dict[str, Any], text: CallText) -> Read:
    """Anthropic's messages: a system prompt apart, and contents in blocks, tool results among them."""
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise CallerError("messages: at least one message is required", param="messages")
    if len(messages) > _ROLES_MAX:
        raise CallerError(
            f"messages: {len(messages)} items; at most {_ROLES_MAX} are taken", param="messages"
        )
    parts = _blocks(fields.get("system"), "system", "system")
    for number, message in enumerate(messages):
        path = f"messages.{number}"
        if not isinstance(message, dict):
            raise CallerError(f"{path}: must be an object", param=path)
        role = message.get("role")
        if role not in _ANTHROPIC_ROLES:
            raise CallerError(f"{path}.role: must be 'user' or 'assistant'", param=f"{path}.role")
        if message.get("content") is None:
            raise CallerError(f"{path}.content: Field required", param=f"{path}.content")
        parts += _blocks(message["content"], role, f"{path}.content")
    return parts, 1


def _read_responses(fields: dict[str, Any], text: CallText) -> Read:
    """OpenAI's Responses: instructions apart, and an input that is a text or a list of items."""
    parts: list[tuple[str, str]] = []
    instructions = fields.get("instructions")
    if isinstance(instructions, str):
        parts.append(("system", instructions))
    elif instructions is not None:
        raise CallerError("instructions must be a string", param="instructions")
    given = fields.get("input")
    if isinstance(given, str):
        return [*parts, ("user", given)], 1
    if not isinstance(given, list) or not given:
        raise CallerError("input must be a string or a list of items", param="input")
    if len(given) > _ROLES_MAX:
        raise CallerError(f"input holds {len(given)} items; at most {_ROLES_MAX} are taken", param="input")
    for number, item in enumerate(given):
        path = f"input[{number}]"
        if not isinstance(item, dict):
            raise CallerError(f"{path} must be an object", param=path)
        kind = item.get("type", "message")
        if kind == "message":
            role = item.get("role")
            if not isinstance(role, str) or not role:
                raise CallerError(f"{path}.role must be a string", param=f"{path}.role")
            parts += _texts_of(item.get("content"), role, f"{path}.content")
        elif kind == "function_call_output":
            parts += _texts_of(item.get("output"), "tool", f"{path}.output")
        elif not isinstance(kind, str):
            raise CallerError(f"{path}.type must be a string", param=f"{path}.type")
    return parts, 1


def _texts_of(content: Any, role: str, path: str) -> list[tuple[str, str]]:
    if isinstance(content, str):
        return [(role, content)]
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise CallerError(f"{path} must be a string or a list of parts", param=path)
    return [(role, part["text"]) for part in content if isinstance(part.get("text"), str)]


def _blocks(content: Any, role: str, path: str) -> list[tuple[str, str]]:
    if content is None:
        return []
    if isinstance(content, str):
        return [(role, content)]
    if not isinstance(content, list):
        raise CallerError(f"{path}: must be a string or a list of blocks", param=path)
    parts: list[tuple[str, str]] = []
    for number, block in enumerate(content):
        place = f"{path}.{number}"
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise CallerError(f"{place}: must be an object with a type", param=place)
        if block["type"] == "text":
            if not isinstance(block.get("text"), str):
                raise CallerError(f"{place}.text: must be a string", param=f"{place}.text")
            parts.append((role, block["text"]))
        elif block["type"] == "tool_result":
            parts += _blocks(block.get("content"), "tool", f"{place}.content")
    return parts


def _read_generate(fields: dict[str, Any], text: CallText) -> Read:
    parts = []
    for name, role in (("system", "system"), ("prompt", "user"), ("suffix", "user")):
        value = fields.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise CallerError(f"{name} must be a string", param=name)
        parts.append((role, value))
    return parts, 1


def _read_input(fields: dict[str, Any], text: CallText) -> Read:
    return _texts_or_tokens(fields.get("input"), "input", text)


def _read_prompts(fields: dict[str, Any], text: CallText) -> Read:
    """OpenAI's legacy completions. Without a prompt the model begins a new document."""
    suffix = fields.get("suffix")
    if suffix is not None and not isinstance(suffix, str):
        raise CallerError("suffix must be a string", param="suffix")
    prompt = fields.get("prompt")
    parts, count = ([], 1) if prompt is None else _texts_or_tokens(prompt, "prompt", text)
    return (parts if suffix is None else [*parts, ("user", suffix)]), count


def _texts_or_tokens(value: Any, name: str, text: CallText) -> Read:
    """One text, one list of token ids, or a list of either. Token ids are text that no scan can read."""
    if isinstance(value, str):
        return [("user", value)], 1
    if not isinstance(value, list) or not value:
        raise CallerError(f"{name} must be a string or a list of strings", param=name)
    if all(isinstance(item, str) for item in value):
        return [("user", item) for item in value], len(value)
    if all(isinstance(item, int) and not isinstance(item, bool) for item in value):
        text.unreadable.append("token ids")
        return [], 1
    if all(
        isinstance(item, list)
        and all(isinstance(token, int) and not isinstance(token, bool) for token in item)
        for item in value
    ):
        text.unreadable.append("token ids")
        return [], len(value)
    raise CallerError(f"{name} must be a string or a list of strings", param=name)


def _read_prompt(fields: dict[str, Any], text: CallText) -> Read:
    value = fields.get("prompt")
    if not isinstance(value, str):
        raise CallerError("prompt must be a string", param="prompt")
    return [("user", value)], 1


_READERS: dict[Door, Reader] = {
    OPENAI_EMBEDDINGS: _read_input,
    OPENAI_COMPLETIONS: _read_prompts,
    OPENAI_RESPONSES: _read_responses,
    ANTHROPIC_MESSAGES: _read_anthropic,
    ANTHROPIC_COUNT_TOKENS: _read_anthropic,
    OLLAMA_EMBED: _read_input,
    OLLAMA_EMBEDDINGS: _read_prompt,
    OLLAMA_GENERATE: _read_generate,
    # An empty list of messages is how Ollama is asked to load a model; OpenAI refuses it.
    OPENAI_CHAT: _read_chat,
}
