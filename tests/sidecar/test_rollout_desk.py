"""Rollouts as stories: each move of the table happens in one, and nothing else moves by itself."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from sidecar.core.rollout import bucket
from sidecar.core.rollout_states import RULES, TABLE, Event, NoSuchMove, Phase, after
from sidecar.core.vocabulary import Arm, DecisionRecord, Outcome
from sidecar.rollout_desk import RolloutDesk, RolloutNotice
from sidecar.settings.rollout_schema import GateSettings, RolloutSettings
from sidecar.storage.audit_log import AuditLog
from sidecar.storage.database import Database
from sidecar.storage.rollout_store import RolloutStore, StaleRollout
from tests.sidecar.storage.records import record

MONDAY_NOON_NS: Final = 1_772_452_800 * 10**9
HOUR_S: Final = 3_600.0
SCHEDULED: Final = {"schedule": {"enabled": True, "bake_s": HOUR_S, "min_samples": 300}}
OFFICE: Final = {"windows": [{"days": ["tue"], "opens": "09:00", "closes": "17:00"}]}
DOLLAR: Final = 10**9


class Story:
    """A rollout, its operator Maria, its traffic and its clock."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.audit = AuditLog(database)
        self.settings = RolloutSettings(gates=GateSettings(min_samples_to_roll_back=20))
        self.now_s = 1_000.0
        self.wall_ns = MONDAY_NOON_NS
        self.day = self.month = 0
        self.told: list[RolloutNotice] = []
        self.store: RolloutStore
        self.desk: RolloutDesk
        self._number = itertools.count()

    async def begin(self, percent: float = 10, **rollout: Any) -> Story:
        """The sidecar starts; with a database from before it is a restart."""
        if rollout:
            self.configure(**rollout)
        self.store = await RolloutStore.open(
            self.database,
            lambda: self.wall_ns,
            initial_percent=percent,
            entropy=bytes,
            last_stage=self.settings.stages[-1],
        )
        self.desk = RolloutDesk(
            self.store,
            lambda: self.settings,
            lambda: (self.day, self.month),
            self._changed,
            clock_ns=lambda: self.wall_ns,
            clock_s=lambda: self.now_s,
        )
        self.desk.tell = self.told.append
        await self.desk.restore()
        return self

    async def restart(self) -> None:
        await self.desk.close()
        self.now_s = 5.0
        await self.begin()

    def configure(self, **rollout: Any) -> None:
        """The configuration file is changed."""
        self.settings = msgspec.convert({**msgspec.to_builtins(self.settings), **rollout}, RolloutSettings)

    def calls(
        self, routed: int, *, failing: int = 0, legacy: int = 0, ms: float = 50.0, **changes: Any
    ) -> None:
        """Calls end; ``failing`` of the routed ones fail, evenly spread."""
        for number in range(routed):
            fails = (number + 1) * failing // routed > number * failing // routed
            self.desk.count(self._call(Arm.ROUTED, fails, ms, changes))
        for _ in range(legacy):
            self.desk.count(self._call(Arm.LEGACY, False, ms, changes))

    def _call(self, arm: Arm, fails: bool, ms: float, changes: Mapping[str, Any]) -> DecisionRecord:
        number, routed_below = next(self._number), int(self.store.current.hundredths)
        plain = record(number)
        spread = bucket("spread", str(number))
        place = spread % max(routed_below, 1)
        if arm is Arm.LEGACY:
            place = routed_below + spread % max(10_000 - routed_below, 1)
        return msgspec.structs.replace(
            plain,
            features=msgspec.structs.replace(plain.features, arm=arm),
            outcome=Outcome.UPSTREAM_FAILED if fails else Outcome.COMPLETE,
            status=502 if fails else 200,
            duration_ms=ms,
            bucket=min(place, 9_999),
            rollout_percent=self.store.current.percent,
            **changes,
        )

    def even_calls(self, calls: int, **options: Any) -> None:
        """``calls`` routed calls, and as many legacy ones as the percentage makes likely."""
        percent = self.store.current.percent
        self.calls(calls, legacy=round(calls * (100 - percent) / percent), **options)

    async def passes(self, seconds: float, *, ticks: int = 1) -> None:
        """Time goes by, and the desk looks ``ticks`` times."""
        for _ in range(ticks):
            self.now_s += seconds / ticks
            self.wall_ns += int(seconds / ticks * 10**9)
            await self.desk.tick()

    async def _changed(
        self, actor: str, action: str, subject: str, old: object, new: object, reason: str
    ) -> None:
        await self.audit.record(actor, action, subject, old, new, reason, self.wall_ns)

    def stands(self, phase: str, percent: float) -> None:
        state = self.store.current
        assert (state.phase.value, state.percent) == (phase, percent), self.told[-1:]

    async def events(self) -> list[str]:
        """Every event so far, oldest first."""
        return [change.event for change in reversed(await self.store.history()) if change.event]

    async def actions(self) -> list[str]:
        """What the audit log has, oldest first."""
        return [entry.action for entry in reversed((await self.audit.page()).entries)]


