"""Usage, text and ending are read on the side of relayed responses, and no byte of them changes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.core.vocabulary import OPENAI_RESPONSES, Usage
from sidecar.wire.fold import fold_for

USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 3},
}


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: ".encode() + msgspec.json.encode({"type": kind, **fields}) + b"\n\n"


BEGIN = event("response.created", response={"status": "in_progress", "output": [], "usage": None})
MIDDLE = (
    event("response.output_item.added", item={"type": "function_call", "name": "f", "arguments": ""}),
    event("response.function_call_arguments.delta", delta="{}"),
    event("response.output_text.delta", delta="é", logprobs=[]),
    event("response.output_text.done", text="é"),
    event("response.output_item.done", item={"type": "message", "content": [{"text": "é"}]}),
)
END = event("response.completed", response={"status": "completed", "output": [], "usage": USAGE})


@pytest.mark.parametrize("size", [1, 64, 10_000])
def test_a_stream(size: int) -> None:
    fold = fold_for(OPENAI_RESPONSES, stream=True, drop_usage=True)
    whole = b"".join((BEGIN, *MIDDLE, END))
    out = b"".join(fold.feed(whole[at : at + size]) for at in range(0, len(whole), size)) + fold.finish()
    assert out == whole
    assert fold.tally.usage == Usage(10, 7, cached_input_tokens=4, reasoning_tokens=3)
    assert fold.tally.output_text_bytes == 1 + 2 + 2
    assert (fold.tally.finished, fold.tally.finish_reason) == (True, "completed")
    assert not fold.garbage


def test_what_has_begun_and_what_was_cut() -> None:
    fold = fold_for(OPENAI_RESPONSES, stream=True, drop_usage=True)
    fold.feed(BEGIN)
    assert not fold.tally.begun()
    fold.feed(b"".join(MIDDLE))
    assert fold.tally.begun()
    assert not fold.tally.finished
    why = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    fold.feed(event("response.incomplete", response=why))
    assert (fold.tally.finished, fold.tally.finish_reason) == (True, "max_output_tokens")


@pytest.mark.parametrize(
    "told",
    [
        event("error", message="too bad", code="server_error", param=None),
        event("error", error={"message": "too bad", "type": "server_error"}),
        event("response.failed", response={"status": "failed", "error": {"message": "too bad"}}),
    ],
)
def test_an_error_inside_a_stream(told: bytes) -> None:
    fold = fold_for(OPENAI_RESPONSES, stream=True, drop_usage=True)
    fold.feed(told)
    assert fold.error == "too bad"


def test_a_whole_response() -> None:
    fold = fold_for(OPENAI_RESPONSES, stream=False, drop_usage=True)
    output = [
        {"type": "reasoning", "summary": [{"text": "hm"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "hi"}]},
        {"type": "function_call", "name": "f", "arguments": "{}"},
    ]
    body = msgspec.json.encode({"status": "completed", "output": output, "usage": USAGE})
    assert fold.feed(body) == body
    assert fold.tally.output_text_bytes == 2 + 2 + 3
    assert fold.tally.finished
    assert fold.tally.usage is not None


@pytest.mark.parametrize(
    ("body", "error", "garbage"),
    [
        (b'{"error":{"message":"no"}}', "no", False),
        (b'{"status":"failed","output":[],"error":{"message":"no"}}', "no", False),
        (b"{}", "", True),
        (b"nope", "", True),
    ],
)
def test_what_is_no_response(body: bytes, error: str, garbage: bool) -> None:
    fold = fold_for(OPENAI_RESPONSES, stream=False, drop_usage=False)
    fold.feed(body)
    assert (fold.error, fold.garbage, fold.tally.finished) == (error, garbage, False)


def test_garbage_inside_a_stream_counts_as_generated() -> None:
    fold = fold_for(OPENAI_RESPONSES, stream=True, drop_usage=False)
    assert fold.feed(b"data: {nope\n\n") == b"data: {nope\n\n"
    assert fold.garbage
    assert fold.tally.output_text_bytes > 0
