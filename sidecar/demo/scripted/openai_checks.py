"""Refuses what OpenAI refuses, in its words.

Unknown arguments are refused too, except those that begin with ``x_``: they stand for fields that the
service may accept one day, so that what passes unknown fields on can be seen to do so.
"""

from __future__ import annotations

from typing import Any

import msgspec

from sidecar.demo.scripted.reply import Refusal

_NUMBER = (int, float)
_ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_CHAT_ONLY = ("gpt-4", "gpt-5", "o1", "o3")
_PART_TYPES = ("text", "image_url", "input_audio", "refusal", "file")

_TYPE_NAMES: dict[Any, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    _NUMBER: "a decimal",
    list: "an array",
    dict: "an object",
    (str, list): "a string or an array",
    (str, dict): "a string or an object",
    type(None): "null",
}

_SAMPLING: dict[str, Any] = {
    "model": str,
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "n": int,
    "max_tokens": int,
    "stream": bool,
    "stream_options": dict,
    "stop": (str, list),
    "seed": int,
    "presence_penalty": _NUMBER,
    "frequency_penalty": _NUMBER,
    "logit_bias": dict,
    "user": str,
}
CHAT_ARGUMENTS: dict[str, Any] = _SAMPLING | {
    "messages": list,
    "max_completion_tokens": int,
    "tools": list,
    "tool_choice": (str, dict),
    "parallel_tool_calls": bool,
    "functions": list,
    "function_call": (str, dict),
    "response_format": dict,
    "metadata": dict,
    "store": bool,
    "logprobs": bool,
    "top_logprobs": int,
    "reasoning_effort": str,
    "verbosity": str,
    "modalities": list,
    "audio": dict,
    "prediction": dict,
    "service_tier": str,
    "prompt_cache_key": str,
    "safety_identifier": str,
    "web_search_options": dict,
}
COMPLETION_ARGUMENTS: dict[str, Any] = _SAMPLING | {
    "prompt": (str, list),
    "suffix": str,
    "echo": bool,
    "best_of": int,
    "logprobs": int,
}
EMBEDDING_ARGUMENTS: dict[str, Any] = {
    "model": str,
    "input": (str, list),
    "encoding_format": str,
    "dimensions": int,
    "user": str,
}
_RANGES: dict[str, tuple[float, float | None]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "n": (1, 128),
    "max_tokens": (1, None),
    "max_completion_tokens": (1, None),
    "dimensions": (1, None),
}


def decode(body: bytes) -> dict[str, Any]:
    """The request's JSON object."""
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        fields = None
    if not isinstance(fields, dict):
        raise Refusal(
            400,
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using "
            "your HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not "
            "valid JSON.)",
        )
    return fields


def check_arguments(fields: dict[str, Any], arguments: dict[str, Any], required: str) -> None:
    """Names, types and ranges of the top-level arguments; ``required`` must be there beside ``model``."""
    if not fields.get("model"):
        raise Refusal(400, "you must provide a model parameter")
    if fields.get(required) is None:
        raise Refusal(
            400,
            f"Missing required parameter: '{required}'.",
            code="missing_required_parameter",
            param=required,
        )
    for name, value in fields.items():
        if name.startswith("x_"):
            continue
        if name not in arguments:
            raise Refusal(400, f"Unrecognized request argument supplied: {name}")
        if value is not None:
            check_type(name, value, arguments[name])
            _check_range(name, value)
    if fields.get("stream_options") is not None and not fields.get("stream"):
        raise Refusal(
            400,
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )


def check_type(param: str, value: Any, expected: Any) -> None:
    """``value`` is of the type that ``param`` demands; a boolean is no number."""
    fits = isinstance(value, expected) and (not isinstance(value, bool) or expected is bool)
    if not fits:
        raise Refusal(
            400,
            f"Invalid type for '{param}': expected {_TYPE_NAMES[expected]}, "
            f"but got {_TYPE_NAMES[type(value)]} instead.",
            code="invalid_type",
            param=param,
        )


