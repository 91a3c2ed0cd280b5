"""Turns tokens into money, exactly: integers of nano-dollars, never a float.

One unit of money is a nano-dollar, 10**-9 USD. A price is an integer of nano-dollars per million tokens,
so that $0.015 per 1,000 tokens is 15,000,000,000. A price finer than that is refused, not rounded.

The one rounding rule: the cost of a call is the exact sum over its tokens, rounded **up** to the next
nano-dollar, once. Rounding up keeps what was posted at or above what was billed.
"""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, InvalidOperation

import msgspec

from sidecar.core.tiers import PriceSpec
from sidecar.core.vocabulary import Usage

NANO_PER_USD = 1_000_000_000
TOKENS_PER_PRICE = 1_000_000

#: The largest amount or price that is taken for real, $1bn: any sum of amounts stays within 64 bits.
NANO_USD_MAX = 10**18

_DIGITS_MAX = 40
#: Twice the digits that are taken: a product is exact, and what would be rounded raises.
_EXACT = Context(prec=2 * _DIGITS_MAX, traps=[InvalidOperation, Inexact])


class PriceRefused(ValueError):
    """A price or an amount that cannot be taken; the message says what was expected."""


class Price(msgspec.Struct, frozen=True):
    """What a million tokens cost, in nano-dollars, by direction.

    ``cached_input`` is for the part of the input that the upstream had in its cache. Some models cost
    more for long inputs: above ``longer_from`` input tokens all tokens are billed at ``longer``.
    """

    input: int
    output: int
    cached_input: int
    longer_from: int = 0
    longer: Price | None = None

    @classmethod
    def from_spec(cls, spec: PriceSpec) -> Price:
        """The price an operator wrote, exactly; a number counts as the digits it was written with.

        Raises ``PriceRefused`` when the two ways of writing are mixed, a direction is missing, or a
        value is negative, not a number, or finer than a nano-dollar per million tokens.
        """
        by_direction = (spec.input_usd_per_1m, spec.output_usd_per_1m, spec.cached_input_usd_per_1m)
        if spec.usd_per_1k_tokens is not None:
            if any(value is not None for value in by_direction):
                raise PriceRefused("usd_per_1k_tokens stands alone, without the prices by direction")
            flat = _exactly(spec.usd_per_1k_tokens, 1_000 * NANO_PER_USD)
            return cls(flat, flat, flat)
        if spec.input_usd_per_1m is None or spec.output_usd_per_1m is None:
            raise PriceRefused("expected usd_per_1k_tokens, or input_usd_per_1m with output_usd_per_1m")
        cached = spec.cached_input_usd_per_1m
        input_price = nano_usd(spec.input_usd_per_1m)
        return cls(
            input_price,
            nano_usd(spec.output_usd_per_1m),
            input_price if cached is None else nano_usd(cached),
        )

    def cost(self, usage: Usage) -> int:
        """What ``usage`` costs in nano-dollars, rounded up.

        ``usage.cached_input_tokens`` are part of ``usage.input_tokens``, as upstreams report them.
        """
        if self.longer is not None and usage.input_tokens > self.longer_from:
            return self.longer.cost(usage)
        cached = min(usage.cached_input_tokens, usage.input_tokens)
        return _round_up(
            (usage.input_tokens - cached) * self.input
            + cached * self.cached_input
            + usage.output_tokens * self.output
        )

    def worst(self, input_tokens: int, output_tokens: int) -> int:
        """The most that a call of at most these many tokens can cost, in nano-dollars, rounded up.

        Whatever part of the input turns out to be cached, and whichever length the input turns out to have.
        """
        dearest_input = max(self.input, self.cached_input)
        here = _round_up(input_tokens * dearest_input + output_tokens * self.output)
        if self.longer is not None and input_tokens > self.longer_from:
            return max(here, self.longer.worst(input_tokens, output_tokens))
        return here


def nano_usd(amount: str | int | float | Decimal) -> int:
    """Dollars as nano-dollars, exactly: ``"80"`` is 80,000,000,000; a float counts as the digits it shows.

    Raises ``PriceRefused`` when it is not a number, negative, above $1bn, or finer than a nano-dollar.
    """
    return _exactly(amount, NANO_PER_USD)


def usd_text(nano: int) -> str:
    """Nano-dollars as an exact decimal string of dollars, with two to nine decimals: ``"80.00"``."""
    sign = "-" if nano < 0 else ""
    dollars, rest = divmod(abs(nano), NANO_PER_USD)
    decimals = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{dollars}.{decimals}"


def _exactly(amount: str | int | float | Decimal, units_per_usd: int) -> int:
    text = str(amount).strip()
    if isinstance(amount, bool) or len(text) > _DIGITS_MAX:
        raise PriceRefused("expected an amount in dollars")
    try:
        units = _EXACT.multiply(_EXACT.create_decimal(text), Decimal(units_per_usd))
    except InvalidOperation:
        raise PriceRefused(f"expected an amount in dollars, got {text!r}") from None
    except Inexact:
        raise PriceRefused(f"{text} dollars has more digits than money has") from None
    if not (units.is_finite() and 0 <= units <= NANO_USD_MAX):
        raise PriceRefused(f"expected an amount from 0 to 1000000000 dollars, got {text}")
    if units != int(units):
        raise PriceRefused(f"{text} dollars is finer than the nano-dollars that are counted")
    return int(units)


def _round_up(nano_times_million: int) -> int:
    return -(-nano_times_million // TOKENS_PER_PRICE)
