"""How an ended call counts: only failures are errors, and a caller that left never is one."""

from __future__ import annotations

import pytest

from sidecar.core.call_class import CallClass, classify
from sidecar.core.vocabulary import Outcome


@pytest.mark.parametrize(
    ("outcome", "status", "counts_as"),
    [
        (Outcome.COMPLETE, 200, CallClass.ANSWERED),
        (Outcome.COMPLETE_WITHOUT_USAGE, 200, CallClass.ANSWERED),
        (Outcome.COMPLETE, 400, CallClass.REFUSED),
        (Outcome.COMPLETE, 429, CallClass.REFUSED),
        (Outcome.COMPLETE, 503, CallClass.FAILED),
        (Outcome.UPSTREAM_FAILED, 502, CallClass.FAILED),
        (Outcome.UPSTREAM_FAILED, 200, CallClass.FAILED),
        (Outcome.UPSTREAM_FAILED, 401, CallClass.FAILED),
        (Outcome.UPSTREAM_FAILED, 429, CallClass.FAILED),
        (Outcome.UPSTREAM_FAILED, 400, CallClass.REFUSED),
        (Outcome.UPSTREAM_FAILED, 404, CallClass.REFUSED),
        (Outcome.CLIENT_LEFT, 200, CallClass.LEFT),
        (Outcome.CLIENT_LEFT, 502, CallClass.LEFT),
    ],
)
def test_how_an_ending_counts(outcome: Outcome, status: int, counts_as: CallClass) -> None:
    assert classify(outcome, status) is counts_as
