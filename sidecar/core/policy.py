"""Decides which tier answers a call: a pure function of features, policy and tier states.

Two steps. First the rules are looked at, always in this order, and the one that applies names the
*candidates*, best first; what the tiers are doing plays no part yet:

0. **legacy arm**: the tier the app used before, with the model name untouched unless it is an open one; the
   other tiers only stand in where that tier may not or cannot take the call
1. **privacy**: a call that may not leave goes to the tiers on this machine
2. **embedding**: so do embeddings, with the model they name, since mixed vectors ruin an index
3. **pinned**: ``<tier>/<model>`` as the call's model name
4. the policy's **rules**, first match wins
5. the **default** tier

Then each candidate is checked: off, circuit breaker, saturation, capability, budget. Those that pass are
the plan, the others are rejected with the reason. Behind the candidate that a rule names stand the tiers
to its right in ``fallback``, then the tiers on this machine, for a call is never refused while one of
those can answer. From a tier on this machine it goes up to one that is not only if the policy says
``escalate_when_local_down``.

A saturated tier is passed over for one that is not. When every tier that could take the call is
saturated, they make the plan all the same and the call waits in the queue.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

import msgspec

from sidecar.core import obstacles
from sidecar.core.conditions import Condition, clip, describe_seen, parse_condition
from sidecar.core.leaving import is_sensitive, may_leave
from sidecar.core.obstacles import NOT_PERMITTED_TO_LEAVE, SATURATED
from sidecar.core.vocabulary import (
    Arm,
    Decision,
    Features,
    Operation,
    PlannedTier,
    RejectedTier,
    TaskType,
    TierState,
    TraceStep,
)

# Why a decision was made; a routing rule's own name is a reason too.
SENSITIVE_DATA_LOCAL_ONLY = "sensitive_data_local_only"
UNKNOWN_DATA_LOCAL_ONLY = "unknown_data_local_only"
EMBEDDING_LOCAL_ONLY = "embedding_local_only"
PINNED = "pinned"
DEFAULT_LOCAL = "default_local"
ROLLOUT_LEGACY = "rollout_legacy"

#: Why a tier stands in the plan behind the first one: it is tried when those before it fail.
FALLBACK = "fallback"

#: Why a tier that is not on this machine is not asked although the call might leave.
EMBEDDINGS_STAY = "embeddings stay on this machine"
GOES_UP_ONLY = "calls go up to it only if routing.escalate_when_local_down is true"

#: Names that no routing rule may take, because a decision's reason or a trace step already means them.
RESERVED_RULE_NAMES = frozenset(
    {
        *("privacy", "rollout", "embedding", "default", PINNED, FALLBACK),
        *(SENSITIVE_DATA_LOCAL_ONLY, UNKNOWN_DATA_LOCAL_ONLY, EMBEDDING_LOCAL_ONLY),
        *(DEFAULT_LOCAL, ROLLOUT_LEGACY),
        *obstacles.IN_WORDS,
    }
)

#: What an app writes for "you choose the model".
OPEN_MODELS = ("", "auto")


class TierPolicy(msgspec.Struct, frozen=True):
    """What the decision needs to know of a tier's configuration."""

    name: str
    off_box: bool
    priced: bool
    models: dict[str, str]

    def model_for(self, task_type: str | None) -> str:
        """The model for a task type, else the default one."""
        return self.models.get(task_type or "default") or self.models["default"]


class Rule(msgspec.Struct, frozen=True):
    """One routing rule: when every condition holds, ``tier`` is chosen and ``name`` is the reason."""

    name: str
    when: dict[str, str | int | list[str]]
    tier: str


class Policy(msgspec.Struct, frozen=True):
    """The routing policy in force. ``tiers`` are in the order of the configuration, cheapest first."""

    tiers: tuple[TierPolicy, ...]
    default: str
    fallback: tuple[str, ...]
    legacy_tier: str
    rules: tuple[Rule, ...] = ()
    escalate_when_local_down: bool = False

    def __hash__(self) -> int:
        # Rules and tiers hold dicts, which have no hash; equal policies agree in these three.
        return hash((self.default, self.fallback, self.legacy_tier))


