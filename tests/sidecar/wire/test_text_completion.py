"""Legacy text completions over a chat: requests, golden bodies and streams."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from openai.types import Completion

from sidecar.core.errors import Fault, UpstreamFault
from sidecar.wire.text_completion import TextEvents, chat_fields, completion_body
from sidecar.wire.timings import Timings

NOW_S = 1_750_000_000.9
HEAD = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "llama3.2"}
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
LOGPROBS = {
    "content": [
        {"token": "hi", "logprob": -0.5, "top_logprobs": [{"token": "hi", "logprob": -0.5}]},
        {"token": " you", "logprob": -1.5, "top_logprobs": [{"token": " me", "logprob": -0.4}]},
    ]
}


def test_a_prompt_is_what_the_user_says() -> None:
    fields = {"model": "m", "prompt": ["go on"], "max_tokens": 9, "logprobs": 2, "echo": True, "suffix": None}
    assert chat_fields(fields) == {
        "model": "m",
        "messages": [{"role": "user", "content": "go on"}],
        "max_tokens": 9,
        "logprobs": True,
        "top_logprobs": 2,
    }


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"prompt": ["a", "b"]}, "prompt: .* one prompt"),
        ({"prompt": [1, 2]}, "prompt: .* token ids"),
        ({"prompt": [[1], [2]]}, "prompt: .* one prompt"),
        ({"prompt": ""}, "prompt"),
        ({}, "prompt"),
        ({"prompt": "a", "suffix": "b"}, "suffix"),
        ({"prompt": "a", "best_of": 3, "n": 2}, "best_of"),
    ],
)
def test_what_a_chat_has_no_place_for_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(UpstreamFault, match=named) as refused:
        chat_fields(fields)
    assert refused.value.fault is Fault.UNSUPPORTED


def test_a_whole_completion() -> None:
    answer = {
        **HEAD,
        "usage": USAGE,
        "choices": [
            {"index": 0, "message": {"content": "hi you"}, "finish_reason": "stop", "logprobs": LOGPROBS},
            {"index": 1, "message": {"content": "", "refusal": "no"}, "finish_reason": "length"},
        ],
    }
    asked = {"prompt": "Q: ", "echo": True}
    body = completion_body(answer, asked, model="asked-for", wall_s=NOW_S)
    Completion.model_validate_json(body, strict=False)
    assert msgspec.json.decode(body) == {
        **HEAD,
        "id": "cmpl-1",
        "object": "text_completion",
        "choices": [
            {
                "text": "Q: hi you",
                "index": 0,
                "logprobs": {
                    "tokens": ["hi", " you"],
                    "token_logprobs": [-0.5, -1.5],
                    "top_logprobs": [{"hi": -0.5}, {" me": -0.4}],
                    "text_offset": [3, 5],
                },
                "finish_reason": "stop",
            },
            {"text": "Q: no", "index": 1, "logprobs": None, "finish_reason": "length"},
        ],
        "usage": USAGE,
    }


def test_a_stream() -> None:
    events = TextEvents({"prompt": "Q: ", "echo": True}, model="m", include_usage=True)
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "reasoning": "hmm"}}]},
        {
            "choices": [
                {"index": 0, "delta": {"content": "hi"}, "logprobs": {"content": LOGPROBS["content"][:1]}}
            ]
        },
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": USAGE},
    ]
    text = b"".join(events.feed({**HEAD, **chunk}, NOW_S) for chunk in chunks)
    *told, done, rest = (text + events.end(NOW_S, Timings(1, 2))).split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    bodies = [msgspec.json.decode(event.removeprefix(b"data: ")) for event in told]
    assert {(body["id"], body["object"]) for body in bodies} == {("cmpl-1", "text_completion")}
    assert [choice["text"] for body in bodies for choice in body["choices"]] == ["Q: ", "hi", ""]
    assert bodies[1]["choices"][0]["logprobs"]["text_offset"] == [3]
    assert [body["usage"] for body in bodies] == [None, None, None, USAGE]
