"""Money is exact: what is written is what is counted, and a cost is rounded up once."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.pricing import NANO_PER_USD, NANO_USD_MAX, Price, PriceRefused, nano_usd, usd_text
from sidecar.core.tiers import PriceSpec
from sidecar.core.vocabulary import Usage

tokens = st.integers(0, 10**9)
prices = st.integers(0, 10**14)


@given(st.integers(0, NANO_USD_MAX))
def test_an_amount_survives_being_written_and_read(nano: int) -> None:
    assert nano_usd(usd_text(nano)) == nano
    assert Fraction(usd_text(nano)) * NANO_PER_USD == nano


@pytest.mark.parametrize(
    ("amount", "nano"),
    [
        ("80", 80_000_000_000),
        (80, 80_000_000_000),
        (0.1, 100_000_000),
        (0.015, 15_000_000),
        (Decimal("0.000000001"), 1),
        (" 10.5 ", 10_500_000_000),
        ("1e3", 1_000_000_000_000),
    ],
)
def test_an_amount_counts_as_its_digits(amount: str | int | float | Decimal, nano: int) -> None:
    assert nano_usd(amount) == nano


@pytest.mark.parametrize(
    "amount",
    [
        *("nan", "inf", "-inf", "-1", "", "eighty", "1,5", True),
        *("0.0000000001", "1e10", "1e99999999", "1e-9999999", "1" * 41, "1." + "0" * 37 + "1"),
    ],
)
def test_what_is_no_amount_is_refused(amount: str) -> None:
    with pytest.raises(PriceRefused):
        nano_usd(amount)


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "0.00"),
        (1, "0.000000001"),
        (80 * NANO_PER_USD, "80.00"),
        (-1_500_000_000, "-1.50"),
        (123, "0.000000123"),
    ],
)
def test_dollars_are_written_exactly(nano: int, text: str) -> None:
    assert usd_text(nano) == text


def test_a_flat_price_is_for_all_tokens() -> None:
    price = Price.from_spec(PriceSpec(usd_per_1k_tokens=0.015))
    assert price == Price(15_000_000_000, 15_000_000_000, 15_000_000_000)
    assert price.cost(Usage(1_000, 500, 400)) == 22_500_000


def test_each_direction_has_its_price() -> None:
    spec = PriceSpec(input_usd_per_1m="2.50", output_usd_per_1m=10, cached_input_usd_per_1m="1.25")
    price = Price.from_spec(spec)
    assert price.cost(Usage(1_000_000, 0)) == 2_500_000_000
    assert price.cost(Usage(1_000_000, 0, 1_000_000)) == 1_250_000_000
    assert price.cost(Usage(0, 1_000_000)) == 10_000_000_000


def test_cached_input_costs_as_much_as_any_unless_priced() -> None:
    price = Price.from_spec(PriceSpec(input_usd_per_1m=2, output_usd_per_1m=3))
    assert price.cached_input == price.input


@pytest.mark.parametrize(
    "spec",
    [
        PriceSpec(),
        PriceSpec(input_usd_per_1m=1),
        PriceSpec(output_usd_per_1m=1),
        PriceSpec(usd_per_1k_tokens=1, input_usd_per_1m=1),
        PriceSpec(usd_per_1k_tokens="-0.1"),
        PriceSpec(usd_per_1k_tokens="0.0000000000001"),
        PriceSpec(input_usd_per_1m=1, output_usd_per_1m=float("nan")),
    ],
)
def test_half_a_price_is_none(spec: PriceSpec) -> None:
    with pytest.raises(PriceRefused):
        Price.from_spec(spec)


@given(tokens, tokens, st.integers(0, 100), prices, prices, prices)
def test_a_cost_is_the_exact_sum_rounded_up_once(
    read: int, written: int, cached_percent: int, input_price: int, output_price: int, cached_price: int
) -> None:
    cached = read * cached_percent // 100
    exact = Fraction((read - cached) * input_price + cached * cached_price + written * output_price, 10**6)
    cost = Price(input_price, output_price, cached_price).cost(Usage(read, written, cached))
    assert cost == ceil(exact)


@given(tokens, tokens, tokens, st.integers(0, 100), prices, prices, prices, prices, tokens)
def test_no_usage_within_the_bound_costs_more_than_the_worst(
    read: int, written: int, more: int, percent: int, a: int, b: int, c: int, d: int, step: int
) -> None:
    price = Price(a, b, c, step, Price(d, a, b))
    worst = price.worst(read, written)
    used = Usage(read * percent // 100, written * percent // 100, min(more, read * percent // 100))
    assert price.cost(used) <= worst
    assert price.cost(Usage(read, written)) <= worst
    assert worst <= price.worst(read + more, written + more)


def test_long_inputs_have_their_own_price_for_all_tokens() -> None:
    price = Price(3, 15, 1, 200_000, Price(6, 22, 2))
    assert price.cost(Usage(200_000, 0)) == ceil(200_000 * 3 / 10**6)
    assert price.cost(Usage(200_001, 1_000_000)) == ceil((200_001 * 6 + 22_000_000) / 10**6)
