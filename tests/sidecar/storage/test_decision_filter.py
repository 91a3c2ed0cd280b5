"""Filters read from a URL, or say which key is wrong and what was expected."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.vocabulary import Arm, Outcome, TaskType, VerdictState
from sidecar.storage.decision_filter import DecisionFilter


def test_every_key_reads_into_its_field() -> None:
    assert DecisionFilter.parse(
        {
            "request_id": "r",
            "tier": "openai",
            "arm": "routed",
            "reason": "pinned",
            "outcome": "client_left",
            "verdict": "CLEAN",
            "fallback": "false",
            "app": "docs",
            "session": "s",
            "model": "m",
            "task_type": "vision",
            "status_class": "4xx",
            "error_code": "invalid_hint",
            "since": "1970-01-01T01:00:01.5+01:00",
            "until": "1790078400.25",
            "min_cost_usd": "0.000000001",
            "max_cost_usd": "1.5",
            "min_latency_ms": "0",
            "max_latency_ms": "99.5",
        }
    ) == DecisionFilter(
        "r",
        "openai",
        Arm.ROUTED,
        "pinned",
        Outcome.CLIENT_LEFT,
        VerdictState.CLEAN,
        False,
        "docs",
        "s",
        "m",
        TaskType.VISION,
        "4xx",
        "invalid_hint",
        1_500_000_000,
        1_790_078_400_250_000_000,
        1,
        1_500_000_000,
        0.0,
        99.5,
    )


def test_empty_values_count_as_not_given() -> None:
    assert DecisionFilter.parse({"tier": "", "since": ""}) == DecisionFilter()


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("colour", "red", "unknown filter 'colour'; the filters are request_id, tier"),
        ("arm", "left", "filter arm: 'left' is none of legacy, routed"),
        ("outcome", "COMPLETE", "filter outcome: .* complete, complete_without_usage"),
        ("fallback", "yes", "none of true, false"),
        ("status_class", "404", "none of 2xx, 4xx, 5xx"),
        ("since", "yesterday", "neither ISO 8601 nor Unix seconds"),
        ("since", "2026-01-01T00:00:00", "no offset from UTC"),
        ("until", "nan", "Unix seconds"),
        ("until", "1e400", "Unix seconds"),
        ("until", "9223372037", "too far from zero"),
        ("since", "9999-01-01T00:00:00Z", "too far from zero"),
        ("max_cost_usd", "9300000000", "too far from zero"),
        ("min_cost_usd", "cheap", "not a number"),
        ("min_cost_usd", "inf", "not a number that can be meant"),
        ("max_latency_ms", "1e1000000", "not a number that can be meant"),
    ],
)
def test_a_wrong_filter_is_named_with_what_was_expected(key: str, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        DecisionFilter.parse({key: text})


@given(st.sampled_from(["since", "until", "min_cost_usd", "max_latency_ms"]), st.text())
def test_any_text_is_read_or_refused(key: str, text: str) -> None:
    with contextlib.suppress(ValueError):
        DecisionFilter.parse({key: text})
