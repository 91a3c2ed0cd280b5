"""What a model can do is data: said by the operator, learnt, or not known and taken to be possible."""

from __future__ import annotations

import pytest

from sidecar.core.capabilities import NOTHING_KNOWN, Capabilities
from sidecar.core.tiers import TierSpec


def test_what_is_said_first_counts() -> None:
    said = Capabilities(tools=False, context_tokens=100)
    learnt = Capabilities(tools=True, vision=False, context_tokens=8)
    assert said.over(learnt) == Capabilities(tools=False, vision=False, context_tokens=100)
    assert NOTHING_KNOWN.over(learnt) == learnt == learnt.over(NOTHING_KNOWN)


@pytest.mark.parametrize(
    ("can", "needs", "chars", "lacks"),
    [
        (NOTHING_KNOWN, {"tools", "vision"}, 10**9, set()),
        (Capabilities(tools=False, vision=True), {"tools", "vision"}, 0, {"tools"}),
        (Capabilities(tools=False), set(), 0, set()),
        (Capabilities(thinking=False, schema=False), {"thinking", "schema"}, 0, {"thinking", "schema"}),
        (Capabilities(context_tokens=100), set(), 800, set()),
        (Capabilities(context_tokens=100), set(), 801, {"context"}),
    ],
)
def test_what_a_call_needs_and_a_model_lacks(
    can: Capabilities, needs: set[str], chars: int, lacks: set[str]
) -> None:
    assert can.lacking(needs, chars) == lacks


def test_a_tier_says_it_of_one_model_or_of_all() -> None:
    tier = TierSpec(
        provider="openai",
        base_url="http://x",
        models={"default": "a"},
        capabilities={"a": Capabilities(vision=True), "*": Capabilities(vision=False, tools=False)},
    )
    assert tier.said_of("a") == Capabilities(vision=True, tools=False)
    assert tier.said_of("b") == Capabilities(vision=False, tools=False)
