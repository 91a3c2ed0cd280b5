"""Both arms over a window, together and by task type, from what the roll-ups have."""

from __future__ import annotations

import msgspec
import pytest

from sidecar.core.arms import Figure, Standing
from sidecar.core.vocabulary import Arm, Hints, Outcome, TaskType
from sidecar.storage.arm_comparison import ArmComparison
from sidecar.storage.database import Database
from sidecar.storage.decision_log import DecisionLog
from sidecar.storage.feedback import Feedback
from sidecar.storage.reports import Window
from tests.sidecar.storage.conftest import SetClock
from tests.sidecar.storage.records import NOON_NS, record


def give(
    log: DecisionLog, arm: Arm, calls: int, first: int, *, task: TaskType, ms: float, failing: int = 0
) -> None:
    for number in range(calls):
        plain, fails = record(first + number), number < failing
        hints: Hints = msgspec.structs.replace(plain.features.hints, task_type=task)
        log.record(
            msgspec.structs.replace(
                plain,
                features=msgspec.structs.replace(plain.features, arm=arm, hints=hints),
                started_ns=NOON_NS,
                duration_ms=ms * (1 + number % 10 / 10),
                outcome=Outcome.UPSTREAM_FAILED if fails else Outcome.COMPLETE,
                status=502 if fails else 200,
            )
        )


def named(figures: tuple[Figure, ...], name: str) -> Figure:
    return next(figure for figure in figures if figure.name == name)


async def test_without_calls_there_is_nothing_to_compare(database: Database) -> None:
    (whole,) = await ArmComparison(database, SetClock()).over(Window.DAY)
    assert (whole.task_type, whole.legacy_calls, whole.routed_calls) == ("", 0, 0)
    assert {figure.standing for figure in whole.figures} == {Standing.NOT_ENOUGH}


async def test_the_arms_are_compared_together_and_by_task_type(
    database: Database, log: DecisionLog, clock: SetClock
) -> None:
    give(log, Arm.LEGACY, 300, 0, task=TaskType.EXTRACTION, ms=400)
    give(log, Arm.ROUTED, 200, 1_000, task=TaskType.EXTRACTION, ms=100, failing=60)
    give(log, Arm.ROUTED, 20, 2_000, task=TaskType.RESEARCH, ms=100)
    await log.flush()
    whole, extraction, research = await ArmComparison(database, clock).over(Window.HOUR)
    assert (whole.legacy_calls, whole.routed_calls) == (300, 220)
    assert (extraction.task_type, extraction.legacy_calls, extraction.routed_calls) == (
        "extraction",
        300,
        200,
    )
    assert (research.task_type, research.legacy_calls, research.routed_calls) == ("research", 0, 20)
    assert named(extraction.figures, "error_rate").standing is Standing.WORSE
    assert named(extraction.figures, "p50").standing is Standing.BETTER
    assert named(research.figures, "error_rate").standing is Standing.NOT_ENOUGH
    p50 = named(extraction.figures, "p50")
    assert (p50.legacy.cases, p50.routed.cases) == (300, 140)
    assert p50.legacy.interval is not None
    assert p50.legacy.interval.value == pytest.approx(560, rel=0.06)
    assert p50.legacy.interval.low < p50.legacy.interval.value < p50.legacy.interval.high


async def test_ratings_are_compared_by_task_type_as_well(
    database: Database, log: DecisionLog, clock: SetClock
) -> None:
    give(log, Arm.LEGACY, 60, 0, task=TaskType.RESEARCH, ms=100)
    give(log, Arm.ROUTED, 60, 1_000, task=TaskType.RESEARCH, ms=100)
    feedback = Feedback(database, clock, log.flush)
    for number in range(60):
        assert (await feedback.rate(f"request-{number}", 0.1)) is not None
        rated = await feedback.rate(f"request-{1_000 + number}", 0.9)
        assert rated is not None
        assert (rated.arm, rated.first) == (Arm.ROUTED, True)
    again = await feedback.rate("request-0", 0.1)
    assert again is not None
    assert not again.first
    for comparison in await ArmComparison(database, clock).over(Window.DAY):
        assert named(comparison.figures, "feedback").standing is Standing.BETTER
