"""The circuit breaker of one tier: a table that says what each event does in each state.

A tier that keeps failing is left alone for a while; then one call, the probe, finds out whether it works
again. What the table's actions mean stands at the functions of the same names.

::

                    closed      open        half open
    began           keep        keep        keep        (the probe: close)
    succeeded       forget      keep        keep        (the probe: close)
    failed          count       keep        keep        (the probe: reopen)
    told to wait    rest        rest        rest
    denied          lock        lock        lock
    proved nothing  keep        keep        keep        (the probe: give back)
    rested          keep        try         keep
    unreachable     keep        prolong     keep

*Began* is the first token of an answer, *proved nothing* a call that was the caller's own fault, that its
client left, that ran out of its own time, or that waited for a model to be loaded. *Denied* is a key that is
not accepted (401), or that may not be used at all (403): only a new configuration, which comes with a new
breaker, can mend that. A 403 whose words are about one model or one prompt has merely failed.

Before a call has to be the probe, a question that generates nothing and costs nothing is asked, if somebody
does so within ``check_s`` of the period's end. When nobody answers it the tier rests on; when somebody does,
the next call is the probe.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import msgspec

from sidecar.core.errors import Fault, UpstreamFault


class Circuit(StrEnum):
    """The states: calls go through, none do, or the probe alone does."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Event(StrEnum):
    """What a breaker is told, or notices by the clock (``RESTED``)."""

    BEGAN = "began"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TOLD_TO_WAIT = "told_to_wait"
    DENIED = "denied"
    PROVED_NOTHING = "proved_nothing"
    RESTED = "rested"
    UNREACHABLE = "unreachable"


_Positive = Annotated[float, msgspec.Meta(gt=0)]
_Calls = Annotated[int, msgspec.Meta(ge=1)]


class BreakerLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a breaker opens, and for how long. Durations in seconds.

    It opens after ``failures_in_a_row``, or when of the last ``window_calls`` that ended within
    ``window_s`` at least ``failure_share`` failed, if they are at least ``window_calls_min``. The first
    period lasts ``open_s``; each further one without success in between twice as long, up to
    ``open_max_s``. An upstream's own ``Retry-After`` is honoured up to ``told_max_s``.
    """

    failures_in_a_row: _Calls = 5
    window_s: _Positive = 30.0
    window_calls: _Calls = 100
    window_calls_min: _Calls = 20
    failure_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    open_s: _Positive = 5.0
    open_max_s: _Positive = 120.0
    told_max_s: _Positive = 600.0


class BreakerView(msgspec.Struct, frozen=True):
    """A breaker as an operator sees it; ``wait_s`` is None when no clock will close it."""

    state: Circuit
    wait_s: float | None
    last_fault: str


#: Faults that say something about the call and nothing about the upstream.
_OF_THE_CALL = frozenset({Fault.REJECTED, Fault.TOO_LONG, Fault.UNSUPPORTED})


#: Words of a 403 that are about what was asked for: a model the key may not use, a prompt that was flagged.
_OF_ONE_REQUEST = re.compile(rb"model|prompt|input|content|polic|moderat|flagged|safety", re.IGNORECASE)


def event_of(fault: UpstreamFault) -> Event:
    """What a fault tells the breaker."""
    if fault.fault in _OF_THE_CALL:
        return Event.PROVED_NOTHING
    if fault.fault is Fault.AUTH and not _is_of_one_request(fault):
        return Event.DENIED
    return Event.TOLD_TO_WAIT if fault.retry_after_s else Event.FAILED


def _is_of_one_request(fault: UpstreamFault) -> bool:
    """Whether a refusal may be about one request only, so that it must not close the tier for all others.

    Of a 401 that is never so. A 403 that says nothing, or whose page comes from a firewall before the API,
    may be about any word of the prompt.
    """
    if fault.http_status == 401:
        return False
    return not fault.body.lstrip().startswith(b"{") or _OF_ONE_REQUEST.search(fault.body) is not None


_DEFAULT_LIMITS = BreakerLimits()


class Breaker:
    """The breaker of one tier. All times are seconds of one monotonic clock, given by the caller.

    ``check_s`` is for how long after a period's end the free check is waited for; 0: there is none.
    """

    def __init__(self, limits: BreakerLimits = _DEFAULT_LIMITS, *, check_s: float = 0.0) -> None:
        self.state = Circuit.CLOSED
        self.last_fault = ""
        self.opened = 0
        self._limits = limits
        self._check_s = check_s
        self._until_s = 0.0
        self._period_s = limits.open_s
        self._in_a_row = 0
        self._ended: deque[tuple[float, bool]] = deque(maxlen=limits.window_calls)
        self._probe: object | None = None

    def refusal(self, now_s: float) -> str:
        """Why no call may go through now, in words; empty when one may."""
        if self.state is Circuit.CLOSED or (self.state is Circuit.OPEN and now_s >= self._tried_at_s):
            return ""
        after = f" after {self.last_fault}" if self.last_fault else ""
        if self.state is Circuit.OPEN and math.isinf(self._until_s):
            return f"resting{after}, until the tier's configuration changes"
        if self.state is Circuit.OPEN:
            return f"resting{after}, tried again in {max(math.ceil(self._until_s - now_s), 1)} s"
        if self._probe is None:
            return ""
        return f"resting{after}, one call is trying it now"

    def admit(self, call: object, now_s: float) -> bool:
        """Whether ``call``, which is told of by this very object later, may go through."""
        if self.refusal(now_s):
            return False
        if self.state is Circuit.OPEN:
            self.tell(call, Event.RESTED, now_s)
        if self.state is Circuit.HALF_OPEN:
            self._probe = call
        return True

    def tell(self, call: object, event: Event, now_s: float, fault: UpstreamFault | None = None) -> None:
        """What has become of an admitted ``call``."""
        if fault is not None and event is not Event.PROVED_NOTHING:
            self.last_fault = fault.in_our_words
        probes = self._probe is call and self._probe is not None
        action = OF_THE_PROBE.get(event) if probes else None
        (action or TABLE[self.state, event])(self, now_s, (fault.retry_after_s if fault else None) or 0.0)

    def check_due(self, now_s: float) -> bool:
        """Whether a period is over, so that the free check may be made."""
        return self.state is Circuit.OPEN and now_s >= self._until_s

    @property
    def _tried_at_s(self) -> float:
        """When a call may be the probe, whether or not the free check was made."""
        return self._until_s + self._check_s

    def wait_s(self, now_s: float) -> float | None:
        """Seconds until a call may go through; None when no clock will bring that about."""
        if self.state is Circuit.OPEN:
            if math.isinf(self._until_s):
                return None
            return self._until_s - now_s if now_s < self._until_s else max(self._tried_at_s - now_s, 0.0)
        # How long the probe takes is not known; whoever asks again in a second is early enough.
        return 1.0 if self.state is Circuit.HALF_OPEN and self._probe is not None else 0.0

    def view(self, now_s: float) -> BreakerView:
        """The breaker as it stands."""
        return BreakerView(self.state, self.wait_s(now_s), self.last_fault)

    # the actions

    def keep(self, now_s: float, told_s: float) -> None:
        """Nothing changes."""

    def forget(self, now_s: float, told_s: float) -> None:
        """A success ends a row of failures."""
        self._in_a_row = 0
        self._ended.append((now_s, False))

    def count(self, now_s: float, told_s: float) -> None:
        """One more failure; open when that is one too many."""
        limits = self._limits
        self._in_a_row += 1
        self._ended.append((now_s, True))
        recent = [failed for at_s, failed in self._ended if at_s > now_s - limits.window_s]
        too_often = len(recent) >= limits.window_calls_min and sum(recent) >= limits.failure_share * len(
            recent
        )
        if too_often or self._in_a_row >= limits.failures_in_a_row:
            self._open(now_s + self._period_s)

    def rest(self, now_s: float, told_s: float) -> None:
        """Open for as long as the upstream asked for, or longer if it was longer already."""
        asked_s = now_s + min(told_s, self._limits.told_max_s)
        self._open(max(asked_s, self._until_s) if self.state is Circuit.OPEN else asked_s)

    def lock(self, now_s: float, told_s: float) -> None:
        """Open for good."""
        self._open(math.inf)

    def try_(self, now_s: float, told_s: float) -> None:
        """The period is over: one call may find out."""
        self.state = Circuit.HALF_OPEN

    def close(self, now_s: float, told_s: float) -> None:
        """The probe was answered: all is well again."""
        self.state = Circuit.CLOSED
        self.last_fault = ""
        self._probe = None
        self._in_a_row = 0
        self._period_s = self._limits.open_s
        self._ended.clear()

    def reopen(self, now_s: float, told_s: float) -> None:
        """The probe failed: rest for twice as long."""
        self._period_s = min(self._period_s * 2, self._limits.open_max_s)
        self._open(now_s + self._period_s)

    def prolong(self, now_s: float, told_s: float) -> None:
        """Nobody answered the free check: rest for twice as long, and no call was lost over it."""
        if now_s >= self._until_s:
            self.reopen(now_s, told_s)

    def give_back(self, now_s: float, told_s: float) -> None:
        """The probe proved nothing: the next call is one."""
        self._probe = None

    def _open(self, until_s: float) -> None:
        if self.state is not Circuit.OPEN:
            self.opened += 1
        self.state = Circuit.OPEN
        self._until_s = until_s
        self._probe = None


Action = Callable[[Breaker, float, float], None]

#: What each event does in each state.
TABLE: dict[tuple[Circuit, Event], Action] = {
    (Circuit.CLOSED, Event.BEGAN): Breaker.keep,
    (Circuit.CLOSED, Event.SUCCEEDED): Breaker.forget,
    (Circuit.CLOSED, Event.FAILED): Breaker.count,
    (Circuit.CLOSED, Event.TOLD_TO_WAIT): Breaker.rest,
    (Circuit.CLOSED, Event.DENIED): Breaker.lock,
    (Circuit.CLOSED, Event.PROVED_NOTHING): Breaker.keep,
    (Circuit.CLOSED, Event.RESTED): Breaker.keep,
    (Circuit.CLOSED, Event.UNREACHABLE): Breaker.keep,
    (Circuit.OPEN, Event.BEGAN): Breaker.keep,
    (Circuit.OPEN, Event.SUCCEEDED): Breaker.keep,
    (Circuit.OPEN, Event.FAILED): Breaker.keep,
    (Circuit.OPEN, Event.TOLD_TO_WAIT): Breaker.rest,
    (Circuit.OPEN, Event.DENIED): Breaker.lock,
    (Circuit.OPEN, Event.PROVED_NOTHING): Breaker.keep,
    (Circuit.OPEN, Event.RESTED): Breaker.try_,
    (Circuit.OPEN, Event.UNREACHABLE): Breaker.prolong,
    (Circuit.HALF_OPEN, Event.BEGAN): Breaker.keep,
    (Circuit.HALF_OPEN, Event.SUCCEEDED): Breaker.keep,
    (Circuit.HALF_OPEN, Event.FAILED): Breaker.keep,
    (Circuit.HALF_OPEN, Event.TOLD_TO_WAIT): Breaker.rest,
    (Circuit.HALF_OPEN, Event.DENIED): Breaker.lock,
    (Circuit.HALF_OPEN, Event.PROVED_NOTHING): Breaker.keep,
    (Circuit.HALF_OPEN, Event.RESTED): Breaker.keep,
    (Circuit.HALF_OPEN, Event.UNREACHABLE): Breaker.keep,
}

#: What it does instead when the call that it is told of is the probe.
OF_THE_PROBE: dict[Event, Action] = {
    Event.BEGAN: Breaker.close,
    Event.SUCCEEDED: Breaker.close,
    Event.FAILED: Breaker.reopen,
    Event.PROVED_NOTHING: Breaker.give_back,
}
