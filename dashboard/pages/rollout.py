"""The rollout: how much is routed, how the two arms compare, and the levers to move it."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from typing import Final

import msgspec

from dashboard.action import Action, Form, Refused, Stale, field, reason, whole
from dashboard.arm_rows import FigureRow, TaskRow, figure_rows, task_rows
from dashboard.gates import GateRow, gate_rows
from dashboard.page import Ask, Page
from dashboard.rollout_words import STATES, ChangeRow, Levers, change_rows, levers, next_steps
from dashboard.tier_colours import colours
from dashboard.windows import window_of
from dashboard.wording import number, tier_title, usd
from sidecar.core.arms import mix_standing
from sidecar.core.rollout_states import NoSuchMove
from sidecar.core.vocabulary import Arm
from sidecar.rollout_view import SplitView
from sidecar.services import Services
from sidecar.storage.reports import WINDOWS_S, ArmReport, Window
from sidecar.storage.rollout_store import RolloutState, StaleRollout, hundredths_of

_DAY_S: Final = 86_400


class Stage(msgspec.Struct, frozen=True):
    """One stage of the configuration: ``passed``, ``here`` or ``ahead``."""

    percent: float
    place: str


class TierPart(msgspec.Struct, frozen=True):
    """One tier's part of an arm's calls, 0 to 1."""

    tier: str
    colour: str
    share: float


class ArmHead(msgspec.Struct, frozen=True):
    """One arm: its calls, its share of all, and how the tiers shared them."""

    title: str
    calls: int
    share: float | None
    tiers: tuple[TierPart, ...]


class Proposal(msgspec.Struct, frozen=True):
    """What the reader thinks of setting; ``sentences`` say what it would change. ``wrong`` refuses it."""

    percent: str
    sentences: tuple[str, ...]
    wrong: str


class RolloutContext(msgspec.Struct, frozen=True):
    """``version`` is what a form sends along, so that a stale one is refused.

    ``level`` and ``state`` are the state's badge, ``since_ns``, ``actor`` and ``reason`` those of the last
    change; ``steps`` say what comes next. ``arms`` are legacy and routed, in this order, ``mix`` says how
    their tiers differ; ``figures`` compare them, ``tasks`` do so by task type. The gates count from
    ``evidence_since_ns`` on.
    """

    percent: float
    version: int
    level: str
    state: str
    since_ns: int
    actor: str
    reason: str
    steps: tuple[str, ...]
    stages: tuple[Stage, ...]
    legacy_tier: str
    proposal: Proposal | None
    levers: Levers
    window: str
    windows: tuple[str, ...]
    arms: tuple[ArmHead, ...]
    mix: str
    figures: tuple[FigureRow, ...]
    tasks: tuple[TaskRow, ...]
    gates: tuple[GateRow, ...]
    evidence_since_ns: int
    split: SplitView
    history: tuple[ChangeRow, ...]


async def load(services: Services, ask: Ask) -> RolloutContext:
    """Reads the rollout, its history, and both arms over a window."""
    window = window_of(ask)
    view, settings = await services.rollout_view(), services.in_force.settings.rollout
    reports = await services.reports.arms(window)
    comparisons = await services.comparison.over(window)
    level, state = STATES[view.state]
    return RolloutContext(
        percent=view.percent,
        version=view.version,
        level=level,
        state=state,
        since_ns=view.since_ns,
        actor=view.actor,
        reason=view.reason,
        steps=next_steps(view, ask.now_ns),
        stages=tuple(Stage(stage, _place(stage, view.percent)) for stage in view.stages),
        legacy_tier=tier_title(settings.legacy.tier),
        proposal=_proposal(services, ask.get("to"), reports, window) if ask.get("to") else None,
        levers=levers(view),
        window=window.value,
        windows=tuple(Window),
        arms=tuple(_arm_heads(services, reports)),
        mix=mix_standing(*(_calls_by_tier(report) for report in reports)).value,
        figures=figure_rows(comparisons[0]),
        tasks=task_rows(comparisons),
        gates=gate_rows(view.gates),
        evidence_since_ns=view.evidence_since_ns,
        split=view.split,
        history=change_rows(view.history),
    )


def _calls_by_tier(report: ArmReport) -> dict[str, int]:
    return {one.label: one.totals.calls for one in report.tiers}


def _place(stage: float, percent: float) -> str:
    return "here" if stage == percent else "passed" if stage < percent else "ahead"


def _arm_heads(services: Services, reports: tuple[ArmReport, ...]) -> Iterator[ArmHead]:
    colour_of = colours(services)
    calls = sum(report.totals.calls for report in reports)
    for report in reports:
        yield ArmHead(
            title="As before" if report.arm is Arm.LEGACY else "Routed",
            calls=report.totals.calls,
            share=report.totals.calls / calls if calls else None,
            tiers=tuple(TierPart(one.label, colour_of(one.label), one.share) for one in report.tiers),
        )


def _proposal(services: Services, text: str, reports: tuple[ArmReport, ...], window: Window) -> Proposal:
    """What moving to ``text`` percent would change, in words."""
    try:
        new = hundredths_of(text) / 100
    except ValueError as error:
        return Proposal(text, (), f"{str(error)[:1].upper()}{str(error)[1:]}.")
    old = services.rollout.current.percent
    if new == old:
        return Proposal(text, (), f"The rollout is at {number(old)} % already.")
    return Proposal(number(new), tuple(_consequences(services, old, new, reports, window)), "")


def _consequences(
    services: Services, old: float, new: float, reports: tuple[ArmReport, ...], window: Window
) -> Iterator[str]:
    legacy = tier_title(services.in_force.settings.rollout.legacy.tier)
    yield f"The rollout goes from {number(old)} % to {number(new)} %, from the next call on."
    moved = number(round(abs(new - old), 2))
    if new > old:
        yield f"{moved} in 100 sessions join the routed ones; those that are routed already stay so."
    else:
        yield f"{moved} in 100 sessions go back to {legacy}; the others stay where they are."
    if new == 0:
        yield f"Nothing is routed any more: every call goes to {legacy}."
    if new == 100:
        yield f"Everything is routed: {legacy} is used only where the policy chooses it."
    routed = next(report.totals for report in reports if report.arm is Arm.ROUTED)
    calls = sum(report.totals.calls for report in reports)
    if routed.cost_usd_per_call and calls:
        per_day = routed.cost_usd_per_call * calls * _DAY_S / WINDOWS_S[window][0] * (new - old) / 100
        more = "more" if per_day > 0 else "less"
        yield (
            f"At what calls were and cost in the last {window}, that is about "
            f"{usd(round(abs(per_day) * 1e9))} {more} a day. The caps hold in any case."
        )


async def move(services: Services, form: Form, actor: str) -> str:
    """Set the percentage that was proposed and confirmed."""
    percent, version = field(form, "percent"), whole(form, "version")
    before = services.rollout.current.percent
    try:
        after = await services.set_percent(
            percent, actor=actor, reason=reason(form), expected_version=version
        )
    except StaleRollout as stale:
        last = (await services.rollout.history(1))[0]
        raise Stale(
            f"Meanwhile {last.actor} moved the rollout to {number(stale.current.percent)} %"
            f"{f' ({last.reason})' if last.reason else ''}. Look again, then decide."
        ) from None
    except ValueError as error:
        raise Refused(str(error)) from None
    return f"The rollout went from {number(before)} % to {number(after.percent)} %."


async def roll_back(services: Services, form: Form, actor: str) -> str:
    """Go back a stage from the percentage that was shown: pressed twice, it goes back once."""
    shown, before = field(form, "percent"), services.rollout.current.percent
    if number(before) != shown:
        raise Stale(f"Meanwhile the rollout is at {number(before)} %. Look again, then decide.")
    after = await _lever(services.rollout_desk.roll_back(actor=actor, reason=reason(form)))
    return f"The rollout went back from {number(before)} % to {number(after.percent)} %."


async def pause(services: Services, form: Form, actor: str) -> str:
    """Stop the schedule."""
    version = whole(form, "version")
    await _lever(services.rollout_desk.pause(actor=actor, reason=reason(form), expected_version=version))
    return "The rollout is paused."


async def resume(services: Services, form: Form, actor: str) -> str:
    """Let it go on."""
    version = whole(form, "version")
    after = await _lever(
        services.rollout_desk.resume(actor=actor, reason=reason(form), expected_version=version)
    )
    return f"The rollout goes on at {number(after.percent)} %; its gates begin anew."


async def _lever(move: Awaitable[RolloutState]) -> RolloutState:
    try:
        return await move
    except (NoSuchMove, StaleRollout) as refused:
        raise Stale(f"{str(refused)[:1].upper()}{str(refused)[1:]}.") from None


PAGE: Final = Page(
    name="rollout",
    path="/rollout",
    title="Rollout",
    context=RolloutContext,
    load=load,
    live=("rollout_now", "rollout_arms", "rollout_history"),
    live_every_s=2.0,
)
ACTIONS: Final = (
    Action("/rollout", PAGE.name, move),
    Action("/rollout/rollback", PAGE.name, roll_back),
    Action("/rollout/pause", PAGE.name, pause),
    Action("/rollout/resume", PAGE.name, resume),
)
