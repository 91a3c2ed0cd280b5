"""The split into arms: shares, nesting, evenness, stability, and what a call sticks by."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.rollout import BUCKETS, assign_arm, bucket, routed_buckets, sticky_key
from sidecar.core.vocabulary import Arm

KEYS = [f"session-{n}" for n in range(5_000)]


def routed(percent: float, salt: str = "salt") -> set[str]:
    return {key for key in KEYS if assign_arm(bucket(salt, key), percent) is Arm.ROUTED}


@pytest.mark.parametrize("salt", ["salt", "another", ""])
@pytest.mark.parametrize("percent", [10, 30, 50, 75])
def test_the_share_is_what_was_asked_for(percent: int, salt: str) -> None:
    share = percent / 100
    four_sigma = 4 * (len(KEYS) * share * (1 - share)) ** 0.5
    assert abs(len(routed(percent, salt)) - len(KEYS) * share) < four_sigma


def test_who_is_routed_stays_routed_as_the_percentage_grows() -> None:
    stages = [routed(percent) for percent in (0, 0.01, 1, 10, 30, 50, 75, 99.99, 100)]
    assert all(smaller <= larger for smaller, larger in pairwise(stages))
    assert stages[0] == set()
    assert stages[-1] == set(KEYS)


def test_buckets_are_even() -> None:
    counts = Counter(bucket("salt", f"key-{n}") // 100 for n in range(50_000))
    expected = 500
    chi_square = sum((counts[part] - expected) ** 2 / expected for part in range(100))
    # 99 degrees of freedom: 50 to 160 holds but for one salt in about 10,000.
    assert 50 < chi_square < 160


def test_another_salt_makes_another_split() -> None:
    overlap = len(routed(50, "one") & routed(50, "other"))
    assert 1_100 < overlap < 1_400


@pytest.mark.parametrize(
    ("salt", "key", "expected"),
    [
        ("", "", 1086),
        ("s", "k", 2038),
        ("salt", "session-42", 3558),
        ("salt", "Zoë Müller", 3651),
        ("a" * 200, "b" * 200, 4048),
    ],
)
def test_buckets_never_change(salt: str, key: str, expected: int) -> None:
    assert bucket(salt, key) == expected


@given(st.text(), st.text())
def test_any_key_has_a_bucket(salt: str, key: str) -> None:
    assert 0 <= bucket(salt, key) < BUCKETS


@given(st.text(), st.text(), st.lists(st.integers(0, 10_000), min_size=2, max_size=6))
def test_a_session_is_sticky_nested_and_the_same_for_every_replica(
    salt: str, key: str, hundredths: list[int]
) -> None:
    moves = [assign_arm(bucket(salt, key), Decimal(step) / 100) for step in sorted(hundredths)]
    assert moves == sorted(moves, key=list(Arm).index), "as the percentage grows it moves once at most"
    assert moves == [assign_arm(bucket(str(salt), str(key)), step / 100) for step in sorted(hundredths)]


def test_a_key_that_is_no_unicode_has_one_too() -> None:
    assert 0 <= bucket("salt", "\udc80") < BUCKETS


@pytest.mark.parametrize(
    ("percent", "buckets"),
    [(0, 0), (0.01, 1), (0.29, 29), (10, 1_000), (Decimal("57.3"), 5_730), (99.99, 9_999), (100, 10_000)],
)
def test_a_percentage_is_a_number_of_buckets(percent: float | Decimal, buckets: int) -> None:
    assert routed_buckets(percent) == buckets
    if buckets:
        assert assign_arm(buckets - 1, percent) is Arm.ROUTED
    assert assign_arm(buckets, percent) is Arm.LEGACY


@pytest.mark.parametrize(
    "percent", [-0.01, 100.01, 0.001, 33.333, float("nan"), float("inf"), Decimal("NaN")]
)
def test_other_percentages_are_refused(percent: float | Decimal) -> None:
    with pytest.raises(ValueError, match="from 0 to 100, in steps of"):
        assign_arm(0, percent)


STICKY_BY = ("header:X-Sidecar-Session", "body:user", "request")


@pytest.mark.parametrize(
    ("headers", "fields", "session", "expected"),
    [
        ({"x-sidecar-session": "h"}, {"user": "u"}, "h", ("header:X-Sidecar-Session", "h")),
        ({}, {"user": "u"}, "from metadata", ("header:X-Sidecar-Session", "from metadata")),
        ({"x-sidecar-session": " "}, {}, "from metadata", ("header:X-Sidecar-Session", "from metadata")),
        ({"x-sidecar-session": ""}, {"user": "u"}, None, ("body:user", "u")),
        ({}, {"user": 42}, None, ("body:user", "42")),
        ({}, {"user": ""}, None, ("request", "r-1")),
        ({}, {"user": "  "}, None, ("request", "r-1")),
        ({}, {"user": None}, None, ("request", "r-1")),
        ({}, {"user": {"id": 1}}, None, ("request", "r-1")),
        ({}, {"user": True}, None, ("request", "r-1")),
        ({}, {}, None, ("request", "r-1")),
    ],
)
def test_a_call_sticks_by_the_first_source_it_has(
    headers: dict[str, str], fields: dict[str, Any], session: str | None, expected: tuple[str, str]
) -> None:
    assert sticky_key(STICKY_BY, headers, fields, session, "r-1") == expected


def test_what_stands_behind_request_is_never_asked() -> None:
    assert sticky_key(("request", "body:user"), {}, {"user": "u"}, None, "r-1") == ("request", "r-1")


def test_without_any_source_left_the_request_stands_for_itself() -> None:
    assert sticky_key(("header:x-tenant",), {"x-tenant": ""}, {}, "s", "r-1") == ("request", "r-1")
    assert sticky_key(("header:x-tenant",), {"x-tenant": "t"}, {}, "s", "r-1") == ("header:x-tenant", "t")