@pytest.fixture
async def story(tmp_path: Path) -> AsyncIterator[Story]:
    database = await Database.open(tmp_path)
    yield Story(database)
    await database.close()


MARIA: Final[Any] = {"actor": "Maria", "reason": "so be it"}

# the brake


async def test_a_stage_that_fails_goes_back_by_itself_and_stays_until_somebody_resumes(story: Story) -> None:
    await story.begin(10)
    await story.desk.set_percent(30, **MARIA)
    story.even_calls(100)
    await story.passes(1)
    story.stands("holding", 30)
    story.calls(60, failing=30)
    await story.passes(1)
    story.stands("rolled_back", 10)
    breach = story.told[-1]
    assert (breach.event, breach.gate, breach.from_percent, breach.to_percent) == (
        "breach",
        "error_rate",
        30,
        10,
    )
    assert "of 160 calls failed; the limit is 5 %" in breach.why
    story.even_calls(500)
    await story.passes(24 * HOUR_S, ticks=3)
    story.stands("rolled_back", 10)
    await story.desk.resume(**MARIA)
    await story.passes(1)
    story.stands("holding", 10)
    assert await story.events() == ["set", "breach", "resume"]
    assert await story.actions() == ["rollout.set", "rollout.breach", "rollout.resume"]


async def test_a_hiccup_in_a_good_stage_does_not_brake_and_an_outage_does(story: Story) -> None:
    await story.begin(30)
    for _ in range(20):
        story.even_calls(100)
        await story.passes(1)
        story.calls(8, failing=8)
        await story.passes(1)
        story.even_calls(100)
        await story.passes(1)
    story.stands("holding", 30)
    story.calls(25, failing=25)
    await story.passes(1)
    story.stands("rolled_back", 10)
    assert "of the last" in story.told[-1].why


async def test_too_few_samples_hold_unless_the_brake_is_told_to_be_quicker(story: Story) -> None:
    await story.begin(10, gates={"min_samples": 200})
    await story.desk.set_percent(30, actor="Maria", reason="")
    story.even_calls(199, failing=199)
    await story.passes(1)
    story.stands("holding", 30)
    story.even_calls(1, failing=1)
    await story.passes(1)
    story.stands("rolled_back", 10)


async def test_what_still_fails_a_stage_lower_goes_on_back_to_nothing(story: Story) -> None:
    await story.begin(30)
    for to in (10, 0):
        story.calls(40, failing=40)
        await story.passes(1)
        story.stands("rolled_back", to)
    story.calls(40, failing=40)
    await story.passes(1)
    story.stands("rolled_back", 0)
    assert await story.events() == ["breach", "breach"]


