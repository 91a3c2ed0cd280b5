"""The simulation plays what the sidecar plays, and what it finds is what is promised."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.rollout_gates import (
    ManyShareTests,
    false_rollbacks,
    first_breach,
    late,
    slow_share,
    steady,
    told_apart,
)
from sidecar.core.evidence import GateLimits
from sidecar.core.sequential import ShareTest

LIMITS = GateLimits()
NEEDED = 1 / LIMITS.alpha_each


def test_it_plays_what_the_sidecar_plays() -> None:
    hits = np.random.default_rng(1).random((300, 4)) < 0.08
    many, ours = ManyShareTests(0.05, 4), [ShareTest(0.05) for _ in range(4)]
    for call in hits:
        many.look(call)
        for test, hit in zip(ours, call, strict=True):
            test.look(1, int(hit))
        np.testing.assert_allclose(many.evidence, [test.evidence for test in ours], rtol=1e-9)
        assert many.spell_calls.tolist() == [test.spell_cases for test in ours]


def test_false_rollbacks_stay_below_alpha() -> None:
    wrong = false_rollbacks(LIMITS, 500, 2_000, np.random.default_rng(2))
    assert wrong <= LIMITS.alpha


def test_arms_that_are_alike_are_told_apart_no_more_often_than_alpha() -> None:
    dice = np.random.default_rng(5)
    assert told_apart((0.05, 0.05), 200, 800, 0.05, dice) <= 0.05
    assert told_apart((0.05, 0.2), 50, 800, 0.05, dice) > 0.95


@pytest.mark.parametrize("share", [0.1, slow_share(2.0, 0.5), slow_share(2.0, 1.0)])
def test_twice_the_limit_is_caught_within_300_calls_at_the_median(share: float) -> None:
    first = first_breach(steady(share), 0.05, NEEDED, 300, 2_000, np.random.default_rng(3))
    assert np.median(first) < 300
    assert (first <= 2_000).all()


def test_what_breaks_after_a_good_time_is_caught_as_well() -> None:
    first = first_breach(late(1_500, 0.5), 0.05, NEEDED, 100, 1_700, np.random.default_rng(4))
    assert (first > 1_500).mean() > 0.95
    assert np.median(first) < 1_540
