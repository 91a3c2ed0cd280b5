"""Usage, text and ending are read on the side of relayed messages, and no byte of them changes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.core.vocabulary import ANTHROPIC_COUNT_TOKENS, ANTHROPIC_MESSAGES, Usage
from sidecar.wire.fold import fold_for


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: ".encode() + msgspec.json.encode({"type": kind, **fields}) + b"\n\n"


START = event("message_start", message={"id": "m", "usage": {"input_tokens": 10, "output_tokens": 1}})
BLOCKS = (
    event("ping"),
    event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""}),
    event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"}),
    event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "AAAA"}),
    event("content_block_start", index=1, content_block={"type": "text", "text": ""}),
    event("content_block_delta", index=1, delta={"type": "text_delta", "text": "é"}),
    event(
        "content_block_start",
        index=2,
        content_block={"type": "tool_use", "id": "t", "name": "f", "input": {}},
    ),
    event("content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": "{}"}),
)
END = event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 7})
STOP = event("message_stop")


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_a_stream(size: int) -> None:
    fold = fold_for(ANTHROPIC_MESSAGES, stream=True, drop_usage=True)
    whole = b"".join((START, *BLOCKS, END, STOP))
    out = b"".join(fold.feed(whole[at : at + size]) for at in range(0, len(whole), size)) + fold.finish()
    assert out == whole
    assert fold.tally.usage == Usage(10, 7)
    assert fold.tally.output_text_bytes == 2 + 2 + 1 + 2
    assert (fold.tally.finished, fold.tally.finish_reason) == (True, "tool_use")
    assert not fold.error
    assert not fold.garbage


def test_no_usage_is_known_before_the_end() -> None:
    fold = fold_for(ANTHROPIC_MESSAGES, stream=True, drop_usage=True)
    fold.feed(START)
    assert not fold.tally.begun()
    for block in BLOCKS:
        fold.feed(block)
    assert fold.tally.begun()
    assert fold.tally.usage is None
    assert not fold.tally.finished


def test_an_error_and_garbage() -> None:
    fold = fold_for(ANTHROPIC_MESSAGES, stream=True, drop_usage=True)
    fold.feed(event("error", error={"type": "overloaded_error", "message": "Overloaded"}))
    assert fold.error == "Overloaded"
    for body in (b"event: x\ndata: {nope\n\n", b"<html>\n\n"):
        odd = fold_for(ANTHROPIC_MESSAGES, stream=True, drop_usage=True)
        odd.feed(body)
        odd.finish()
        assert odd.garbage or not odd.tally.begun()


USAGE = {
    "input_tokens": 10,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 50,
    "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 20},
    "output_tokens": 7,
    "output_tokens_details": {"thinking_tokens": 3},
}


def test_a_whole_message_with_its_caches() -> None:
    fold = fold_for(ANTHROPIC_MESSAGES, stream=False, drop_usage=True)
    content = [{"type": "text", "text": "hi"}, {"type": "tool_use", "name": "f", "input": {"a": 1}}]
    body = msgspec.json.encode({"content": content, "stop_reason": "end_turn", "usage": USAGE})
    assert fold.feed(body) == body
    # What is written for five minutes costs a quarter more, what is written for an hour twice as much.
    assert fold.tally.usage == Usage(10 + 100 + 50 + 20 + 8, 7, cached_input_tokens=100, reasoning_tokens=3)
    assert fold.tally.output_text_bytes == 2 + 1 + 7
    assert (fold.tally.finished, fold.tally.finish_reason) == (True, "end_turn")


@pytest.mark.parametrize(
    ("body", "error", "garbage"),
    [
        (b'{"type":"error","error":{"message":"no"}}', "no", False),
        (b"{}", "", True),
        (b"nope", "", True),
    ],
)
def test_what_is_no_message(body: bytes, error: str, garbage: bool) -> None:
    for door in (ANTHROPIC_MESSAGES, ANTHROPIC_COUNT_TOKENS):
        fold = fold_for(door, stream=False, drop_usage=False)
        fold.feed(body)
        assert (fold.error, fold.garbage, fold.tally.finished) == (error, garbage, False)


def test_a_count() -> None:
    fold = fold_for(ANTHROPIC_COUNT_TOKENS, stream=False, drop_usage=False)
    fold.feed(b'{"input_tokens": 12}')
    assert (fold.tally.finished, fold.garbage, fold.tally.usage) == (True, False, None)