async def test_it_can_go_back_to_zero_at_once(story: Story) -> None:
    await story.begin(50, on_breach="zero")
    story.calls(40, failing=40)
    await story.passes(1)
    story.stands("rolled_back", 0)


async def test_slow_answers_brake_as_well(story: Story) -> None:
    await story.begin(30)
    story.calls(60, ms=1_500.0)
    await story.passes(1)
    story.stands("rolled_back", 10)
    assert story.told[-1].gate == "p95"


async def test_the_months_limit_brakes_once_and_an_operator_may_go_on_all_the_same(story: Story) -> None:
    await story.begin(30)
    story.month = 301 * DOLLAR
    await story.passes(1)
    story.stands("rolled_back", 10)
    await story.passes(10)
    story.stands("rolled_back", 10)
    await story.desk.set_percent(30, **MARIA)
    story.month += DOLLAR
    await story.passes(10)
    story.stands("holding", 30)
    story.month = 0
    await story.passes(10)
    story.month = 305 * DOLLAR
    await story.passes(10)
    story.stands("rolled_back", 10)


async def test_a_few_failures_and_what_proves_nothing_do_not_brake(story: Story) -> None:
    await story.begin(30)
    story.calls(19, failing=19)
    await story.passes(1)
    story.stands("holding", 30)
    await story.desk.set_percent(31, **MARIA)
    for outcome, status in (
        (Outcome.CLIENT_LEFT, 499),
        (Outcome.COMPLETE, 400),
        (Outcome.UPSTREAM_FAILED, 404),
    ):
        for _ in range(100):
            call = story._call(Arm.ROUTED, False, 9_000.0, {})
            story.desk.count(msgspec.structs.replace(call, outcome=outcome, status=status))
    story.calls(0, legacy=600)
    await story.passes(1)
    story.stands("holding", 31)
    assert story.desk.standing().progress.evidence.routed.excluded == 300


async def test_calls_that_began_before_a_move_prove_nothing_of_what_is_now(story: Story) -> None:
    await story.begin(30)
    late = [story._call(Arm.ROUTED, True, 50.0, {}) for _ in range(100)]
    await story.desk.set_percent(10, **MARIA)
    for call in late:
        story.desk.count(call)
    await story.passes(1)
    story.stands("holding", 10)


async def test_a_gate_that_begins_to_warn_is_told_of_once(story: Story) -> None:
    await story.begin(30)
    story.even_calls(2_000, failing=60)
    await story.passes(3, ticks=3)
    await story.restart()
    await story.passes(3, ticks=3)
    assert [notice.event for notice in story.told] == ["warning"]
    assert "3 %" in story.told[0].why
    story.stands("holding", 30)


async def test_the_brake_works_in_every_state(story: Story) -> None:
    for phase in Phase:
        assert after(phase, Event.BREACH) is Phase.ROLLED_BACK
    await story.begin(50)
    await story.desk.pause(**MARIA)
    story.calls(40, failing=40)
    await story.passes(1)
    story.stands("rolled_back", 30)
    await story.desk.set_percent(100, **MARIA)
    story.stands("complete", 100)
    story.calls(40, failing=40)
    await story.passes(1)
    story.stands("rolled_back", 75)


# operators


async def test_a_manual_move_always_wins_and_is_written_down(story: Story) -> None:
    await story.begin(10)
    await story.desk.pause(**MARIA)
    await story.desk.set_percent(30, **MARIA)
    story.stands("paused", 30)
    await story.desk.set_percent(100, **MARIA)
    story.stands("paused", 100)
    await story.desk.roll_back(**MARIA)
    story.stands("rolled_back", 75)
    await story.desk.roll_back(**MARIA)
    story.stands("rolled_back", 50)
    await story.desk.set_percent(33.33, **MARIA)
    story.stands("holding", 33.33)
    await story.desk.roll_back(**MARIA)
    story.stands("rolled_back", 30)
    await story.desk.set_percent(100, **MARIA)
    story.stands("complete", 100)
    await story.desk.set_percent(5, **MARIA)
    story.stands("holding", 5)
    changes = await story.store.history()
    assert [(change.from_percent, change.to_percent) for change in changes[:3]] == [
        (100, 5),
        (30, 100),
        (33.33, 30),
    ]
    assert {change.actor for change in changes[:-1]} == {"Maria"}
    assert len(await story.actions()) == len(changes) - 1


