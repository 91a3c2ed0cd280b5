"""A catalog price is never below what the catalog itself would bill, and what is not known has none."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from genai_prices import Usage as CatalogUsage
from genai_prices import calc_price
from genai_prices.data_snapshot import get_snapshot

from sidecar.catalog_prices import catalog_price
from sidecar.core.pricing import NANO_PER_USD, Price
from sidecar.core.vocabulary import Usage

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def billed(provider: str, model: str, usage: Usage, at: datetime) -> Decimal:
    """Nano-dollars, by the catalog's own arithmetic."""
    used = CatalogUsage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_input_tokens,
    )
    return (
        calc_price(used, model, provider_id=provider, genai_request_timestamp=at).total_price * NANO_PER_USD
    )


def test_a_plain_price_is_taken_as_it_is() -> None:
    assert catalog_price("openai", "gpt-4o", NOW) == Price(2_500_000_000, 10_000_000_000, 1_250_000_000)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o"),
        ("openai", "gpt-4o-mini"),
        ("openai", "gpt-5.4"),
        ("openai", "o3"),
        ("openai", "text-embedding-3-small"),
        ("anthropic", "claude-sonnet-4-5"),
        ("gemini", "gemini-2.5-pro"),
        ("deepseek", "deepseek-chat"),
        ("mistral", "mistral-large-latest"),
        ("xai", "grok-4"),
    ],
)
def test_no_usage_costs_less_than_the_catalog_bills_at_any_hour(provider: str, model: str) -> None:
    price = catalog_price(provider, model, NOW)
    assert price is not None
    output = 0 if "embedding" in model else 700
    for usage in (Usage(1, output), Usage(150_000, output, 60_000), Usage(300_000, output, 10)):
        if "embedding" in model:
            usage = Usage(usage.input_tokens)
        for hour in range(24):
            at = NOW + timedelta(hours=hour)
            assert price.cost(usage) >= billed(provider, model, usage, at)


def test_every_price_there_is_stays_above_the_bill() -> None:
    usage = Usage(1_000, 500)
    checked = 0
    for provider in get_snapshot().providers:
        for model in provider.models[:20]:
            price = catalog_price(provider.id, model.id, NOW)
            if price is not None and price.output:
                assert price.cost(usage) >= billed(provider.id, model.id, usage, NOW), model.id
                checked += 1
    assert checked > 100


def test_a_price_that_depends_on_the_hour_is_the_dearest_of_the_day() -> None:
    night, noon = NOW.replace(hour=20), NOW
    price = catalog_price("deepseek", "deepseek-chat", night)
    assert price == catalog_price("deepseek", "deepseek-chat", noon)
    assert price is not None
    usage = Usage(10**6, 10**6)
    assert billed("deepseek", "deepseek-chat", usage, night) < price.cost(usage)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "no-such-model"),
        ("ollama", "gpt-oss:120b"),
        ("no-such-provider", "gpt-4o"),
        ("groq", "whisper-large-v3"),
        ("perplexity", "sonar-pro"),
        ("openrouter", "google/gemma-3-27b-it:free"),
    ],
)
def test_what_is_not_known_or_not_billed_by_tokens_has_no_price(provider: str, model: str) -> None:
    assert catalog_price(provider, model, NOW) is None


def test_without_the_extra_there_is_no_price_and_a_word_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    assert catalog_price("openai", "gpt-4o", NOW) is None
    assert "aegis-sidecar[catalog]" in caplog.text