def decide(features: Features, policy: Policy, states: Iterable[TierState]) -> Decision:
    """Where the call goes and why.

    ``states`` has one entry per tier; a tier without one is taken to be up and under no cap. The plan is
    empty when no tier can take the call; then every tier is among the rejected. Raises ``ValueError`` if a
    rule's condition cannot be read, and ``KeyError`` if the policy names a tier it does not have: the
    settings refuse both beforehand.
    """
    board = _board(policy)
    trace: list[TraceStep] = []
    states = tuple(states)
    choice = _choose(features, board, trace)
    plan, rejected, queued = _check(choice, features, {state.name: state for state in states})
    outcome = _outcome(choice, plan, rejected, queued=queued)
    if not plan:
        unasked = not_asked(features, policy, states, {one.tier for one in (*choice.barred, *rejected)})
        outcome += "".join([f"; {one.tier}: {one.detail}" for one in unasked])
        rejected += unasked
    trace.append(TraceStep(choice.rule, True, f"{choice.why}: {outcome}"))
    planned = tuple(
        PlannedTier(candidate.tier.name, candidate.model, FALLBACK if place else choice.reason)
        for place, candidate in enumerate(plan)
    )
    return Decision(choice.reason, planned, (*choice.barred, *rejected), tuple(trace))


def not_asked(
    features: Features, policy: Policy, states: Iterable[TierState], named: Collection[str]
) -> list[RejectedTier]:
    """Why the tiers that are not in ``named`` play no part in a call that no other tier answers."""
    off = {state.name: state.detail for state in states if state.unavailable == obstacles.TIER_OFF}
    stays = EMBEDDINGS_STAY if _is_embedding(features) else GOES_UP_ONLY
    return [
        RejectedTier(tier.name, obstacles.TIER_OFF, off[tier.name] or "the tier is off")
        if tier.name in off
        else RejectedTier(tier.name, NOT_PERMITTED_TO_LEAVE, stays)
        for tier in policy.tiers
        if tier.name not in named
    ]


class _Candidate(msgspec.Struct, frozen=True):
    """A tier that may be tried, with the model it would be asked for."""

    tier: TierPolicy
    model: str


class _Choice(msgspec.Struct, frozen=True):
    """What the rule that applied wants, before the tiers' states are looked at.

    ``barred`` are tiers that the rule itself excludes. ``stand_ins`` says that all candidates but the
    first only replace it, and that the first is taken as it is: whether it has room and can do what the
    call needs is between the app and its tier of old.
    """

    rule: str
    reason: str
    why: str
    candidates: Sequence[_Candidate]
    barred: tuple[RejectedTier, ...] = ()
    stand_ins: bool = False


class _Board(msgspec.Struct, frozen=True):
    """A policy made ready: names resolved, conditions read, each tier's line of successors laid out."""

    tiers: dict[str, TierPolicy]
    on_box: tuple[TierPolicy, ...]
    off_box: tuple[TierPolicy, ...]
    lines: dict[str, tuple[TierPolicy, ...]]
    rules: tuple[tuple[Rule, tuple[Condition, ...]], ...]
    keys: tuple[str, ...]
    policy: Policy


@lru_cache(maxsize=64)
def _board(policy: Policy) -> _Board:
    tiers = {tier.name: tier for tier in policy.tiers}
    default_first = sorted(policy.tiers, key=lambda tier: tier.name != policy.default)
    on_box = tuple(tier for tier in default_first if not tier.off_box)
    return _Board(
        tiers=tiers,
        on_box=on_box,
        off_box=tuple(tier for tier in policy.tiers if tier.off_box),
        lines={name: _line(tier, policy, tiers, on_box) for name, tier in tiers.items()},
        rules=tuple(
            (rule, tuple(parse_condition(key, value) for key, value in rule.when.items()))
            for rule in policy.rules
        ),
        keys=tuple({key: None for rule in policy.rules for key in rule.when}),
        policy=policy,
    )


