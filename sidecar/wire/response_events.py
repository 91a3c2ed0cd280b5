"""Writes a chat completion stream as the events of a response: items that are added, filled and done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from sidecar.core.errors import Fault, UpstreamFault
from sidecar.wire.openai_tally import reported_usage
from sidecar.wire.openai_to_responses import (
    Fields,
    ResponseHead,
    call_item,
    message_item,
    reasoning_item,
    text_part,
)
from sidecar.wire.timings import Timings

_INCOMPLETE = ("length", "content_filter")


class ResponseEvents:
    """The events of one response; ``asked`` are the fields of the request without metadata that was ours."""

    def __init__(self, asked: Mapping[str, Any], *, model: str, reasoning: bool) -> None:
        self._asked = asked
        self._model = model
        self._reasoning = reasoning
        self._head: ResponseHead | None = None
        self._sequence = 0
        self._output: list[Fields] = []
        self._open: str | int | None = None
        self._text = ""
        self._logprobs: list[Fields] = []
        self._call: Fields = {}
        self._called: set[int] = set()
        self._finish_reason = "stop"
        self._usage: dict[str, Any] | None = None

    def feed(self, chunk: Mapping[str, Any], wall_s: float) -> bytes:
        """The events for one chunk; empty when it says nothing new. Raises ``UpstreamFault`` (garbage)."""
        out = [] if self._head is not None else self._start(chunk, wall_s)
        self._usage = reported_usage(chunk) or self._usage
        choice = next(iter(chunk.get("choices") or ()), None)
        if choice is not None:
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
            delta = choice.get("delta") or {}
            if self._reasoning and delta.get("reasoning"):
                out += self._reason(delta["reasoning"])
            for kind in ("content", "refusal"):
                if text := delta.get(kind):
                    out += self._say(kind, text, (choice.get("logprobs") or {}).get("content") or [])
            for call in delta.get("tool_calls") or ():
                out += self._fragment(call)
        return b"".join(out)

    def end(self, wall_s: float, timings: Timings) -> bytes:
        """The events that close the stream."""
        incomplete = self._finish_reason in _INCOMPLETE
        out = self._close("incomplete" if incomplete else "completed")
        assert self._head is not None
        body = self._head.body(self._output, self._finish_reason, self._usage, wall_s)
        out.append(self._event("response.incomplete" if incomplete else "response.completed", response=body))
        return b"".join(out)

    def _start(self, chunk: Mapping[str, Any], wall_s: float) -> list[bytes]:
        self._head = ResponseHead(chunk, self._asked, model=self._model, wall_s=wall_s)
        body = self._head.body([], "", None)
        return [self._event(kind, response=body) for kind in ("response.created", "response.in_progress")]

    def _event(self, kind: str, **fields: Any) -> bytes:
        body = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(body) + b"\n\n"

    def _of_item(self, kind: str, **fields: Any) -> bytes:
        """An event of the item that is open."""
        return self._event(kind, item_id=self._id(), output_index=len(self._output), **fields)

    def _id(self) -> str:
        item_id: str = self._item("in_progress")["id"]
        return item_id

    def _item(self, status: str) -> Fields:
        """The item that is open, with what has come of it."""
        assert self._head is not None
        key = self._head.key
        if self._open == "reasoning":
            return reasoning_item(key, self._text)
        if isinstance(self._open, int):
            number = len(self._called) - 1
            return call_item(key, number, self._call["id"], self._call["name"], self._text, status)
        return message_item(key, [self._part()], status)

    def _part(self) -> Fields:
        if self._open == "refusal":
            return {"type": "refusal", "refusal": self._text}
        return text_part(self._text, self._logprobs)

    def _begin(self, kind: str | int) -> list[bytes]:
        out = self._close("completed")
        self._open, self._text, self._logprobs = kind, "", []
        item = self._item("in_progress")
        item |= {"summary": []} if kind == "reasoning" else {}
        item |= {"content": []} if isinstance(kind, str) and kind != "reasoning" else {}
        out.append(self._event("response.output_item.added", output_index=len(self._output), item=item))
        if kind == "reasoning":
            part = {"type": "summary_text", "text": ""}
            out.append(self._of_item("response.reasoning_summary_part.added", summary_index=0, part=part))
        elif isinstance(kind, str):
            out.append(self._of_item("response.content_part.added", content_index=0, part=self._part()))
        return out

    def _reason(self, text: str) -> list[bytes]:
        out = [] if self._open == "reasoning" else self._begin("reasoning")
        self._text += text
        kind = "response.reasoning_summary_text.delta"
        return [*out, self._of_item(kind, summary_index=0, delta=text)]

    def _say(self, kind: str, text: str, logprobs: list[Fields]) -> list[bytes]:
        out = [] if self._open == kind else self._begin(kind)
        self._text += text
        self._logprobs += logprobs
        if kind == "refusal":
            return [*out, self._of_item("response.refusal.delta", content_index=0, delta=text)]
        event = self._of_item("response.output_text.delta", content_index=0, delta=text, logprobs=logprobs)
        return [*out, event]

    def _fragment(self, call: Mapping[str, Any]) -> list[bytes]:
        index, function = call["index"], call.get("function") or {}
        out = []
        if self._open != index:
            if index in self._called:
                raise UpstreamFault(Fault.GARBAGE, "the fragments of two tool calls came mixed")
            out = self._close("completed")
            self._called.add(index)
            self._call = {"id": call.get("id") or f"call_{index}", "name": function.get("name") or ""}
            out += self._begin(index)
        if arguments := function.get("arguments"):
            self._text += arguments
            out.append(self._of_item("response.function_call_arguments.delta", delta=arguments))
        return out

    def _close(self, status: str) -> list[bytes]:
        if self._open is None:
            return []
        if self._open == "reasoning":
            part = {"type": "summary_text", "text": self._text}
            out = [
                self._of_item("response.reasoning_summary_text.done", summary_index=0, text=self._text),
                self._of_item("response.reasoning_summary_part.done", summary_index=0, part=part),
            ]
        elif isinstance(self._open, int):
            out = [
                self._of_item(
                    "response.function_call_arguments.done", name=self._call["name"], arguments=self._text
                )
            ]
        else:
            done = {"refusal": self._text} if self._open == "refusal" else self._done_text()
            kind = "response.refusal.done" if self._open == "refusal" else "response.output_text.done"
            out = [
                self._of_item(kind, content_index=0, **done),
                self._of_item("response.content_part.done", content_index=0, part=self._part()),
            ]
        item = self._item(status)
        out.append(self._event("response.output_item.done", output_index=len(self._output), item=item))
        self._output.append(item)
        self._open = None
        return out

    def _done_text(self) -> Fields:
        return {"text": self._text, "logprobs": self._logprobs}
