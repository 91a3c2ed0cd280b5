"""Puts OpenAI-shaped messages into the shape in which any-llm loses nothing of them.

Where any-llm would drop or mangle a part silently (images by address, audio, texts in parts, developer
messages), the part is either put so that it survives, or refused by name.
"""

from __future__ import annotations

from typing import Any

import msgspec

from sidecar.wire.unsupported import unsupported

Message = dict[str, Any]


def ollama_messages(messages: list[Message]) -> list[Message]:
    """Messages for Ollama: one text each, images as bare base64 beside it.

    ``name`` of a message is left out; Ollama has no place for it. any-llm itself ties tool results to
    calls, and leaves out the thinking of turns that called tools.
    """
    return [_ollama_message(message, f"messages[{number}]") for number, message in enumerate(messages)]


def _ollama_message(message: Message, path: str) -> Message:
    role = _role(message)
    text, images = _text_and_images(message, path)
    if role == "tool":
        if images:
            raise unsupported(f"{path}.content", "Ollama takes no image in a tool's result")
        kept = {name: message[name] for name in ("tool_call_id", "name") if message.get(name)}
        return {"role": role, "content": text, **kept}
    shaped: Message = {"role": role, "content": text}
    if images:
        shaped["images"] = images
    if message.get("tool_calls"):
        shaped["tool_calls"] = _tool_calls(message["tool_calls"], path)
    elif thinking := message.get("reasoning") or message.get("reasoning_content"):
        shaped["thinking"] = thinking
    return shaped


def anthropic_messages(messages: list[Message]) -> list[Message]:
    """Messages for Anthropic: system texts and texts beside tool calls as plain strings.

    any-llm joins system messages as strings, and keeps an assistant's text beside its tool calls only when
    it is one.
    """
    shaped = []
    for number, message in enumerate(messages):
        path = f"messages[{number}]"
        role = _role(message)
        turn = {**message, "role": role}
        if role == "system" or message.get("tool_calls"):
            text, images = _text_and_images(message, path)
            if images:
                raise unsupported(f"{path}.content", f"no image can stand in this {role} message")
            turn["content"] = text
        if message.get("tool_calls"):
            turn["tool_calls"] = _tool_calls(message["tool_calls"], path)
        shaped.append(turn)
    return shaped


def _role(message: Message) -> str:
    """OpenAI's ``developer`` is its newer name for ``system``; other model families know only the old one."""
    role: str = message["role"]
    return "system" if role == "developer" else role


def _text_and_images(message: Message, path: str) -> tuple[str, list[str]]:
    content = message.get("content")
    if not isinstance(content, list):
        return content or message.get("refusal") or "", []
    texts: list[str] = []
    images: list[str] = []
    for number, part in enumerate(content):
        kind = part.get("type")
        if kind == "text":
            texts.append(part["text"])
        elif kind == "refusal":
            texts.append(part["refusal"])
        elif kind == "image_url":
            images.append(_base64_of(part["image_url"]["url"], f"{path}.content[{number}].image_url"))
        else:
            raise unsupported(f"{path}.content[{number}]", "only text and images can be sent")
    return "\n".join(texts), images


def _base64_of(url: str, path: str) -> str:
    header, comma, data = url.partition(",")
    if not (header.startswith("data:image/") and header.endswith(";base64") and comma and data):
        raise unsupported(path, "only an image inside the request, as a base64 data: URL, can be sent")
    return data


def _tool_calls(calls: list[Message], path: str) -> list[Message]:
    """The calls with arguments that are sure to be a JSON object, as both targets read them."""
    shaped = []
    for number, call in enumerate(calls):
        place = f"{path}.tool_calls[{number}]"
        function = call.get("function")
        if function is None:
            raise unsupported(place, "only function calls can be sent")
        arguments = function.get("arguments") or "{}"
        try:
            msgspec.json.decode(arguments, type=dict[str, Any])
        except msgspec.MsgspecError:
            raise unsupported(f"{place}.function.arguments", "not a JSON object") from None
        shaped.append({**call, "function": {**function, "arguments": arguments}})
    return shaped
