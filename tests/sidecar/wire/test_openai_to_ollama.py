"""any-llm's answers as Ollama's JSON and NDJSON: golden bodies and streams."""

from __future__ import annotations

from typing import Any

import msgspec
import ollama
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import Fault, UpstreamFault
from sidecar.wire.openai_to_ollama import (
    AnswerLines,
    chat_body,
    embed_body,
    embeddings_body,
    generate_body,
    rfc3339,
)
from sidecar.wire.timings import Timings

NOW_S = 1_750_000_000.25
CREATED = "2025-06-15T15:06:40.250000Z"
TIMINGS = Timings(first_ns=30, total_ns=100)
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
HEAD = {"model": "llama3.2", "created_at": CREATED}
MEASURED = {"total_duration": 100, "load_duration": 0, "prompt_eval_duration": 30, "eval_duration": 70}
COUNTS = {"prompt_eval_count": 9, "eval_count": 3}
DONE = {"done": True, "done_reason": "stop", **MEASURED, **COUNTS}


def completion(message: dict[str, Any], finish_reason: str = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": finish_reason, **more}
    return {"choices": [choice], "usage": USAGE}


def chat(answer: dict[str, Any]) -> dict[str, Any]:
    encoded = chat_body(answer, model="llama3.2", wall_s=NOW_S, timings=TIMINGS)
    decoded: dict[str, Any] = msgspec.json.decode(encoded)
    ollama.ChatResponse(**decoded)
    return decoded


def test_times_are_written_as_ollama_does() -> None:
    assert rfc3339(NOW_S) == CREATED
    assert rfc3339(0) == "1970-01-01T00:00:00.000000Z"


def test_a_whole_chat_answer() -> None:
    assert chat(completion({"role": "assistant", "content": "hi"})) == {
        **HEAD,
        "message": {"role": "assistant", "content": "hi"},
        **DONE,
    }


@pytest.mark.parametrize(
    ("message", "shaped"),
    [
        ({"content": "4", "reasoning": "2 and 2"}, {"content": "4", "thinking": "2 and 2"}),
        ({"refusal": "no"}, {"content": "no"}),
        (
            {
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "desk", "arguments": '{"a": [1]}'}},
                    {"id": "c2", "type": "function", "function": {"name": "shut", "arguments": ""}},
                ]
            },
            {
                "content": "",
                "tool_calls": [
                    {"id": "c1", "function": {"index": 0, "name": "desk", "arguments": {"a": [1]}}},
                    {"id": "c2", "function": {"index": 1, "name": "shut", "arguments": {}}},
                ],
            },
        ),
    ],
)
def test_messages(message: dict[str, Any], shaped: dict[str, Any]) -> None:
    assert chat(completion(message))["message"] == {"role": "assistant", **shaped}


@pytest.mark.parametrize(
    ("finish_reason", "done_reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "stop"),
        ("function_call", "stop"),
        ("content_filter", "content_filter"),
    ],
)
def test_done_reasons(finish_reason: str, done_reason: str) -> None:
    assert chat(completion({"content": ""}, finish_reason))["done_reason"] == done_reason


def test_a_call_cut_by_the_limit_is_not_shown() -> None:
    call = {"id": "c1", "function": {"name": "desk", "arguments": '{"a": '}}
    shaped = chat(completion({"tool_calls": [call]}, "length"))
    assert shaped["message"] == {"role": "assistant", "content": ""}
    assert shaped["done_reason"] == "length"


@pytest.mark.parametrize("arguments", ['{"a": ', "[1]", '"text"'])
def test_arguments_that_are_no_object_are_garbage(arguments: str) -> None:
    call = {"id": "c1", "function": {"name": "desk", "arguments": arguments}}
    with pytest.raises(UpstreamFault) as broken:
        chat(completion({"tool_calls": [call]}, "tool_calls"))
    assert broken.value.fault is Fault.GARBAGE


def test_the_upstreams_own_durations_are_handed_on() -> None:
    answer = completion({"content": "hi"})
    answer["usage"] = {**USAGE, "total_duration": 7, "load_duration": 1, "eval_duration": 2}
    shaped = chat(answer)
    assert (shaped["total_duration"], shaped["load_duration"], shaped["eval_duration"]) == (7, 1, 2)
    assert shaped["prompt_eval_duration"] == MEASURED["prompt_eval_duration"]


def test_counts_that_nobody_reported_are_left_out() -> None:
    shaped = chat({"choices": completion({"content": "hi"})["choices"]})
    assert shaped == {
        **HEAD,
        "message": {"role": "assistant", "content": "hi"},
        "done": True,
        "done_reason": "stop",
        **MEASURED,
    }


