"""Every duration falls into a bucket that answers for it within the stated error."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.durations import BUCKETS, LARGEST_MS, RELATIVE_ERROR, SMALLEST_MS, bucket_of, middle_ms


@given(st.floats(SMALLEST_MS, LARGEST_MS))
def test_a_bucket_answers_for_its_durations(duration_ms: float) -> None:
    assert abs(middle_ms(bucket_of(duration_ms)) - duration_ms) <= duration_ms * (RELATIVE_ERROR + 1e-9)


def test_what_is_out_of_range_is_counted_at_the_edge() -> None:
    assert (bucket_of(0.0), bucket_of(-1.0), bucket_of(1e12)) == (0, 0, BUCKETS - 1)
