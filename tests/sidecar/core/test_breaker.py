"""The breaker on a time line: when it opens, whom it lets through, when it closes."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.breaker import OF_THE_PROBE, TABLE, Breaker, BreakerLimits, Circuit, Event, event_of
from sidecar.core.errors import Fault, UpstreamFault
from tests.rig.breaker_time_line import DOWN_S, page, time_line

LIMITS = BreakerLimits()
DOWN = UpstreamFault(Fault.REFUSED, "the connection was refused")


class TimeLine:
    """A breaker and the seconds that pass."""

    def __init__(self, *, check_s: float = 0.0) -> None:
        self.breaker = Breaker(check_s=check_s)
        self.now_s = 100.0

    def call(self, event: Event, fault: UpstreamFault | None = None) -> bool:
        """One call from its beginning to its end; False when it was not let through."""
        call = object()
        if not self.breaker.admit(call, self.now_s):
            return False
        self.breaker.tell(call, event, self.now_s, fault)
        return True

    def state(self) -> Circuit:
        return self.breaker.view(self.now_s).state

    def fail(self, times: int) -> None:
        for _ in range(times):
            assert self.call(Event.FAILED, DOWN)


def test_the_page_shows_the_time_line() -> None:
    path = Path(__file__).parents[3] / "docs" / "breaker.md"
    assert path.read_text() == page(), (
        "write it anew: python -m tests.rig.breaker_time_line > docs/breaker.md"
    )


def test_a_tier_that_is_down_sees_five_calls_and_then_only_probes_until_it_answers_one() -> None:
    opened, *probes, closed, end = time_line()[1:]
    assert (opened.state, opened.at_s) == (Circuit.OPEN, DOWN_S[0] + 4 * 0.5)
    assert all((each.state, each.seen) == (Circuit.OPEN, 1) for each in probes)
    assert len(probes) == 3
    assert (closed.state, closed.seen) == (Circuit.CLOSED, 1)
    assert closed.at_s >= DOWN_S[1]
    assert (end.state, end.kept) == (Circuit.CLOSED, 0)


def test_nobody_answering_the_free_check_prolongs_the_rest_without_spending_a_call() -> None:
    line = TimeLine(check_s=3.0)
    line.fail(LIMITS.failures_in_a_row)
    waits = []
    for _ in range(6):
        wait_s = line.breaker.wait_s(line.now_s)
        assert wait_s is not None
        waits.append(wait_s)
        assert not line.breaker.check_due(line.now_s + wait_s - 0.1)
        line.now_s += wait_s
        assert line.breaker.check_due(line.now_s)
        assert not line.call(Event.SUCCEEDED), "a call waits for what the check says"
        line.breaker.tell(line, Event.UNREACHABLE, line.now_s)
    assert waits == [5, 10, 20, 40, 80, 120]
    line.now_s += 120
    line.breaker.tell(line, Event.RESTED, line.now_s)
    assert line.call(Event.SUCCEEDED)
    assert line.state() is Circuit.CLOSED


def test_when_nobody_makes_the_free_check_a_call_is_the_probe_all_the_same() -> None:
    line = TimeLine(check_s=3.0)
    line.fail(LIMITS.failures_in_a_row)
    line.now_s += LIMITS.open_s + 2.9
    assert not line.call(Event.SUCCEEDED)
    line.now_s += 0.1
    assert line.call(Event.SUCCEEDED)
    assert line.state() is Circuit.CLOSED


def test_a_refused_key_is_not_checked() -> None:
    line = TimeLine(check_s=3.0)
    line.call(Event.DENIED, DOWN)
    assert not line.breaker.check_due(line.now_s + 1_000_000)
    line.breaker.tell(line, Event.UNREACHABLE, line.now_s)
    assert line.breaker.wait_s(line.now_s) is None


def test_the_table_has_an_answer_for_everything() -> None:
    assert set(TABLE) == set(itertools.product(Circuit, Event))
    assert set(OF_THE_PROBE) <= set(Event)


def test_it_opens_after_failures_in_a_row_and_says_for_how_long() -> None:
    line = TimeLine()
    line.fail(LIMITS.failures_in_a_row - 1)
    assert line.call(Event.SUCCEEDED)
    line.fail(LIMITS.failures_in_a_row - 1)
    assert line.state() is Circuit.CLOSED
    line.fail(1)
    assert line.state() is Circuit.OPEN
    line.now_s += 2
    assert not line.call(Event.SUCCEEDED)
    words = line.breaker.refusal(line.now_s)
    assert words == "resting after refused (the connection was refused), tried again in 3 s"
    assert line.breaker.view(line.now_s).wait_s == 3.0
    assert line.breaker.opened == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (UpstreamFault(Fault.SERVER_ERROR, "zyzzyva", http_status=503), "server_error (answered 503)"),
        (UpstreamFault(Fault.SERVER_ERROR, "zyzzyva", told=True), "server_error"),
        (UpstreamFault(Fault.SERVER_ERROR, "zyzzyva", body=b"zyzzyva"), "server_error"),
        (UpstreamFault(Fault.CUT, "the connection broke off"), "cut (the connection broke off)"),
    ],
)
def test_an_upstreams_own_words_are_not_told_to_other_callers(fault: UpstreamFault, words: str) -> None:
    line = TimeLine()
    for _ in range(LIMITS.failures_in_a_row):
        line.call(Event.FAILED, fault)
    assert line.breaker.refusal(line.now_s).startswith(f"resting after {words}, tried again in")
    assert line.breaker.view(line.now_s).last_fault == words


def test_half_of_many_calls_failing_opens_it_too() -> None:
    line = TimeLine()
    for _ in range(LIMITS.window_calls_min // 2):
        assert line.state() is Circuit.CLOSED
        line.call(Event.SUCCEEDED)
        line.call(Event.FAILED, DOWN)
    assert line.state() is Circuit.OPEN


def test_failures_long_ago_do_not_count() -> None:
    line = TimeLine()
    for _ in range(LIMITS.window_calls_min):
        line.call(Event.SUCCEEDED)
        line.call(Event.FAILED, DOWN)
        line.now_s += LIMITS.window_s / 5
    assert line.state() is Circuit.CLOSED


def test_exactly_one_call_probes_and_its_first_token_closes_it() -> None:
    line = TimeLine()
    line.fail(LIMITS.failures_in_a_row)
    line.now_s += LIMITS.open_s
    probe, other = object(), object()
    assert line.breaker.admit(probe, line.now_s)
    assert line.state() is Circuit.HALF_OPEN
    assert not line.breaker.admit(other, line.now_s)
    assert "one call is trying it" in line.breaker.refusal(line.now_s)
    line.breaker.tell(probe, Event.BEGAN, line.now_s)
    assert line.state() is Circuit.CLOSED
    assert line.breaker.admit(other, line.now_s)
    line.fail(LIMITS.failures_in_a_row - 1)
    assert line.state() is Circuit.CLOSED


def test_failing_probes_make_the_periods_grow_to_a_ceiling() -> None:
    line = TimeLine()
    line.fail(LIMITS.failures_in_a_row)
    periods = []
    for _ in range(8):
        wait_s = line.breaker.wait_s(line.now_s)
        assert wait_s is not None
        periods.append(wait_s)
        line.now_s += wait_s
        line.fail(1)
    assert periods == [5, 10, 20, 40, 80, 120, 120, 120]
    line.now_s += 120
    assert line.call(Event.SUCCEEDED)
    line.fail(LIMITS.failures_in_a_row)
    assert line.breaker.wait_s(line.now_s) == LIMITS.open_s


def test_a_probe_that_proves_nothing_gives_its_place_back() -> None:
    line = TimeLine()
    line.fail(LIMITS.failures_in_a_row)
    line.now_s += LIMITS.open_s
    assert line.call(Event.PROVED_NOTHING)
    assert line.state() is Circuit.HALF_OPEN
    assert line.call(Event.SUCCEEDED)
    assert line.state() is Circuit.CLOSED


def test_calls_from_before_do_not_speak_for_the_probe() -> None:
    line = TimeLine()
    early = [object(), object()]
    for call in early:
        line.breaker.admit(call, line.now_s)
    line.fail(LIMITS.failures_in_a_row)
    line.now_s += LIMITS.open_s
    probe = object()
    line.breaker.admit(probe, line.now_s)
    line.breaker.tell(early[0], Event.SUCCEEDED, line.now_s)
    line.breaker.tell(early[1], Event.FAILED, line.now_s, DOWN)
    assert line.state() is Circuit.HALF_OPEN
    assert not line.breaker.admit(object(), line.now_s)


@pytest.mark.parametrize(("asked_s", "honoured_s"), [(7.0, 7.0), (86_400.0, LIMITS.told_max_s)])
def test_retry_after_is_honoured_within_reason(asked_s: float, honoured_s: float) -> None:
    line = TimeLine()
    throttled = UpstreamFault(Fault.THROTTLED, "slow down", http_status=429, retry_after_s=asked_s)
    assert line.call(event_of(throttled), throttled)
    assert line.breaker.wait_s(line.now_s) == honoured_s
    line.now_s += honoured_s
    assert line.call(Event.SUCCEEDED)
    assert line.state() is Circuit.CLOSED


def test_a_shorter_retry_after_does_not_shorten_the_rest() -> None:
    line = TimeLine()
    calls = [object(), object()]
    for call in calls:
        line.breaker.admit(call, line.now_s)
    for call, asked_s in zip(calls, (30.0, 3.0), strict=True):
        fault = UpstreamFault(Fault.THROTTLED, "", http_status=429, retry_after_s=asked_s)
        line.breaker.tell(call, event_of(fault), line.now_s, fault)
    assert line.breaker.wait_s(line.now_s) == 30.0


def test_a_key_that_is_not_accepted_opens_it_for_good() -> None:
    line = TimeLine()
    denied = UpstreamFault(Fault.AUTH, "Incorrect API key", http_status=401)
    assert line.call(event_of(denied), denied)
    line.now_s += 1_000_000
    assert not line.call(Event.SUCCEEDED)
    assert line.breaker.wait_s(line.now_s) is None
    assert "until the tier's configuration changes" in line.breaker.refusal(line.now_s)


@pytest.mark.parametrize(
    ("fault", "event"),
    [
        (UpstreamFault(Fault.REJECTED, "", http_status=400), Event.PROVED_NOTHING),
        (UpstreamFault(Fault.TOO_LONG, "", http_status=400), Event.PROVED_NOTHING),
        (UpstreamFault(Fault.UNSUPPORTED, ""), Event.PROVED_NOTHING),
        (UpstreamFault(Fault.AUTH, "", http_status=401), Event.DENIED),
        *(
            (UpstreamFault(Fault.AUTH, "", http_status=403, body=words), Event.DENIED)
            for words in (
                b'{"error":{"message":"Your account is suspended","type":"permission_error","code":null}}',
                b' {"error":"Country, region, or territory not supported"}',
            )
        ),
        *(
            (UpstreamFault(Fault.AUTH, "", http_status=403, body=words), Event.FAILED)
            for words in (
                b"",
                b"<html><h1>Blocked by the firewall</h1></html>",
                b'{"error":{"message":"The project may not use it","code":"model_not_found"}}',
                b'{"error":{"message":"Your input was flagged","type":"permission_error"}}',
            )
        ),
        (UpstreamFault(Fault.THROTTLED, "", http_status=429), Event.FAILED),
        (UpstreamFault(Fault.SERVER_ERROR, "", http_status=503, retry_after_s=2.0), Event.TOLD_TO_WAIT),
        (UpstreamFault(Fault.TIMEOUT, ""), Event.FAILED),
        (UpstreamFault(Fault.GARBAGE, ""), Event.FAILED),
    ],
    ids=lambda value: str(getattr(value, "fault", value)),
)
def test_what_a_fault_says(fault: UpstreamFault, event: Event) -> None:
    assert event_of(fault) is event


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["admit", *(event for event in Event if event is not Event.RESTED)]),
            st.floats(0, 20),
        ),
        max_size=60,
    )
)
def test_never_more_than_one_call_is_let_through_while_it_is_half_open(
    steps: list[tuple[str, float]],
) -> None:
    breaker, now_s, probes = Breaker(), 0.0, set[object]()
    running: list[object] = []
    for step, later_s in steps:
        now_s += later_s
        if step == "admit":
            call = object()
            if breaker.admit(call, now_s):
                running.append(call)
                if breaker.state is Circuit.HALF_OPEN:
                    probes.add(call)
        elif running:
            call = running.pop()
            breaker.tell(call, Event(step), now_s, DOWN)
            probes.discard(call)
        if breaker.state is not Circuit.HALF_OPEN:
            probes.clear()
        assert len(probes) <= 1