def _line(
    first: TierPolicy, policy: Policy, tiers: dict[str, TierPolicy], on_box: tuple[TierPolicy, ...]
) -> tuple[TierPolicy, ...]:
    """``first`` and the tiers that follow when it cannot take a call, for calls that may leave."""
    names = policy.fallback
    right = names[names.index(first.name) + 1 :] if first.name in names else ()
    followers = [first, *(tiers[name] for name in right), *on_box]
    if policy.escalate_when_local_down:
        followers += policy.tiers
    line: dict[str, TierPolicy] = {}
    came_home = False
    for tier in followers:
        if tier.off_box and came_home and not policy.escalate_when_local_down:
            continue
        came_home = came_home or not tier.off_box
        line.setdefault(tier.name, tier)
    return tuple(line.values())


# Step one: which rule applies, and whom it wants.


def _choose(features: Features, board: _Board, trace: list[TraceStep]) -> _Choice:
    """The choice of the rule that applies; every rule looked at before it is added to ``trace``."""
    leaves, why = may_leave(features)
    legacy = board.tiers[board.policy.legacy_tier] if features.arm is Arm.LEGACY else None
    if not leaves and (legacy is None or legacy.off_box):
        return _stay_home(features, board, why)
    trace.append(TraceStep("privacy", False, why))
    if legacy is not None:
        return _as_before(features, board, legacy, leaves, why)
    if _is_embedding(features):
        return _embed_at_home(features, board)
    trace.append(TraceStep("embedding", False, "the call is not an embedding"))
    pin, name = _pin(features.model, board)
    if pin is not None:
        first = _Candidate(pin, pin.model_for(features.hints.task_type) if name in OPEN_MODELS else name)
        others = _candidates(board.lines[pin.name][1:], features)
        return _Choice("pinned", PINNED, f"the app asked for {clip(features.model)}", [first, *others])
    trace.append(TraceStep("pinned", False, f"the model name {clip(name)!r} names no tier"))
    return _by_rule(features, board, trace)


def _by_rule(features: Features, board: _Board, trace: list[TraceStep]) -> _Choice:
    hints = features.hints
    facts: dict[str, object] = {
        "quality": hints.quality,
        "complexity": hints.complexity,
        "data_classification": hints.data_classification,
        "batch_size": hints.batch_size,
        "task_type": hints.task_type,
        "model": features.model,
        "app": hints.app,
    }
    seen = {key: describe_seen(key, facts[key]) for key in board.keys}
    if hints.complexity_why and "complexity" in seen:
        seen["complexity"] += f" ({hints.complexity_why})"
    for rule, conditions in board.rules:
        misses = [c for c in conditions if not c.accepts(facts[c.key])]
        if not misses:
            why = ", ".join([seen[c.key] for c in conditions]) or "the rule takes every call"
            return _Choice(rule.name, rule.name, why, _candidates(board.lines[rule.tier], features))
        words = "; ".join([f"{seen[c.key]}, the rule wants {c.wants}" for c in misses])
        trace.append(TraceStep(rule.name, False, words))
    line = board.lines[board.policy.default]
    return _Choice("default", DEFAULT_LOCAL, "no rule applied", _candidates(line, features))


def _stay_home(features: Features, board: _Board, why: str) -> _Choice:
    """A call that may not leave. A pin to a tier on this machine stands: privacy has nothing against it."""
    return _Choice(
        "privacy",
        SENSITIVE_DATA_LOCAL_ONLY if is_sensitive(features) else UNKNOWN_DATA_LOCAL_ONLY,
        why,
        _at_home(features, board),
        barred=_bar(board.off_box, "the call may not leave this machine"),
    )


def _embed_at_home(features: Features, board: _Board) -> _Choice:
    return _Choice(
        "embedding",
        EMBEDDING_LOCAL_ONLY,
        "the call is an embedding",
        _at_home(features, board),
        barred=_bar(board.off_box, EMBEDDINGS_STAY),
    )


