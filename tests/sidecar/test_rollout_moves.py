"""Every move of the table as a short story at the desk: how it came into a state, then what happened.

Operators ask, time goes by, calls end, the configuration is edited; the desk finds the move by itself. Both
halves stand here for every row of the table, so that a new row without a story is an error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest

from sidecar.core.rollout_states import RULES, TABLE, Event, Phase
from sidecar.storage.database import Database
from tests.sidecar.test_rollout_desk import HOUR_S, MARIA, OFFICE, SCHEDULED, Story

Chapter = Callable[[Story], Awaitable[object]]

#: Moves are made on Tuesdays only, so that a stage that is ready stays so.
WAITING: Final = {"schedule": {**SCHEDULED["schedule"], **OFFICE}}


@pytest.fixture
async def story(tmp_path: Path) -> AsyncIterator[Story]:
    database = await Database.open(tmp_path)
    yield Story(database)
    await database.close()


# how a rollout comes into each state


async def an_operator_alone_moves_it(story: Story) -> None:
    await story.begin(30)


async def the_schedule_bakes_a_stage(story: Story) -> None:
    await story.begin(30, **WAITING)
    await story.passes(1)


async def the_stage_is_ready_outside_the_window(story: Story) -> None:
    await the_schedule_bakes_a_stage(story)
    story.even_calls(300, failing=10)
    await story.passes(2 * HOUR_S)


async def a_crash_cut_an_advance_short(story: Story) -> None:
    await story.begin(30, **SCHEDULED)
    for event in (Event.START, Event.BAKED, Event.ADVANCE):
        target = 5_000 if event is Event.ADVANCE else None
        await story.store.apply(event, actor="schedule", why="", target_hundredths=target)
    await story.restart()


async def a_gate_brought_it_back(story: Story) -> None:
    await story.begin(50)
    story.calls(40, failing=40)
    await story.passes(1)


async def maria_paused_it(story: Story) -> None:
    await story.begin(30)
    await story.desk.pause(**MARIA)


async def the_last_stage_is_reached(story: Story) -> None:
    await story.begin(30, stages=[10, 30])


INTO: Final[dict[Phase, Chapter]] = {
    Phase.HOLDING: an_operator_alone_moves_it,
    Phase.BAKING: the_schedule_bakes_a_stage,
    Phase.READY: the_stage_is_ready_outside_the_window,
    Phase.ADVANCING: a_crash_cut_an_advance_short,
    Phase.ROLLED_BACK: a_gate_brought_it_back,
    Phase.PAUSED: maria_paused_it,
    Phase.COMPLETE: the_last_stage_is_reached,
}


# what happens then


async def maria_sets_a_percentage(story: Story) -> None:
    await story.desk.set_percent(20, **MARIA)


async def maria_sets_the_last_percentage(story: Story) -> None:
    await story.desk.set_percent(100, **MARIA)


async def maria_rolls_back(story: Story) -> None:
    await story.desk.roll_back(**MARIA)


async def maria_pauses(story: Story) -> None:
    await story.desk.pause(**MARIA)


async def maria_resumes(story: Story) -> None:
    await story.desk.resume(**MARIA)


async def the_schedule_is_switched_on(story: Story) -> None:
    story.configure(**SCHEDULED)
    await story.passes(1)


async def the_schedule_is_switched_off(story: Story) -> None:
    story.configure(schedule={"enabled": False})
    await story.passes(1)


async def the_stage_has_had_its_time_and_calls(story: Story) -> None:
    story.even_calls(400)
    await story.passes(2 * HOUR_S)


async def a_gate_no_longer_passes(story: Story) -> None:
    story.calls(60, failing=10)
    await story.passes(1)


async def the_window_opens(story: Story) -> None:
    """The advance is made, and brought to its end at once."""
    await story.passes(24 * HOUR_S, ticks=12)


async def the_next_look_finishes_it(story: Story) -> None:
    await story.passes(1)


async def the_next_look_finishes_it_at_the_last_stage(story: Story) -> None:
    story.configure(stages=[10, 30, 50])
    await story.passes(1)


async def no_stage_is_left_ahead(story: Story) -> None:
    story.configure(stages=[10, 30])
    await story.passes(1)


async def stages_are_added(story: Story) -> None:
    story.configure(stages=[10, 30, 60])
    await story.passes(1)


async def everything_fails(story: Story) -> None:
    story.calls(40, failing=40)
    await story.passes(1)


async def the_legacy_arm_is_never_heard_of(story: Story) -> None:
    story.calls(3_000)
    await story.passes(1)


THEN: Final[dict[Event, Chapter]] = {
    Event.SET: maria_sets_a_percentage,
    Event.SET_TO_THE_END: maria_sets_the_last_percentage,
    Event.ROLL_BACK: maria_rolls_back,
    Event.PAUSE: maria_pauses,
    Event.RESUME: maria_resumes,
    Event.START: the_schedule_is_switched_on,
    Event.STOP: the_schedule_is_switched_off,
    Event.BAKED: the_stage_has_had_its_time_and_calls,
    Event.LAPSED: a_gate_no_longer_passes,
    Event.ADVANCE: the_window_opens,
    Event.ARRIVE: the_next_look_finishes_it,
    Event.ARRIVE_AT_THE_END: the_next_look_finishes_it_at_the_last_stage,
    Event.FINISH: no_stage_is_left_ahead,
    Event.REOPEN: stages_are_added,
    Event.BREACH: everything_fails,
    Event.MISMATCH: the_legacy_arm_is_never_heard_of,
}


@pytest.mark.parametrize(
    ("phase", "event"), TABLE, ids=[f"{phase.value}-{event.value}" for phase, event in TABLE]
)
async def test_every_move_of_the_table_happens_at_the_desk(story: Story, phase: Phase, event: Event) -> None:
    await INTO[phase](story)
    before = story.store.current
    assert before.phase is phase
    story.told.clear()
    await THEN[event](story)
    moved = await story.store.history()
    move = next(change for change in moved if change.version == before.version + 1)
    assert (move.event, move.state) == (event.value, TABLE[phase, event].value)
    kind = RULES[event].actor.value
    assert move.actor == MARIA["actor"] if kind == "operator" else move.actor.startswith(kind)
    (told, *_) = [notice for notice in story.told if notice.event != "warning"]
    assert (told.event, told.state) == (move.event, move.state)
    written = [entry for entry in (await story.audit.page()).entries if entry.at_ns == move.at_ns]
    assert RULES[event].action in [entry.action for entry in written]


def test_every_state_and_every_event_has_its_chapter() -> None:
    assert set(INTO) == set(Phase)
    assert set(THEN) == set(Event)
