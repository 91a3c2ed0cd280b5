"""Writes an any-llm answer, as plain dicts without nulls, as the JSON and SSE bytes that OpenAI sends.

any-llm's answers differ from OpenAI's in small ways that clients trip over: a new id and time per chunk,
the role on every chunk, empty deltas, tool calls that finish with ``stop``, usage on a chunk with text,
Ollama's timings inside the usage. They are mended here. Facts: OpenAI's API reference and recorded answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from sidecar.wire.openai_tally import reported_usage
from sidecar.wire.timings import UPSTREAM_TIMINGS, Timings

#: Written first and in this order, as OpenAI does; whatever else an upstream adds follows.
_ENVELOPE = ("id", "object", "created", "model", "service_tier", "system_fingerprint")
#: What a choice may add to a chunk. ``role`` is only said once.
_DELTA_SAYS = ("content", "reasoning", "refusal", "tool_calls")


def completion_body(answer: Mapping[str, Any], *, model: str, wall_s: float) -> bytes:
    """A whole chat completion. ``model`` and ``wall_s`` stand in where the upstream named none."""
    choices = [
        {
            "index": choice["index"],
            "message": _message(choice["message"]),
            "logprobs": choice.get("logprobs"),
            "finish_reason": choice.get("finish_reason"),
        }
        for choice in answer["choices"]
    ]
    body = {**envelope(answer, model, wall_s), "choices": choices}
    return msgspec.json.encode(with_rest(body, answer))


def embeddings_body(answer: Mapping[str, Any], *, model: str) -> bytes:
    """A whole embedding answer."""
    usage = reported_usage(answer) or {"prompt_tokens": 0, "total_tokens": 0}
    return msgspec.json.encode(
        {"object": "list", "data": answer["data"], "model": _model(answer, model), "usage": usage}
    )


class CompletionEvents:
    """Writes a chat completion stream as server-sent events, one id and time for all of them.

    ``include_usage`` is what the caller asked for; without it OpenAI sends no usage.
    """

    def __init__(self, *, model: str, include_usage: bool) -> None:
        self._model = model
        self._include_usage = include_usage
        self._envelope: dict[str, Any] = {}
        self._usage: dict[str, Any] | None = None
        self._calls: dict[int, dict[int, int]] = {}

    def feed(self, chunk: Mapping[str, Any], wall_s: float) -> bytes:
        """The events for one chunk; empty when it says nothing new."""
        if not self._envelope:
            self._envelope = envelope(chunk, self._model, wall_s)
        self._usage = reported_usage(chunk) or self._usage
        choices = [said for choice in chunk.get("choices") or () if (said := self._choice(choice))]
        return self._event({"choices": choices}) if choices else b""

    def end(self, wall_s: float, timings: Timings) -> bytes:
        """The events that close the stream."""
        last = b""
        if self._include_usage and self._usage:
            last = self._event({"choices": [], "usage": usage_of(self._usage)})
        return last + b"data: [DONE]\n\n"

    def _event(self, fields: dict[str, Any]) -> bytes:
        if self._include_usage:
            fields.setdefault("usage", None)
        return b"data: " + msgspec.json.encode({**self._envelope, **fields}) + b"\n\n"

    def _choice(self, choice: Mapping[str, Any]) -> dict[str, Any] | None:
        index = choice["index"]
        first = index not in self._calls
        calls = self._calls.setdefault(index, {})
        delta = {
            name: value
            for name, value in (choice.get("delta") or {}).items()
            if name != "role" and (value or name not in _DELTA_SAYS)
        }
        if delta.get("tool_calls"):
            delta["tool_calls"] = [_tool_delta(call, calls) for call in delta["tool_calls"]]
        finish = choice.get("finish_reason")
        if first:
            opening = None if delta.get("tool_calls") else ""
            delta = {"role": "assistant", "content": opening, "refusal": None, **delta}
        elif not (delta or finish or choice.get("logprobs")):
            return None
        if finish == "stop" and calls:
            finish = "tool_calls"
        return {"index": index, "delta": delta, "logprobs": choice.get("logprobs"), "finish_reason": finish}


def _tool_delta(call: Mapping[str, Any], calls: dict[int, int]) -> dict[str, Any]:
    """The fragment with its call's place among the calls; Anthropic's indices count other blocks too."""
    return {**call, "index": calls.setdefault(call["index"], len(calls))}


def envelope(answer: Mapping[str, Any], model: str, wall_s: float) -> dict[str, Any]:
    """What stands around the choices; ``model`` and ``wall_s`` stand in where the upstream named none."""
    envelope = {name: answer[name] for name in _ENVELOPE if name in answer}
    envelope["created"] = answer.get("created") or int(wall_s)
    envelope["model"] = _model(answer, model)
    return envelope


def _model(answer: Mapping[str, Any], model: str) -> str:
    named: str = answer.get("model") or ""
    return model if named in ("", "unknown") else named


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    calls = message.get("tool_calls")
    content = message.get("content")
    shaped = {"role": "assistant", "content": content or None if calls else content, "refusal": None}
    return {**shaped, **{name: value for name, value in message.items() if name not in ("role", "content")}}


def usage_of(usage: Mapping[str, Any]) -> dict[str, Any]:
    """The usage without Ollama's timings."""
    return {name: value for name, value in usage.items() if name not in UPSTREAM_TIMINGS}


def with_rest(body: dict[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """``body`` with the usage, if any, and whatever the upstream said beyond OpenAI's own fields."""
    if usage := reported_usage(answer):
        body["usage"] = usage_of(usage)
    return {**body, **{name: value for name, value in answer.items() if name not in body and name != "usage"}}
