"""Sessions, links and the brake, with a clock that the test turns."""

from __future__ import annotations

import itertools

import pytest

from dashboard import auth
from dashboard.auth import Logins, Role, TooManyAttempts, csrf_fits


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000_000

    def __call__(self) -> int:
        return self.now_s * 1_000_000_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logins(clock: Clock) -> Logins:
    numbers = itertools.count(1)
    return Logins(
        "operator", "viewer", clock_ns=clock, entropy=lambda count: next(numbers).to_bytes(count, "big")
    )


def test_a_token_gives_its_role(logins: Logins) -> None:
    for token, role in (("operator", Role.OPERATOR), (" viewer\n", Role.VIEWER)):
        session = logins.find(logins.log_in(token, "", "here"))
        assert session is not None
        assert session.role is role
        assert csrf_fits(session, session.csrf)
        assert not csrf_fits(session, "")


def test_without_a_viewer_token_nobody_is_a_viewer(clock: Clock) -> None:
    logins = Logins("operator", "", clock_ns=clock, entropy=lambda count: b"x" * count)
    assert logins.log_in("", "", "here") is None


def test_the_audit_log_is_told_who_it_was(logins: Logins) -> None:
    named = logins.find(logins.log_in("operator", "  Maria \n  Blum ", "here"))
    nameless = logins.find(logins.log_in("operator", "", "here"))
    assert named is not None
    assert nameless is not None
    assert named.actor == "Maria Blum (dashboard)"
    assert nameless.actor == "dashboard operator"


def test_a_session_ends_after_its_time(logins: Logins, clock: Clock) -> None:
    cookie = logins.log_in("operator", "", "here")
    clock.now_s += auth.SESSION_S
    assert logins.find(cookie) is not None
    clock.now_s += 1
    assert logins.find(cookie) is None
    clock.now_s -= 2
    assert logins.find(cookie) is None, "it does not come back"


def test_a_link_is_good_once_and_for_an_hour(logins: Logins, clock: Clock) -> None:
    link = logins.mint_link_token()
    assert logins.find(logins.follow_link(link, "here")) is not None
    assert logins.follow_link(link, "here") is None
    late = logins.mint_link_token()
    clock.now_s += auth.LINK_S + 1
    assert logins.follow_link(late, "here") is None


def test_sessions_and_links_are_bounded(logins: Logins) -> None:
    first_link, first = logins.mint_link_token(), logins.log_in("operator", "", "here")
    for _ in range(auth.LINKS_MAX):
        logins.mint_link_token()
    for _ in range(auth.SESSIONS_MAX):
        logins.log_in("operator", "", "here")
    assert logins.find(first) is None
    assert logins.follow_link(first_link, "here") is None


def test_failures_brake_their_address_alone_and_for_a_minute(logins: Logins, clock: Clock) -> None:
    for _ in range(auth.FAILURES_MAX):
        assert logins.log_in("guess", "", "there") is None
    with pytest.raises(TooManyAttempts) as braked:
        logins.log_in("operator", "", "there")
    assert braked.value.retry_after_s == auth.BRAKE_S
    with pytest.raises(TooManyAttempts):
        logins.follow_link(logins.mint_link_token(), "there")
    assert logins.log_in("operator", "", "here")
    clock.now_s += auth.BRAKE_S
    assert logins.log_in("operator", "", "there")


def test_what_is_told_is_told_once(logins: Logins) -> None:
    session = logins.find(logins.log_in("operator", "", "here"))
    assert session is not None
    session.done = "moved"
    assert (session.take_done(), session.take_done()) == ("moved", "")
