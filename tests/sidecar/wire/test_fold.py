"""A relayed answer is read on the side: usage, text and ending, without touching its bytes."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.vocabulary import (
    DOORS,
    OLLAMA_CHAT,
    OLLAMA_GENERATE,
    OPENAI_CHAT,
    OPENAI_EMBEDDINGS,
    Door,
    Usage,
)
from sidecar.wire.fold import fold_for

USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 5,
    "total_tokens": 16,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
READ = Usage(11, 5, 3, 2)


def sse(*events: object) -> bytes:
    return b"".join(
        b"data: " + (e.encode() if isinstance(e, str) else json.dumps(e).encode()) + b"\n\n" for e in events
    )


HEAD = sse(
    {"choices": [{"delta": {"role": "assistant", "content": ""}}], "x_future": [1.0]},
    {"choices": [{"delta": {"content": "café"}}]},
    {"choices": [{"delta": {"tool_calls": [{"function": {"name": "f", "arguments": '{"a"'}}]}}]},
    {"choices": [{"delta": {}, "finish_reason": "stop"}]},
)
USAGE_EVENT = sse({"choices": [], "usage": USAGE})
DONE = sse("[DONE]")


@given(st.lists(st.integers(0, len(HEAD + USAGE_EVENT + DONE)), max_size=12), st.booleans())
def test_an_openai_stream_however_it_is_cut(cuts: list[int], drop: bool) -> None:
    stream = HEAD + USAGE_EVENT + DONE
    edges = [0, *sorted(cuts), len(stream)]
    fold = fold_for(OPENAI_CHAT, stream=True, drop_usage=drop)
    out = b"".join(fold.feed(stream[a:b]) for a, b in itertools.pairwise(edges)) + fold.finish()
    assert out == (HEAD + DONE if drop else stream)
    assert fold.tally.usage == READ
    assert fold.tally.finished
    assert fold.tally.finish_reason == "stop"
    assert fold.tally.output_text_bytes == len("café".encode()) + len('f{"a"')
    assert (fold.error, fold.garbage) == ("", False)


def test_usage_beside_a_choice_is_never_dropped() -> None:
    event = sse({"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}], "usage": USAGE})
    fold = fold_for(OPENAI_CHAT, stream=True, drop_usage=True)
    assert fold.feed(event) == event
    assert fold.tally.usage == READ


def test_what_has_no_line_of_a_stream_is_garbage() -> None:
    fold = fold_for(OPENAI_CHAT, stream=True, drop_usage=False)
    assert fold.feed(b'{"id": "x", "choices": [{"mess') == b""
    fold.finish()
    assert fold.garbage


def test_a_stream_without_its_end_is_not_finished() -> None:
    fold = fold_for(OPENAI_CHAT, stream=True, drop_usage=True)
    fold.feed(sse({"choices": [{"delta": {"content": "x"}}]}) + b'data: {"choices": [{"del')
    assert fold.tally.begun()
    assert not fold.tally.finished
    assert fold.finish() == b'data: {"choices": [{"del'
    assert fold.garbage


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (sse({"error": {"message": "overloaded", "type": "server_error"}}), "overloaded"),
        (sse({"error": "no"}), "no"),
        (sse({"error": {"x": 1}}), "the upstream reported an error"),
    ],
)
def test_an_error_event_is_told(event: bytes, words: str) -> None:
    fold = fold_for(OPENAI_CHAT, stream=True, drop_usage=True)
    assert fold.feed(event) == event
    assert fold.error == words
    assert not fold.tally.begun()


@pytest.mark.parametrize(
    ("delta", "least"),
    [
        ({"function_call": {"name": "f", "arguments": "{}"}}, 3),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "caf\u00e9"}]}]}, 5),
        ({"content": 7}, 1),
        ({"tool_calls": "all"}, 3),
    ],
)
def test_whatever_was_delivered_counts_in_an_estimate(delta: object, least: int) -> None:
    fold = fold_for(OPENAI_CHAT, stream=True, drop_usage=True)
    event = sse({"choices": [{"delta": delta}]})
    assert fold.feed(event) == event
    assert fold.tally.begun()
    assert fold.tally.output_text_bytes >= least


def test_a_stream_is_at_its_end_when_all_its_choices_are() -> None:
    fold = fold_for(OPENAI_CHAT, stream=True, drop_usage=True)

    def finished_after(index: int, finish_reason: str | None = None) -> bool:
        fold.feed(sse({"choices": [{"index": index, "delta": {}, "finish_reason": finish_reason}]}))
        return fold.tally.finished

    assert not finished_after(0)
    assert not finished_after(1)
    assert not finished_after(0, "stop")
    assert finished_after(1, "length")
    assert finished_after(0), "nothing comes back after its end"
    assert not finished_after(2), "a third one has begun"
    fold.feed(DONE)
    assert fold.tally.finished


def test_comments_do_not_begin_an_answer() -> None:
    fold = fold_for(OPENAI_CHAT, stream=True, drop_usage=True)
    assert fold.feed(b": waiting\n\n") == b": waiting\n\n"
    assert not fold.tally.begun()


LINES = b"".join(
    json.dumps(line).encode() + b"\n"
    for line in (
        {"model": "m", "message": {"role": "assistant", "content": "a", "thinking": "bb"}, "done": False},
        {
            "model": "m",
            "message": {"content": "", "tool_calls": [{"function": {"name": "f"}}]},
            "done": False,
        },
        {
            "model": "m",
            "message": {"content": ""},
            "done": True,
            "done_reason": "length",
            "prompt_eval_count": 4,
            "eval_count": 2,
            "x": 1.0,
        },
    )
)


@given(st.lists(st.integers(0, len(LINES)), max_size=12))
def test_an_ollama_stream_however_it_is_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(LINES)]
    fold = fold_for(OLLAMA_CHAT, stream=True, drop_usage=True)
    out = b"".join(fold.feed(LINES[a:b]) for a, b in itertools.pairwise(edges)) + fold.finish()
    assert out == LINES
    assert fold.tally.usage == Usage(4, 2)
    assert fold.tally.finish_reason == "length"
    assert fold.tally.output_text_bytes == 3 + len('[{"function":{"name":"f"}}]')


@pytest.mark.parametrize(
    ("door", "body", "usage", "text_bytes"),
    [
        (
            OPENAI_CHAT,
            {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": USAGE},
            READ,
            2,
        ),
        (OPENAI_CHAT, {"choices": [{"message": {"content": "hi"}}]}, None, 2),
        (
            OLLAMA_CHAT,
            {"message": {"content": "hi"}, "done": True, "prompt_eval_count": 1, "eval_count": 2},
            Usage(1, 2),
            2,
        ),
        (OLLAMA_GENERATE, {"response": "hey", "done": True, "eval_count": 2}, Usage(0, 2), 3),
        (OPENAI_EMBEDDINGS, {"data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 3}}, Usage(3), 0),
        (DOORS["/api/embed"], {"embeddings": [[0.1]], "prompt_eval_count": 3}, Usage(3), 0),
        (DOORS["/api/embeddings"], {"embedding": [0.1]}, None, 0),
    ],
)
def test_a_whole_answer(door: Door, body: object, usage: Usage | None, text_bytes: int) -> None:
    fold = fold_for(door, stream=False, drop_usage=True)
    raw = json.dumps(body).encode()
    assert fold.feed(raw) == raw
    assert (fold.tally.usage, fold.tally.output_text_bytes, fold.tally.finished) == (usage, text_bytes, True)
    assert (fold.error, fold.garbage) == ("", False)


@pytest.mark.parametrize("door", [OPENAI_CHAT, OLLAMA_CHAT, OPENAI_EMBEDDINGS])
@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b"{}", b'{"choices"', b'{"usage": {"prompt_tokens": "x"}}']
)
def test_what_is_no_answer_is_garbage(door: Door, body: bytes) -> None:
    fold = fold_for(door, stream=False, drop_usage=True)
    assert fold.feed(body) == body
    assert fold.garbage


@pytest.mark.parametrize("door", [OPENAI_CHAT, OLLAMA_CHAT, OPENAI_EMBEDDINGS])
def test_an_error_in_a_200_is_told(door: Door) -> None:
    fold = fold_for(door, stream=False, drop_usage=True)
    fold.feed(b'{"error":"model is loading"}')
    assert fold.error == "model is loading"


@pytest.mark.parametrize(
    "delta",
    [
        {"tool_calls": [{"index": 0, "type": "custom", "custom": {"name": "sh", "input": "x" * 998}}]},
        {"content": "", "audio": {"data": "x" * 1_000}},
        {"content": "", "images": [{"image_url": {"url": "x" * 1_000}}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x" * 1_000}]},
    ],
)
def test_whatever_was_generated_is_counted_and_begins_the_stream(delta: dict[str, object]) -> None:
    fold = fold_for(OPENAI_CHAT, stream=True, drop_usage=False)
    fold.feed(sse({"choices": [{"index": 0, "delta": delta}]}))
    assert fold.tally.begun()
    assert 1_000 <= fold.tally.output_text_bytes < 1_100
    whole = fold_for(OPENAI_CHAT, stream=False, drop_usage=False)
    whole.feed(json.dumps({"choices": [{"message": delta}]}).encode())
    assert whole.tally.output_text_bytes == fold.tally.output_text_bytes


def test_reasoning_that_comes_twice_is_counted_once() -> None:
    fold = fold_for(OPENAI_CHAT, stream=True, drop_usage=False)
    text = "x" * 1_000
    fold.feed(sse({"choices": [{"delta": {"reasoning": text, "reasoning_details": [{"text": text}]}}]}))
    assert 1_000 <= fold.tally.output_text_bytes < 1_100


def test_reasoning_that_stands_in_the_total_alone_is_output() -> None:
    counts = {"prompt_tokens": 100, "completion_tokens": 500, "total_tokens": 900}
    usage = {**counts, "completion_tokens_details": {"reasoning_tokens": 300}}
    fold = fold_for(OPENAI_CHAT, stream=False, drop_usage=False)
    fold.feed(json.dumps({"choices": [{"message": {"content": "x"}}], "usage": usage}).encode())
    assert fold.tally.usage == Usage(100, 800, 0, 300)
