"""Why a tier cannot take a call: the code, and words that a person can act on."""

from __future__ import annotations

import pytest

from sidecar.core.obstacles import IN_WORDS, dollars, down, exhausted, unfit
from sidecar.core.vocabulary import RejectedTier, TierState
from tests.sidecar.core.routing_words import call


@pytest.mark.parametrize("code", ["tier_off", "circuit_open", "saturated"])
def test_a_tier_that_is_down_says_so_in_its_own_words_or_ours(code: str) -> None:
    assert down(TierState("openai", unavailable=code)) == RejectedTier(
        "openai", code, f"the tier {IN_WORDS[code]}"
    )
    own = TierState("openai", unavailable=code, detail="no api_key is configured")
    assert down(own) == RejectedTier("openai", code, "no api_key is configured")


def test_a_tier_that_is_up_has_no_obstacle() -> None:
    state = TierState("openai", remaining_nano_usd=10**9, missing=frozenset({"vision"}))
    assert down(state) is None
    assert unfit(state, call("needs=tools")) is None
    assert exhausted(state, call(""), priced=True) is None


def test_what_is_lacking_is_named() -> None:
    state = TierState("openai", missing=frozenset({"vision", "tools", "schema"}))
    found = unfit(state, call("needs=vision,tools"))
    assert found == RejectedTier("openai", "capability_missing", "it lacks tools and vision")


@pytest.mark.parametrize(
    ("left", "detail"),
    [
        (150_000_000, None),
        (149_999_999, "the call could cost $0.15, $0.149999999 is left (openai-month)"),
        (0, "the call could cost $0.15, $0.00 is left (openai-month)"),
        (-7, "the call could cost $0.15, $0.00 is left (openai-month)"),
        (None, None),
    ],
)
def test_the_worst_case_must_fit_into_what_is_left(left: int | None, detail: str | None) -> None:
    state = TierState("openai", remaining_nano_usd=left, budget_detail="openai-month")
    found = exhausted(state, call(""), priced=True)
    assert (found.detail if found is not None else None) == detail
    assert exhausted(state, call(""), priced=False) is None


@pytest.mark.parametrize(
    ("nano_usd", "words"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (15_360_000, "$0.01536"),
        (10**9, "$1.00"),
        (80_500_000_000, "$80.50"),
    ],
)
def test_dollars_lose_nothing(nano_usd: int, words: str) -> None:
    assert dollars(nano_usd) == words
