"""Which headers of the caller go on: a few to a tier on this machine, only strict forms off it."""

from __future__ import annotations

import pytest

from sidecar.core.tiers import TierSpec
from sidecar.wire.caller_headers import headers_for

BETA = "prompt-caching-2024-07-31,max-tokens-3-5-sonnet-2024-07-15, output-128k-2025-02-19"


def tier(provider: str, *, off_box: bool = True) -> TierSpec:
    return TierSpec(provider, "https://tier.example/v1", {"default": "m"}, off_box=off_box)


def test_an_off_box_tier_gets_the_versions_of_its_own_dialect() -> None:
    callers = {
        "anthropic-beta": BETA,
        "anthropic-version": "2023-06-01",
        "openai-beta": "assistants=v2",
        "user-agent": "app/1",
        "accept": "text/event-stream",
    }
    agent = ("user-agent", "aegis-sidecar")
    assert headers_for(tier("openai"), callers, "") == [agent, ("openai-beta", "assistants=v2")]
    assert headers_for(tier("anthropic"), callers, "") == [
        agent,
        ("anthropic-beta", BETA),
        ("anthropic-version", "2023-06-01"),
    ]
    assert headers_for(tier("ollama"), callers, "") == [agent]


@pytest.mark.parametrize(
    "value",
    [
        "anna.schneider83@gmail.com",
        "DE89370400440532013000",
        "anna=49151234567",
        "call-491-512-345-678-2024-07-31",
        "1984-03-12",
        "x" * 600,
        "prompt-caching-2024-07-31\nDE89",
    ],
)
@pytest.mark.parametrize("provider", ["openai", "anthropic", "ollama"])
def test_free_text_in_a_header_stays(provider: str, value: str) -> None:
    names = ("accept", "anthropic-beta", "anthropic-version", "openai-beta", "user-agent", "cookie", "from")
    kept = headers_for(tier(provider), dict.fromkeys(names, value), f"k={value}")
    assert kept == [("user-agent", "aegis-sidecar")]


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ("v=1", "v=1"),
        ("rojo=00f067aa0ba902b7, who=anna.schneider@gmail.com", "rojo=00f067aa0ba902b7"),
        ("card=5425233430109903", ""),
        ("anna=49151234567", ""),
    ],
)
def test_only_ids_and_counts_of_a_trace_state_leave(state: str, kept: str) -> None:
    assert dict(headers_for(tier("openai"), {}, state)).get("tracestate", "") == kept


def test_a_local_tier_gets_them_as_they_came() -> None:
    callers = {"user-agent": "app/1 (anna)", "accept": "*/*", "cookie": "s=1", "openai-beta": "\xfc"}
    local = tier("ollama", off_box=False)
    assert headers_for(local, callers, "k=anna") == [
        ("accept", "*/*"),
        ("user-agent", "app/1 (anna)"),
        ("tracestate", "k=anna"),
    ]
