"""Splits a byte stream into server-sent events without changing a byte of them."""

from __future__ import annotations

import re

_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_DATA_LINE = re.compile(rb"^data:[ ]?(.*?)\r?$", re.MULTILINE)


class EventSplitter:
    """Feed it chunks as they come; it gives whole events, each with its closing blank line.

    Follows the event stream format of the HTML standard as far as framing goes, but for lone carriage
    returns that are split over two chunks, which no known LLM server sends.
    """

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that ``chunk`` completes, oldest first."""
        data = self._rest + chunk if self._rest else chunk
        events: list[bytes] = []
        start = 0
        for end in _EVENT_END.finditer(data):
            events.append(data[start : end.end()])
            start = end.end()
        self._rest = data[start:]
        return events

    def rest(self) -> bytes:
        """What has come after the last whole event."""
        return self._rest


def event_data(event: bytes) -> bytes:
    """The data of one event, its lines joined by a newline; empty for comments and keep-alives."""
    if event.startswith(b"data: ") and event.count(b"\n") <= 2 and b"\r" not in event:
        return event[6:].rstrip(b"\n")
    return b"\n".join(_DATA_LINE.findall(event))
