"""Steers the rollout: gathers the evidence call by call, brakes, advances by the schedule, obeys operators.

One lock serialises all moves. What moves the rollout is always a row of the table in
``core/rollout_states``; each move is written down before it takes effect, and then told: to the audit log,
the log, the alerts and the traces.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Final

import msgspec

from sidecar.budget_desk import Changed
from sidecar.core.call_class import classify
from sidecar.core.errors import ShuttingDown
from sidecar.core.evidence import Evidence
from sidecar.core.gates import GateReading, GateState, Spend, breached, judge
from sidecar.core.rollout_states import (
    RULES,
    TABLE,
    Event,
    NoSuchMove,
    Phase,
    after,
    stage_after,
    stage_before,
)
from sidecar.core.sample_ratio import Split, split
from sidecar.core.schedule import Schedule, lacking
from sidecar.core.vocabulary import Arm, DecisionRecord, Operation
from sidecar.settings.rollout_schema import RolloutSettings
from sidecar.storage.database import StorageError
from sidecar.storage.rollout_store import RolloutState, RolloutStore, StaleRollout, hundredths_of

log = logging.getLogger("sidecar.rollout")

#: How often the evidence is judged. A breach is acted upon within this and one commit.
TICK_S: Final = 0.5
#: How often what was gathered is written down.
KEEP_EVERY_S: Final = 5.0
#: How much longer a stage bakes when a gate that had passed no longer does.
LAPSE_S: Final = 60.0


class Progress(msgspec.Struct):
    """What was gathered since the last move. ``month_at_move`` is nano-dollars; ``warned`` names gates."""

    evidence: Evidence
    moved_ns: int
    month_at_move: int
    baked_s: float = 0.0
    warned: list[str] = msgspec.field(default_factory=list)


class RolloutNotice(msgspec.Struct, frozen=True):
    """One move, or a warning, as alerts and traces are told. ``event`` is a move's, or ``warning``."""

    event: str
    at_ns: int
    actor: str
    from_percent: float
    to_percent: float
    state: str
    why: str
    gate: str = ""
    version: int = 0


class RolloutStanding(msgspec.Struct, frozen=True):
    """Everything that is known of the rollout now; what ``rollout_view`` puts into words."""

    state: RolloutState
    settings: RolloutSettings
    schedule: Schedule
    progress: Progress
    readings: tuple[GateReading, ...]
    split: Split
    lacking: tuple[str, ...]
    previous_stage: float
    next_stage: float | None


def _nobody(_: RolloutNotice) -> None:
    """Nobody is told."""


