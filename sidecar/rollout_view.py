"""The rollout as the admin API and the pages show it."""

from __future__ import annotations

import msgspec

from sidecar.core.gates import GateReading
from sidecar.core.sequential import Interval
from sidecar.rollout_desk import RolloutStanding
from sidecar.storage.rollout_store import RolloutChange


class ArmEvidence(msgspec.Struct, frozen=True):
    """One arm's calls since the last move. ``excluded`` prove nothing: left, or the caller's own fault."""

    calls: int
    failed: int
    excluded: int
    ratings: int


class SplitView(msgspec.Struct, frozen=True):
    """The sample-ratio check. Shares are 0 to 1; ``wrong`` is empty while the split can be right."""

    sessions: int
    expected: float
    measured: Interval | None
    wrong: str


class ScheduleView(msgspec.Struct, frozen=True):
    """What the schedule waits for. ``opens_at_ns`` is when a move may next be made, null when never.

    ``lacking`` is what the stage still needs before it may advance, in words.
    """

    enabled: bool
    bake_s: float
    baked_s: float
    min_samples: int
    gates: list[str]
    lacking: list[str]
    window_open: bool
    opens_at_ns: int | None


class RolloutView(msgspec.Struct, frozen=True):
    """Where the rollout stands and why. ``version`` grows with each change.

    ``state`` is one of ``docs/rollout.md``; ``since_ns``, ``actor`` and ``reason`` are those of the last
    change. ``evidence`` of both arms and the gates count from the last move on. ``previous_stage`` is where
    rolling back leads; ``on_breach`` says whether a gate does that or goes to zero.
    """

    percent: float
    version: int
    stages: list[float]
    state: str
    since_ns: int
    actor: str
    reason: str
    previous_stage: float
    next_stage: float | None
    on_breach: str
    gates: list[GateReading]
    evidence: dict[str, ArmEvidence]
    evidence_since_ns: int
    split: SplitView
    schedule: ScheduleView
    history: list[RolloutChange]


def view_of(standing: RolloutStanding, history: tuple[RolloutChange, ...], now_ns: int) -> RolloutView:
    """``standing`` as it is shown; ``now_ns`` is the wall clock."""
    state, settings, schedule = standing.state, standing.settings, standing.schedule
    evidence, wants = standing.progress.evidence, schedule.wants_at(state.percent)
    return RolloutView(
        percent=state.percent,
        version=state.version,
        stages=list(settings.stages),
        state=state.phase.value,
        since_ns=state.since_ns,
        actor=state.actor,
        reason=state.why,
        previous_stage=standing.previous_stage,
        next_stage=standing.next_stage,
        on_breach=settings.on_breach,
        gates=list(standing.readings),
        evidence={
            arm: ArmEvidence(tally.calls, tally.failed, tally.excluded, tally.ratings)
            for arm, tally in (("legacy", evidence.legacy), ("routed", evidence.routed))
        },
        evidence_since_ns=standing.progress.moved_ns,
        split=SplitView(
            standing.split.sessions, standing.split.expected, standing.split.measured, standing.split.wrong
        ),
        schedule=ScheduleView(
            enabled=schedule.enabled,
            bake_s=wants.bake_s,
            baked_s=round(standing.progress.baked_s, 1),
            min_samples=wants.min_samples,
            gates=[gate.value for gate in wants.gates],
            lacking=list(standing.lacking) if schedule.enabled else [],
            window_open=schedule.open_at(now_ns),
            opens_at_ns=schedule.opens_at_ns(now_ns),
        ),
        history=list(history),
    )