def _as_before(features: Features, board: _Board, legacy: TierPolicy, leaves: bool, why: str) -> _Choice:
    """The legacy arm: the tier of old and the name as it is, for an open name that tier's model of the table;
    embeddings and calls that may not leave are stood in for by tiers on this machine alone."""
    task_type = TaskType.EMBEDDING if _is_embedding(features) else features.hints.task_type
    named = features.model not in OPEN_MODELS
    first = _Candidate(legacy, features.model if named else legacy.model_for(task_type))
    if leaves and not _is_embedding(features):
        others = _candidates(board.lines[legacy.name][1:], features)
    else:
        others = [c for c in _at_home(features, board) if c.tier is not legacy]
    return _Choice(
        "rollout",
        ROLLOUT_LEGACY,
        f"the call is in the legacy arm, whose tier is {legacy.name}",
        [first, *others],
        barred=() if leaves else _bar(board.off_box, "the call may not leave this machine"),
        stand_ins=True,
    )


def _at_home(features: Features, board: _Board) -> list[_Candidate]:
    """The tiers on this machine: the one that the model name pins, the default one, then the others.

    An embedding keeps the model it names at each of them; other calls keep it at the pinned tier only.
    """
    pin, name = _pin(features.model, board)
    embedding = _is_embedding(features)
    task_type = TaskType.EMBEDDING if embedding else features.hints.task_type
    tiers = board.on_box
    if pin is not None and pin in tiers:
        tiers = (pin, *(tier for tier in tiers if tier is not pin))
    return [
        _Candidate(
            tier,
            name if name not in OPEN_MODELS and (embedding or tier is pin) else tier.model_for(task_type),
        )
        for tier in tiers
    ]


def _candidates(tiers: Iterable[TierPolicy], features: Features) -> list[_Candidate]:
    task_type = features.hints.task_type
    return [_Candidate(tier, tier.model_for(task_type)) for tier in tiers]


def _bar(tiers: Iterable[TierPolicy], detail: str) -> tuple[RejectedTier, ...]:
    return tuple(RejectedTier(tier.name, NOT_PERMITTED_TO_LEAVE, detail) for tier in tiers)


def _pin(model: str, board: _Board) -> tuple[TierPolicy | None, str]:
    """The tier that a model name begins with, if it does, and the name without it."""
    prefix, slash, name = model.partition("/")
    tier = board.tiers.get(prefix) if slash else None
    return (None, model) if tier is None else (tier, name)


def _is_embedding(features: Features) -> bool:
    return features.operation is Operation.EMBEDDINGS or features.hints.task_type is TaskType.EMBEDDING


# Step two: which of those can take the call now.


def _check(
    choice: _Choice, features: Features, states: dict[str, TierState]
) -> tuple[list[_Candidate], list[RejectedTier], bool]:
    """The candidates that can take the call, the others with the first thing against each, and whether
    the call must wait because only saturated tiers are left."""
    plan: list[_Candidate] = []
    rejected: list[RejectedTier] = []
    waiting: list[_Candidate] = []
    for candidate in choice.candidates:
        tier = candidate.tier
        state = states.get(tier.name) or TierState(tier.name)
        as_it_is = choice.stand_ins and candidate is choice.candidates[0]
        down = None if as_it_is and state.unavailable == SATURATED else obstacles.down(state)
        unfit = (None if as_it_is else obstacles.unfit(state, features)) or obstacles.exhausted(
            state, features, priced=tier.priced
        )
        obstacle = down or unfit
        if obstacle is None:
            plan.append(candidate)
            if as_it_is:
                break
            continue
        rejected.append(obstacle)
        if obstacle.reason == SATURATED and unfit is None:
            waiting.append(candidate)
    if waiting and not plan:
        names = {candidate.tier.name for candidate in waiting}
        return waiting, [one for one in rejected if one.tier not in names], True
    return plan, rejected, False


def _outcome(choice: _Choice, plan: list[_Candidate], rejected: list[RejectedTier], *, queued: bool) -> str:
    """What came of the choice, in words."""
    obstacle_of = {one.tier: one.reason for one in rejected}
    passed_over = []
    for candidate in choice.candidates:
        name = candidate.tier.name
        if name not in obstacle_of:
            goes = f"it goes to {name}" + (", which is full, and waits in the queue" if queued else "")
            break
        passed_over.append(f"{name} {obstacles.IN_WORDS.get(obstacle_of[name], 'is not available')}")
    else:
        goes = "no tier can take it"
    return f"{' and '.join(passed_over)}, so {goes}" if passed_over else goes
