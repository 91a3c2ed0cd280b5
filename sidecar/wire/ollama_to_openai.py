"""Turns the fields of an Ollama request into OpenAI-shaped ones.

What only Ollama knows (``keep_alive``, ``think``, ``top_k``, ``template`` ...) keeps its Ollama name at
the top level, where ``target_fields`` decides for each upstream whether it is carried, means nothing
there, or must be refused. ``options`` are lifted to the top level; their names collide with no OpenAI
field of another meaning. Facts: Ollama's API reference and Modelfile parameter list.
"""

from __future__ import annotations

from typing import Any

import msgspec

from sidecar.wire.unsupported import unsupported

#: Fields of the envelope, which the lane reads itself. ``metadata`` is no Ollama field: it carried hints.
_ENVELOPE = frozenset({"model", "stream", "metadata"})
#: Fields that ask for nothing when they are empty; Ollama's clients send them so.
_NOTHING_WHEN_EMPTY = frozenset({"tools", "suffix", "system", "template", "context", "raw", "images"})

#: How each image format's first bytes look in base64.
_IMAGE_TYPES = {"/9j/": "jpeg", "iVBORw0KGgo": "png", "R0lGOD": "gif", "UklGR": "webp"}


def chat_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """An ``/api/chat`` request as OpenAI chat completion fields. Thinking of earlier turns is left out:
    OpenAI-shaped requests have no place for it."""
    shaped = _common_fields(fields)
    shaped["messages"] = _messages(fields.get("messages") or [])
    return shaped


def generate_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """An ``/api/generate`` request as OpenAI chat completion fields.

    ``suffix``, ``raw``, ``template`` and ``context`` keep their names: a chat has no place for them.
    """
    shaped = _common_fields(fields)
    system, prompt, images = (shaped.pop(name, None) for name in ("system", "prompt", "images"))
    messages = []
    if system:
        messages.append({"role": "system", "content": system})
    if prompt or images:
        messages.append({"role": "user", "content": _content(prompt or "", images or [], "images")})
    else:
        raise unsupported("prompt", "an empty prompt asks Ollama to load or unload a model")
    shaped["messages"] = messages
    return shaped


def embed_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """An ``/api/embed`` request as OpenAI embedding fields."""
    return _common_fields(fields)


def embeddings_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """An ``/api/embeddings`` request, Ollama's older way to embed one text, as OpenAI embedding fields."""
    shaped = _common_fields(fields)
    shaped["input"] = shaped.pop("prompt", "")
    return shaped


def _common_fields(fields: dict[str, Any]) -> dict[str, Any]:
    shaped: dict[str, Any] = {}
    for name, value in fields.items():
        if value is None or name in _ENVELOPE or (name in _NOTHING_WHEN_EMPTY and not value):
            continue
        if name == "options":
            shaped.update(_options(value))
        elif name == "format":
            if value:
                shaped["response_format"] = _response_format(value)
        else:
            shaped[name] = value
    return shaped


def _options(options: dict[str, Any]) -> dict[str, Any]:
    shaped = {name: value for name, value in options.items() if value is not None}
    limit = shaped.pop("num_predict", None)
    # To Ollama 0 and -1 are no limit, and -2 is the context's.
    if limit is not None and limit > 0:
        shaped["max_tokens"] = limit
    return shaped


def _response_format(value: Any) -> dict[str, Any]:
    if value == "json":
        return {"type": "json_object"}
    if isinstance(value, dict):
        return {"type": "json_schema", "json_schema": {"name": "response", "schema": value}}
    raise unsupported("format", 'neither "json" nor a JSON schema')


def _messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not messages:
        raise unsupported("messages", "an empty list asks Ollama to load or unload a model")
    shaped: list[dict[str, Any]] = []
    open_calls: list[tuple[str, str]] = []
    for number, message in enumerate(messages):
        path = f"messages[{number}]"
        if message["role"] == "tool":
            shaped.append(_tool_result(message, open_calls, path))
            continue
        content = _content(message.get("content") or "", message.get("images") or [], f"{path}.images")
        turn = {"role": message["role"], "content": content}
        if message.get("tool_calls"):
            turn["tool_calls"] = _tool_calls(message["tool_calls"], number)
            open_calls = [(call["id"], call["function"]["name"]) for call in turn["tool_calls"]]
        shaped.append(turn)
    return shaped


def _content(text: str, images: list[str], path: str) -> str | list[dict[str, Any]]:
    if not images:
        return text
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    for number, image in enumerate(images):
        kind = next((kind for start, kind in _IMAGE_TYPES.items() if image.startswith(start)), None)
        if kind is None:
            raise unsupported(f"{path}[{number}]", "not a JPEG, PNG, GIF or WebP image in base64")
        parts.append({"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{image}"}})
    return parts


def _tool_calls(calls: list[dict[str, Any]], turn: int) -> list[dict[str, Any]]:
    """Ollama's calls need no id; OpenAI's do, so an absent one is made from its place in the conversation."""
    return [
        {
            "id": call.get("id") or f"call_{turn}_{number}",
            "type": "function",
            "function": {
                "name": call["function"]["name"],
                "arguments": msgspec.json.encode(call["function"].get("arguments") or {}).decode(),
            },
        }
        for number, call in enumerate(calls)
    ]


def _tool_result(message: dict[str, Any], open_calls: list[tuple[str, str]], path: str) -> dict[str, Any]:
    """A tool's result, tied to the call it answers by id, else by name, else by order."""
    name = message.get("tool_name") or message.get("name")
    answered = (
        next((call for call in open_calls if call[0] == message.get("tool_call_id")), None)
        or next((call for call in open_calls if call[1] == name), None)
        or (open_calls[0] if open_calls and not name else None)
    )
    if answered is None:
        raise unsupported(path, "a tool result without the tool call it answers")
    open_calls.remove(answered)
    return {"role": "tool", "tool_call_id": answered[0], "content": message.get("content") or ""}
