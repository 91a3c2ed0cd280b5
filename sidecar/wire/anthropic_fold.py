"""Reads usage, text and ending on the side of an Anthropic message that is relayed as it is."""

from __future__ import annotations

from typing import Any

import msgspec

from sidecar.core.ports import Tally
from sidecar.core.vocabulary import Usage
from sidecar.wire.error_body import error_words
from sidecar.wire.sse import EventSplitter, event_data
from sidecar.wire.text_size import utf8_length


class _CacheCreation(msgspec.Struct):
    ephemeral_1h_input_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None
    output_tokens_details: _OutputDetails | None = None


class _Block(msgspec.Struct):
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    name: str | None = None
    input: Any = None
    stop_reason: str | None = None


class _Message(msgspec.Struct):
    type: str | None = None
    content: list[_Block] | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None
    error: Any = None
    input_tokens: int | None = None


class _Event(msgspec.Struct):
    type: str | None = None
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Block | None = None
    usage: _Usage | None = None
    error: Any = None


_MESSAGE = msgspec.json.Decoder(_Message)
_EVENT = msgspec.json.Decoder(_Event)


class MessageStreamFold:
    """Folds the events of a streamed message."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.error = ""
        self.garbage = False
        self._events = EventSplitter()
        self._begun: _Usage | None = None

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
        if not data:
            return
        try:
            event = _EVENT.decode(data)
        except msgspec.MsgspecError:
            self.garbage = True
            # It goes to the caller as it is, so it may have been generated and billed.
            self.tally.output_text_bytes += len(data)
            return
        if event.error is not None:
            self.error = error_words(event.error)
        if event.message is not None:
            self._begun = event.message.usage
        for block in (event.content_block, event.delta):
            if block is not None:
                self.tally.output_text_bytes += _text_bytes(block)
                self.tally.finish_reason = block.stop_reason or self.tally.finish_reason
        if event.usage is not None:
            self.tally.usage = _usage(event.usage, self._begun)
        if event.type == "message_stop":
            self.tally.finished = True


def read_message(body: bytes, tally: Tally) -> tuple[str, bool]:
    """Read a whole message into ``tally``; the error that it turned out to be, and whether it is none."""
    try:
        message = _MESSAGE.decode(body)
    except msgspec.MsgspecError:
        tally.output_text_bytes += len(body)
        return "", True
    if message.error is not None:
        return error_words(message.error), False
    for block in message.content or ():
        tally.output_text_bytes += _text_bytes(block)
    if message.usage is not None:
        tally.usage = _usage(message.usage, None)
    tally.finish_reason = message.stop_reason or ""
    tally.finished = message.content is not None
    return "", message.content is None


def read_count(body: bytes, tally: Tally) -> tuple[str, bool]:
    """The same for an answer to ``/v1/messages/count_tokens``, which used nothing."""
    try:
        counted = _MESSAGE.decode(body)
    except msgspec.MsgspecError:
        return "", True
    if counted.error is not None:
        return error_words(counted.error), False
    tally.finished = counted.input_tokens is not None
    return "", counted.input_tokens is None


def _text_bytes(block: _Block) -> int:
    total = utf8_length(block.text) + utf8_length(block.thinking) + utf8_length(block.name)
    total += utf8_length(block.partial_json)
    return total + (len(msgspec.json.encode(block.input)) if block.input else 0)


def _usage(last: _Usage, first: _Usage | None) -> Usage:
    """The tokens of a message: what the last event says, and what only the first one said.

    What was written to the cache is counted at its price, so that its cost is not understated: a quarter
    more than input, and twice as much where it is kept for an hour.
    """

    def said(name: str) -> int:
        value = getattr(last, name)
        if value is None and first is not None:
            value = getattr(first, name)
        return value or 0

    creation = last.cache_creation or (first.cache_creation if first is not None else None)
    written = said("cache_creation_input_tokens")
    for_an_hour = (creation.ephemeral_1h_input_tokens if creation is not None else None) or 0
    surcharge = for_an_hour + -(-max(0, written - for_an_hour) // 4)
    read = said("cache_read_input_tokens")
    details = last.output_tokens_details
    return Usage(
        input_tokens=said("input_tokens") + read + written + surcharge,
        output_tokens=said("output_tokens"),
        cached_input_tokens=read,
        reasoning_tokens=(details.thinking_tokens if details is not None else None) or 0,
    )
