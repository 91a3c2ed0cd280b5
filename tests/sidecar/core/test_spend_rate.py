"""The forecast follows what was spent in the last hour."""

from __future__ import annotations

from sidecar.core.spend_rate import MINUTE_NS, RecentSpend, runs_out_at

NOW = 1_000_000 * MINUTE_NS


def test_a_steady_rate_runs_out_when_it_should() -> None:
    recent = RecentSpend()
    for minute in range(60):
        recent.add(100, NOW + minute * MINUTE_NS)
    now = NOW + 60 * MINUTE_NS - 1
    at = runs_out_at(6_000, [recent], now, None)
    assert at is not None
    assert abs(at - (now + 60 * MINUTE_NS)) <= 2 * MINUTE_NS


def test_two_tiers_run_out_faster_than_one() -> None:
    first, second = RecentSpend(), RecentSpend()
    first.add(600, NOW)
    second.add(600, NOW)
    later = NOW + 20 * MINUTE_NS
    alone = runs_out_at(1_200, [first], later, None)
    both = runs_out_at(1_200, [first, second], later, None)
    assert (alone, both) == (later + 40 * MINUTE_NS, later + 20 * MINUTE_NS)


def test_one_call_is_no_trend() -> None:
    recent = RecentSpend()
    recent.add(100, NOW)
    assert runs_out_at(1_000, [recent], NOW, None) == NOW + 100 * MINUTE_NS


def test_nothing_spent_of_late_never_runs_out() -> None:
    recent = RecentSpend()
    recent.add(100, NOW)
    assert runs_out_at(1_000, [recent], NOW + 62 * MINUTE_NS, None) is None
    assert runs_out_at(1_000, [], NOW, None) is None


def test_a_period_that_ends_before_is_no_matter() -> None:
    recent = RecentSpend()
    recent.add(100, NOW)
    assert runs_out_at(1_000, [recent], NOW, NOW + 100 * MINUTE_NS) is None
    assert runs_out_at(1_000, [recent], NOW, NOW + 101 * MINUTE_NS) is not None


def test_what_is_used_up_has_run_out_now() -> None:
    assert runs_out_at(0, [], NOW, None) == NOW
