"""Turns the fields of a request to OpenAI's Responses into those of a chat completion.

Every field is carried, stands in a table as changing nothing about the answer, or is refused by name, and
another tier may take the call. Facts: OpenAI's API reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sidecar.wire.unsupported import unsupported

Fields = dict[str, Any]

#: Carried under the same name; ``target_fields`` decides for each upstream.
_SAME = frozenset(
    {
        *("temperature", "top_p", "parallel_tool_calls", "user", "metadata", "service_tier"),
        *("safety_identifier", "prompt_cache_key", "prompt_cache_retention"),
    }
)
#: Fields that change nothing about the answer of an upstream that is not OpenAI's.
HOUSEKEEPING = {
    "include": "what else OpenAI shows of its own tools, and of reasoning that it keeps",
    "max_tool_calls": "limits the tools that OpenAI runs, and there are none",
    "stream_options": "shapes the stream, which is made here",
    "truncation": "what OpenAI leaves out of a conversation that is too long for the model",
}
#: What is kept at OpenAI, or made there when nobody waits for it.
_KEPT = ("previous_response_id", "conversation", "prompt", "background", "store")
#: Fields of the envelope, which the lane reads itself.
_ENVELOPE = frozenset({"model", "stream"})
_TEXTS = ("input_text", "output_text", "text")


def chat_fields(fields: Fields) -> Fields:
    """A ``/v1/responses`` request as chat completion fields. Raises ``UpstreamFault`` (unsupported).

    Reasoning of earlier turns is left out: a chat has no place for it.
    """
    for name in _KEPT:
        if fields.get(name):
            raise unsupported(name, "only OpenAI keeps conversations, prompts and answers")
    shaped: Fields = {"messages": _messages(fields)}
    for name, value in fields.items():
        if (
            value is None
            or name in _ENVELOPE
            or name in HOUSEKEEPING
            or name in (*_KEPT, "input", "instructions")
        ):
            continue
        if name in _SAME:
            shaped[name] = value
        elif (translate := _TRANSLATED.get(name)) is not None:
            shaped.update(translate(value))
        elif value:
            raise unsupported(name, "it has a meaning at OpenAI's Responses only")
    if "message.output_text.logprobs" in (fields.get("include") or ()) or shaped.get("top_logprobs"):
        shaped["logprobs"] = True
    return shaped


def shows_reasoning(fields: Fields) -> bool:
    """Whether the caller wants to be shown what the model reasons, or a summary of it."""
    reasoning = fields.get("reasoning")
    return isinstance(reasoning, dict) and bool(reasoning.get("summary") or reasoning.get("generate_summary"))


def _messages(fields: Fields) -> list[Fields]:
    instructions = fields.get("instructions")
    messages = [{"role": "system", "content": instructions}] if instructions else []
    given = fields["input"]
    if isinstance(given, str):
        return [*messages, {"role": "user", "content": given}]
    turns = _Turns(messages)
    for number, item in enumerate(given):
        turns.take(item, f"input[{number}]")
    return turns.all()


class _Turns:
    """Puts items together into the turns of a chat: calls join the assistant's, images follow results."""

    def __init__(self, messages: list[Fields]) -> None:
        self._messages = messages
        self._images: list[Fields] = []

    def take(self, item: Fields, path: str) -> None:
        kind = item.get("type") or "message"
        if kind == "reasoning":
            return
        if kind == "function_call_output":
            self._result(item, path)
            return
        self._show_images()
        if kind == "function_call":
            function = {"name": item["name"], "arguments": item["arguments"]}
            call = {"id": item["call_id"], "type": "function", "function": function}
            last = self._messages[-1] if self._messages else None
            if last is None or last["role"] != "assistant":
                last = {"role": "assistant", "content": None}
                self._messages.append(last)
            last.setdefault("tool_calls", []).append(call)
        elif kind == "message":
            self._messages.append({"role": item["role"], "content": _content(item, path)})
        else:
            raise unsupported(path, f"an item of type {str(kind)[:40]!r} has a place at OpenAI only")

    def all(self) -> list[Fields]:
        self._show_images()
        return self._messages

    def _result(self, item: Fields, path: str) -> None:
        output = item["output"]
        parts = [{"type": "input_text", "text": output}] if isinstance(output, str) else output
        shaped = [_part(part, f"{path}.output[{number}]") for number, part in enumerate(parts)]
        text = "\n".join(part["text"] for part in shaped if part["type"] == "text")
        self._messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": text})
        self._images += [part for part in shaped if part["type"] != "text"]

    def _show_images(self) -> None:
        """A tool's result is text in a chat; what it shows stands in the turn that follows."""
        if self._images:
            self._messages.append({"role": "user", "content": self._images})
            self._images = []


