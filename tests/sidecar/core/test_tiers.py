"""What a tier's configuration says by itself."""

from __future__ import annotations

from typing import Literal

import pytest

from sidecar.core.tiers import PriceSpec, TierSpec, is_loopback
from sidecar.core.vocabulary import Dialect


def tier(**given: object) -> TierSpec:
    values = {"provider": "ollama", "base_url": "http://127.0.0.1:1", "models": {"default": "m"}} | given
    return TierSpec(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.255.0.9", "::1"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "128.0.0.1",
        "0.0.0.0",
        "::",
        "::2",
        "127.1",
        "2130706433",
        "0x7f000001",
        "localhost.example.com",
        "ollama",
    ],
)
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("url", "stays"),
    [
        ("http://LocalHost:11434/v1", True),
        ("http://[::1]:11434", True),
        ("http://OLLAMA:11434", True),
        ("http://10.0.0.3", True),
        ("http://ollama.example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("http://10.0.0.30", False),
        ("http://", False),
    ],
)
def test_a_url_stays_on_the_box_at_loopback_or_a_trusted_host(url: str, stays: bool) -> None:
    assert tier(base_url=url, trusted_hosts=("ollama", "10.0.0.3")).stays_on_box is stays


def test_a_tier_that_says_nothing_is_elsewhere_and_off_without_a_key() -> None:
    assert tier().off_box
    assert tier().off_because == "no api_key is configured"
    assert tier(api_key="k").off_because == ""
    assert tier(off_box=False).off_because == ""


def test_the_model_for_a_task_is_its_own_or_the_default_one() -> None:
    spec = tier(models={"default": "m", "embedding": "e"})
    assert [spec.model_for(task) for task in ("embedding", "research", None)] == ["e", "m", "m"]


@pytest.mark.parametrize(
    ("provider", "dialect"),
    [
        ("ollama", Dialect.OLLAMA),
        ("vllm", Dialect.OPENAI),
        ("anthropic", Dialect.ANTHROPIC),
        ("bedrock", None),
    ],
)
def test_the_dialect_of_a_provider(provider: str, dialect: Dialect | None) -> None:
    assert tier(provider=provider).dialect is dialect


def test_the_figures_of_a_price_are_those_that_are_given() -> None:
    assert PriceSpec().figures == {}
    price = PriceSpec(input_usd_per_1m="2.50", output_usd_per_1m=10.0)
    assert price.figures == {"input_usd_per_1m": "2.50", "output_usd_per_1m": "10.0"}


@pytest.mark.parametrize(
    ("model", "price", "allowed", "why"),
    [
        ("o1-pro", PriceSpec(usd_per_1k_tokens="0.015"), (), ""),
        ("o1-pro", PriceSpec(usd_per_1k_tokens="0.015"), ("gpt-4o*", "gpt-4.1"), "models_allowed"),
        ("gpt-4o-mini", PriceSpec(usd_per_1k_tokens="0.015"), ("gpt-4o*",), ""),
        ("m", PriceSpec(usd_per_1k_tokens="0.015"), ("gpt-4o*",), ""),
        ("m", "catalog", (), ""),
        ("gpt-4o-mini", "catalog", ("gpt-4o*",), "no price"),
        ("o1-pro", None, (), ""),
    ],
)
def test_which_models_an_app_may_name(
    model: str, price: PriceSpec | Literal["catalog"] | None, allowed: tuple[str, ...], why: str
) -> None:
    words = tier(price=price, models_allowed=allowed).unserved_because(model)
    assert why in words
    assert bool(words) is bool(why)


def test_a_model_that_searches_is_not_served_at_a_price_for_tokens() -> None:
    priced = tier(provider="openrouter", price=PriceSpec(usd_per_1k_tokens="0.015"))
    assert "searches" in priced.unserved_because("openai/gpt-4o:online")
