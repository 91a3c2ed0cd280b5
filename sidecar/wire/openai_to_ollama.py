"""Turns any-llm's OpenAI-shaped answers, as plain dicts without nulls, into Ollama's JSON and NDJSON.

Facts: Ollama's API reference and ``api/types.go``. Where the upstream reported Ollama's durations they are
handed on; elsewhere they are measured here, and loading took none of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from sidecar.core.errors import Fault, UpstreamFault
from sidecar.wire.openai_tally import reported_usage
from sidecar.wire.timings import UPSTREAM_TIMINGS, Timings

_Part = Callable[[str, str, list[dict[str, Any]]], dict[str, Any]]

#: Ollama's words for why an answer ended; words it does not have are handed on as they are.
_DONE_REASONS = {"tool_calls": "stop", "function_call": "stop"}


def rfc3339(wall_s: float) -> str:
    """A Unix time in the form of Ollama's ``created_at``."""
    return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def chat_body(answer: Mapping[str, Any], *, model: str, wall_s: float, timings: Timings) -> bytes:
    """A whole ``/api/chat`` answer. Raises ``UpstreamFault`` (garbage) on unreadable tool arguments."""
    return _whole(answer, _chat_part, model, wall_s, timings)


def generate_body(answer: Mapping[str, Any], *, model: str, wall_s: float, timings: Timings) -> bytes:
    """A whole ``/api/generate`` answer."""
    return _whole(answer, _generate_part, model, wall_s, timings)


def embed_body(answer: Mapping[str, Any], *, model: str, timings: Timings) -> bytes:
    """A whole ``/api/embed`` answer."""
    body: dict[str, Any] = {
        "model": model,
        "embeddings": [item["embedding"] for item in answer["data"]],
        "total_duration": timings.total_ns,
        "load_duration": 0,
    }
    if usage := reported_usage(answer):
        body["prompt_eval_count"] = usage["prompt_tokens"]
    return msgspec.json.encode(body)


def embeddings_body(answer: Mapping[str, Any]) -> bytes:
    """A whole ``/api/embeddings`` answer."""
    return msgspec.json.encode({"embedding": answer["data"][0]["embedding"]})


class AnswerLines:
    """Writes a chat completion stream as ``/api/chat`` lines, or as ``/api/generate`` lines.

    Tool calls come in fragments and go out whole, just before the last line.
    """

    def __init__(self, *, model: str, generate: bool) -> None:
        self._model = model
        self._part = _generate_part if generate else _chat_part
        self._calls: dict[int, dict[str, Any]] = {}
        self._finish_reason = "stop"
        self._usage: dict[str, Any] | None = None

    def feed(self, chunk: Mapping[str, Any], wall_s: float) -> bytes:
        """The line for one chunk; empty when it holds nothing to show yet."""
        self._usage = reported_usage(chunk) or self._usage
        choice = next(iter(chunk.get("choices") or ()), None)
        if choice is None:
            return b""
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        delta = choice.get("delta") or {}
        for call in delta.get("tool_calls") or ():
            self._take_fragment(call)
        text, thinking = _text(delta), delta.get("reasoning") or ""
        if not (text or thinking or choice.get("logprobs")):
            return b""
        return self._line({**self._part(text, thinking, []), "done": False, **_logprobs(choice)}, wall_s)

    def end(self, wall_s: float, timings: Timings) -> bytes:
        """The lines that close the stream. Raises ``UpstreamFault`` on unreadable tool arguments."""
        calls = _tool_calls(list(self._calls.values()), self._finish_reason)
        before = self._line({**self._part("", "", calls), "done": False}, wall_s) if calls else b""
        last = {**self._part("", "", []), **_ending(self._finish_reason, self._usage, timings)}
        return before + self._line(last, wall_s)

    def _take_fragment(self, fragment: Mapping[str, Any]) -> None:
        call = self._calls.setdefault(
            fragment["index"], {"id": "", "function": {"name": "", "arguments": ""}}
        )
        call["id"] = call["id"] or fragment.get("id") or ""
        for name, piece in (fragment.get("function") or {}).items():
            call["function"][name] += piece

    def _line(self, fields: Mapping[str, Any], wall_s: float) -> bytes:
        head = {"model": self._model, "created_at": rfc3339(wall_s)}
        return msgspec.json.encode({**head, **fields}) + b"\n"


def _whole(answer: Mapping[str, Any], part: _Part, model: str, wall_s: float, timings: Timings) -> bytes:
    choice = answer["choices"][0]
    message = choice["message"]
    finish_reason = choice.get("finish_reason") or "stop"
    calls = _tool_calls(message.get("tool_calls") or [], finish_reason)
    return msgspec.json.encode(
        {
            "model": model,
            "created_at": rfc3339(wall_s),
            **part(_text(message), message.get("reasoning") or "", calls),
            **_ending(finish_reason, reported_usage(answer), timings),
            **_logprobs(choice),
        }
    )


def _chat_part(text: str, thinking: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if thinking:
        message["thinking"] = thinking
    if calls:
        message["tool_calls"] = calls
    return {"message": message}


def _generate_part(text: str, thinking: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
    part: dict[str, Any] = {"response": text}
    if thinking:
        part["thinking"] = thinking
    if calls:
        part["tool_calls"] = calls
    return part


def _text(message: Mapping[str, Any]) -> str:
    """A refusal is the answer's text where the dialect has no place of its own for it."""
    return message.get("content") or message.get("refusal") or ""


def _tool_calls(calls: list[dict[str, Any]], finish_reason: str) -> list[dict[str, Any]]:
    if finish_reason == "length":
        # A call that the output limit cut in two has no arguments that could be shown.
        return []
    return [
        {
            "id": call["id"],
            "function": {
                "index": index,
                "name": call["function"]["name"],
                "arguments": _arguments(call["function"]["arguments"]),
            },
        }
        for index, call in enumerate(calls)
    ]


def _arguments(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except msgspec.MsgspecError:
        raise UpstreamFault(Fault.GARBAGE, "a tool call's arguments are not a JSON object") from None


def _logprobs(choice: Mapping[str, Any]) -> dict[str, Any]:
    content = (choice.get("logprobs") or {}).get("content")
    return {"logprobs": content} if content else {}


def _ending(finish_reason: str, usage: Mapping[str, Any] | None, timings: Timings) -> dict[str, Any]:
    measured = {
        "total_duration": timings.total_ns,
        "load_duration": 0,
        "prompt_eval_duration": timings.first_ns,
        "eval_duration": timings.total_ns - timings.first_ns,
    }
    ending: dict[str, Any] = {"done": True, "done_reason": _DONE_REASONS.get(finish_reason, finish_reason)}
    ending.update({name: (usage or {}).get(name, measured[name]) for name in UPSTREAM_TIMINGS})
    if usage:
        ending["prompt_eval_count"] = usage.get("prompt_tokens") or 0
        ending["eval_count"] = usage.get("completion_tokens") or 0
    return ending
