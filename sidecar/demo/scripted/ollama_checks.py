"""Refuses what Ollama refuses, in its words and Go's."""

from __future__ import annotations

from typing import Any

import msgspec

from sidecar.demo.scripted.reply import Refusal

_ROLES = ("system", "user", "assistant", "tool")
_GO_TYPES: dict[type, str] = {
    str: "string",
    bool: "bool",
    list: "array",
    dict: "object",
    int: "number",
    float: "number",
}
_FIELDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "model": (str, "string"),
    "stream": (bool, "bool"),
    "messages": (list, "[]api.Message"),
    "tools": (list, "api.Tools"),
    "options": (dict, "map[string]interface {}"),
    "prompt": (str, "string"),
    "system": (str, "string"),
    "images": (list, "[]api.ImageData"),
    "raw": (bool, "bool"),
    "truncate": (bool, "bool"),
    "dimensions": (int, "int"),
    "name": (str, "string"),
}
_INTEGER_OPTIONS = ("num_predict", "num_ctx", "seed", "top_k", "num_keep", "repeat_last_n")
_NUMBER_OPTIONS = ("temperature", "top_p", "min_p", "repeat_penalty", "presence_penalty", "frequency_penalty")


def decode(body: bytes, struct_name: str) -> dict[str, Any]:
    """The request's JSON object, its fields of the types that Go demands; unknown ones are ignored."""
    if not body.strip():
        raise Refusal(400, "missing request body")
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        first = body.lstrip()[:1].decode(errors="replace")
        raise Refusal(400, f"invalid character '{first}' looking for beginning of value") from None
    if not isinstance(fields, dict):
        raise Refusal(
            400, f"json: cannot unmarshal {_go_type(fields)} into Go value of type api.{struct_name}"
        )
    for name, (expected, go_type) in _FIELDS.items():
        value = fields.get(name)
        if value is not None and (
            not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool)
        ):
            raise Refusal(
                400,
                f"json: cannot unmarshal {_go_type(value)} into Go struct field {struct_name}.{name} of "
                f"type {go_type}",
            )
    _check_options(fields.get("options") or {})
    return fields


def _go_type(value: Any) -> str:
    return _GO_TYPES.get(type(value), "null")


def _check_options(options: dict[str, Any]) -> None:
    for name, value in options.items():
        if value is None:
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if name in _INTEGER_OPTIONS and not (number and float(value).is_integer()):
            raise Refusal(500, f'option "{name}" must be of type integer')
        if name in _NUMBER_OPTIONS and not number:
            raise Refusal(500, f'option "{name}" must be of type float32')


def check_messages(messages: list[Any]) -> None:
    """The messages of a chat: objects with a known role and text."""
    for message in messages:
        if not isinstance(message, dict):
            raise Refusal(
                400,
                f"json: cannot unmarshal {_go_type(message)} into Go struct field ChatRequest.messages "
                "of type api.Message",
            )
        if message.get("role") not in _ROLES:
            raise Refusal(
                400, f'invalid role: "{message.get("role")}", must be one of [system user assistant tool]'
            )
        content = message.get("content")
        if content is not None and not isinstance(content, str):
            raise Refusal(
                400,
                f"json: cannot unmarshal {_go_type(content)} into Go struct field "
                "ChatRequest.messages.content of type string",
            )
        for call in message.get("tool_calls") or ():
            if not isinstance(call.get("function", {}).get("arguments", {}), dict):
                raise Refusal(
                    400,
                    "json: cannot unmarshal string into Go struct field "
                    "ChatRequest.messages.tool_calls.function.arguments of type "
                    "api.ToolCallFunctionArguments",
                )
