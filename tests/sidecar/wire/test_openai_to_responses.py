"""any-llm's answers as responses of OpenAI's Responses: golden bodies and streams."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from sidecar.core.errors import UpstreamFault
from sidecar.wire.openai_to_responses import response_body
from sidecar.wire.response_events import ResponseEvents
from sidecar.wire.timings import Timings

HEAD = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "llama3.2"}
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}
CALL = {"id": "c1", "type": "function", "function": {"name": "desk", "arguments": '{"a": 1}'}}
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def whole(
    message: dict[str, Any], finish: str = "stop", *, reasoning: bool = False, **asked: Any
) -> dict[str, Any]:
    answer = {**HEAD, "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": USAGE}
    body = response_body(answer, asked, model="asked-for", wall_s=1.0, reasoning=reasoning)
    Response.model_validate(body)
    return body


def text(words: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": words}


def test_a_whole_response() -> None:
    body = whole({"content": "hi"}, instructions="be brief", metadata={"team": "t"}, max_output_tokens=9)
    assert body["output"] == [
        {
            "id": "msg_1",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [text("hi")],
        }
    ]
    assert body["usage"] == {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 12,
    }
    told = ("id", "object", "status", "model", "created_at", "instructions", "metadata", "max_output_tokens")
    assert [body[name] for name in told] == [
        *("resp_1", "response", "completed", "llama3.2", 1_700_000_000, "be brief", {"team": "t"}, 9)
    ]
    assert (body["store"], body["tools"], body["tool_choice"], body["error"]) == (False, [], "auto", None)


def test_reasoning_calls_and_refusals() -> None:
    message = {"content": "hi", "reasoning": "hm", "tool_calls": [CALL]}
    shown = whole(message, "tool_calls", reasoning=True)["output"]
    assert [item["type"] for item in shown] == ["reasoning", "message", "function_call"]
    assert shown[0]["summary"] == [{"type": "summary_text", "text": "hm"}]
    assert (shown[2]["call_id"], shown[2]["name"], shown[2]["arguments"]) == ("c1", "desk", '{"a": 1}')
    assert [item["type"] for item in whole(message, "stop")["output"]] == ["message", "function_call"]
    refused = whole({"content": "", "refusal": "no"})["output"][0]["content"]
    assert refused == [{"type": "refusal", "refusal": "no"}]


@pytest.mark.parametrize(
    ("finish", "why"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_what_was_cut_is_incomplete(finish: str, why: str) -> None:
    body = whole({"content": "hi", "tool_calls": [CALL]}, finish)
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": why})
    assert {item["status"] for item in body["output"]} == {"incomplete"}


def delta(finish: str | None = None, **said: Any) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": 0, "delta": said, "finish_reason": finish}]}


def fragment(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    function = {"arguments": arguments, **more.pop("function", {})}
    return {"tool_calls": [{"index": index, **more, "function": function}]}


def events(chunks: list[dict[str, Any]], *, reasoning: bool = False) -> list[dict[str, Any]]:
    writer = ResponseEvents({"tools": []}, model="m", reasoning=reasoning)
    written = b"".join(writer.feed(chunk, 1.0) for chunk in chunks) + writer.end(2.0, Timings(1, 2))
    told = []
    for event in written.split(b"\n\n")[:-1]:
        name, data = event.split(b"\ndata: ")
        EVENT.validate_json(data)
        told.append(msgspec.json.decode(data))
        assert name == b"event: " + told[-1]["type"].encode()
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    return told


def test_a_stream_of_items() -> None:
    told = events(
        [
            delta(role="assistant", reasoning="hm"),
            delta(content="hi"),
            delta(content=" you"),
            delta(**fragment(0, "", id="c1", function={"name": "desk"})),
            delta(**fragment(0, '{"a": 1}')),
            delta(**fragment(1, "{}", id="c2", function={"name": "desk"})),
            delta("tool_calls"),
            {**HEAD, "choices": [], "usage": USAGE},
        ],
        reasoning=True,
    )
    assert [event["type"].removeprefix("response.") for event in told] == [
        *("created", "in_progress"),
        *("output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.done"),
        "output_item.done",
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.done"),
        "output_item.done",
        "completed",
    ]
    last = told[-1]["response"]
    assert [item["type"] for item in last["output"]] == ["reasoning", "message", *["function_call"] * 2]
    assert [item.get("call_id") for item in last["output"]] == [None, None, "c1", "c2"]
    assert len({item["id"] for item in last["output"]}) == 4
    assert last["output"][1]["content"] == [text("hi you")]
    assert (last["status"], last["usage"]["total_tokens"]) == ("completed", 12)
    added = [event["item"] for event in told if event["type"] == "response.output_item.added"]
    assert [item.get("content", item.get("arguments", item.get("summary"))) for item in added] == [
        [],
        [],
        "",
        "",
    ]
    done = [event["item"] for event in told if event["type"] == "response.output_item.done"]
    assert done == last["output"]
    places = [event["output_index"] for event in told if "output_index" in event]
    assert places == sorted(places)


def test_a_stream_that_is_cut_and_one_that_refuses() -> None:
    told = events([delta(reasoning="hm"), delta("length", content="hi")])
    assert "reasoning_summary" not in str(told[2:-1])
    assert told[-1]["type"] == "response.incomplete"
    assert told[-1]["response"]["output"][0]["status"] == "incomplete"
    refused = events([delta("stop", refusal="no")])
    assert [event["type"] for event in refused][4:6] == ["response.refusal.delta", "response.refusal.done"]


def test_fragments_of_two_calls_that_come_mixed_are_garbage() -> None:
    with pytest.raises(UpstreamFault, match="mixed"):
        events([delta(**fragment(0, "")), delta(**fragment(1, "")), delta(**fragment(0, ""))])
