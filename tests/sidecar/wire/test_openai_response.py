"""any-llm's answers as the bytes that OpenAI sends: golden bodies and streams."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from sidecar.wire.openai_response import CompletionEvents, completion_body, embeddings_body
from sidecar.wire.timings import Timings

NOW_S = 1_750_000_000.9
TIMINGS = Timings(first_ns=1, total_ns=2)
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
ENVELOPE = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "llama3.2"}
CHUNK = {**ENVELOPE, "object": "chat.completion.chunk"}
CALL = {"id": "c1", "type": "function", "function": {"name": "desk", "arguments": '{"a": 1}'}}


def body(answer: dict[str, Any]) -> dict[str, Any]:
    encoded = completion_body(answer, model="asked-for", wall_s=NOW_S)
    ChatCompletion.model_validate_json(encoded, strict=False)
    decoded: dict[str, Any] = msgspec.json.decode(encoded)
    return decoded


def choice(message: dict[str, Any], finish_reason: str = "stop", **more: Any) -> dict[str, Any]:
    return {"index": 0, "message": message, "finish_reason": finish_reason, **more}


def test_a_whole_completion() -> None:
    answer = {
        **ENVELOPE,
        "choices": [choice({"role": "assistant", "content": "hi"})],
        "usage": {**USAGE, "total_duration": 5, "load_duration": 1, "eval_duration": 1},
    }
    assert body(answer) == {
        **ENVELOPE,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hi", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
    }


@pytest.mark.parametrize(
    ("message", "shaped"),
    [
        (
            {"content": "", "tool_calls": [CALL]},
            {"role": "assistant", "content": None, "refusal": None, "tool_calls": [CALL]},
        ),
        ({"refusal": "no"}, {"role": "assistant", "content": None, "refusal": "no"}),
        ({"content": ""}, {"role": "assistant", "content": "", "refusal": None}),
        (
            {"content": "4", "reasoning": "2 and 2", "annotations": []},
            {"role": "assistant", "content": "4", "refusal": None, "reasoning": "2 and 2", "annotations": []},
        ),
    ],
)
def test_messages_keep_the_nulls_that_clients_rely_on(
    message: dict[str, Any], shaped: dict[str, Any]
) -> None:
    answer = {**ENVELOPE, "choices": [choice({"role": "assistant", **message}, "tool_calls")]}
    assert body(answer)["choices"][0]["message"] == shaped


def test_what_the_upstream_did_not_name_is_filled_in() -> None:
    answer = {**ENVELOPE, "created": 0, "model": "unknown", "choices": [choice({"content": "hi"})]}
    shaped = body(answer)
    assert shaped["created"] == 1_750_000_000
    assert shaped["model"] == "asked-for"
    assert "usage" not in shaped


def test_logprobs_and_fields_beyond_openais_survive() -> None:
    logprobs = {"content": [{"token": "hi", "logprob": -0.1, "bytes": [104, 105], "top_logprobs": []}]}
    answer = {
        **ENVELOPE,
        "system_fingerprint": "fp_1",
        "service_tier": "default",
        "citations": ["a"],
        "choices": [choice({"content": "hi"}, logprobs=logprobs)],
    }
    shaped = body(answer)
    assert shaped["choices"][0]["logprobs"] == logprobs
    assert (shaped["system_fingerprint"], shaped["service_tier"]) == ("fp_1", "default")
    assert shaped["citations"] == ["a"]


def delta(fields: dict[str, Any], index: int = 0, **more: Any) -> dict[str, Any]:
    return {**CHUNK, "id": f"chatcmpl-{id(fields)}", "choices": [{"index": index, "delta": fields, **more}]}


def events(chunks: list[dict[str, Any]], *, include_usage: bool = False) -> list[dict[str, Any]]:
    """The events that a stream of ``chunks`` becomes, after checks that hold for every stream."""
    writer = CompletionEvents(model="asked-for", include_usage=include_usage)
    raw = b"".join(writer.feed(chunk, NOW_S + at) for at, chunk in enumerate(chunks))
    raw += writer.end(NOW_S, TIMINGS)
    lines = raw.decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    decoded = [msgspec.json.decode(line.removeprefix("data: ")) for line in lines[:-2]]
    for event in decoded:
        ChatCompletionChunk.model_validate(event)
    assert len({(event["id"], event["created"], event["model"]) for event in decoded}) <= 1
    return decoded


def deltas(chunks: list[dict[str, Any]]) -> list[tuple[dict[str, Any], str | None]]:
    shown = [event["choices"][0] for event in events(chunks)]
    return [(choice["delta"], choice["finish_reason"]) for choice in shown]


def test_a_stream_as_ollamas_provider_gives_it() -> None:
    chunks = [
        delta({"role": "assistant", "content": "hi"}),
        delta({"role": "assistant", "content": " you"}),
        {**delta({"role": "assistant", "content": ""}, finish_reason="stop"), "usage": USAGE},
    ]
    assert deltas(chunks) == [
        ({"role": "assistant", "content": "hi", "refusal": None}, None),
        ({"content": " you"}, None),
        ({}, "stop"),
    ]


def test_usage_comes_last_and_only_when_asked_for() -> None:
    chunks = [
        delta({"content": "hi"}),
        {**delta({}, finish_reason="stop"), "usage": {**USAGE, "total_duration": 7}},
    ]
    assert all("usage" not in event for event in events(chunks))
    asked = events(chunks, include_usage=True)
    assert [event["usage"] for event in asked] == [None, None, USAGE]
    assert asked[-1]["choices"] == []


def test_no_usage_event_is_made_up() -> None:
    asked = events([delta({"content": "hi"}, finish_reason="stop")], include_usage=True)
    assert [event["usage"] for event in asked] == [None]


def test_time_and_model_are_filled_in_once_for_the_stream() -> None:
    chunk = {**delta({"content": "hi"}), "created": 0, "model": ""}
    shown = events([chunk, {**chunk, "created": 3}])
    assert [(event["created"], event["model"]) for event in shown] == [(1_750_000_000, "asked-for")] * 2


def test_tool_calls_are_numbered_from_zero_and_finish_as_such() -> None:
    first = {"index": 1, "id": "c1", "type": "function", "function": {"name": "desk", "arguments": ""}}
    chunks = [
        delta({"role": "assistant", "content": ""}),
        delta({"content": "wait"}),
        delta({"tool_calls": [first]}),
        delta({"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]}),
        delta({"tool_calls": [{**first, "index": 3, "id": "c2"}]}),
        delta({"content": ""}, finish_reason="stop"),
    ]
    assert deltas(chunks) == [
        ({"role": "assistant", "content": "", "refusal": None}, None),
        ({"content": "wait"}, None),
        ({"tool_calls": [{**first, "index": 0}]}, None),
        ({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}, None),
        ({"tool_calls": [{**first, "index": 1, "id": "c2"}]}, None),
        ({}, "tool_calls"),
    ]


def test_a_stream_that_opens_with_a_tool_call_has_no_content() -> None:
    (opening, _), *_ = deltas([delta({"content": "", "tool_calls": [{"index": 0, **CALL}]})])
    assert opening == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [{"index": 0, **CALL}],
    }


def test_choices_are_kept_apart() -> None:
    chunks = [delta({"content": "a"}, 0), delta({"content": "b"}, 1), delta({}, 1, finish_reason="stop")]
    shown = [event["choices"][0] for event in events(chunks)]
    assert [(choice["index"], choice["delta"].get("role")) for choice in shown] == [
        (0, "assistant"),
        (1, "assistant"),
        (1, None),
    ]


def test_reasoning_is_shown_and_silence_is_not() -> None:
    chunks = [delta({"role": "assistant"}), delta({"reasoning": "hm"}), delta({}), delta({"reasoning": ""})]
    assert deltas(chunks) == [
        ({"role": "assistant", "content": "", "refusal": None}, None),
        ({"reasoning": "hm"}, None),
    ]


def test_embeddings() -> None:
    data = [{"object": "embedding", "index": 0, "embedding": [0.25, -1.0]}]
    answer = {
        "object": "list",
        "data": data,
        "model": "unknown",
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    }
    encoded = embeddings_body(answer, model="asked-for")
    CreateEmbeddingResponse.model_validate_json(encoded)
    assert msgspec.json.decode(encoded) == {
        "object": "list",
        "data": data,
        "model": "asked-for",
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    }