async def test_below_nothing_there_is_no_way_back(story: Story) -> None:
    await story.begin(5)
    await story.desk.roll_back(**MARIA)
    story.stands("rolled_back", 0)
    with pytest.raises(NoSuchMove, match="nothing is routed"):
        await story.desk.roll_back(**MARIA)


async def test_what_the_state_does_not_allow_and_what_is_stale_is_refused(story: Story) -> None:
    await story.begin(10)
    with pytest.raises(NoSuchMove, match="the rollout is holding, where resume means nothing"):
        await story.desk.resume(**MARIA)
    await story.desk.pause(**MARIA)
    with pytest.raises(NoSuchMove, match="possible now: set, roll back, resume"):
        await story.desk.pause(**MARIA)
    for lever in (story.desk.pause, story.desk.resume, story.desk.roll_back):
        with pytest.raises(StaleRollout):
            await lever(**MARIA, expected_version=1)
    with pytest.raises(StaleRollout):
        await story.desk.set_percent(10, **MARIA, expected_version=1)
    story.stands("paused", 10)
    assert await story.events() == ["pause"]


async def test_setting_what_already_is_changes_nothing_and_lifts_nothing(story: Story) -> None:
    await story.begin(30)
    await story.desk.roll_back(**MARIA)
    before = story.store.current
    assert await story.desk.set_percent("10.00", **MARIA) == before
    story.stands("rolled_back", 10)


# the schedule


async def test_without_a_schedule_nothing_moves_by_itself(story: Story) -> None:
    await story.begin(10)
    for _ in range(5):
        story.even_calls(1_000)
        await story.passes(1_000 * HOUR_S)
    story.stands("holding", 10)
    assert await story.events() == []


async def test_a_stage_bakes_is_ready_and_moves_on_to_the_end(story: Story) -> None:
    await story.begin(10, **SCHEDULED)
    await story.passes(1)
    for stage in (10, 30, 50, 75):
        story.stands("baking", stage)
        story.even_calls(300)
        await story.passes(HOUR_S - 10)
        story.stands("baking", stage)
        await story.passes(20)
        story.stands("ready", stage)
        await story.passes(1)
    story.stands("complete", 100)
    await story.passes(1_000 * HOUR_S, ticks=3)
    story.stands("complete", 100)
    round_trip = ["baked", "advance", "arrive"]
    assert await story.events() == ["start", *round_trip * 3, "baked", "advance", "arrive_at_the_end"]
    changes = [change for change in await story.store.history() if change.from_percent != change.to_percent]
    assert [change.to_percent for change in reversed(changes)] == [10, 30, 50, 75, 100]
    assert {change.actor for change in changes[:-1]} == {"schedule"}
    assert "rollout.complete" in await story.actions()


async def test_time_alone_and_calls_alone_do_not_make_a_stage_ready(story: Story) -> None:
    await story.begin(10, **SCHEDULED)
    await story.passes(1)
    await story.passes(100 * HOUR_S)
    story.stands("baking", 10)
    assert story.desk.standing().lacking[0] == "300 more calls"
    await story.desk.set_percent(30, **MARIA)
    story.even_calls(1_000)
    await story.passes(10)
    story.stands("baking", 30)
    assert story.desk.standing().lacking == ("60 min of baking",)


