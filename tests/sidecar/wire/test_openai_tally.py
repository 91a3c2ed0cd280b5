"""The tally that is kept from OpenAI-shaped answers."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.core.ports import Tally
from sidecar.core.vocabulary import Usage
from sidecar.wire.openai_tally import (
    output_tokens,
    reported_usage,
    tally_chunk,
    tally_completion,
    tally_embeddings,
)

USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 40,
    "total_tokens": 1240,
    "prompt_tokens_details": {"cached_tokens": 1024},
    "completion_tokens_details": {"reasoning_tokens": 30},
}


def test_a_completion_is_tallied_whole() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "desk", "arguments": '{"a":1}'}}
    choices = [
        {"index": 0, "finish_reason": "stop", "message": {"content": "grün", "reasoning": "hm"}},
        {"index": 1, "finish_reason": "tool_calls", "message": {"tool_calls": [call], "refusal": "no"}},
    ]
    tally = Tally()
    tally_completion(tally, {"choices": choices, "usage": USAGE})

    assert tally.usage == Usage(1200, 40, cached_input_tokens=1024, reasoning_tokens=30)
    assert tally.output_text_bytes == 5 + 2 + 4 + 7 + 2
    assert tally.finish_reason == "tool_calls"
    assert tally.finished


def test_a_stream_is_finished_when_a_choice_says_why_it_ended() -> None:
    tally = Tally()
    tally_chunk(tally, {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
    tally_chunk(tally, {"choices": [{"index": 0, "delta": {"content": "€"}}]})
    assert (tally.output_text_bytes, tally.finished, tally.usage) == (3, False, None)
    tally_chunk(tally, {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
    assert (tally.finished, tally.finish_reason, tally.usage) == (True, "length", None)
    tally_chunk(tally, {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}})
    assert tally.usage == Usage(5, 2)


def test_embeddings_have_no_output() -> None:
    tally = Tally()
    tally_embeddings(tally, {"data": [], "usage": {"prompt_tokens": 8, "total_tokens": 8}})
    assert tally.usage == Usage(8, 0)
    assert tally.finished


@pytest.mark.parametrize(
    "answer",
    [{}, {"usage": {}}, {"usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_duration": 9}}],
)
def test_a_usage_of_nothing_is_none(answer: dict[str, Any]) -> None:
    assert reported_usage(answer) is None


def test_reasoning_that_stands_in_the_total_alone_is_output() -> None:
    assert output_tokens(100, 500, 900) == 800
    assert output_tokens(100, 500, 600) == output_tokens(100, 500, None) == 500
    assert output_tokens(100, 500, 0) == 500
    assert output_tokens(None, None, None) == 0