def test_a_whole_generate_answer() -> None:
    answer = completion({"content": "4", "reasoning": "2 and 2"})
    decoded = msgspec.json.decode(generate_body(answer, model="llama3.2", wall_s=NOW_S, timings=TIMINGS))
    ollama.GenerateResponse(**decoded)
    assert decoded == {**HEAD, "response": "4", "thinking": "2 and 2", **DONE}


def test_logprobs_are_handed_on() -> None:
    content = [{"token": "hi", "logprob": -0.5, "bytes": [104, 105], "top_logprobs": []}]
    assert chat(completion({"content": "hi"}, logprobs={"content": content}))["logprobs"] == content


def test_embeddings_of_both_paths() -> None:
    answer = {
        "data": [{"embedding": [0.25]}, {"embedding": [0.5]}],
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    assert msgspec.json.decode(embed_body(answer, model="e", timings=TIMINGS)) == {
        "model": "e",
        "embeddings": [[0.25], [0.5]],
        "total_duration": 100,
        "load_duration": 0,
        "prompt_eval_count": 4,
    }
    assert msgspec.json.decode(embeddings_body(answer)) == {"embedding": [0.25]}


def chunk(delta: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, **more}]}


def lines(chunks: list[dict[str, Any]], *, generate: bool = False) -> list[dict[str, Any]]:
    writer = AnswerLines(model="llama3.2", generate=generate)
    raw = b"".join(writer.feed(chunk, NOW_S) for chunk in chunks) + writer.end(NOW_S, TIMINGS)
    assert raw.endswith(b"}\n")
    decoded = [msgspec.json.decode(line) for line in raw.splitlines()]
    for line in decoded:
        (ollama.GenerateResponse if generate else ollama.ChatResponse)(**line)
        assert line["created_at"] == CREATED
    assert [line["done"] for line in decoded] == [False] * (len(decoded) - 1) + [True]
    return decoded


STREAM = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"reasoning": "hm"}),
    chunk({"content": "hi"}),
    chunk({"content": " you"}),
    chunk({}, finish_reason="stop"),
    {"choices": [], "usage": USAGE},
]


def test_a_chat_stream() -> None:
    assert lines(STREAM) == [
        {**HEAD, "message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": False},
        {**HEAD, "message": {"role": "assistant", "content": "hi"}, "done": False},
        {**HEAD, "message": {"role": "assistant", "content": " you"}, "done": False},
        {**HEAD, "message": {"role": "assistant", "content": ""}, **DONE},
    ]


def test_a_generate_stream() -> None:
    assert lines(STREAM, generate=True) == [
        {**HEAD, "response": "", "thinking": "hm", "done": False},
        {**HEAD, "response": "hi", "done": False},
        {**HEAD, "response": " you", "done": False},
        {**HEAD, "response": "", **DONE},
    ]


def fragment(index: int, arguments: str, name: str | None = None) -> dict[str, Any]:
    opening = {"id": f"c{index}", "type": "function"} if name else {}
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    return chunk({"tool_calls": [{"index": index, **opening, "function": function}]})


def test_tool_calls_come_in_fragments_and_go_out_whole() -> None:
    shown = lines(
        [
            fragment(0, "", "desk"),
            fragment(0, '{"place": '),
            fragment(0, '"north"}'),
            fragment(1, "{}", "shut"),
            chunk({}, finish_reason="tool_calls"),
        ]
    )
    assert len(shown) == 2
    assert shown[0]["message"]["tool_calls"] == [
        {"id": "c0", "function": {"index": 0, "name": "desk", "arguments": {"place": "north"}}},
        {"id": "c1", "function": {"index": 1, "name": "shut", "arguments": {}}},
    ]
    assert shown[1]["done_reason"] == "stop"


json_objects = st.dictionaries(
    st.text(max_size=6), st.integers() | st.text(max_size=6) | st.none(), max_size=4
)


@given(json_objects, st.data())
def test_arguments_survive_any_split(arguments: dict[str, Any], data: st.DataObject) -> None:
    whole = msgspec.json.encode(arguments).decode()
    cut = data.draw(st.integers(0, len(whole)))
    shown = lines([fragment(0, whole[:cut], "desk"), fragment(0, whole[cut:])])
    assert shown[0]["message"]["tool_calls"][0]["function"]["arguments"] == arguments


@given(st.lists(st.text(), max_size=8))
def test_no_text_is_lost(texts: list[str]) -> None:
    shown = lines([chunk({"content": text}) for text in texts])
    assert "".join(line["message"]["content"] for line in shown) == "".join(texts)
