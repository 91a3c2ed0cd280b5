"""The rollout's states and moves, as a table: what each event does in each state, and who may bring it about.

::

    holding      nothing moves by itself; the gates watch
    baking       the schedule lets a stage gather time and calls
    ready        the stage has all it needs and waits for a window in which it may advance
    advancing    the schedule is moving to the next stage
    rolled_back  a gate or an operator went back; nothing moves until an operator resumes
    paused       an operator, or a split that should not happen, stopped the schedule
    complete     the last stage is reached; the gates go on watching

A pair of state and event that is not in the table is refused. A manual move is allowed in every state, and
so is a breach: the brake works even while all else is stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

import msgspec


class Phase(StrEnum):
    """The states."""

    HOLDING = "holding"
    BAKING = "baking"
    READY = "ready"
    ADVANCING = "advancing"
    ROLLED_BACK = "rolled_back"
    PAUSED = "paused"
    COMPLETE = "complete"


class Actor(StrEnum):
    """Who brings an event about."""

    OPERATOR = "operator"
    SCHEDULE = "schedule"
    GATE = "gate"


class Event(StrEnum):
    """What can happen to a rollout."""

    SET = "set"
    SET_TO_THE_END = "set_to_the_end"
    ROLL_BACK = "roll_back"
    PAUSE = "pause"
    RESUME = "resume"
    START = "start"
    STOP = "stop"
    BAKED = "baked"
    LAPSED = "lapsed"
    ADVANCE = "advance"
    ARRIVE = "arrive"
    ARRIVE_AT_THE_END = "arrive_at_the_end"
    FINISH = "finish"
    REOPEN = "reopen"
    BREACH = "breach"
    MISMATCH = "mismatch"


class Rule(msgspec.Struct, frozen=True):
    """One event: who brings it about, the action under which the audit log has it, and what it is.

    ``did`` is what the audit page says was done; it goes with the action.
    """

    actor: Actor
    action: str
    did: str
    words: str


RULES: Final[dict[Event, Rule]] = {
    Event.SET: Rule(
        Actor.OPERATOR, "rollout.set", "moved the rollout", "sets a percentage with stages ahead"
    ),
    Event.SET_TO_THE_END: Rule(
        Actor.OPERATOR, "rollout.set", "moved the rollout", "sets the last stage's percentage or more"
    ),
    Event.ROLL_BACK: Rule(
        Actor.OPERATOR, "rollout.rollback", "went back a stage", "goes back a stage by hand"
    ),
    Event.PAUSE: Rule(Actor.OPERATOR, "rollout.pause", "paused the rollout", "stops the schedule"),
    Event.RESUME: Rule(Actor.OPERATOR, "rollout.resume", "resumed the rollout", "lets the rollout go on"),
    Event.START: Rule(
        Actor.SCHEDULE, "rollout.bake", "let the stage bake", "begins to bake the stage: the schedule is on"
    ),
    Event.STOP: Rule(
        Actor.SCHEDULE, "rollout.hold", "held the rollout", "stops: the schedule has been switched off"
    ),
    Event.BAKED: Rule(
        Actor.SCHEDULE,
        "rollout.ready",
        "found the stage ready",
        "has the time, the calls and the gates it wants",
    ),
    Event.LAPSED: Rule(
        Actor.SCHEDULE, "rollout.bake", "let the stage bake", "waits on: a gate no longer passes"
    ),
    Event.ADVANCE: Rule(
        Actor.SCHEDULE, "rollout.advance", "began to advance", "moves on, as a window is open"
    ),
    Event.ARRIVE: Rule(
        Actor.SCHEDULE, "rollout.arrive", "reached a stage", "has reached a stage with others ahead"
    ),
    Event.ARRIVE_AT_THE_END: Rule(
        Actor.SCHEDULE, "rollout.complete", "completed the rollout", "has reached the last stage"
    ),
    Event.FINISH: Rule(Actor.SCHEDULE, "rollout.complete", "completed the rollout", "finds no stage ahead"),
    Event.REOPEN: Rule(
        Actor.SCHEDULE, "rollout.hold", "held the rollout", "finds stages ahead again: they were edited"
    ),
    Event.BREACH: Rule(
        Actor.GATE, "rollout.breach", "went back by itself", "goes back: a limit is surely broken"
    ),
    Event.MISMATCH: Rule(
        Actor.GATE,
        "rollout.mismatch",
        "paused: the split cannot be right",
        "stops the schedule: the arms' split cannot be right",
    ),
}

_EVERY: Final = tuple(Phase)
_UNDER_WAY: Final = (Phase.HOLDING, Phase.BAKING, Phase.READY)

#: What each event does in each state.
TABLE: Final[dict[tuple[Phase, Event], Phase]] = {
    (Phase.HOLDING, Event.SET): Phase.HOLDING,
    (Phase.BAKING, Event.SET): Phase.BAKING,
    (Phase.READY, Event.SET): Phase.BAKING,
    (Phase.ADVANCING, Event.SET): Phase.HOLDING,
    (Phase.ROLLED_BACK, Event.SET): Phase.HOLDING,
    (Phase.PAUSED, Event.SET): Phase.PAUSED,
    (Phase.COMPLETE, Event.SET): Phase.HOLDING,
    **{(phase, Event.SET_TO_THE_END): Phase.COMPLETE for phase in _EVERY if phase is not Phase.PAUSED},
    (Phase.PAUSED, Event.SET_TO_THE_END): Phase.PAUSED,
    **{(phase, Event.ROLL_BACK): Phase.ROLLED_BACK for phase in _EVERY},
    **{(phase, Event.PAUSE): Phase.PAUSED for phase in _UNDER_WAY},
    (Phase.PAUSED, Event.RESUME): Phase.HOLDING,
    (Phase.ROLLED_BACK, Event.RESUME): Phase.HOLDING,
    (Phase.HOLDING, Event.START): Phase.BAKING,
    (Phase.BAKING, Event.STOP): Phase.HOLDING,
    (Phase.READY, Event.STOP): Phase.HOLDING,
    (Phase.BAKING, Event.BAKED): Phase.READY,
    (Phase.READY, Event.LAPSED): Phase.BAKING,
    (Phase.READY, Event.ADVANCE): Phase.ADVANCING,
    (Phase.ADVANCING, Event.ARRIVE): Phase.BAKING,
    (Phase.ADVANCING, Event.ARRIVE_AT_THE_END): Phase.COMPLETE,
    **{(phase, Event.FINISH): Phase.COMPLETE for phase in _UNDER_WAY},
    (Phase.COMPLETE, Event.REOPEN): Phase.HOLDING,
    **{(phase, Event.BREACH): Phase.ROLLED_BACK for phase in _EVERY},
    **{(phase, Event.MISMATCH): Phase.PAUSED for phase in (*_UNDER_WAY, Phase.COMPLETE)},
}


class NoSuchMove(Exception):
    """The table does not allow this event in this state, or ``why`` does not."""

    def __init__(self, phase: Phase, event: Event, why: str = "") -> None:
        possible = [_words(each) for each in RULES if (phase, each) in TABLE and each in _BY_HAND]
        super().__init__(
            why
            or f"the rollout is {_words(phase)}, where {_words(event)} means nothing; "
            f"possible now: {', '.join(possible)}"
        )
        self.phase = phase
        self.event = event


_BY_HAND: Final = (Event.SET, Event.ROLL_BACK, Event.PAUSE, Event.RESUME)


def _words(name: str) -> str:
    return name.replace("_", " ")


def after(phase: Phase, event: Event) -> Phase:
    """The state that ``event`` leads to from ``phase``. Raises ``NoSuchMove``."""
    try:
        return TABLE[phase, event]
    except KeyError:
        raise NoSuchMove(phase, event) from None


def stage_before(percent: float, stages: tuple[float, ...]) -> float:
    """The stage to go back to from ``percent``; 0 when there is none below."""
    return max((stage for stage in stages if stage < percent), default=0.0)


def stage_after(percent: float, stages: tuple[float, ...]) -> float | None:
    """The stage to go on to from ``percent``; None at the last."""
    return min((stage for stage in stages if stage > percent), default=None)


def diagram() -> str:
    """The table as a Mermaid state diagram, for the documentation."""
    return "\n".join(["```mermaid", "stateDiagram-v2", *_edges(), "```"])


def _edges() -> Iterator[str]:
    """One line for each pair of states, with all the events that lead from one to the other.

    Events that lead to the same state from everywhere are drawn once, from a state of their own.
    """
    from_everywhere = {
        event: TABLE[Phase.HOLDING, event]
        for event in RULES
        if {TABLE.get((phase, event)) for phase in Phase} == {TABLE.get((Phase.HOLDING, event))}
    }
    yield '    state "any state" as anywhere'
    for target in Phase:
        events = [event for event, to in from_everywhere.items() if to is target]
        if events:
            yield f"    anywhere --> {target.value}: {_labels(events)}"
    for source in Phase:
        for target in Phase:
            events = [
                event
                for event in RULES
                if TABLE.get((source, event)) is target
                and event not in from_everywhere
                and source is not target
            ]
            if events:
                yield f"    {source.value} --> {target.value}: {_labels(events)}"


def _labels(events: list[Event]) -> str:
    return ", ".join(f"{RULES[event].actor.value} {event.value.replace('_', ' ')}" for event in events)


def move_table() -> str:
    """The table as Markdown: who brings what about, from where to where, and how the audit log calls it."""
    lines = ["| who | event | what it is | from → to | audit |", "|---|---|---|---|---|"]
    for event, rule in RULES.items():
        targets: dict[Phase, list[str]] = {}
        for phase in Phase:
            if (phase, event) in TABLE:
                targets.setdefault(TABLE[phase, event], []).append(phase.value)
        moves = "; ".join(
            f"{'any' if len(sources) == len(Phase) else ', '.join(sources)} → {target.value}"
            for target, sources in targets.items()
        )
        lines.append(f"| {rule.actor.value} | {event.value} | {rule.words} | {moves} | `{rule.action}` |")
    return "\n".join(lines)
