"""Where the rollout stands, and what it waits for, in words; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from dashboard.wording import number, span_words
from sidecar.core.rollout_states import TABLE, Event, Phase
from sidecar.rollout_view import RolloutView
from sidecar.storage.rollout_store import RolloutChange

#: For each state its badge: level and words.
STATES: Final[Mapping[str, tuple[str, str]]] = {
    Phase.HOLDING: ("plain", "holding"),
    Phase.BAKING: ("note", "baking"),
    Phase.READY: ("good", "ready"),
    Phase.ADVANCING: ("note", "advancing"),
    Phase.ROLLED_BACK: ("error", "rolled back"),
    Phase.PAUSED: ("warning", "paused"),
    Phase.COMPLETE: ("good", "complete"),
}

_EVENTS: Final[Mapping[str, str]] = {
    "": "began",
    Event.SET: "set by hand",
    Event.SET_TO_THE_END: "set by hand",
    Event.ROLL_BACK: "rolled back by hand",
    Event.PAUSE: "paused",
    Event.RESUME: "resumed",
    Event.START: "began to bake",
    Event.STOP: "schedule off",
    Event.BAKED: "ready",
    Event.LAPSED: "bakes on",
    Event.ADVANCE: "advances",
    Event.ARRIVE: "advanced",
    Event.ARRIVE_AT_THE_END: "complete",
    Event.FINISH: "complete",
    Event.REOPEN: "stages ahead again",
    Event.BREACH: "went back by itself",
    Event.MISMATCH: "paused: split",
}


class Levers(msgspec.Struct, frozen=True):
    """What can be done by hand now; ``back_to`` is None where there is no way back."""

    back_to: float | None
    pause: bool
    resume: bool


class ChangeRow(msgspec.Struct, frozen=True):
    """One change of the history; ``what`` is what happened, in words."""

    change: RolloutChange
    what: str


def levers(view: RolloutView) -> Levers:
    """By the table of moves."""
    phase = Phase(view.state)
    return Levers(
        back_to=view.previous_stage if view.percent > 0 else None,
        pause=(phase, Event.PAUSE) in TABLE,
        resume=(phase, Event.RESUME) in TABLE,
    )


def change_rows(history: list[RolloutChange]) -> tuple[ChangeRow, ...]:
    """The history, newest first."""
    return tuple(ChangeRow(change, _EVENTS.get(change.event, change.event)) for change in history)


def next_steps(view: RolloutView, now_ns: int) -> tuple[str, ...]:
    """What moves the rollout next, and what it waits for."""
    return tuple(_steps(view, now_ns))


def _steps(view: RolloutView, now_ns: int) -> Iterator[str]:
    phase, schedule, ahead = Phase(view.state), view.schedule, view.next_stage
    if phase is Phase.ROLLED_BACK:
        yield "Nothing moves until an operator resumes, or sets another percentage."
    elif phase is Phase.PAUSED:
        yield "The schedule stands still until an operator resumes. The gates go on watching."
    elif phase is Phase.COMPLETE:
        yield "The last stage is reached. The gates go on watching."
    elif not schedule.enabled:
        on = "" if ahead is None else f" The next stage is {number(ahead)} %."
        yield f"No schedule: it moves by hand only, or back when a gate breaches.{on}"
    elif phase is Phase.READY and ahead is not None:
        opens = schedule.opens_at_ns
        if opens is None:
            yield f"It has all it needs for {number(ahead)} %, but no window for moves comes within a week."
        elif opens > now_ns:
            wait = span_words(max(1, round((opens - now_ns) / 1e9)))
            yield f"It has all it needs for {number(ahead)} %, and moves in {wait}, when a window opens."
        else:
            yield f"It has all it needs, and moves to {number(ahead)} % at once."
    else:
        baked = f"{span_words(round(schedule.baked_s))} of {span_words(round(schedule.bake_s))} are baked."
        yield baked if ahead is None else f"On the way to {number(ahead)} %: {baked}"
        if schedule.lacking:
            yield f"It still lacks {', '.join(schedule.lacking)}."
    if view.percent > 0 and phase is not Phase.ROLLED_BACK:
        to = 0.0 if view.on_breach == "zero" else view.previous_stage
        yield f"A breached gate takes it back to {number(to)} % by itself."
