"""Keeps the tally of an answer from its OpenAI-shaped completion, chunks or embeddings, as plain dicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sidecar.core.ports import Tally
from sidecar.core.vocabulary import Usage
from sidecar.wire.text_size import utf8_length


def reported_usage(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """The usage of a completion, chunk or embedding answer; None when it counts no token at all.

    any-llm fills in zeros where an upstream reported nothing, and no call costs nothing at all.
    """
    usage = answer.get("usage")
    if not usage or not (usage.get("prompt_tokens") or usage.get("completion_tokens")):
        return None
    return dict(usage)


def output_tokens(prompt: int | None, completion: int | None, total: int | None) -> int:
    """The output of a usage. Some leave reasoning out of the completion, and count it in the total alone."""
    return max(completion or 0, (total or 0) - (prompt or 0))


def tally_completion(tally: Tally, answer: Mapping[str, Any]) -> None:
    """Take in a whole chat completion."""
    for choice in answer["choices"]:
        tally.output_text_bytes += _text_bytes(choice["message"])
        tally.finish_reason = choice.get("finish_reason") or tally.finish_reason
    _take_usage(tally, answer)
    tally.finished = True


def tally_embeddings(tally: Tally, answer: Mapping[str, Any]) -> None:
    """Take in a whole embedding answer."""
    _take_usage(tally, answer)
    tally.finished = True


def tally_chunk(tally: Tally, chunk: Mapping[str, Any]) -> None:
    """Take in one chunk of a stream. It is finished when its choices have said why they ended."""
    for choice in chunk.get("choices") or ():
        tally.output_text_bytes += _text_bytes(choice.get("delta") or {})
        tally.take_choice(choice.get("index") or 0, choice.get("finish_reason"))
    if "usage" in chunk:
        _take_usage(tally, chunk)


def _take_usage(tally: Tally, answer: Mapping[str, Any]) -> None:
    usage = reported_usage(answer)
    if usage is None:
        return
    tally.usage = Usage(
        input_tokens=usage.get("prompt_tokens") or 0,
        output_tokens=output_tokens(
            usage.get("prompt_tokens"), usage.get("completion_tokens"), usage.get("total_tokens")
        ),
        cached_input_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
        reasoning_tokens=(usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0,
    )


def _text_bytes(message: Mapping[str, Any]) -> int:
    """UTF-8 bytes of everything a model wrote: text, reasoning, refusal, tool names and arguments."""
    total = 0
    for name in ("content", "reasoning", "refusal"):
        if text := message.get(name):
            total += utf8_length(text)
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        total += utf8_length(function.get("name") or "") + utf8_length(function.get("arguments") or "")
        custom = call.get("custom") or {}
        total += utf8_length(custom.get("name") or "") + utf8_length(custom.get("input") or "")
    older = message.get("function_call") or {}
    return total + utf8_length(older.get("name") or "") + utf8_length(older.get("arguments") or "")
