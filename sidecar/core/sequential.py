"""Tests and intervals that stay valid however often one looks at them; pure.

Whoever looks at an ordinary test after every call, and acts the first time it says yes, is fooled sooner or
later. What stands here may be looked at after every call for ever: the chance that it is *ever* wrong is at
most ``alpha``.

``ShareTest`` watches one limit on a share (of failed calls, of slow calls). For each of a few worse shares it
keeps the likelihood ratio against the limit, begun anew at every look with a weight of its own, half of the
weight at the first look; the sum is an e-process. While the chance of a hit never exceeds the limit, whatever
came before, its expectation is at most 1 at any time, so that by Ville's inequality it ever reaches
``1 / alpha`` with probability at most ``alpha``. The later beginnings let it notice what goes wrong
after a long good time: evidence of the good time does not have to be outweighed first (the e-detectors of
Shin, Ramdas and Rinaldo 2022, with weights that add up to one as in a Shiryaev-Roberts sum).

``share_interval`` is a confidence sequence for the mean of values between 0 and 1: Robbins' mixture with a
Beta(1/2, 1/2). It holds for shares of hits and, as the likelihood ratio is convex in the value, for ratings.
``rank_interval`` gives the same for quantiles, as ranks. ``mean_interval`` is the asymptotic confidence
sequence of Waudby-Smith et al. 2021, for values without bounds.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import msgspec


class Interval(msgspec.Struct, frozen=True):
    """A measured figure and the bounds between which its true value lies, at any time, save for ``alpha``."""

    low: float
    value: float
    high: float


#: The worse shares, as multiples of the limit's odds, and how much each is expected. The last one is for
#: outages.
WORSE: Final = ((1.5, 0.15), (2.0, 0.4), (3.0, 0.2), (6.0, 0.15), (40.0, 0.1))
#: A limit of nothing at all would be broken by a single hit without any doubt left; this nearly is.
_LIMIT_MIN: Final = 1e-6
_LOG_MOST: Final = 700.0


def remaining(looks: int) -> float:
    """The weight that is left for beginnings after the first ``looks`` ones: 1, a half, then ever less."""
    return 1.0 if looks == 0 else 0.5 / (1.0 + math.log(looks))


class ShareTest(msgspec.Struct):
    """Evidence that a share is above ``limit``; ``sums`` is for each worse share the weighted sum.

    ``spell_cases`` and ``spell_hits`` are the present bad spell: since when hits have been more frequent than
    the limit allows (a cumulative sum of the mildest worse share's likelihood ratio, ``spell``, that begins
    anew at nothing). Whoever wants to see more than a hiccup before acting asks how long it has lasted.
    """

    limit: float
    looks: int = 0
    sums: list[float] = []
    spell: float = 0.0
    spell_cases: int = 0
    spell_hits: int = 0

    def look(self, cases: int, hits: int) -> None:
        """Take in what came since the last look: ``hits`` among ``cases``."""
        if cases <= 0:
            return
        weight = remaining(self.looks) - remaining(self.looks + 1)
        self.looks += 1
        per_share = gains(self.limit)
        sums = self.sums or [0.0] * len(per_share)
        self.sums = [
            math.exp(min(_LOG_MOST, math.log(before + weight) + hits * hit + (cases - hits) * miss))
            for before, (hit, miss) in zip(sums, per_share, strict=True)
        ]
        hit, miss = per_share[0]
        self.spell += hits * hit + (cases - hits) * miss
        self.spell_cases += cases
        self.spell_hits += hits
        if self.spell <= 0:
            self.spell, self.spell_cases, self.spell_hits = 0.0, 0, 0

    @property
    def evidence(self) -> float:
        """The e-process: 1 says nothing, ``1 / alpha`` is enough."""
        if self.limit >= 1:
            return 1.0
        found = sum(share * total for total, (_, share) in zip(self.sums, WORSE, strict=False))
        return remaining(self.looks) + found


@lru_cache(maxsize=16)
def gains(limit: float) -> tuple[tuple[float, float], ...]:
    """For each worse share what a hit and what a miss adds to the logarithm of the likelihood ratio."""
    limit = min(max(limit, _LIMIT_MIN), 1.0 - _LIMIT_MIN)
    found = []
    for factor, _ in WORSE:
        odds = factor * limit / (1 - limit)
        worse = max(odds / (1 + odds), 0.5 if factor == WORSE[-1][0] and limit < 0.5 else 0.0)
        found.append((math.log(worse / limit), math.log((1 - worse) / (1 - limit))))
    return tuple(found)


def log_evidence(cases: float, hits: float, share: float) -> float:
    """The logarithm of the evidence against a share of exactly ``share``, 0 to 1."""
    misses = cases - hits
    if (hits > 0 and share <= 0) or (misses > 0 and share >= 1):
        return math.inf
    mixture = math.lgamma(hits + 0.5) + math.lgamma(misses + 0.5) - math.lgamma(cases + 1) - math.log(math.pi)
    at_share = (hits * math.log(share) if hits > 0 else 0.0) + (
        misses * math.log1p(-share) if misses > 0 else 0.0
    )
    return mixture - at_share


def share_interval(cases: float, hits: float, alpha: float) -> Interval | None:
    """The mean of ``cases`` values between 0 and 1 whose sum is ``hits``; None without cases."""
    if cases <= 0:
        return None
    value = min(max(hits / cases, 0.0), 1.0)
    hits, enough = value * cases, math.log(1 / alpha)

    def edge(outside: float) -> float:
        if log_evidence(cases, hits, outside) < enough:
            return outside
        inside = value
        for _ in range(40):
            middle = (outside + inside) / 2
            if log_evidence(cases, hits, middle) < enough:
                inside = middle
            else:
                outside = middle
        return outside

    return Interval(edge(0.0), value, edge(1.0))


def rank_interval(cases: int, share: float, alpha: float) -> tuple[int, int] | None:
    """Between which of ``cases`` values in rising order, counted from 1, the quantile ``share`` lies.

    The lower bound may be 0 (no value is surely below) and the upper ``cases + 1`` (none is surely above).
    None without cases.
    """
    if cases <= 0:
        return None
    enough = math.log(1 / alpha)

    def sure(rank: int) -> bool:
        return log_evidence(cases, rank, share) >= enough

    # The evidence falls towards the quantile's own rank and rises behind it.
    below, low = int(share * cases), 0
    while low < below:
        middle = (low + below + 1) // 2
        low, below = (middle, below) if sure(middle) else (low, middle - 1)
    if not sure(low):
        low = 0
    above, high = math.ceil(share * cases), cases
    while above < high:
        middle = (above + high) // 2
        above, high = (above, middle) if sure(middle) else (middle + 1, high)
    return low, high + 1 if sure(high) else cases + 1


def mean_interval(cases: int, mean: float, deviation: float | None, alpha: float) -> Interval | None:
    """The mean of ``cases`` values with that standard deviation; None below two cases.

    Tightest around a thousand cases. It is exact only as the cases become many.
    """
    if cases < 2 or deviation is None:
        return None
    scaled = cases * _TIGHTEST + 1
    half = deviation * math.sqrt(2 * scaled / (cases**2 * _TIGHTEST) * math.log(math.sqrt(scaled) / alpha))
    return Interval(mean - half, mean, mean + half)


#: The square of rho in the mixture behind ``mean_interval``; this one suits a thousand cases.
_TIGHTEST: Final = 8.0 / 1_000
