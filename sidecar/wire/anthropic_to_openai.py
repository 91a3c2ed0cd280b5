"""Turns the fields of an Anthropic message request into OpenAI-shaped ones.

Every field is carried, stands in a table as changing nothing about the answer, or is refused by name, and
another tier may take the call. Facts: Anthropic's API reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from sidecar.wire.unsupported import unsupported

Fields = dict[str, Any]

#: Carried under the same name; ``target_fields`` decides for each upstream.
_SAME = frozenset({"max_tokens", "temperature", "top_p", "top_k"})
#: Fields that change who answers at Anthropic, or when, or at which price, but not the answer.
HOUSEKEEPING = {
    "cache_control": "a hint for Anthropic's prompt cache",
    "service_tier": "which of Anthropic's queues takes the call",
    "user_profile_id": "names the end user to Anthropic",
}
#: Fields of the envelope, which the lane reads itself.
_ENVELOPE = frozenset({"model", "stream"})
_APART = frozenset({"messages", "system", "thinking"})
#: From how many tokens of thinking on an effort is meant; the budgets are any-llm's for each.
_EFFORT_BUDGETS = ((16_384, "high"), (4_096, "medium"), (0, "low"))
_TOOL_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def chat_fields(fields: Fields) -> Fields:
    """A ``/v1/messages`` request as OpenAI chat completion fields. Raises ``UpstreamFault`` (unsupported).

    Thinking of earlier turns is left out: OpenAI-shaped requests have no place for it.
    """
    shaped: Fields = {"messages": _system(fields.get("system"))}
    for number, message in enumerate(fields["messages"]):
        shaped["messages"] += _turn(message, f"messages[{number}]")
    for name, value in fields.items():
        if value is None or name in _ENVELOPE or name in HOUSEKEEPING or name in _APART:
            continue
        if name in _SAME:
            shaped[name] = value
        elif (translate := _TRANSLATED.get(name)) is not None:
            shaped.update(translate(value))
        elif value:
            raise unsupported(name, "it has a meaning at Anthropic only")
    # An effort that is named says more than a budget.
    return {**_thinking(fields.get("thinking") or {}), **shaped}


def asks_for_thinking(fields: Fields) -> bool:
    """Whether the caller wants to be shown what the model thinks."""
    thinking = fields.get("thinking")
    return isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")


def _system(system: Any) -> list[Fields]:
    if not system:
        return []
    text = system if isinstance(system, str) else "\n".join(block["text"] for block in system)
    return [{"role": "system", "content": text}]


def _turn(message: Fields, path: str) -> list[Fields]:
    content = message["content"]
    if isinstance(content, str):
        return [{"role": message["role"], "content": content}]
    if message["role"] == "assistant":
        return [_answer(content, path)]
    results: list[Fields] = []
    parts: list[Fields] = []
    for number, block in enumerate(content):
        place = f"{path}.content[{number}]"
        if block["type"] == "tool_result":
            text, images = _result(block, place)
            results.append({"role": "tool", "tool_call_id": block["tool_use_id"], "content": text})
            # A tool's result is text to OpenAI; what it shows stands in the turn that follows it.
            parts += images
        else:
            parts.append(_part(block, place))
    return [*results, {"role": message["role"], "content": _plain(parts)}] if parts else results


def _plain(parts: list[Fields]) -> str | list[Fields]:
    """One text as it is, as many servers want it; anything else in parts."""
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts


def _part(block: Fields, path: str) -> Fields:
    kind, source = block["type"], block.get("source") or {}
    match kind, source.get("type"):
        case "text", _:
            return {"type": "text", "text": block["text"]}
        case "image", "base64":
            url = f"data:{source['media_type']};base64,{source['data']}"
            return {"type": "image_url", "image_url": {"url": url}}
        case "image", "url":
            return {"type": "image_url", "image_url": {"url": source["url"]}}
        case "document", "text":
            return {"type": "text", "text": _titled(block, source["data"])}
        case "document", "content" if isinstance(source["content"], str):
            return {"type": "text", "text": _titled(block, source["content"])}
        case "document", "base64":
            data = f"data:{source['media_type']};base64,{source['data']}"
            file = {"filename": block.get("title") or "document.pdf", "file_data": data}
            return {"type": "file", "file": file}
    raise unsupported(
        path, f"a block of type {str(kind)[:40]!r} from this source has a place at Anthropic only"
    )


def _titled(block: Fields, text: str) -> str:
    head = [block[name] for name in ("title", "context") if block.get(name)]
    return "\n".join([*head, text])


def _result(block: Fields, path: str) -> tuple[str, list[Fields]]:
    content = block.get("content") or ""
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    parts = [_part(inner, f"{path}.content[{number}]") for number, inner in enumerate(blocks)]
    text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    if block.get("is_error") and not text.lower().startswith("error"):
        text = f"Error: {text}"
    return text, [part for part in parts if part["type"] != "text"]


def _answer(content: list[Fields], path: str) -> Fields:
    texts: list[str] = []
    calls: list[Fields] = []
    for number, block in enumerate(content):
        match block["type"]:
            case "text":
                texts.append(block["text"])
            case "tool_use":
                arguments = msgspec.json.encode(block["input"]).decode()
                function = {"name": block["name"], "arguments": arguments}
                calls.append({"id": block["id"], "type": "function", "function": function})
            case "thinking" | "redacted_thinking":
                pass
            case kind:
                raise unsupported(
                    f"{path}.content[{number}]",
                    f"a block of type {str(kind)[:40]!r} has a place at Anthropic only",
                )
    turn: Fields = {"role": "assistant", "content": "".join(texts) or (None if calls else "")}
    return {**turn, "tool_calls": calls} if calls else turn


def _tools(tools: list[Fields]) -> Fields:
    shaped = []
    for number, tool in enumerate(tools):
        if tool.get("type") not in (None, "custom"):
            raise unsupported(f"tools[{number}]", "it is a tool that Anthropic defines or runs")
        function = {"name": tool["name"], "parameters": tool["input_schema"]}
        for name in ("description", "strict"):
            if tool.get(name):
                function[name] = tool[name]
        shaped.append({"type": "function", "function": function})
    return {"tools": shaped} if shaped else {}


def _tool_choice(choice: Fields) -> Fields:
    if choice["type"] == "tool":
        wanted: Any = {"type": "function", "function": {"name": choice["name"]}}
    else:
        wanted = _TOOL_CHOICES[choice["type"]]
    alone = {"parallel_tool_calls": False} if choice.get("disable_parallel_tool_use") else {}
    return {"tool_choice": wanted, **alone}


def _thinking(thinking: Fields) -> Fields:
    match thinking.get("type"):
        case "enabled":
            budget = thinking["budget_tokens"]
            return {"reasoning_effort": next(effort for least, effort in _EFFORT_BUDGETS if budget >= least)}
        case "adaptive":
            return {"reasoning_effort": "medium"}
    # Anthropic's models do not think unless they are told to; others may have to be told not to.
    return {"think": False}


def _output_config(config: Fields) -> Fields:
    shaped: Fields = {}
    for name, value in config.items():
        if value is None:
            continue
        if name == "effort":
            shaped["reasoning_effort"] = value
        elif name == "format":
            shaped.update(_format(value))
        else:
            raise unsupported(f"output_config.{name}", "it has a meaning at Anthropic only")
    return shaped


def _format(wanted: Fields) -> Fields:
    schema = {"name": "response", "schema": wanted["schema"], "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _metadata(metadata: Fields) -> Fields:
    return {"user": metadata["user_id"]} if metadata.get("user_id") else {}


_TRANSLATED: dict[str, Callable[[Any], Fields]] = {
    "stop_sequences": lambda stops: {"stop": stops} if stops else {},
    "tools": _tools,
    "tool_choice": _tool_choice,
    "output_config": _output_config,
    "output_format": _format,
    "metadata": _metadata,
}
