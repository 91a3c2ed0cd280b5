"""Turns any-llm's OpenAI-shaped answers, as plain dicts without nulls, into a response of OpenAI's Responses.

What a model reasons is shown as a summary to callers who asked for one. Nothing is kept, so ``store`` is
always false. Facts: OpenAI's API reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sidecar.wire.openai_tally import reported_usage

Fields = dict[str, Any]

#: What a response repeats of its request, and what it says where the request was silent.
_REPEATED: Fields = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "prompt_cache_key": None,
    "service_tier": "default",
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponseHead:
    """What a response says of itself and its request, from its beginning to its end.

    ``key`` is what the ids of its items have in common.
    """

    def __init__(
        self, answer: Mapping[str, Any], asked: Mapping[str, Any], *, model: str, wall_s: float
    ) -> None:
        named = answer.get("model") or ""
        self.key = str(answer.get("id") or "").removeprefix("chatcmpl-")
        self._fields: Fields = {
            "id": f"resp_{self.key}",
            "object": "response",
            "created_at": answer.get("created") or int(wall_s),
            "background": False,
            "error": None,
            "model": model if named in ("", "unknown") else named,
            "previous_response_id": None,
            "store": False,
            **{name: value if asked.get(name) is None else asked[name] for name, value in _REPEATED.items()},
        }

    def body(
        self,
        output: list[Fields],
        finish_reason: str,
        usage: Mapping[str, Any] | None,
        completed_at: float | None = None,
    ) -> Fields:
        """The response as an object; without a ``finish_reason`` it is still in progress."""
        why = _INCOMPLETE.get(finish_reason)
        return {
            **self._fields,
            "status": "incomplete" if why else "completed" if finish_reason else "in_progress",
            "incomplete_details": {"reason": why} if why else None,
            "completed_at": None if why or completed_at is None else int(completed_at),
            "output": output,
            "usage": response_usage(usage) if finish_reason else None,
        }


def response_body(
    answer: Mapping[str, Any], asked: Mapping[str, Any], *, model: str, wall_s: float, reasoning: bool
) -> Fields:
    """A whole response; ``asked`` are the fields of the request without metadata that was ours."""
    head = ResponseHead(answer, asked, model=model, wall_s=wall_s)
    choice = answer["choices"][0]
    said = choice["message"]
    finish_reason = choice.get("finish_reason") or "stop"
    status = "incomplete" if finish_reason in _INCOMPLETE else "completed"
    output = []
    if reasoning and said.get("reasoning"):
        output.append(reasoning_item(head.key, said["reasoning"]))
    if said.get("content") or said.get("refusal"):
        part = text_part(said.get("content") or "", (choice.get("logprobs") or {}).get("content") or [])
        if not said.get("content"):
            part = {"type": "refusal", "refusal": said["refusal"]}
        output.append(message_item(head.key, [part], status))
    output += [
        call_item(
            head.key, number, call["id"], call["function"]["name"], call["function"]["arguments"], status
        )
        for number, call in enumerate(said.get("tool_calls") or ())
    ]
    return head.body(output, finish_reason, reported_usage(answer), wall_s)


def reasoning_item(key: str, text: str | None) -> Fields:
    """What was reasoned, as a summary; None: nothing yet."""
    summary = [] if text is None else [{"type": "summary_text", "text": text}]
    return {"id": f"rs_{key}", "type": "reasoning", "summary": summary}


def message_item(key: str, content: list[Fields], status: str) -> Fields:
    """What was said."""
    return {"id": f"msg_{key}", "type": "message", "status": status, "role": "assistant", "content": content}


def text_part(text: str, logprobs: list[Fields]) -> Fields:
    """The text of a message."""
    return {"type": "output_text", "annotations": [], "logprobs": logprobs, "text": text}


def call_item(key: str, number: int, call_id: str, name: str, arguments: str, status: str) -> Fields:
    """A call of one of the app's functions."""
    return {
        "id": f"fc_{key}_{number}",
        "type": "function_call",
        "status": status,
        "arguments": arguments,
        "call_id": call_id,
        "name": name,
    }


def response_usage(usage: Mapping[str, Any] | None) -> Fields | None:
    """A chat's usage in the words of Responses."""
    if usage is None:
        return None
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    read, written = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": read + written,
    }
