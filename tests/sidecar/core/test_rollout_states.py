"""The table of states and moves: complete, refusing what is not in it, and drawn as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.core.rollout_states import (
    RULES,
    TABLE,
    Event,
    NoSuchMove,
    Phase,
    after,
    diagram,
    move_table,
    stage_after,
    stage_before,
)

DOCUMENT = Path(__file__).parents[3] / "docs" / "rollout.md"
STAGES = (10.0, 30.0, 50.0, 75.0, 100.0)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("event", Event)
def test_what_is_in_the_table_is_done_and_all_else_is_refused(phase: Phase, event: Event) -> None:
    if (phase, event) in TABLE:
        assert after(phase, event) is TABLE[phase, event]
        return
    with pytest.raises(NoSuchMove, match=r"possible now: set, roll back") as refused:
        after(phase, event)
    assert (refused.value.phase, refused.value.event) == (phase, event)


def test_every_event_has_an_actor_an_audit_action_and_a_use() -> None:
    assert list(RULES) == list(Event)
    assert {event for _, event in TABLE} == set(Event)
    assert all(rule.action.startswith("rollout.") and rule.words for rule in RULES.values())


def test_every_state_can_be_reached_and_left() -> None:
    for phase in Phase:
        assert any(to is phase and start is not phase for (start, _), to in TABLE.items()), phase
        assert any(start is phase and to is not phase for (start, _), to in TABLE.items()), phase


def test_the_brake_and_a_manual_move_work_in_every_state() -> None:
    for phase in Phase:
        assert after(phase, Event.BREACH) is Phase.ROLLED_BACK
        assert after(phase, Event.ROLL_BACK) is Phase.ROLLED_BACK
        assert after(phase, Event.SET) in (Phase.HOLDING, Phase.BAKING, Phase.PAUSED)


def test_only_an_operator_ends_a_roll_back() -> None:
    ways_out = [
        event for (phase, event), to in TABLE.items() if phase is Phase.ROLLED_BACK and to is not phase
    ]
    assert ways_out
    assert {RULES[event].actor for event in ways_out} == {"operator"}


def test_only_the_schedule_advances_and_only_from_ready() -> None:
    assert [phase for phase, event in TABLE if event is Event.ADVANCE] == [Phase.READY]
    assert RULES[Event.ADVANCE].actor == "schedule"


@pytest.mark.parametrize(
    ("percent", "before", "following"),
    [(0, 0, 10), (5, 0, 10), (10, 0, 30), (30, 10, 50), (33.3, 30, 50), (100, 75, None)],
)
def test_stages_around_a_percentage(percent: float, before: float, following: float | None) -> None:
    assert stage_before(percent, STAGES) == before
    assert stage_after(percent, STAGES) == following


def test_the_documentation_draws_the_table_as_it_is() -> None:
    text = DOCUMENT.read_text()
    for name, current in (("diagram", diagram()), ("moves", move_table())):
        begin, end = f"<!-- {name}: from sidecar/core/rollout_states.py -->\n", f"\n<!-- end of {name} -->"
        assert text.partition(begin)[2].partition(end)[0] == current, (
            f"write the {name} anew into {DOCUMENT.name}"
        )
