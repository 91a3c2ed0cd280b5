"""Says whether as many sessions are routed as should be, window by window; pure.

Each window is judged by an interval that may be looked at all the time. The chance of a false alarm is
shared among the windows so that it never adds up to more than ``MISMATCH_ALPHA``, were the rollout to stand
still for ever: window ``n`` has ``1 / (n * (n + 1))`` of it, which sums to one. It holds although the same
sessions come back in every window, for it asks nothing of how the windows depend on each other.
"""

from __future__ import annotations

from typing import Final

import msgspec

from sidecar.core.evidence import Evidence
from sidecar.core.sequential import Interval, share_interval

#: How sure the check must be; it is made all the time, on every rollout.
MISMATCH_ALPHA: Final = 0.001


class Split(msgspec.Struct, frozen=True):
    """How a window's sessions fell: the routed share, and what it should be; ``wrong`` in words."""

    sessions: int
    expected: float
    measured: Interval | None
    wrong: str


def split(evidence: Evidence) -> Split:
    """The split of the window under way, or of the last one while too few sessions are seen in it.

    Below ``min_samples`` sessions nothing is said, and at 0 and at 100 % there is nothing to check.
    """
    expected, enough = evidence.percent / 100, evidence.limits.min_samples
    count = evidence.sessions.judged(enough)
    alpha = MISMATCH_ALPHA / (count.number * (count.number + 1))
    measured = share_interval(count.sessions, count.routed, alpha)
    wrong = ""
    if (
        measured
        and count.sessions >= enough
        and 0 < expected < 1
        and not measured.low <= expected <= measured.high
    ):
        more = measured.value > expected
        wrong = (
            f"{measured.value * 100:.3g} % of {count.sessions} sessions were routed where "
            f"{expected * 100:.3g} % should be. Suspect: "
            + ("calls of the legacy arm" if more else "calls of the routed arm")
            + " that never reach their end here, an app that sends only some of its sessions to this "
            "replica, or session names that are chosen by what decides the arm"
        )
    return Split(count.sessions, expected, measured, wrong)
