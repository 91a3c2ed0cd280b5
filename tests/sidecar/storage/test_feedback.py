"""A rating belongs to a call; the latest one counts, once."""

from __future__ import annotations

import pytest

from sidecar.storage.database import Database
from sidecar.storage.decision_log import DecisionLog
from sidecar.storage.feedback import COMMENT_MAX, Feedback, Rating
from sidecar.storage.reports import Reports, Window
from tests.sidecar.storage.conftest import SetClock
from tests.sidecar.storage.records import NOON_NS, record


@pytest.fixture
def feedback(database: Database, clock: SetClock, log: DecisionLog) -> Feedback:
    return Feedback(database, clock, log.flush)


async def test_a_call_can_be_rated_as_soon_as_it_has_ended(feedback: Feedback, log: DecisionLog) -> None:
    log.record(record(1))
    assert await feedback.rate("request-1", 0.75, "good")
    assert await feedback.get("request-1") == Rating("request-1", 0.75, "good", NOON_NS)


async def test_a_call_that_is_not_known_cannot_be_rated(feedback: Feedback) -> None:
    assert not await feedback.rate("nobody", 1.0)
    assert await feedback.get("nobody") is None


async def test_the_latest_rating_counts_and_counts_once(
    feedback: Feedback, database: Database, log: DecisionLog, clock: SetClock
) -> None:
    log.record(record(1))
    for score in (0.0, 1.0, 0.25):
        clock.now_ns += 1
        await feedback.rate("request-1", score, f"{score}")
    assert await feedback.get("request-1") == Rating("request-1", 0.25, "0.25", NOON_NS + 3)
    for window in Window:
        totals = (await Reports(database, clock).overview(window)).totals
        assert (totals.ratings, totals.score_mean) == (1, 0.25)


@pytest.mark.parametrize("score", [-0.01, 1.01, float("nan"), float("inf")])
async def test_a_score_out_of_range_is_refused(feedback: Feedback, log: DecisionLog, score: float) -> None:
    log.record(record(1))
    with pytest.raises(ValueError, match="between 0 and 1"):
        await feedback.rate("request-1", score)


async def test_a_long_comment_is_cut(feedback: Feedback, log: DecisionLog) -> None:
    log.record(record(1))
    await feedback.rate("request-1", 1.0, "x" * 1_000_000)
    rating = await feedback.get("request-1")
    assert rating is not None
    assert len(rating.comment) == COMMENT_MAX
