"""Looks up what a known model costs, for ``price: catalog``, in the data that genai-prices brings along.

The answer errs upward, so that what is held is never below the bill: the dearest price in force at any hour
of the coming day, and where input is billed apart by kind (cache writes, images) the dearest of the kinds.
An operator who wants it exact writes the price out. Kinds that ``core/bounds.py`` refuses (audio, searches)
do not count.

A model that is not known, or is billed by something other than tokens, has no price: its tier is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sidecar.core.pricing import Price, PriceRefused, nano_usd

log = logging.getLogger("sidecar.budget")

_INPUT = ("input_mtok", "input_text_mtok", "input_image_mtok", "cache_write_mtok", "cache_write_5m_mtok")
_CACHED = ("cache_read_mtok", "cache_text_read_mtok", "cache_image_read_mtok")
_OUTPUT = ("output_mtok", "output_text_mtok", "output_image_mtok", "output_reasoning_mtok")
#: What a call that can be bounded is not billed for.
_REFUSED_BY_BOUNDS = frozenset(
    {
        "cache_write_1h_mtok",
        "web_searches_kcount",
        "storage_searches_kcount",
        "input_audio_mtok",
        "input_video_mtok",
        "cache_audio_read_mtok",
        "output_audio_mtok",
        "output_video_mtok",
    }
)
_KNOWN = frozenset({*_INPUT, *_CACHED, *_OUTPUT, *_REFUSED_BY_BOUNDS})


def catalog_price(provider: str, model: str, now: datetime) -> Price | None:
    """What ``model`` of ``provider`` (any-llm's names) costs for a day from ``now``; None when not known.

    ``now`` is aware of its time zone. Look again each day: prices change.
    """
    try:
        # An optional extra, and half a second to import: only for those who ask for it.
        from genai_prices import data_snapshot
    except ImportError:
        log.error("price: catalog needs genai-prices: pip install 'aegis-sidecar[catalog]'")
        return None
    try:
        _, info = data_snapshot.get_snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        return None
    in_force = {}
    for minute in range(24 * 60):
        prices = info.get_prices(now + timedelta(minutes=minute))
        in_force[id(prices)] = vars(prices)
    try:
        found = [_price(prices, embeds="embed" in model.lower()) for prices in in_force.values()]
    except PriceRefused:
        return None
    return dearest([price for price in found if price is not None]) if all(found) else None


def _price(prices: dict[str, Any], *, embeds: bool) -> Price | None:
    """The price by direction, with a step wherever a long input changes any of its parts."""
    parts = {name: price for name, price in prices.items() if price is not None}
    if not parts.keys() <= _KNOWN or "input_mtok" not in parts:
        return None
    if "output_mtok" not in parts and not embeds:
        return None
    starts = sorted(
        {tier.start for part in parts.values() for tier in getattr(part, "tiers", ())}, reverse=True
    )
    longer: Price | None = None
    longer_from = 0
    for start in (*sorted(starts, reverse=True), 0):
        at = {name: _at(part, start) for name, part in parts.items()}
        longer = Price(
            input=_most(at, _INPUT),
            output=_most(at, _OUTPUT),
            cached_input=_most(at, _CACHED) if any(name in at for name in _CACHED) else _most(at, _INPUT),
            longer_from=longer_from,
            longer=longer,
        )
        longer_from = start
    return longer if longer and (longer.input or longer.output) else None


def _at(part: Any, start: int) -> int:
    """One part's price in nano-dollars per million tokens for inputs of more than ``start`` tokens."""
    if isinstance(part, Decimal):
        return nano_usd(part)
    reached = [tier.price for tier in part.tiers if tier.start <= start and start > 0]
    return nano_usd(reached[-1] if reached else part.base)


def _most(parts: dict[str, int], names: Iterable[str]) -> int:
    return max((parts[name] for name in names if name in parts), default=0)


def dearest(prices: list[Price]) -> Price:
    """A price that is at least each of ``prices`` for any usage; of several, one without steps."""
    if len(prices) == 1:
        return prices[0]
    steps = [step for price in prices for step in _steps(price)]
    return Price(
        max(step.input for step in steps),
        max(step.output for step in steps),
        max(step.cached_input for step in steps),
    )


def _steps(price: Price | None) -> Iterator[Price]:
    while price is not None:
        yield price
        price = price.longer
