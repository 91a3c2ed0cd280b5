"""What is split over workers is never more, taken together, than what the file says."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from sidecar.settings import parse_settings
from sidecar.settings.shares import share, share_of, too_small_to_split

FILE = b"""
tiers:
  local: {provider: ollama, base_url: "http://127.0.0.1:1", off_box: false, models: {default: a}}
  cloud:
    {provider: openai, base_url: "https://a.example/v1", api_key: k, price: {usd_per_1k_tokens: 1},
     models: {default: a}, max_concurrency: 7, queue: {max: 5}}
limits: {max_in_flight: 10}
"""
SETTINGS = parse_settings(FILE, "sidecar.yaml", {})


@given(st.integers(0, 10_000), st.integers(1, 64))
def test_shares_add_up_and_differ_by_one_at_most(total: int, count: int) -> None:
    shares = [share(total, index, count) for index in range(count)]
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1


@given(st.integers(1, 4))
def test_all_bounds_are_split(count: int) -> None:
    parts = [share_of(SETTINGS, index, count) for index in range(count)]
    assert sum(part.tiers["local"].places for part in parts) == 4
    assert sum(part.tiers["cloud"].places for part in parts) == 7
    assert sum(part.tiers["cloud"].queue.max for part in parts) == 5
    assert sum(part.limits.max_in_flight for part in parts) == 10
    assert all(part.policy() == SETTINGS.policy() for part in parts)


def test_one_worker_goes_by_the_settings_as_they_are() -> None:
    assert share_of(SETTINGS, 0, 1) is SETTINGS
    assert too_small_to_split(SETTINGS, 1, "sidecar.yaml") == []


def test_what_some_worker_would_get_nothing_of_is_a_problem() -> None:
    assert too_small_to_split(SETTINGS, 4, "f") == []
    (problem,) = too_small_to_split(SETTINGS, 5, "f")
    assert str(problem) == (
        "f: tiers.local.max_concurrency: 4 at a time cannot be split over 5 workers; "
        "expected at least 5, or at most --workers 4"
    )
    few = msgspec.structs.replace(SETTINGS, limits=msgspec.structs.replace(SETTINGS.limits, max_in_flight=1))
    keys = [problem.key for problem in too_small_to_split(few, 2, "f")]
    assert keys == ["limits.max_in_flight"]
