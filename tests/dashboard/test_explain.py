"""The story of a decision, as somebody who does not program reads it."""

from __future__ import annotations

import random
import time

import pytest

from dashboard.explain import source_words, story
from sidecar.core.policy import Policy, Rule, TierPolicy
from sidecar.core.vocabulary import (
    Attempt,
    Decision,
    DecisionRecord,
    Lane,
    Outcome,
    PlannedTier,
    RejectedTier,
    TraceStep,
    Verdict,
    VerdictState,
)
from tests.dashboard.stage import record

POLICY = Policy(
    tiers=tuple(
        TierPolicy(name, off_box, off_box, {"default": "m"})
        for name, off_box in (("local_ollama", False), ("ollama_cloud", True), ("openai", True))
    ),
    default="local_ollama",
    fallback=("openai", "ollama_cloud", "local_ollama"),
    legacy_tier="local_ollama",
    rules=(Rule("critical_quality", {"quality": "critical"}, "openai"),),
)


def decided(reason: str, *rejected: RejectedTier, detail: str = "", **changes: object) -> DecisionRecord:
    plain = record(1, time.time_ns(), dice=random.Random(3))
    decision = Decision(
        reason,
        (PlannedTier("ollama_cloud", "gpt-oss:120b", reason),),
        rejected,
        (TraceStep(reason, True, detail),),
    )
    return record(
        1,
        time.time_ns(),
        dice=random.Random(3),
        **{"decision": decision, "features": plain.features, **changes},
    )


def test_the_story_that_was_asked_for() -> None:
    told = story(
        decided(
            "critical_quality",
            RejectedTier("openai", "budget_exhausted", "openai-month is used up"),
            detail="quality is critical: ollama_cloud with gpt-oss:120b",
            tier="ollama_cloud",
            model="gpt-oss:120b",
            duration_ms=1234.0,
            cost_nano_usd=1_500_000,
            attempts=(),
        ),
        POLICY,
    )
    assert told == (
        "The rule “critical quality” applied (quality is critical); it asks for OpenAI.",
        "OpenAI has used up its budget: openai-month is used up.",
        "Ollama Cloud took it with gpt-oss:120b and answered in 1.23 s, for $0.0015.",
    )


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("rollout_legacy", "The rollout stood at 30 %"),
        ("unknown_data_local_only", "It could not be told whether the data is sensitive"),
        ("embedding_local_only", "The call is an embedding"),
        ("pinned", "The app asked for exactly this"),
        ("default_local", "so the call went to the default: Local Ollama"),
    ],
)
def test_each_reason_has_its_words(reason: str, words: str) -> None:
    assert words in story(decided(reason), POLICY)[0]


def test_sensitive_data_is_named_by_kind_and_number() -> None:
    plain = decided("sensitive_data_local_only").features
    fields = {name: getattr(plain, name) for name in plain.__struct_fields__}
    features = type(plain)(
        **{**fields, "verdict": Verdict(VerdictState.SENSITIVE, {"email": 2, "credit_card": 1})}
    )
    told = story(
        decided(
            "sensitive_data_local_only",
            RejectedTier("ollama_cloud", "not_permitted_to_leave"),
            RejectedTier("openai", "not_permitted_to_leave"),
            features=features,
        ),
        POLICY,
    )
    assert (
        told[0]
        == "Sensitive data was found (2 × email, 1 × credit card), so the call had to stay on this machine."
    )
    assert (
        told[1] == "Ollama Cloud and OpenAI could not be asked: that would have meant leaving this machine."
    )


def test_failures_and_partings_are_told() -> None:
    failed = decided(
        "default_local",
        outcome=Outcome.UPSTREAM_FAILED,
        status=502,
        error_code="upstream_failed",
        tier="",
        attempts=(
            Attempt("local_ollama", "m", Lane.RELAY, 1.0, 3.5, None, None, "refused", "connection refused"),
        ),
        cost_nano_usd=0,
        passed_over=(RejectedTier("openai", "budget_exhausted"),),
    )
    told = story(failed, None)
    assert "When it was its turn, OpenAI has used up its budget." in told
    assert "Local Ollama was tried and failed after 2.5 ms: nothing answered at its address." in told
    assert "the app was told that it did not work (upstream_failed), status 502" in told[-1]
    left = story(decided("default_local", outcome=Outcome.CLIENT_LEFT, tier=""), POLICY)
    assert left[-1].startswith("The app hung up after")


def test_sources_have_words() -> None:
    assert source_words("match:2") == "match rule 2 of the configuration"
    assert source_words("header") == "the app, in a header"