def _content(item: Fields, path: str) -> str | list[Fields]:
    content = item["content"]
    if isinstance(content, str):
        return content
    parts = [_part(part, f"{path}.content[{number}]") for number, part in enumerate(content)]
    if item["role"] == "assistant" or (len(parts) == 1 and parts[0]["type"] == "text"):
        return "".join(part["text"] for part in parts)
    return parts


def _part(part: Fields, path: str) -> Fields:
    kind = part["type"]
    if kind in _TEXTS:
        return {"type": "text", "text": part["text"]}
    if kind == "refusal":
        return {"type": "text", "text": part["refusal"]}
    if kind == "input_image" and part.get("image_url"):
        detail = {"detail": part["detail"]} if part.get("detail") not in (None, "auto") else {}
        return {"type": "image_url", "image_url": {"url": part["image_url"], **detail}}
    if kind == "input_file" and part.get("file_data"):
        file = {"filename": part.get("filename") or "file", "file_data": part["file_data"]}
        return {"type": "file", "file": file}
    raise unsupported(path, f"a part of type {str(kind)[:40]!r} from this source has a place at OpenAI only")


def _text(text: Fields) -> Fields:
    shaped: Fields = {}
    for name, value in text.items():
        if value is None:
            continue
        if name == "verbosity":
            shaped["verbosity"] = value
        elif name == "format":
            shaped.update(_format(value))
        else:
            raise unsupported(f"text.{name}", "it has a meaning at OpenAI's Responses only")
    return shaped


def _format(wanted: Fields) -> Fields:
    if wanted["type"] == "text":
        return {}
    if wanted["type"] == "json_schema":
        schema = {name: value for name, value in wanted.items() if name != "type" and value is not None}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    return {"response_format": wanted}


def _reasoning(reasoning: Fields) -> Fields:
    for name, value in reasoning.items():
        if value is not None and name not in ("effort", "summary", "generate_summary"):
            raise unsupported(f"reasoning.{name}", "it has a meaning at OpenAI's Responses only")
    return {"reasoning_effort": reasoning["effort"]} if reasoning.get("effort") else {}


def _tools(tools: list[Fields]) -> Fields:
    shaped = []
    for number, tool in enumerate(tools):
        if tool["type"] != "function":
            raise unsupported(f"tools[{number}]", "it is a tool that OpenAI defines or runs")
        names = ("name", "description", "parameters", "strict")
        function = {name: tool[name] for name in names if tool.get(name) is not None}
        shaped.append({"type": "function", "function": function})
    return {"tools": shaped} if shaped else {}


def _tool_choice(choice: Any) -> Fields:
    if isinstance(choice, str):
        return {"tool_choice": choice}
    if choice["type"] != "function":
        raise unsupported("tool_choice", "it has a meaning at OpenAI's Responses only")
    return {"tool_choice": {"type": "function", "function": {"name": choice["name"]}}}


_TRANSLATED: dict[str, Callable[[Any], Fields]] = {
    "max_output_tokens": lambda limit: {"max_tokens": limit},
    "text": _text,
    "reasoning": _reasoning,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "top_logprobs": lambda count: {"top_logprobs": count} if count else {},
}