def _check_range(name: str, value: Any) -> None:
    least, most = _RANGES.get(name, (None, None))
    kind = "integer" if isinstance(value, int) else "decimal"
    if least is not None and value < least:
        raise Refusal(
            400,
            f"Invalid '{name}': {kind} below minimum value. Expected a value >= {least}, but got {value} "
            "instead.",
            code=f"{kind}_below_min_value",
            param=name,
        )
    if most is not None and value > most:
        raise Refusal(
            400,
            f"Invalid '{name}': {kind} above maximum value. Expected a value <= {most}, but got {value} "
            "instead.",
            code=f"{kind}_above_max_value",
            param=name,
        )


def check_chat(fields: dict[str, Any]) -> None:
    """Everything about a chat completion request beyond its top-level arguments."""
    if fields.get("max_tokens") is not None and fields.get("max_completion_tokens") is not None:
        raise Refusal(
            400,
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            code="invalid_parameter_combination",
            param="max_tokens",
        )
    if not fields["messages"]:
        raise Refusal(
            400,
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty "
            "array instead.",
            code="empty_array",
            param="messages",
        )
    calls_open = False
    for index, message in enumerate(fields["messages"]):
        param = f"messages[{index}]"
        check_type(param, message, dict)
        _check_message(message, param, calls_open)
        calls_open = bool(message.get("tool_calls")) or (calls_open and message["role"] == "tool")
    for index, tool in enumerate(fields.get("tools") or ()):
        _check_tool(tool, f"tools[{index}]")
    _check_metadata(fields.get("metadata") or {})


def check_completion(fields: dict[str, Any]) -> None:
    """Everything about a text completion request beyond its top-level arguments."""
    if fields["model"].startswith(_CHAT_ONLY):
        raise Refusal(
            404,
            "This is a chat model and not supported in the v1/completions endpoint. Did you mean to use "
            "v1/chat/completions?",
            param="model",
        )
    prompt = fields["prompt"]
    lists = isinstance(prompt, list) and bool(prompt)
    if lists and not isinstance(prompt[0], list):
        for index, item in enumerate(prompt):
            check_type(f"prompt[{index}]", item, type(prompt[0]) if isinstance(prompt[0], int) else str)
    if not prompt:
        raise Refusal(400, "Invalid 'prompt': empty array.", code="empty_array", param="prompt")
    if fields.get("best_of") is not None and fields["best_of"] < (fields.get("n") or 1):
        raise Refusal(400, "You requested that the server return more choices than it will generate.")


def _check_message(message: dict[str, Any], param: str, calls_open: bool) -> None:
    role = message.get("role")
    if role is None:
        _missing(f"{param}.role")
    if role not in _ROLES:
        raise Refusal(
            400,
            f"Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', 'function', "
            "'tool', and 'developer'.",
            code="invalid_value",
            param=f"{param}.role",
        )
    if role == "tool":
        if not calls_open:
            raise Refusal(
                400,
                "Invalid parameter: messages with role 'tool' must be a response to a preceeding message "
                "with 'tool_calls'.",
                param=f"{param}.role",
            )
        if not message.get("tool_call_id"):
            _missing(f"{param}.tool_call_id")
    content = message.get("content")
    if content is None:
        if role != "assistant" or not (message.get("tool_calls") or message.get("function_call")):
            raise Refusal(
                400,
                "Invalid value for 'content': expected a string, got null.",
                param=f"{param}.content",
            )
        return
    check_type(f"{param}.content", content, (str, list))
    for index, part in enumerate(content if isinstance(content, list) else ()):
        check_type(f"{param}.content[{index}]", part, dict)
        if part.get("type") not in _PART_TYPES:
            raise Refusal(
                400,
                f"Invalid value: '{part.get('type')}'. Supported values are: 'text', 'image_url', "
                "'input_audio', 'refusal', and 'file'.",
                code="invalid_value",
                param=f"{param}.content[{index}].type",
            )


def _check_tool(tool: Any, param: str) -> None:
    check_type(param, tool, dict)
    if tool.get("type") != "function":
        raise Refusal(
            400,
            f"Invalid value: '{tool.get('type')}'. Supported values are: 'function' and 'custom'.",
            code="invalid_value",
            param=f"{param}.type",
        )
    function = tool.get("function")
    if not isinstance(function, dict) or not function.get("name"):
        _missing(f"{param}.function.name")


def _check_metadata(metadata: dict[str, Any]) -> None:
    for name, value in metadata.items():
        check_type(f"metadata.{name}", value, str)


def _missing(param: str) -> None:
    raise Refusal(
        400, f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param
    )
