"""A histogram of durations with log-spaced buckets: small, mergeable, percentiles within 5 %.

All counts are the 32-bit lanes of one integer, bucket 0 lowest, so that merging is addition: reports merge
thousands of histograms, and Python adds large integers faster than it loops. Stored are the number of the
lowest bucket in use as one byte, and the lanes from there on, little-endian.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left
from itertools import accumulate
from typing import Final

import msgspec

from sidecar.core.arms import ALPHA
from sidecar.core.durations import middle_ms, quantile
from sidecar.core.sequential import Interval

_LANE_BITS: Final = 32


class Percentiles(msgspec.Struct, frozen=True):
    """How many durations there were, and what half, 95 % and 99 % of them do not exceed, in milliseconds."""

    count: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


NO_PERCENTILES: Final = Percentiles(0, None, None, None)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Percentiles).decode
_decode_quantiles = msgspec.msgpack.Decoder(tuple[int, list[Interval | None]]).decode


def one_in(bucket: int) -> int:
    """The lanes of a histogram with one duration, in ``bucket``; add them up to make larger ones."""
    return 1 << (_LANE_BITS * bucket)


def to_bytes(lanes: int) -> bytes:
    """A histogram as it is stored."""
    if not lanes:
        return b""
    lowest = ((lanes & -lanes).bit_length() - 1) // _LANE_BITS
    lanes >>= _LANE_BITS * lowest
    return bytes((lowest,)) + lanes.to_bytes((lanes.bit_length() + 7) // 8, "little")


def from_bytes(stored: bytes) -> int:
    """The lanes of a stored histogram."""
    if not stored:
        return 0
    return int.from_bytes(stored[1:], "little") << (_LANE_BITS * stored[0])


def percentiles(lanes: int) -> Percentiles:
    """The percentiles of a histogram."""
    if not lanes:
        return NO_PERCENTILES
    upto = list(accumulate(_counts(lanes)))
    count = upto[-1]
    p50_ms, p95_ms, p99_ms = (
        middle_ms(bisect_left(upto, math.ceil(share * count))) for share in (0.50, 0.95, 0.99)
    )
    return Percentiles(count, p50_ms, p95_ms, p99_ms)


def _counts(lanes: int) -> tuple[int, ...]:
    """How many durations each bucket has."""
    buckets = lanes.bit_length() // _LANE_BITS + 1
    return struct.unpack(f"<{buckets}I", lanes.to_bytes(buckets * 4, "little"))


def merge_stored(one: bytes, other: bytes) -> bytes:
    """Two stored histograms as one; the SQL function ``histogram_merge``."""
    if not other:
        return one
    return to_bytes(from_bytes(one) + from_bytes(other))


class PercentilesAggregate:
    """The SQL aggregate ``percentiles``: merges inside the reader's thread, off the event loop."""

    def __init__(self) -> None:
        self._lanes = 0

    def step(self, stored: bytes) -> None:
        self._lanes += from_bytes(stored)

    def finalize(self) -> bytes:
        return _encode(percentiles(self._lanes))


class QuantilesAggregate:
    """The SQL aggregate ``quantiles``: p50, p95 and p99 with bounds that hold however often one looks."""

    def __init__(self) -> None:
        self._lanes = 0

    def step(self, stored: bytes) -> None:
        self._lanes += from_bytes(stored)

    def finalize(self) -> bytes:
        counts = _counts(self._lanes)
        return _encode((sum(counts), [quantile(counts, share, ALPHA / 2) for share in (0.50, 0.95, 0.99)]))


def decode_quantiles(answer: bytes) -> tuple[int, list[Interval | None]]:
    """What the SQL aggregate ``quantiles`` returned: how many durations, and the three in milliseconds."""
    return _decode_quantiles(answer)


def decode_percentiles(answer: bytes) -> Percentiles:
    """What the SQL aggregate ``percentiles`` returned."""
    return _decode(answer)