class RolloutDesk:
    """The rollout as operators, the schedule and the gates handle it.

    ``spent`` gives the nano-dollars posted this day and this month. ``clock_ns`` is the wall clock,
    ``clock_s`` one that nobody sets; both may run faster than the world's, for rehearsals.
    """

    def __init__(
        self,
        store: RolloutStore,
        settings: Callable[[], RolloutSettings],
        spent: Callable[[], tuple[int, int]],
        changed: Changed,
        *,
        clock_ns: Callable[[], int],
        clock_s: Callable[[], float],
    ) -> None:
        self._store = store
        self._settings = settings
        self._spent = spent
        self._changed = changed
        #: Told of every move; set by the composition root.
        self.tell: Callable[[RolloutNotice], None] = _nobody
        self._clock_ns = clock_ns
        self._clock_s = clock_s
        self._moving = asyncio.Lock()
        self._looked_s = clock_s()
        self._kept_at = 0.0
        self._progress = self._afresh()

    # what is counted: on the path of every call

    def count(self, record: DecisionRecord) -> None:
        """One call has ended. Calls that began before the last move prove nothing of what is now.

        Neither do those that ask no model for anything, or that a stop of the sidecar has ended.
        """
        evidence = self._progress.evidence
        stopped = record.error_code == ShuttingDown.code
        asks = record.features.operation is not Operation.COUNT_TOKENS
        if asks and not stopped and record.rollout_percent == evidence.percent:
            counts_as = classify(record.outcome, record.status)
            evidence.count(record.features.arm, record.bucket, counts_as, record.duration_ms)

    def rated(self, arm: Arm, started_ns: int, score: float) -> None:
        """A call that began at ``started_ns`` was rated for the first time."""
        if started_ns >= self._progress.moved_ns:
            self._progress.evidence.rate(arm, score)

    # what operators do

    async def set_percent(
        self, percent: float | str | Decimal, *, actor: str, reason: str, expected_version: int | None = None
    ) -> RolloutState:
        """Move by hand; always allowed. Setting what already is changes nothing.

        Raises ``ValueError`` for a percentage that is none, ``StaleRollout`` when ``expected_version`` is no
        longer current, ``StorageError`` when it cannot be written.
        """
        hundredths = hundredths_of(percent)
        async with self._moving:
            before = self._store.current
            if expected_version is not None and expected_version != before.version:
                raise StaleRollout(expected_version, before)
            if hundredths == before.hundredths:
                return before
            at_the_end = hundredths / 100 >= self._settings().stages[-1]
            event = Event.SET_TO_THE_END if at_the_end else Event.SET
            return await self._move(event, actor=actor, why=reason, hundredths=hundredths)

    async def roll_back(
        self, *, actor: str, reason: str, expected_version: int | None = None
    ) -> RolloutState:
        """Go back a stage by hand, and stay there until somebody resumes. Raises as ``set_percent``.

        Raises ``NoSuchMove`` at 0 %, from where there is no way back.
        """
        async with self._moving:
            self._expect(expected_version)
            before = self._store.current
            if before.hundredths == 0:
                raise NoSuchMove(before.phase, Event.ROLL_BACK, "nothing is routed, so there is no way back")
            to = stage_before(before.percent, self._settings().stages)
            return await self._move(Event.ROLL_BACK, actor=actor, why=reason, hundredths=hundredths_of(to))

    async def pause(self, *, actor: str, reason: str, expected_version: int | None = None) -> RolloutState:
        """Stop the schedule where it is. Raises ``NoSuchMove``, ``StaleRollout``, ``StorageError``."""
        async with self._moving:
            self._expect(expected_version)
            return await self._move(Event.PAUSE, actor=actor, why=reason)

    async def resume(self, *, actor: str, reason: str, expected_version: int | None = None) -> RolloutState:
        """Let a rollout that was stopped or rolled back go on, all evidence forgotten; as ``pause``."""
        async with self._moving:
            self._expect(expected_version)
            return await self._move(Event.RESUME, actor=actor, why=reason)

    def standing(self) -> RolloutStanding:
        """Everything that is known now."""
        settings, progress, state = self._settings(), self._progress, self._store.current
        schedule = settings.scheduled()
        readings = judge(progress.evidence, self._spend())
        return RolloutStanding(
            state,
            settings,
            schedule,
            progress,
            readings,
            split(progress.evidence),
            self._lacking(schedule, readings),
            stage_before(state.percent, settings.stages),
            stage_after(state.percent, settings.stages),
        )

    # what happens by itself

    async def restore(self) -> None:
        """Take up what was gathered before a restart, if the rollout and its limits are still the same."""
        stored = await self._store.progress()
        if stored is None:
            return
        try:
            progress = msgspec.msgpack.decode(stored, type=Progress)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            log.warning("what was known of the rollout's gates cannot be read, it starts anew: %s", error)
            return
        same = progress.evidence.percent == self._store.current.percent
        if same and progress.evidence.limits == self._settings().gates.limits():
            self._progress = progress

    async def run_forever(self) -> None:
        """Tick, whatever happens."""
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.tick()
            except StorageError as error:
                log.error("the rollout cannot be moved or written down, trying on: %s", error)
            except Exception:
                log.exception("judging the rollout failed")

    async def tick(self) -> None:
        """Judge the evidence; brake, stop or advance where that is due; write progress down now and then."""
        async with self._moving:
            now_s = self._clock_s()
            passed_s, self._looked_s = max(0.0, now_s - self._looked_s), now_s
            settings = self._settings()
            if settings.gates.limits() != self._progress.evidence.limits:
                self._progress = self._afresh()
            progress, state = self._progress, self._store.current
            # A new month begins at nothing, and with it what an operator once put up with.
            progress.month_at_move = min(progress.month_at_move, self._spent()[1])
            readings = judge(progress.evidence, self._spend())
            if state.hundredths and (broken := breached(readings)) is not None:
                await self._brake(settings, broken)
                return
            self._warn(readings)
            progress.evidence.sessions.passes(passed_s, settings.gates.min_samples)
            wrong = split(progress.evidence).wrong
            if wrong and (state.phase, Event.MISMATCH) in TABLE:
                await self._move(Event.MISMATCH, actor="gate sample_ratio", why=wrong)
                return
            await self._follow(settings.scheduled(), readings, passed_s)
            if now_s - self._kept_at >= KEEP_EVERY_S or now_s < self._kept_at:
                await self._keep()

    async def close(self) -> None:
        """Write down what was gathered, for the next start."""
        with contextlib.suppress(StorageError):
            await self._keep()

    async def _brake(self, settings: RolloutSettings, broken: GateReading) -> None:
        percent = self._store.current.percent
        to = 0.0 if settings.on_breach == "zero" else stage_before(percent, settings.stages)
        await self._move(
            Event.BREACH,
            actor=f"gate {broken.gate.value}",
            why=broken.says,
            hundredths=hundredths_of(to),
            gate=broken.gate.value,
        )

    async def _follow(self, schedule: Schedule, readings: tuple[GateReading, ...], passed_s: float) -> None:
        """Do what the schedule wants next, if anything: at most one move and what follows from it at once."""
        state, stages = self._store.current, self._settings().stages
        ahead = stage_after(state.percent, stages)
        match state.phase:
            case Phase.ADVANCING:
                await self._arrive()
            case Phase.COMPLETE if ahead is not None:
                await self._by_schedule(Event.REOPEN, "there are stages ahead again")
            case Phase.HOLDING | Phase.BAKING | Phase.READY if ahead is None:
                await self._by_schedule(Event.FINISH, "no stage is ahead")
            case Phase.HOLDING if schedule.enabled:
                await self._by_schedule(Event.START, f"the schedule bakes {state.percent:g} %")
            case Phase.BAKING | Phase.READY if not schedule.enabled:
                await self._by_schedule(Event.STOP, "the schedule has been switched off")
            case Phase.BAKING:
                self._progress.baked_s += passed_s
                if not self._lacking(schedule, readings):
                    await self._by_schedule(Event.BAKED, self._found(schedule))
            case Phase.READY:
                self._progress.baked_s += passed_s
                missing = self._lacking(schedule, readings)
                if missing:
                    wanted_s = schedule.wants_at(state.percent).bake_s
                    self._progress.baked_s = max(0.0, wanted_s - LAPSE_S)
                    await self._by_schedule(Event.LAPSED, f"it lacks {', '.join(missing)}")
                elif ahead is not None and schedule.open_at(self._clock_ns()):
                    why = f"from {state.percent:g} % on to {ahead:g} %: {self._found(schedule)}"
                    await self._by_schedule(Event.ADVANCE, why, target=ahead)
                    await self._arrive()

    async def _arrive(self) -> None:
        """Bring an advance under way to its end, be it from before a restart."""
        state = self._store.current
        hundredths = state.hundredths if state.target_hundredths is None else state.target_hundredths
        at_the_end = hundredths / 100 >= self._settings().stages[-1]
        event = Event.ARRIVE_AT_THE_END if at_the_end else Event.ARRIVE
        await self._move(event, actor="schedule", why=state.why, hundredths=hundredths)

    async def _by_schedule(self, event: Event, why: str, *, target: float | None = None) -> None:
        await self._move(event, actor="schedule", why=why, target=target)

    def _lacking(self, schedule: Schedule, readings: tuple[GateReading, ...]) -> tuple[str, ...]:
        percent = self._store.current.percent
        samples = self._progress.evidence.routed.calls
        return lacking(schedule.wants_at(percent), self._progress.baked_s, samples, readings)

    def _found(self, schedule: Schedule) -> str:
        progress = self._progress
        return f"{progress.baked_s:.0f} s and {progress.evidence.routed.calls} routed calls without a breach"

    async def _move(
        self,
        event: Event,
        *,
        actor: str,
        why: str,
        hundredths: int | None = None,
        target: float | None = None,
        gate: str = "",
    ) -> RolloutState:
        """One move, written down and told. Whoever calls this holds the lock."""
        before = self._store.current
        after(before.phase, event)
        now = await self._store.apply(
            event,
            actor=actor,
            why=why,
            hundredths=hundredths,
            target_hundredths=None if target is None else hundredths_of(target),
        )
        moved = now.hundredths != before.hundredths
        if moved or event is Event.RESUME:
            self._progress = self._afresh()
        if event is Event.START:
            self._progress.baked_s = 0.0
        notice = RolloutNotice(
            event=event.value,
            at_ns=now.since_ns,
            actor=actor,
            from_percent=before.percent,
            to_percent=now.percent,
            state=now.phase.value,
            why=why,
            gate=gate,
            version=now.version,
        )
        self.tell(notice)
        if moved:
            await self._changed(actor, RULES[event].action, "percent", before.percent, now.percent, why)
        else:
            await self._changed(actor, RULES[event].action, "state", before.phase.value, now.phase.value, why)
        with contextlib.suppress(StorageError):
            await self._keep()
        return now

    def _warn(self, readings: tuple[GateReading, ...]) -> None:
        """Tell of gates that have begun to warn, once per move."""
        state, progress = self._store.current, self._progress
        for reading in readings:
            if reading.state is GateState.WARNING and reading.gate.value not in progress.warned:
                progress.warned.append(reading.gate.value)
                self.tell(
                    RolloutNotice(
                        event="warning",
                        at_ns=self._clock_ns(),
                        actor=f"gate {reading.gate.value}",
                        from_percent=state.percent,
                        to_percent=state.percent,
                        state=state.phase.value,
                        why=reading.says,
                        gate=reading.gate.value,
                        version=state.version,
                    )
                )

    def _expect(self, version: int | None) -> None:
        if version is not None and version != self._store.current.version:
            raise StaleRollout(version, self._store.current)

    def _spend(self) -> Spend:
        day, month = self._spent()
        return Spend(day, month, self._progress.month_at_move)

    def _afresh(self) -> Progress:
        """No evidence yet at the percentage of now."""
        limits = self._settings().gates.limits()
        return Progress(
            Evidence.begin(self._store.current.percent, limits), self._clock_ns(), self._spent()[1]
        )

    async def _keep(self) -> None:
        self._kept_at = self._clock_s()
        await self._store.keep_progress(msgspec.msgpack.encode(self._progress))
