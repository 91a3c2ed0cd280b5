"""Reads usage, text and ending on the side of a response of OpenAI's Responses that is relayed as it is."""

from __future__ import annotations

from typing import Any

import msgspec

from sidecar.core.ports import Tally
from sidecar.core.vocabulary import Usage
from sidecar.wire.error_body import error_words
from sidecar.wire.openai_tally import output_tokens
from sidecar.wire.sse import EventSplitter, event_data
from sidecar.wire.text_size import utf8_length


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


class _Part(msgspec.Struct):
    text: str | None = None
    refusal: str | None = None


class _Item(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    content: list[_Part] | None = None
    summary: list[_Part] | None = None


class _Why(msgspec.Struct):
    reason: str | None = None


class _Response(msgspec.Struct):
    status: str | None = None
    output: list[_Item] | None = None
    usage: _Usage | None = None
    error: Any = None
    incomplete_details: _Why | None = None


class _Event(msgspec.Struct):
    type: str | None = None
    delta: Any = None
    item: _Item | None = None
    response: _Response | None = None
    error: Any = None
    message: str | None = None


_RESPONSE = msgspec.json.Decoder(_Response)
_EVENT = msgspec.json.Decoder(_Event)
_ENDINGS = ("response.completed", "response.incomplete")


class ResponseStreamFold:
    """Folds the events of a streamed response."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.error = ""
        self.garbage = False
        self._events = EventSplitter()

    def feed(self, chunk: bytes) -> bytes:
        """``chunk`` up to its last whole event, with what had come before."""
        events = self._events.feed(chunk)
        for event in events:
            self._read(event)
        return b"".join(events)

    def finish(self) -> bytes:
        """What came after the last whole event."""
        rest = self._events.rest()
        if rest.strip():
            self.garbage = self.garbage or not rest.startswith((b"event", b"data", b":"))
            self._read(rest)
        return rest

    def _read(self, raw: bytes) -> None:
        data = event_data(raw)
        if not data or data == b"[DONE]":
            return
        try:
            event = _EVENT.decode(data)
        except msgspec.MsgspecError:
            self.garbage = True
            # It goes to the caller as it is, so it may have been generated and billed.
            self.tally.output_text_bytes += len(data)
            return
        if isinstance(event.delta, str):
            self.tally.output_text_bytes += utf8_length(event.delta)
        elif event.type == "response.output_item.added" and event.item is not None:
            self.tally.output_text_bytes += utf8_length(event.item.name)
        if event.type == "error" or event.error is not None:
            self.error = error_words(event.error or {"message": event.message})
        elif event.type == "response.failed":
            self.error = error_words(event.response.error if event.response is not None else None)
        elif event.type in _ENDINGS and event.response is not None:
            _end(self.tally, event.response)


def read_response(body: bytes, tally: Tally) -> tuple[str, bool]:
    """Read a whole response into ``tally``; the error that it turned out to be, and whether it is none."""
    try:
        response = _RESPONSE.decode(body)
    except msgspec.MsgspecError:
        tally.output_text_bytes += len(body)
        return "", True
    if response.error is not None or response.status == "failed":
        return error_words(response.error), False
    if response.output is None:
        return "", True
    for item in response.output:
        tally.output_text_bytes += (
            utf8_length(item.name) + utf8_length(item.arguments) + utf8_length(item.input)
        )
        for part in (*(item.content or ()), *(item.summary or ())):
            tally.output_text_bytes += utf8_length(part.text) + utf8_length(part.refusal)
    _end(tally, response)
    return "", False


def _end(tally: Tally, response: _Response) -> None:
    tally.finished = True
    why = response.incomplete_details
    tally.finish_reason = (why.reason if why is not None else None) or response.status or ""
    if response.usage is not None:
        read, written = response.usage.input_tokens_details, response.usage.output_tokens_details
        tally.usage = Usage(
            input_tokens=response.usage.input_tokens,
            output_tokens=output_tokens(
                response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens
            ),
            cached_input_tokens=(read.cached_tokens if read is not None else None) or 0,
            reasoning_tokens=(written.reasoning_tokens if written is not None else None) or 0,
        )
