"""The gates: what passes, what waits, what goes back, and that chance alone hardly ever does."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest

from sidecar.core.call_class import CallClass
from sidecar.core.evidence import Evidence, GateLimits
from sidecar.core.gates import Gate, GateReading, GateState, Spend, breached, judge
from sidecar.core.sample_ratio import split
from sidecar.core.vocabulary import Arm

NANO = 10**9
RELATIVE = GateLimits(error_rate_vs_legacy=0.02, p95_vs_legacy=1.5, feedback_vs_legacy=0.1)


def fill(
    evidence: Evidence,
    arm: Arm,
    calls: int,
    *,
    failed: int = 0,
    ms: Callable[[int], float] = lambda _: 100.0,
    counts_as: CallClass = CallClass.ANSWERED,
) -> Evidence:
    """``calls`` calls, of which ``failed`` fail, evenly spread; each from a session of its own."""
    for number in range(calls):
        fails = (number + 1) * failed // calls > number * failed // calls
        place = number % 5_000 + (0 if arm is Arm.ROUTED else 5_000)
        evidence.count(arm, place, CallClass.FAILED if fails else counts_as, ms(number))
    return evidence


def begin(limits: GateLimits | None = None) -> Evidence:
    return Evidence.begin(50.0, limits or GateLimits())


def read(evidence: Evidence, gate: Gate, spend: Spend | None = None) -> GateReading:
    return next(one for one in judge(evidence, spend or Spend()) if one.gate is gate)


def test_no_calls_and_few_calls_wait_and_never_pass() -> None:
    evidence = begin()
    for calls, state in ((0, GateState.WAITING), (199, GateState.WAITING), (1, GateState.PASSING)):
        fill(evidence, Arm.ROUTED, calls)
        assert read(evidence, Gate.ERROR_RATE).state is state
        assert read(evidence, Gate.P95).state is state


def test_a_stage_where_all_fails_goes_back_after_twenty_calls_not_before() -> None:
    evidence = fill(begin(), Arm.ROUTED, 19, failed=19)
    assert read(evidence, Gate.ERROR_RATE).state is GateState.WAITING
    fill(evidence, Arm.ROUTED, 1, failed=1)
    found = read(evidence, Gate.ERROR_RATE)
    assert found.state is GateState.BREACHED
    assert found.says == "100 % (75 % to 100 %) of 20 calls failed; the limit is 5 %"
    assert breached(judge(evidence, Spend())) is not None


def test_errors_between_the_two_levels_warn_and_pass() -> None:
    found = read(fill(begin(), Arm.ROUTED, 1_000, failed=30), Gate.ERROR_RATE)
    assert (found.state, found.state.passes) == (GateState.WARNING, True)
    assert found.measured == 0.03


def test_errors_a_little_over_the_limit_are_not_sure_and_do_not_pass() -> None:
    found = read(fill(begin(), Arm.ROUTED, 300, failed=18), Gate.ERROR_RATE)
    assert (found.state, found.state.passes) == (GateState.UNSURE, False)


def test_slow_answers_breach_and_fast_errors_do_not_hide_them() -> None:
    slow = fill(begin(), Arm.ROUTED, 200, ms=lambda number: 1_100.0 if number % 5 == 0 else 50.0)
    assert read(slow, Gate.P95).state is GateState.BREACHED
    assert read(slow, Gate.ERROR_RATE).state is GateState.PASSING
    warned = fill(begin(), Arm.ROUTED, 400, ms=lambda number: 700.0 if number % 5 == 0 else 50.0)
    assert read(warned, Gate.P95).state is GateState.WARNING
    measured = read(warned, Gate.P95)
    assert measured.measured == pytest.approx(700, rel=0.05)
    assert measured.low is not None
    assert measured.low <= 700


def test_what_the_client_left_and_what_was_its_own_fault_prove_nothing() -> None:
    evidence = begin()
    for counts_as in (CallClass.LEFT, CallClass.REFUSED):
        fill(evidence, Arm.ROUTED, 500, counts_as=counts_as, ms=lambda _: 60_000.0)
    assert read(evidence, Gate.ERROR_RATE).samples == 0
    assert read(evidence, Gate.P95).state is GateState.WAITING
    assert evidence.routed.excluded == 1_000


def test_spend_warns_by_the_day_and_goes_back_by_the_month() -> None:
    evidence = begin()
    assert read(evidence, Gate.SPEND, Spend(9 * NANO, 299 * NANO)).state is GateState.PASSING
    assert read(evidence, Gate.SPEND, Spend(11 * NANO, 299 * NANO)).state is GateState.WARNING
    over = read(evidence, Gate.SPEND, Spend(11 * NANO, 301 * NANO, 299 * NANO))
    assert over.state is GateState.BREACHED
    assert over.says == "$301.00 were spent this month and $11.00 today; the limit is $300 a month"


def test_a_month_that_was_over_already_when_an_operator_moved_does_not_undo_his_move() -> None:
    found = read(begin(), Gate.SPEND, Spend(0, 310 * NANO, 305 * NANO))
    assert (found.state, found.state.passes) == (GateState.UNSURE, False)


def test_the_legacy_legs_failures_are_no_fault_of_the_routed_arm() -> None:
    evidence = fill(begin(), Arm.LEGACY, 500, failed=400)
    assert breached(judge(evidence, Spend())) is None


def test_relative_gates_are_only_there_when_they_have_a_limit() -> None:
    assert [one.gate for one in judge(begin(), Spend())] == [Gate.ERROR_RATE, Gate.P95, Gate.SPEND]
    assert len(judge(begin(RELATIVE), Spend())) == 6


def test_relative_gates_wait_for_both_arms() -> None:
    evidence = fill(begin(RELATIVE), Arm.ROUTED, 1_000)
    for gate in (Gate.ERROR_RATE_VS_LEGACY, Gate.P95_VS_LEGACY, Gate.FEEDBACK_VS_LEGACY):
        assert read(evidence, gate).state is GateState.WAITING


def test_more_errors_than_legacy_by_more_than_allowed() -> None:
    limits = msgspec.structs.replace(RELATIVE, error_rate_max=0.5)
    worse = fill(fill(begin(limits), Arm.LEGACY, 1_000, failed=5), Arm.ROUTED, 1_000, failed=90)
    assert read(worse, Gate.ERROR_RATE_VS_LEGACY).state is GateState.BREACHED
    alike = fill(fill(begin(limits), Arm.LEGACY, 1_000, failed=5), Arm.ROUTED, 1_000, failed=20)
    assert read(alike, Gate.ERROR_RATE_VS_LEGACY).state is GateState.PASSING
    between = fill(fill(begin(limits), Arm.LEGACY, 1_000, failed=5), Arm.ROUTED, 1_000, failed=30)
    assert read(between, Gate.ERROR_RATE_VS_LEGACY).state is GateState.UNSURE


def test_slower_than_legacy_by_more_than_allowed() -> None:
    limits = msgspec.structs.replace(RELATIVE, p95_ms_max=60_000.0)
    dice = random.Random(5)
    worse = fill(begin(limits), Arm.LEGACY, 800, ms=lambda _: dice.lognormvariate(5, 0.4))
    fill(worse, Arm.ROUTED, 800, ms=lambda _: dice.lognormvariate(6, 0.4))
    assert read(worse, Gate.P95_VS_LEGACY).state is GateState.BREACHED
    alike = fill(begin(limits), Arm.LEGACY, 800, ms=lambda _: dice.lognormvariate(5, 0.4))
    fill(alike, Arm.ROUTED, 800, ms=lambda _: dice.lognormvariate(5, 0.4))
    assert read(alike, Gate.P95_VS_LEGACY).state is GateState.PASSING


def test_rated_worse_than_legacy_by_more_than_allowed() -> None:
    evidence = begin(RELATIVE)
    for number in range(400):
        evidence.rate(Arm.LEGACY, 0.9)
        evidence.rate(Arm.ROUTED, 0.9 if number % 2 else 0.3)
    assert read(evidence, Gate.FEEDBACK_VS_LEGACY).state is GateState.BREACHED


def test_nothing_changes_by_looking_more_often() -> None:
    often, seldom = begin(), begin()
    for number in range(600):
        for evidence in (often, seldom):
            fill(evidence, Arm.ROUTED, 1, failed=int(number % 12 == 0))
        judge(often, Spend())
    sure, unsure = read(often, Gate.ERROR_RATE), read(seldom, Gate.ERROR_RATE)
    assert (sure.samples, sure.measured, sure.low) == (unsure.samples, unsure.measured, unsure.low)


def test_evidence_survives_being_written_down() -> None:
    evidence = fill(begin(RELATIVE), Arm.ROUTED, 700, failed=40)
    fill(evidence, Arm.LEGACY, 300)
    judge(evidence, Spend())
    fill(evidence, Arm.ROUTED, 50)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(evidence), type=Evidence)
    assert judge(again, Spend()) == judge(evidence, Spend())
    assert split(again) == split(evidence)


def test_relative_gates_are_hardly_ever_wrong_when_both_arms_are_alike() -> None:
    limits = GateLimits(
        error_rate_max=0.5, p95_ms_max=1e6, warn_p95_ms=1e6, alpha=0.2,
        error_rate_vs_legacy=0.0, p95_vs_legacy=1.0, feedback_vs_legacy=0.0,
    )  # fmt: skip
    dice, wrong = random.Random(21), 0
    for _ in range(25):
        evidence = begin(limits)
        for number in range(600):
            arm = Arm.ROUTED if dice.random() < 0.5 else Arm.LEGACY
            counts_as = CallClass.FAILED if dice.random() < 0.1 else CallClass.ANSWERED
            evidence.count(arm, number, counts_as, dice.lognormvariate(5, 0.8))
            evidence.rate(arm, float(dice.random() < 0.7))
            if number % 50 == 49 and breached(judge(evidence, Spend())) is not None:
                wrong += 1
                break
    assert wrong <= 0.2 * 25
