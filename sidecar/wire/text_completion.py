"""OpenAI's legacy text completions over a chat: the request as chat fields, the answer as a completion.

Chat models know no text to be continued, so the prompt is what the user says. ``echo`` is done here, log
probabilities change their shape, and what a chat has no place for is refused by name. Reasoning has no
place in a text completion and is left out, as OpenAI's own models do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from sidecar.wire.openai_response import envelope, usage_of, with_rest
from sidecar.wire.openai_tally import reported_usage
from sidecar.wire.timings import Timings
from sidecar.wire.unsupported import unsupported

_OBJECT = "text_completion"


def chat_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """A ``/v1/completions`` request as chat completion fields. Raises ``UpstreamFault`` (unsupported)."""
    shaped = {name: value for name, value in fields.items() if value is not None}
    shaped["messages"] = [{"role": "user", "content": prompt_of(shaped.pop("prompt", None))}]
    if shaped.pop("suffix", None):
        raise unsupported("suffix", "a chat model cannot write what stands between two texts")
    if shaped.pop("best_of", 1) > (shaped.get("n") or 1):
        raise unsupported("best_of", "a chat model gives all the answers that it makes")
    shaped.pop("echo", None)
    alternatives = shaped.pop("logprobs", None)
    if alternatives is not None:
        shaped["logprobs"] = True
        shaped["top_logprobs"] = alternatives
    return shaped


def prompt_of(prompt: Any) -> str:
    """The one text that ``prompt`` is. Raises ``UpstreamFault`` (unsupported) for several, or token ids."""
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        return prompt[0]
    if isinstance(prompt, list):
        several = not all(isinstance(item, int) for item in prompt)
        why = "a chat model takes one prompt a call" if several else "a chat model cannot read token ids"
        raise unsupported("prompt", why)
    if not prompt:
        raise unsupported("prompt", "a chat model begins with what is said to it, and here is nothing")
    return str(prompt)


def completion_body(
    answer: Mapping[str, Any], asked: Mapping[str, Any], *, model: str, wall_s: float
) -> bytes:
    """A whole completion. ``asked`` are the fields of the request."""
    before = _echoed(asked)
    choices = [
        {
            "text": before + _said(choice["message"]),
            "index": choice["index"],
            "logprobs": _logprobs(choice, len(before)),
            "finish_reason": choice.get("finish_reason"),
        }
        for choice in answer["choices"]
    ]
    head = {**_head(answer, model, wall_s), "choices": choices}
    return msgspec.json.encode(with_rest(head, answer))


class TextEvents:
    """Writes a chat completion stream as one of text completions; ``asked`` are the request's fields."""

    def __init__(self, asked: Mapping[str, Any], *, model: str, include_usage: bool) -> None:
        self._asked = asked
        self._model = model
        self._include_usage = include_usage
        self._head: dict[str, Any] = {}
        self._usage: dict[str, Any] | None = None
        self._lengths: dict[int, int] = {}

    def feed(self, chunk: Mapping[str, Any], wall_s: float) -> bytes:
        """The events for one chunk; empty when it says nothing new."""
        if not self._head:
            self._head = _head(chunk, self._model, wall_s)
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
        return b"data: " + msgspec.json.encode({**self._head, **fields}) + b"\n\n"

    def _choice(self, choice: Mapping[str, Any]) -> dict[str, Any] | None:
        index = choice["index"]
        text = _said(choice.get("delta") or {})
        if index not in self._lengths:
            text = _echoed(self._asked) + text
        before = self._lengths.get(index, 0)
        self._lengths[index] = before + len(text)
        finish = choice.get("finish_reason")
        if not (text or finish):
            return None
        return {"text": text, "index": index, "logprobs": _logprobs(choice, before), "finish_reason": finish}


def _head(answer: Mapping[str, Any], model: str, wall_s: float) -> dict[str, Any]:
    head = envelope(answer, model, wall_s)
    return {**head, "id": str(head.get("id", "")).replace("chatcmpl-", "cmpl-", 1), "object": _OBJECT}


def _echoed(asked: Mapping[str, Any]) -> str:
    return prompt_of(asked.get("prompt")) if asked.get("echo") else ""


def _said(message: Mapping[str, Any]) -> str:
    return message.get("content") or message.get("refusal") or ""


def _logprobs(choice: Mapping[str, Any], offset: int) -> dict[str, Any] | None:
    """A chat's log probabilities in the legacy shape; ``offset`` is where the choice's text begins."""
    content = (choice.get("logprobs") or {}).get("content")
    if not content:
        return None
    shaped: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for item in content:
        shaped["tokens"].append(item["token"])
        shaped["token_logprobs"].append(item["logprob"])
        shaped["top_logprobs"].append(
            {other["token"]: other["logprob"] for other in item.get("top_logprobs") or ()}
        )
        shaped["text_offset"].append(offset)
        offset += len(item["token"])
    return shaped
