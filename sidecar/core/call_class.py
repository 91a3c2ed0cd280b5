"""Says how an ended call counts in error rates and latencies, by its outcome and status; pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from sidecar.core.vocabulary import Outcome


class CallClass(StrEnum):
    """How a call counts in error rates."""

    ANSWERED = "answered"
    FAILED = "failed"
    REFUSED = "refused"
    LEFT = "left"


#: Client errors of an upstream that are not the app's doing: credentials, timeouts and quotas.
_NOT_THE_CALLERS: Final = frozenset({401, 403, 408, 429})


def classify(outcome: str, status: int) -> CallClass:
    """How a call with this ending counts.

    A caller that left is never an error. Status 500 and above is one, and so is a failed upstream, unless
    what the caller got is a 4xx that its own request earned.
    """
    if outcome == Outcome.CLIENT_LEFT:
        return CallClass.LEFT
    if status >= 500:
        return CallClass.FAILED
    if outcome == Outcome.UPSTREAM_FAILED:
        own_fault = 400 <= status < 500 and status not in _NOT_THE_CALLERS
        return CallClass.REFUSED if own_fault else CallClass.FAILED
    return CallClass.REFUSED if status >= 400 else CallClass.ANSWERED
