"""Who is looking: login by link or token, sessions with a role, CSRF tokens, and a brake on guessing.

A session lives in memory, so that a restart logs everybody out; its cookie holds a random number and
nothing else. Two roles: a *viewer* sees, an *operator* changes too.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from enum import StrEnum
from typing import Final

import msgspec

SESSION_S: Final = 12 * 3600
LINK_S: Final = 3600
SESSIONS_MAX: Final = 200
LINKS_MAX: Final = 20
#: Failed logins that one address may have within ``BRAKE_S``.
FAILURES_MAX: Final = 5
BRAKE_S: Final = 60
ADDRESSES_MAX: Final = 1_000
NAME_CHARS_MAX: Final = 40

_NANO: Final = 1_000_000_000
_TOKEN_BYTES: Final = 32


class Role(StrEnum):
    """What a session may do."""

    VIEWER = "viewer"
    OPERATOR = "operator"


class Session:
    """One login. ``done`` is told on the next page and then forgotten."""

    __slots__ = ("csrf", "done", "expires_ns", "name", "role")

    def __init__(self, role: Role, name: str, csrf: str, expires_ns: int) -> None:
        self.role = role
        self.name = name
        self.csrf = csrf
        self.expires_ns = expires_ns
        self.done = ""

    @property
    def actor(self) -> str:
        """Who the audit log says it was."""
        return f"{self.name} (dashboard)" if self.name else f"dashboard {self.role}"

    def take_done(self) -> str:
        done, self.done = self.done, ""
        return done


class TooManyAttempts(Exception):
    """Too many failed logins; ``retry_after_s`` says when the next one is looked at."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"Too many failed logins. Try again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


class _Link(msgspec.Struct, frozen=True):
    role: Role
    expires_ns: int


class Logins:
    """The sessions and one-time links there are.

    Tokens are compared in constant time; links and sessions are kept by their hashes, so that what is
    looked up is never the secret itself.
    """

    def __init__(
        self,
        operator_token: str,
        viewer_token: str,
        *,
        clock_ns: Callable[[], int],
        entropy: Callable[[int], bytes],
    ) -> None:
        """An empty ``viewer_token`` lets no viewer in."""
        self._tokens = {Role.OPERATOR: operator_token, Role.VIEWER: viewer_token}
        self._clock_ns = clock_ns
        self._entropy = entropy
        self._sessions: dict[str, Session] = {}
        self._links: dict[str, _Link] = {}
        self._failures: dict[str, list[int]] = {}

    def mint_link_token(self, role: Role = Role.OPERATOR) -> str:
        """The one-time token of a login link; good for one login within ``LINK_S``."""
        while len(self._links) >= LINKS_MAX:
            del self._links[next(iter(self._links))]
        token = self._random()
        self._links[_hash(token)] = _Link(role, self._clock_ns() + LINK_S * _NANO)
        return token

    def follow_link(self, token: str, address: str) -> str | None:
        """Use up a login link: the new session's cookie, or None when it is no good."""
        self._brake(address)
        link = self._links.pop(_hash(token), None)
        if link is None or link.expires_ns < self._clock_ns():
            self._failed(address)
            return None
        return self._begin(link.role, "")

    def log_in(self, token: str, name: str, address: str) -> str | None:
        """The new session's cookie, or None for a wrong token. Raises ``TooManyAttempts``."""
        self._brake(address)
        given = token.strip().encode("utf-8", "surrogateescape")
        for role, expected in self._tokens.items():
            if expected and hmac.compare_digest(given, expected.encode()):
                return self._begin(role, " ".join(name.split())[:NAME_CHARS_MAX])
        self._failed(address)
        return None

    def find(self, cookie: str | None) -> Session | None:
        """The session that a cookie belongs to, if it has not expired."""
        if not cookie:
            return None
        key = _hash(cookie)
        session = self._sessions.get(key)
        if session is not None and session.expires_ns < self._clock_ns():
            del self._sessions[key]
            return None
        return session

    def end(self, cookie: str | None) -> None:
        """Log out."""
        self._sessions.pop(_hash(cookie or ""), None)

    def _begin(self, role: Role, name: str) -> str:
        while len(self._sessions) >= SESSIONS_MAX:
            del self._sessions[next(iter(self._sessions))]
        cookie = self._random()
        self._sessions[_hash(cookie)] = Session(
            role, name, self._random(), self._clock_ns() + SESSION_S * _NANO
        )
        return cookie

    def _brake(self, address: str) -> None:
        """Raise ``TooManyAttempts`` while too many logins from ``address`` have failed of late."""
        now_ns = self._clock_ns()
        recent = [at for at in self._failures.get(address, ()) if now_ns - at < BRAKE_S * _NANO]
        if len(recent) >= FAILURES_MAX:
            raise TooManyAttempts(BRAKE_S - (now_ns - recent[0]) // _NANO)

    def _failed(self, address: str) -> None:
        while len(self._failures) >= ADDRESSES_MAX:
            del self._failures[next(iter(self._failures))]
        recent = self._failures.pop(address, [])[1 - FAILURES_MAX :]
        self._failures[address] = [*recent, self._clock_ns()]

    def _random(self) -> str:
        return self._entropy(_TOKEN_BYTES).hex()


def csrf_fits(session: Session, given: str) -> bool:
    """Whether a form carries its session's CSRF token."""
    return hmac.compare_digest(session.csrf.encode(), given.encode("utf-8", "surrogateescape"))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
