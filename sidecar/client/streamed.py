"""Reads a streamed answer: its text as it comes, and at its end what the sidecar says of the call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sidecar.client.errors import BrokenOff, NotASidecar
from sidecar.client.response import LLMResponse, usd
from sidecar.wire.sse import EventSplitter, event_data

#: The comment in which the sidecar tells the end of a call that asked for it.
_SUMMARY = b": x-sidecar "


class StreamedAnswer:
    """Feed it the bytes of a stream; it gives the pieces of text, and at the end the response."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self._events = EventSplitter()
        self._pieces: list[str] = []
        self._tool_calls: dict[int, dict[str, Any]] = {}
        self._finish_reason = ""
        self._done = False
        self._summary: dict[str, Any] | None = None

    @property
    def content(self) -> str:
        """The text until now."""
        return "".join(self._pieces)

    def feed(self, chunk: bytes) -> list[str]:
        """The pieces of text that ``chunk`` completes. Raises ``BrokenOff`` when it tells of an error."""
        return [piece for event in self._events.feed(chunk) if (piece := self._take(event))]

    def broken(self, message: str, code: str = "") -> BrokenOff:
        """The error for an answer that goes no further."""
        request_id = self._headers.get("x-sidecar-request-id", "")
        return BrokenOff(message, content=self.content, code=code, request_id=request_id)

    def response(self, latency_ms: float) -> LLMResponse:
        """The whole answer, once the stream has ended. Raises ``BrokenOff`` when it ended too early."""
        if not self._done or self._summary is None:
            raise self.broken("the stream ended before the answer did")
        told = self._summary
        return LLMResponse(
            content=self.content,
            finish_reason=self._finish_reason,
            tool_calls=tuple(call for _, call in sorted(self._tool_calls.items())),
            provider=told["tier"],
            model=told["model"],
            input_tokens=told["input_tokens"],
            output_tokens=told["output_tokens"],
            cost_usd=usd(told["cost_usd"]),
            latency_ms=latency_ms,
            routing_reason=told["reason"],
            fallback_tiers=tuple(told["fallback"]),
            arm=told["arm"],
            request_id=told["request_id"],
            trace_id=told["trace_id"],
        )

    def _take(self, event: bytes) -> str:
        if event.startswith(_SUMMARY):
            self._summary = json.loads(event[len(_SUMMARY) :])
            return ""
        data = event_data(event)
        if not data:
            return ""
        if data.strip() == b"[DONE]":
            self._done = True
            return ""
        try:
            fields = json.loads(data)
        except ValueError:
            raise NotASidecar("the stream holds something that is not JSON") from None
        if error := fields.get("error"):
            raise self.broken(str(error.get("message") or error), str(error.get("code") or ""))
        return "".join(map(self._take_choice, fields.get("choices") or ()))

    def _take_choice(self, choice: dict[str, Any]) -> str:
        if choice.get("index", 0) != 0:
            return ""
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        delta = choice.get("delta") or {}
        for part in delta.get("tool_calls") or ():
            self._take_tool_call(part)
        piece: str = delta.get("content") or ""
        if piece:
            self._pieces.append(piece)
        return piece

    def _take_tool_call(self, part: dict[str, Any]) -> None:
        """Join ``part`` to its call: identity comes once, the arguments in pieces."""
        empty = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        call = self._tool_calls.setdefault(part.get("index", 0), empty)
        call["id"] = part.get("id") or call["id"]
        function = part.get("function") or {}
        call["function"]["name"] = function.get("name") or call["function"]["name"]
        call["function"]["arguments"] += function.get("arguments") or ""