async def test_an_unsure_gate_holds_a_stage(story: Story) -> None:
    await story.begin(10, **SCHEDULED)
    await story.passes(1)
    story.even_calls(300, failing=18)
    await story.passes(2 * HOUR_S)
    story.stands("baking", 10)
    assert story.desk.standing().lacking == ("the gate error_rate to pass (it is unsure)",)


async def test_moves_are_made_in_the_windows_only(story: Story) -> None:
    await story.begin(10, schedule={**SCHEDULED["schedule"], **OFFICE})
    await story.passes(1)
    story.even_calls(300)
    await story.passes(2 * HOUR_S)
    for _ in range(3):
        await story.passes(HOUR_S)
        story.stands("ready", 10)
    await story.passes(16 * HOUR_S, ticks=4)
    story.stands("baking", 30)


async def test_a_ready_stage_whose_gate_no_longer_passes_bakes_on(story: Story) -> None:
    await story.begin(10, schedule={**SCHEDULED["schedule"], **OFFICE})
    await story.passes(1)
    story.even_calls(300, failing=10)
    await story.passes(2 * HOUR_S)
    story.stands("ready", 10)
    story.calls(60, failing=10)
    await story.passes(1)
    story.stands("baking", 10)
    assert "the gate error_rate" in story.store.current.why
    story.even_calls(600)
    await story.passes(30)
    story.stands("baking", 10)
    await story.passes(40)
    story.stands("ready", 10)


async def test_a_breach_stops_the_schedule_until_somebody_resumes(story: Story) -> None:
    await story.begin(30, **SCHEDULED)
    await story.passes(1)
    story.calls(40, failing=40)
    await story.passes(1)
    story.stands("rolled_back", 10)
    story.even_calls(1_000)
    await story.passes(10 * HOUR_S, ticks=3)
    story.stands("rolled_back", 10)
    await story.desk.resume(**MARIA)
    await story.passes(1)
    story.stands("baking", 10)
    assert story.desk.standing().progress.baked_s == 0


async def test_pause_and_resume_begin_the_stage_anew(story: Story) -> None:
    await story.begin(10, **SCHEDULED)
    await story.passes(1)
    story.even_calls(300)
    await story.passes(HOUR_S - 60)
    await story.desk.pause(**MARIA)
    await story.passes(10 * HOUR_S)
    story.stands("paused", 10)
    await story.desk.resume(**MARIA)
    await story.passes(1)
    await story.passes(10)
    story.stands("baking", 10)
    assert story.desk.standing().progress.evidence.routed.calls == 0


async def test_a_schedule_that_is_switched_off_or_edited_is_followed(story: Story) -> None:
    await story.begin(10, **SCHEDULED)
    await story.passes(1)
    story.configure(schedule={"enabled": False})
    await story.passes(1)
    story.stands("holding", 10)
    story.configure(stages=[5, 10])
    await story.passes(1)
    story.stands("complete", 10)
    story.configure(stages=[5, 10, 20])
    await story.passes(1)
    story.stands("holding", 10)
    assert await story.events() == ["start", "stop", "finish", "reopen"]


async def test_a_restart_in_the_middle_of_a_bake_forgets_nothing(story: Story) -> None:
    await story.begin(10, **SCHEDULED)
    await story.passes(1)
    story.even_calls(300)
    await story.passes(HOUR_S / 2)
    await story.restart()
    story.wall_ns += 10 * 24 * 3_600 * 10**9
    await story.passes(1)
    story.stands("baking", 10)
    assert 0.45 * HOUR_S < story.desk.standing().progress.baked_s < 0.55 * HOUR_S
    await story.passes(HOUR_S / 2 + 10)
    story.stands("ready", 10)


async def test_a_wall_clock_that_jumps_neither_shortens_nor_undoes_a_bake(story: Story) -> None:
    await story.begin(10, **SCHEDULED)
    await story.passes(1)
    story.even_calls(300)
    for jump_s in (10**6, -2 * 10**6):
        story.wall_ns += jump_s * 10**9
        await story.passes(60)
        story.stands("baking", 10)
    assert story.desk.standing().progress.baked_s == pytest.approx(120, abs=2)


