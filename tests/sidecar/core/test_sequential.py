"""The tests and intervals hold however often one looks, and notice what is really wrong."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.sequential import (
    ShareTest,
    log_evidence,
    mean_interval,
    rank_interval,
    remaining,
    share_interval,
)


def calls_until(test: ShareTest, needed: float, dice: random.Random, chance: float, most: int) -> int:
    """After how many calls, looked at one by one, the evidence is there; ``most + 1`` if it never is."""
    for call in range(1, most + 1):
        test.look(1, int(dice.random() < chance))
        if test.evidence >= needed:
            return call
    return most + 1


def test_no_evidence_is_one() -> None:
    test = ShareTest(0.05)
    assert test.evidence == 1
    test.look(0, 0)
    assert (test.evidence, test.looks) == (1, 0)


@given(st.integers(1, 10**9))
def test_the_weights_of_all_beginnings_never_exceed_one(looks: int) -> None:
    assert 0 < remaining(looks + 1) < remaining(looks) <= 0.5


@given(st.floats(0.001, 0.9), st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=12))
def test_the_evidence_is_fair_at_the_limit(limit: float, looks: list[tuple[int, int]]) -> None:
    """Whatever came before: one more call at just the limit leaves the expected evidence as it is.

    Beyond all doubt it stops growing, to stay a number.
    """
    test = ShareTest(limit)
    for calls, hits in looks:
        test.look(calls, min(calls, hits))
    hit, miss = (ShareTest(limit, test.looks, list(test.sums)) for _ in range(2))
    hit.look(1, 1)
    miss.look(1, 0)
    expected = limit * hit.evidence + (1 - limit) * miss.evidence
    assert expected <= test.evidence * (1 + 1e-9)
    assert math.isclose(expected, test.evidence, rel_tol=1e-9) or test.evidence > 1e290


def test_at_the_limit_it_is_seldom_wrong_however_often_one_looks() -> None:
    dice = random.Random(11)
    wrong = sum(calls_until(ShareTest(0.05), 20, dice, 0.05, 500) <= 500 for _ in range(100))
    assert wrong <= 0.05 * 100


def test_twice_the_limit_is_noticed_within_300_calls() -> None:
    dice = random.Random(12)
    taken = sorted(calls_until(ShareTest(0.05), 40, dice, 0.1, 1_500) for _ in range(101))
    assert taken[50] < 300


def test_an_outage_after_a_long_good_time_is_noticed_at_once() -> None:
    test = ShareTest(0.05)
    for _ in range(5_000):
        test.look(10, 0)
    assert calls_until(test, 40, random.Random(13), 1.0, 100) <= 12


@pytest.mark.parametrize("limit", [0.0, 1.0])
def test_a_limit_of_nothing_or_of_all(limit: float) -> None:
    test = ShareTest(limit)
    test.look(100, 0)
    assert test.evidence <= 1
    test.look(2, 2)
    assert (test.evidence > 1_000) is (limit == 0)


def test_a_flood_of_hits_stays_a_number() -> None:
    test = ShareTest(0.05)
    for _ in range(3):
        test.look(10_000_000, 10_000_000)
    assert math.isfinite(test.evidence)
    assert test.evidence > 1e6


@given(st.integers(1, 5_000), st.floats(0, 1), st.floats(0.001, 0.2))
def test_an_interval_is_around_its_value_and_as_wide_as_the_evidence_says(
    cases: int, share: float, alpha: float
) -> None:
    interval = share_interval(cases, share * cases, alpha)
    assert interval is not None
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    for edge, beyond in ((interval.low, interval.low - 1e-6), (interval.high, interval.high + 1e-6)):
        if 0 < edge < 1 and 0 < beyond < 1:
            assert log_evidence(cases, share * cases, beyond) >= math.log(1 / alpha) - 1e-6


def test_a_true_share_stays_inside_its_interval_at_every_look() -> None:
    dice, outside = random.Random(14), 0
    for _ in range(150):
        hits = 0.0
        for calls in range(1, 301):
            hits += dice.random() < 0.3
            if calls % 10 == 0 and log_evidence(calls, hits, 0.3) >= math.log(20):
                outside += 1
                break
    assert outside <= 0.05 * 150


@given(st.integers(1, 400), st.sampled_from([0.5, 0.95, 0.99]))
def test_ranks_are_the_outermost_that_are_not_sure(cases: int, share: float) -> None:
    enough = math.log(40)
    sure = [rank for rank in range(cases + 1) if log_evidence(cases, rank, share) >= enough]
    below = max((rank for rank in sure if rank <= share * cases), default=0)
    above = min((rank for rank in sure if rank >= share * cases), default=cases)
    low, high = rank_interval(cases, share, 1 / 40) or (None, None)
    assert low == below
    assert high == above + 1


def test_nothing_can_be_said_of_nothing() -> None:
    assert share_interval(0, 0, 0.05) is None
    assert rank_interval(0, 0.5, 0.05) is None
    assert mean_interval(1, 3.0, None, 0.05) is None


def test_a_mean_stays_inside_its_interval_at_every_look() -> None:
    dice, outside = random.Random(15), 0
    for _ in range(100):
        total = squares = 0.0
        for calls in range(1, 401):
            value = dice.expovariate(1.0)
            total, squares = total + value, squares + value * value
            if calls >= 50 and calls % 25 == 0:
                deviation = math.sqrt((squares - total * total / calls) / (calls - 1))
                interval = mean_interval(calls, total / calls, deviation, 0.05)
                assert interval is not None
                if not interval.low <= 1.0 <= interval.high:
                    outside += 1
                    break
    assert outside <= 0.05 * 100
