"""Compares the two arms figure by figure and says in a word what can be said; pure.

A verdict is only given when the two intervals do not touch. They stay valid however often they are looked
at, so a verdict is ever wrong with a chance of at most ``ALPHA`` per figure. That makes them wider than the
intervals of an ordinary test, and the verdict later.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from sidecar.core.sequential import Interval, mean_interval, share_interval

ALPHA: Final = 0.05
#: Below, no verdict is given at all.
CASES_MIN: Final = 30


class Standing(StrEnum):
    """How the routed arm stands to the legacy one in one figure.

    ``MORE``, ``FEWER`` and ``ANOTHER`` are for figures that are neither good nor bad by themselves.
    """

    BETTER = "better"
    WORSE = "worse"
    MORE = "more"
    FEWER = "fewer"
    ANOTHER = "another mix"
    NO_DIFFERENCE = "no difference seen yet"
    NOT_ENOUGH = "not enough data"


class Measured(msgspec.Struct, frozen=True):
    """One figure of one arm: how many cases it is from, and its interval; None when there is none."""

    cases: int
    interval: Interval | None


class Figure(msgspec.Struct, frozen=True):
    """One figure of both arms, and how the routed one stands to the other."""

    name: str
    unit: str
    legacy: Measured
    routed: Measured
    standing: Standing


class ArmSums(msgspec.Struct, frozen=True):
    """What is known of one arm's calls in a window: the sums, and the quantiles of the answers' times.

    ``proving`` are the calls that count in the error rate: neither left by the client nor the caller's fault.
    Money is in dollars, times in milliseconds.
    """

    calls: int = 0
    proving: int = 0
    failed: int = 0
    fallbacks: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    cost_deviation: float | None = None
    token_deviation: float | None = None
    ratings: int = 0
    score_sum: float = 0.0
    p50: Measured = Measured(0, None)
    p95: Measured = Measured(0, None)
    p99: Measured = Measured(0, None)
    first_p50: Measured = Measured(0, None)
    first_p95: Measured = Measured(0, None)


def compare(legacy: ArmSums, routed: ArmSums) -> tuple[Figure, ...]:
    """Every figure of both arms."""
    return (
        _figure("error_rate", "share", _errors(legacy), _errors(routed), -1),
        _figure("p50", "ms", legacy.p50, routed.p50, -1),
        _figure("p95", "ms", legacy.p95, routed.p95, -1),
        _figure("p99", "ms", legacy.p99, routed.p99, -1),
        _figure("first_token_p50", "ms", legacy.first_p50, routed.first_p50, -1),
        _figure("first_token_p95", "ms", legacy.first_p95, routed.first_p95, -1),
        _figure("cost_per_call", "usd", _cost(legacy), _cost(routed), -1),
        _figure("tokens_per_call", "tokens", _tokens(legacy), _tokens(routed), 0),
        _figure("fallback_share", "share", _fallbacks(legacy), _fallbacks(routed), -1),
        _figure("feedback", "score", _feedback(legacy), _feedback(routed), +1),
    )


def standing(legacy: Measured, routed: Measured, better: int) -> Standing:
    """``better`` is +1 when more is better, -1 when less is, and 0 when neither is."""
    if legacy.interval is None or routed.interval is None or min(legacy.cases, routed.cases) < CASES_MIN:
        return Standing.NOT_ENOUGH
    if routed.interval.low > legacy.interval.high:
        return _ABOVE[better]
    if routed.interval.high < legacy.interval.low:
        return _ABOVE[-better] if better else Standing.FEWER
    return Standing.NO_DIFFERENCE


#: What it means that the routed figure is surely above the legacy one.
_ABOVE: Final = {+1: Standing.BETTER, -1: Standing.WORSE, 0: Standing.MORE}


def _figure(name: str, unit: str, legacy: Measured, routed: Measured, better: int) -> Figure:
    return Figure(name, unit, legacy, routed, standing(legacy, routed, better))


def _errors(arm: ArmSums) -> Measured:
    return Measured(arm.proving, share_interval(arm.proving, arm.failed, ALPHA / 2))


def _fallbacks(arm: ArmSums) -> Measured:
    return Measured(arm.calls, share_interval(arm.calls, arm.fallbacks, ALPHA / 2))


def _feedback(arm: ArmSums) -> Measured:
    return Measured(arm.ratings, share_interval(arm.ratings, arm.score_sum, ALPHA / 2))


def _cost(arm: ArmSums) -> Measured:
    mean = arm.cost_usd / arm.calls if arm.calls else 0.0
    return Measured(arm.calls, mean_interval(arm.calls, mean, arm.cost_deviation, ALPHA / 2))


def _tokens(arm: ArmSums) -> Measured:
    """Without a deviation, as for calls of before it was kept, the mean alone, from which nothing follows."""
    mean = arm.tokens / arm.calls if arm.calls else 0.0
    interval = mean_interval(arm.calls, mean, arm.token_deviation, ALPHA / 2)
    if interval is None and arm.calls:
        return Measured(0, Interval(mean, mean, mean))
    return Measured(arm.calls, interval)


def mix_standing(legacy: Mapping[str, int], routed: Mapping[str, int]) -> Standing:
    """Whether calls go to other tiers than before: ``ANOTHER`` when some tier surely has another share.

    Both give the calls by tier. The chance of being wrong is shared by all tiers.
    """
    before, after = sum(legacy.values()), sum(routed.values())
    if min(before, after) < CASES_MIN:
        return Standing.NOT_ENOUGH
    tiers = {*legacy, *routed}
    alpha = ALPHA / 2 / len(tiers)
    for tier in tiers:
        one = share_interval(before, legacy.get(tier, 0), alpha)
        other = share_interval(after, routed.get(tier, 0), alpha)
        assert one is not None
        assert other is not None
        if one.high < other.low or other.high < one.low:
            return Standing.ANOTHER
    return Standing.NO_DIFFERENCE
