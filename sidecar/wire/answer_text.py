"""Reads the text of an answer in any dialect, whole or streamed, for people to read.

Lenient, as nothing depends on it: what it does not know it leaves out. Of several choices it reads the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from sidecar.wire.ndjson import LineSplitter
from sidecar.wire.sse import EventSplitter, event_data


def answer_text(body: bytes) -> str:
    """The text that ``body`` holds; of a stream that was cut, what had come."""
    return "".join(text for piece in _pieces(body) for text in _texts(piece))


def _pieces(body: bytes) -> Iterator[dict[str, Any]]:
    """The JSON objects of a body: one, or those of its events or lines."""
    start = body.lstrip()
    if start.startswith(b"{"):
        whole = _object(body)
        if whole is not None:
            yield whole
            return
        lines = LineSplitter()
        candidates = [*lines.feed(body), lines.rest()]
    else:
        candidates = [event_data(event) for event in EventSplitter().feed(body)]
    for candidate in candidates:
        piece = _object(candidate)
        if piece is not None:
            yield piece


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _texts(piece: dict[str, Any]) -> Iterator[str]:
    choices = piece.get("choices")
    if isinstance(choices, list):
        # OpenAI: a whole answer has a message, a chunk a delta, a text completion a text.
        for choice in choices:
            if isinstance(choice, dict) and choice.get("index", 0) == 0:
                yield from _of_message(choice.get("message"))
                yield from _of_message(choice.get("delta"))
                yield from _strings(choice.get("text"))
        return
    yield from _of_message(piece.get("message"))
    yield from _strings(piece.get("response"))
    # OpenAI's responses: a whole one has an output, an event a delta that is a text.
    output = piece.get("output")
    for item in output if isinstance(output, list) else ():
        yield from _of_message(item)
    if piece.get("type") == "response.output_text.delta":
        yield from _strings(piece.get("delta"))
    # Anthropic: a whole answer has content, an event a delta that is an object.
    if piece.get("type") == "message":
        yield from _of_message(piece)
    delta = piece.get("delta")
    if piece.get("type") == "content_block_delta" and isinstance(delta, dict):
        yield from _strings(delta.get("text"))


def _of_message(message: Any) -> Iterator[str]:
    content = message.get("content") if isinstance(message, dict) else None
    yield from _strings(content)
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict):
            yield from _strings(part.get("text"))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
