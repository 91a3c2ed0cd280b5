"""Turns any-llm's OpenAI-shaped answers, as plain dicts without nulls, into Anthropic's messages and events.

What a model thinks is shown to callers who asked for thinking only: others read the first block as text.
Facts: Anthropic's API reference and its streaming guide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from sidecar.core.errors import Fault, UpstreamFault
from sidecar.wire.openai_tally import reported_usage
from sidecar.wire.timings import Timings

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


def message_body(answer: Mapping[str, Any], *, model: str, thinking: bool) -> bytes:
    """A whole message. Raises ``UpstreamFault`` (garbage) on unreadable tool arguments."""
    choice = answer["choices"][0]
    said = choice["message"]
    finish_reason = choice.get("finish_reason") or "stop"
    content: list[dict[str, Any]] = []
    if thinking and said.get("reasoning"):
        content.append({"type": "thinking", "thinking": said["reasoning"], "signature": ""})
    if text := said.get("content") or said.get("refusal"):
        content.append({"type": "text", "text": text})
    calls = [] if finish_reason == "length" else said.get("tool_calls") or []
    content += [
        {
            "type": "tool_use",
            "id": call["id"],
            "name": call["function"]["name"],
            "input": _arguments(call["function"]["arguments"]),
        }
        for call in calls
    ]
    head = _message(answer, model)
    ending = {"stop_reason": _stop_reason(finish_reason, calls), "stop_sequence": None}
    return msgspec.json.encode(
        {**head, "content": content, **ending, "usage": _usage(reported_usage(answer))}
    )


class MessageEvents:
    """Writes a chat completion stream as the events of a message: blocks that open and close in turn."""

    def __init__(self, *, model: str, thinking: bool) -> None:
        self._model = model
        self._thinking = thinking
        self._started = False
        self._open: str | int | None = None
        self._blocks = 0
        self._called: set[int] = set()
        self._finish_reason = "stop"
        self._usage: dict[str, Any] | None = None

    def feed(self, chunk: Mapping[str, Any], wall_s: float) -> bytes:
        """The events for one chunk; empty when it says nothing new. Raises ``UpstreamFault`` (garbage)."""
        out = [] if self._started else [self._start(chunk)]
        self._usage = reported_usage(chunk) or self._usage
        choice = next(iter(chunk.get("choices") or ()), None)
        if choice is not None:
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
            delta = choice.get("delta") or {}
            if self._thinking and delta.get("reasoning"):
                out += self._say("thinking", {"type": "thinking_delta", "thinking": delta["reasoning"]})
            if text := delta.get("content") or delta.get("refusal"):
                out += self._say("text", {"type": "text_delta", "text": text})
            for call in delta.get("tool_calls") or ():
                out += self._call(call)
        return b"".join(out)

    def end(self, wall_s: float, timings: Timings) -> bytes:
        """The events that close the stream."""
        out = self._close()
        reason = _stop_reason(self._finish_reason, self._called)
        delta = {"stop_reason": reason, "stop_sequence": None}
        out.append(_event({"type": "message_delta", "delta": delta, "usage": _usage(self._usage)}))
        return b"".join([*out, _event({"type": "message_stop"})])

    def _start(self, chunk: Mapping[str, Any]) -> bytes:
        self._started = True
        # How long the prompt was is known at the end only; there it is told.
        empty: dict[str, Any] = {
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _usage(None),
        }
        return _event({"type": "message_start", "message": {**_message(chunk, self._model), **empty}})

    def _say(self, kind: str, delta: dict[str, Any]) -> list[bytes]:
        out: list[bytes] = []
        if self._open != kind:
            empty = {"thinking": "", "signature": ""} if kind == "thinking" else {"text": ""}
            out = self._begin(kind, {"type": kind, **empty})
        return [*out, self._delta(delta)]

    def _call(self, call: Mapping[str, Any]) -> list[bytes]:
        index, function = call["index"], call.get("function") or {}
        out = []
        if self._open != index:
            if index in self._called:
                raise UpstreamFault(Fault.GARBAGE, "the fragments of two tool calls came mixed")
            self._called.add(index)
            block = {"type": "tool_use", "id": call.get("id") or f"toolu_{index}"}
            out = self._begin(index, {**block, "name": function.get("name") or "", "input": {}})
        if arguments := function.get("arguments"):
            out.append(self._delta({"type": "input_json_delta", "partial_json": arguments}))
        return out

    def _begin(self, kind: str | int, block: dict[str, Any]) -> list[bytes]:
        out = self._close()
        self._open = kind
        return [*out, _event({"type": "content_block_start", "index": self._blocks, "content_block": block})]

    def _close(self) -> list[bytes]:
        if self._open is None:
            return []
        self._open = None
        self._blocks += 1
        return [_event({"type": "content_block_stop", "index": self._blocks - 1})]

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _event({"type": "content_block_delta", "index": self._blocks, "delta": delta})


def _event(fields: dict[str, Any]) -> bytes:
    kind: str = fields["type"]
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(fields) + b"\n\n"


def _message(answer: Mapping[str, Any], model: str) -> dict[str, Any]:
    named = answer.get("model") or ""
    return {
        "id": "msg_" + str(answer.get("id") or "").removeprefix("chatcmpl-"),
        "type": "message",
        "role": "assistant",
        "model": model if named in ("", "unknown") else named,
    }


def _stop_reason(finish_reason: str, calls: Any) -> str:
    """Why it ended; a finished answer with tool calls ended in order to call them, whatever is said."""
    return "tool_use" if calls and finish_reason == "stop" else _STOP_REASONS.get(finish_reason, "end_turn")


def _usage(usage: Mapping[str, Any] | None) -> dict[str, Any]:
    """Anthropic counts what it read from its cache apart from the input."""
    reported = usage or {}
    cached = (reported.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return {
        "input_tokens": max(0, (reported.get("prompt_tokens") or 0) - cached),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": reported.get("completion_tokens") or 0,
    }


def _arguments(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except msgspec.MsgspecError:
        raise UpstreamFault(Fault.GARBAGE, "a tool call's arguments are not a JSON object") from None
