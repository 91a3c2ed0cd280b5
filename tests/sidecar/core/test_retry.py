"""Another try at the same tier: after what, how often, how much later."""

from __future__ import annotations

import pytest

from sidecar.core.errors import Fault, UpstreamFault
from sidecar.core.retry import RetryLimits, wait_before_retry_s

TWICE = RetryLimits(max=2, wait_s=0.4)
DOWN = UpstreamFault(Fault.REFUSED, "")


def test_waits_double_and_up_to_half_of_one_is_left_to_the_dice() -> None:
    assert [wait_before_retry_s(TWICE, made, DOWN, 0.0) for made in range(3)] == [0.4, 0.8, None]
    assert wait_before_retry_s(TWICE, 0, DOWN, 0.5) == pytest.approx(0.3)
    assert wait_before_retry_s(TWICE, 1, DOWN, 0.5) == pytest.approx(0.6)


def test_unless_it_is_set_nothing_is_tried_again() -> None:
    assert wait_before_retry_s(RetryLimits(), 0, DOWN, 0.0) is None


@pytest.mark.parametrize("fault", Fault)
def test_only_what_may_pass_is_tried_again(fault: Fault) -> None:
    passing = {"refused", "dns", "cut", "throttled", "server_error", "empty", "garbage"}
    wait_s = wait_before_retry_s(TWICE, 0, UpstreamFault(fault, ""), 0.0)
    assert (wait_s is not None) == (fault in passing)


def test_an_upstream_that_says_how_long_to_wait_is_not_tried_before() -> None:
    throttled = UpstreamFault(Fault.THROTTLED, "", http_status=429, retry_after_s=1.0)
    assert wait_before_retry_s(TWICE, 0, throttled, 0.0) is None