async def test_an_advance_that_a_crash_cut_short_is_finished(story: Story) -> None:
    await story.begin(10, **SCHEDULED)
    for event in (Event.START, Event.BAKED, Event.ADVANCE):
        target = 3_000 if event is Event.ADVANCE else None
        await story.store.apply(event, actor="schedule", why="", target_hundredths=target)
    story.stands("advancing", 10)
    await story.restart()
    story.stands("advancing", 10)
    await story.passes(1)
    story.stands("baking", 30)


async def test_an_operator_who_moves_in_the_middle_of_an_advance_wins(story: Story) -> None:
    await story.begin(10, **SCHEDULED)
    for event in (Event.START, Event.BAKED, Event.ADVANCE):
        await story.store.apply(event, actor="schedule", why="", target_hundredths=3_000)
    await story.desk.set_percent(5, **MARIA)
    story.stands("holding", 5)
    await story.passes(1)
    story.stands("baking", 5)


async def test_evidence_against_other_limits_is_not_carried_over(story: Story) -> None:
    await story.begin(30)
    story.even_calls(300)
    await story.passes(6)
    story.configure(gates={"p95_ms_max": 40})
    await story.restart()
    assert story.desk.standing().progress.evidence.routed.calls == 0
    story.even_calls(300)
    story.configure(gates={"p95_ms_max": 45})
    await story.passes(1)
    assert story.desk.standing().progress.evidence.routed.calls == 0


# the split


async def test_a_split_that_cannot_be_right_pauses_and_says_what_it_suspects(story: Story) -> None:
    await story.begin(50, **SCHEDULED)
    await story.passes(1)
    story.calls(400, legacy=100)
    await story.passes(1)
    story.stands("paused", 50)
    assert story.told[-1].event == "mismatch"
    assert "Suspect: calls of the legacy arm that never reach their end here" in story.told[-1].why
    await story.passes(1)
    story.stands("paused", 50)
    await story.desk.resume(**MARIA)
    await story.passes(1)
    story.stands("baking", 50)


# all of it


def ways() -> dict[Phase, tuple[Event, ...]]:
    """For every state a way there from ``holding``, by the table."""
    found: dict[Phase, tuple[Event, ...]] = {Phase.HOLDING: ()}
    for _ in Phase:
        for (start, event), to in TABLE.items():
            if start in found and to not in found:
                found[to] = (*found[start], event)
    return found


@pytest.mark.parametrize("event", Event)
async def test_every_move_of_the_table_can_be_made_and_is_remembered_and_no_other(
    story: Story, event: Event
) -> None:
    await story.begin(10)
    for phase, way in ways().items():
        for step in (
            *([Event.SET] if story.store.current.phase is not Phase.PAUSED else [Event.RESUME]),
            *way,
        ):
            if (story.store.current.phase, step) in TABLE and story.store.current.phase is not phase:
                await story.store.apply(step, actor="x", why="")
        assert story.store.current.phase is phase
        before = story.store.current
        if (phase, event) in TABLE:
            now = await story.store.apply(event, actor="x", why=RULES[event].words)
            assert now.phase is TABLE[phase, event]
            newest = (await story.store.history(1))[0]
            assert (newest.event, newest.state, newest.version) == (event.value, now.phase.value, now.version)
        else:
            with pytest.raises(NoSuchMove):
                await story.store.apply(event, actor="x", why="")
            assert story.store.current == before
        if story.store.current.phase in (Phase.PAUSED, Phase.ROLLED_BACK):
            await story.store.apply(Event.RESUME, actor="x", why="")
        elif story.store.current.phase is not Phase.HOLDING:
            await story.store.apply(Event.ROLL_BACK, actor="x", why="")
            await story.store.apply(Event.RESUME, actor="x", why="")
