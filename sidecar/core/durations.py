"""The buckets in which durations are counted: log-spaced, so that percentiles are within 5 %; pure.

Bucket ``i`` holds durations in ``(GROWTH**(i-1), GROWTH**i]`` of the smallest one told apart, and answers
for all of them with the value whose relative distance to either edge is the same (the bucket scheme of
DDSketch, Masson et al. 2019).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from sidecar.core.sequential import Interval, rank_interval

GROWTH: Final = 1.1
SMALLEST_MS: Final = 0.1
#: Durations beyond are counted as this one: two hours.
LARGEST_MS: Final = 7_200_000.0
#: The largest relative error of a percentile, for durations between the two.
RELATIVE_ERROR: Final = (GROWTH - 1) / (GROWTH + 1)

_LOG_GROWTH: Final = math.log(GROWTH)
_TOP: Final = math.ceil(math.log(LARGEST_MS / SMALLEST_MS) / _LOG_GROWTH)
#: How many buckets there are.
BUCKETS: Final = _TOP + 1


def bucket_of(duration_ms: float) -> int:
    """The number of the bucket that ``duration_ms`` falls into."""
    if duration_ms <= SMALLEST_MS:
        return 0
    return min(_TOP, math.ceil(math.log(duration_ms / SMALLEST_MS) / _LOG_GROWTH))


def middle_ms(bucket: int) -> float:
    """The duration that stands for all of a bucket's, in milliseconds."""
    if bucket == 0:
        return SMALLEST_MS
    return SMALLEST_MS * 2 * math.pow(GROWTH, bucket) / (GROWTH + 1)


def quantile(counts: Sequence[int], share: float, alpha: float) -> Interval | None:
    """A quantile in milliseconds of what the buckets count; None when they count nothing.

    The bounds are edges of buckets and hold however often one looks, save for ``alpha``; the upper one is
    infinite as long as nothing can be said.
    """
    cases = sum(counts)
    ranks = rank_interval(cases, share, alpha)
    if ranks is None:
        return None
    low, high = (_bucket_at(counts, rank) for rank in ranks)
    value = _bucket_at(counts, math.ceil(share * cases))
    assert value is not None
    return Interval(
        0.0 if low is None else middle_ms(low) / math.sqrt(GROWTH),
        middle_ms(value),
        math.inf if high is None else middle_ms(high) * math.sqrt(GROWTH),
    )


def _bucket_at(counts: Sequence[int], rank: int) -> int | None:
    """The bucket of the value of that rank, counted from 1; None when there is no such value."""
    seen = 0
    if rank < 1:
        return None
    for bucket, count in enumerate(counts):
        seen += count
        if seen >= rank:
            return bucket
    return None


def in_words(ms: float) -> str:
    """A duration in the unit that reads best."""
    if ms < 10:
        return f"{ms:.1f} ms"
    if ms < 1_000:
        return f"{ms:.0f} ms"
    if ms < 60_000:
        return f"{ms / 1_000:.2f} s" if ms < 10_000 else f"{ms / 1_000:.1f} s"
    minutes, seconds = divmod(round(ms / 1_000), 60)
    return f"{minutes} min {seconds:02d} s"
