"""Percentiles from a histogram lie within its stated error, however it was put together."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.durations import LARGEST_MS, RELATIVE_ERROR, SMALLEST_MS, bucket_of
from sidecar.storage.histogram import (
    NO_PERCENTILES,
    Percentiles,
    PercentilesAggregate,
    decode_percentiles,
    from_bytes,
    merge_stored,
    one_in,
    percentiles,
    to_bytes,
)

DURATIONS = st.lists(st.floats(SMALLEST_MS, LARGEST_MS), max_size=200)


def lanes_of(durations_ms: list[float]) -> int:
    return sum(one_in(bucket_of(duration_ms)) for duration_ms in durations_ms)


def stored(durations_ms: list[float]) -> bytes:
    return to_bytes(lanes_of(durations_ms))


def exact(durations_ms: list[float], share: float) -> float:
    return sorted(durations_ms)[math.ceil(share * len(durations_ms)) - 1]


def test_the_error_is_at_most_five_percent() -> None:
    assert RELATIVE_ERROR <= 0.05


@given(DURATIONS.filter(bool))
def test_percentiles_lie_within_the_stated_error(durations_ms: list[float]) -> None:
    found = percentiles(lanes_of(durations_ms))
    assert found.count == len(durations_ms)
    for share, estimate in [(0.50, found.p50_ms), (0.95, found.p95_ms), (0.99, found.p99_ms)]:
        assert estimate == pytest.approx(exact(durations_ms, share), rel=RELATIVE_ERROR * 1.000_001)


@given(DURATIONS)
def test_it_comes_back_from_storage(durations_ms: list[float]) -> None:
    assert from_bytes(stored(durations_ms)) == lanes_of(durations_ms)


@given(DURATIONS, DURATIONS)
def test_two_merged_are_as_one(some: list[float], others: list[float]) -> None:
    assert merge_stored(stored(some), stored(others)) == stored(some + others)


@given(st.lists(DURATIONS, min_size=1, max_size=5))
def test_the_aggregate_in_sql_is_as_one_histogram(parts: list[list[float]]) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.create_aggregate("percentiles", 1, PercentilesAggregate)  # type: ignore[arg-type]
        connection.execute("CREATE TABLE parts (stored BLOB)")
        connection.executemany("INSERT INTO parts VALUES (?)", [(stored(part),) for part in parts])
        ((answer,),) = connection.execute("SELECT percentiles(stored) FROM parts")
    whole = lanes_of([duration_ms for part in parts for duration_ms in part])
    assert decode_percentiles(answer) == percentiles(whole)


def test_an_empty_one_has_no_percentiles() -> None:
    assert percentiles(0) == NO_PERCENTILES == Percentiles(0, None, None, None)
    assert stored([]) == b""


@pytest.mark.parametrize(
    ("duration_ms", "p50_ms"), [(0.0, SMALLEST_MS), (0.001, SMALLEST_MS), (1e12, LARGEST_MS)]
)
def test_durations_out_of_range_count_at_its_ends(duration_ms: float, p50_ms: float) -> None:
    assert percentiles(lanes_of([duration_ms])).p50_ms == pytest.approx(p50_ms, rel=0.06)


def test_buckets_never_go_down() -> None:
    buckets = [bucket_of(SMALLEST_MS * 1.03**step) for step in range(700)]
    assert buckets == sorted(buckets)


def test_a_billion_calls_in_one_bucket_do_not_spill_into_the_next() -> None:
    lanes = one_in(50) * 4_000_000_000 + one_in(51)
    assert percentiles(lanes).count == 4_000_000_001
    assert percentiles(from_bytes(to_bytes(lanes))) == percentiles(lanes)


def test_one_call_is_stored_in_a_few_bytes() -> None:
    assert len(stored([1_234.5])) == 2
