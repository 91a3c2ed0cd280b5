"""The sample-ratio check: silent while the split is right, and soon there when it no longer is."""

from __future__ import annotations

import random
from collections.abc import Iterable

import msgspec
import pytest

from sidecar.core.call_class import CallClass
from sidecar.core.evidence import Evidence, GateLimits
from sidecar.core.rollout import bucket
from sidecar.core.sample_ratio import MISMATCH_ALPHA, split
from sidecar.core.sessions_seen import SESSIONS_A_WINDOW, WINDOW_S
from sidecar.core.vocabulary import Arm

ENOUGH = GateLimits().min_samples


def calls_end(evidence: Evidence, places: Iterable[int], *, a_second: int = 50) -> None:
    """A call from each of these buckets ends, ``a_second`` of them between two looks."""
    for number, place in enumerate(places):
        arm = Arm.ROUTED if place < evidence.percent * 100 else Arm.LEGACY
        evidence.count(arm, place, CallClass.ANSWERED, 10.0)
        if number % a_second == a_second - 1:
            evidence.sessions.passes(1.0, ENOUGH)


def begin(percent: float) -> Evidence:
    return Evidence.begin(percent, GateLimits())


def sessions(names: int) -> list[int]:
    """Where a sidecar places so many sessions."""
    return [bucket("s", f"session-{number}") for number in range(names)]


@pytest.mark.parametrize("percent", [0.5, 10.0, 30.0, 50.0, 99.0])
def test_a_split_by_the_hash_is_right_at_every_size(percent: float) -> None:
    for names in (1, 100, 5_000, 40_000):
        evidence = begin(percent)
        calls_end(evidence, sessions(names))
        assert split(evidence).wrong == ""


def test_one_busy_session_does_not_make_a_split_wrong() -> None:
    evidence = begin(10.0)
    calls_end(evidence, [*sessions(500), *[5] * 5_000])
    assert split(evidence).wrong == ""


def test_calls_of_one_arm_that_get_lost_are_noticed() -> None:
    evidence = begin(50.0)
    kept = [place for number, place in enumerate(sessions(800)) if place >= 5_000 or number % 3 == 0]
    calls_end(evidence, kept)
    found = split(evidence)
    assert "calls of the routed arm that never reach their end" in found.wrong
    assert "where 50 % should be" in found.wrong


@pytest.mark.parametrize("percent", [0.0, 100.0])
def test_where_there_is_one_arm_there_is_no_split_to_check(percent: float) -> None:
    evidence = begin(percent)
    calls_end(evidence, sessions(1_000))
    assert split(evidence).wrong == ""


@pytest.mark.parametrize("good", [5_000, 20_000, 200_000])
def test_a_break_after_a_long_good_time_is_noticed_within_two_windows(good: int) -> None:
    """Also when every bucket there is has been seen long before."""
    evidence, dice = begin(50.0), random.Random(1)
    calls_end(evidence, (dice.randrange(10_000) for _ in range(good)))
    assert split(evidence).wrong == ""
    lost = 0
    while not split(evidence).wrong:
        calls_end(evidence, (dice.randrange(5_000) for _ in range(50)))
        lost += 50
        assert lost <= 2 * SESSIONS_A_WINDOW
    assert "calls of the legacy arm that never reach their end" in split(evidence).wrong


def test_an_app_with_few_sessions_that_always_come_back_is_judged_anew_every_hour() -> None:
    evidence, dice, all_of_them = begin(50.0), random.Random(2), sessions(500)
    calls_end(evidence, (dice.choice(all_of_them) for _ in range(20_000)), a_second=2)
    assert split(evidence).wrong == ""
    assert evidence.sessions.number > 2
    routed = [place for place in all_of_them if place < 5_000]
    calls_end(evidence, (dice.choice(routed) for _ in range(2 * int(WINDOW_S))), a_second=1)
    assert "calls of the legacy arm" in split(evidence).wrong


@pytest.mark.parametrize("names", [300, 20_000])
def test_looking_for_ever_costs_no_false_alarms(names: int) -> None:
    """A/A over many windows, of sessions that come back and of ever new ones, looked at all the time."""
    alarms = 0
    for run in range(40):
        dice = random.Random(run)
        places = [dice.randrange(10_000) for _ in range(names)]
        evidence = begin(30.0)
        for _ in range(12):
            calls_end(evidence, dice.choices(places, k=1_000), a_second=1_000)
            evidence.sessions.passes(WINDOW_S / 2, ENOUGH)
            alarms += bool(split(evidence).wrong)
        assert evidence.sessions.number > 5
    assert alarms == 0


def test_all_windows_together_share_one_chance_of_a_false_alarm() -> None:
    assert sum(MISMATCH_ALPHA / (n * (n + 1)) for n in range(1, 100_000)) < MISMATCH_ALPHA


def test_a_window_waits_for_as_many_sessions_as_a_judgement_needs() -> None:
    evidence = begin(50.0)
    calls_end(evidence, sessions(ENOUGH - 50))
    evidence.sessions.passes(10 * WINDOW_S, ENOUGH)
    assert (evidence.sessions.number, evidence.sessions.last) == (1, None)
    calls_end(evidence, sessions(ENOUGH + 50))
    assert evidence.sessions.number == 2
    assert split(evidence).sessions >= ENOUGH, "the last window stands until the next can be judged"


def test_evidence_that_was_written_down_before_there_were_windows_is_read_without_its_sessions() -> None:
    evidence = begin(50.0)
    calls_end(evidence, sessions(300))
    old = msgspec.to_builtins(evidence, builtin_types=(bytearray,))
    del old["sessions"]
    old |= {"seen": bytes(1_250), "buckets_seen": 297, "routed_buckets_seen": 151}
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(old), type=Evidence)
    assert read.routed == evidence.routed
    assert (read.sessions.number, read.sessions.sessions) == (1, 0)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(evidence), type=Evidence)
    assert again == evidence
