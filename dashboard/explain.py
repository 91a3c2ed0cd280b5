"""Tells the story of one decision in sentences for somebody who does not program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dashboard.wording import cut, ms, number, tier_title, usd
from sidecar.core import policy as reasons
from sidecar.core.obstacles import BUDGET_EXHAUSTED, IN_WORDS, NOT_PERMITTED_TO_LEAVE, TIER_OFF
from sidecar.core.policy import FALLBACK, GOES_UP_ONLY, Policy
from sidecar.core.vocabulary import Decision, DecisionRecord, Features, Outcome, RejectedTier, VerdictState

_LONG: Final = 200

FAULTS: Final = {
    "refused": "nothing answered at its address",
    "dns": "its host name could not be found",
    "tls": "no safe connection could be made",
    "timeout": "it took too long",
    "cut": "the connection broke off",
    "throttled": "it asked to be called less often",
    "server_error": "it failed inside",
    "auth": "it did not accept the key",
    "rejected": "it did not accept the request",
    "redirect": "it pointed to another address",
    "garbage": "its answer could not be read",
    "empty": "its answer was empty",
    "unsupported": "it cannot do what the call asks for",
}
SOURCES: Final = {
    "header": "the app, in a header",
    "metadata": "the app, in the request's metadata",
    "estimated": "estimated from the call itself",
    "default": "nobody said, the default",
}
OUTCOMES: Final = {
    Outcome.COMPLETE: "answered",
    Outcome.COMPLETE_WITHOUT_USAGE: "answered, tokens not reported",
    Outcome.UPSTREAM_FAILED: "failed",
    Outcome.CLIENT_LEFT: "the app left",
}


def source_words(source: str) -> str:
    """Where a hint came from."""
    if source.startswith("match:"):
        return f"match rule {source.removeprefix('match:')} of the configuration"
    return SOURCES.get(source, source)


def story(record: DecisionRecord, policy: Policy | None) -> tuple[str, ...]:
    """What happened, sentence by sentence: why, who was passed over, who was tried, who answered."""
    return (
        why(record.features, record.decision, policy, record.rollout_percent),
        *passed_over(record.decision),
        *_turns(record),
        *_failed_attempts(record),
        _ending(record),
    )


def why(features: Features, decision: Decision, policy: Policy | None, rollout_percent: float) -> str:
    """Which rule applied, and what it wants. Without the policy of then, its tier is read off the plan."""
    reason = decision.reason
    wanted = _wanted(decision, policy)
    match reason:
        case reasons.ROLLOUT_LEGACY:
            return (
                f"The rollout stood at {number(rollout_percent)} % and this call is not part of it yet, "
                f"so it went where the app's calls went before: {wanted}."
            )
        case reasons.SENSITIVE_DATA_LOCAL_ONLY:
            return f"{_sensitivity(features)}, so the call had to stay on this machine."
        case reasons.UNKNOWN_DATA_LOCAL_ONLY:
            why = f" ({cut(features.verdict.why, _LONG)})" if features.verdict.why else ""
            return (
                f"It could not be told whether the data is sensitive{why}, "
                "so the call had to stay on this machine."
            )
        case reasons.EMBEDDING_LOCAL_ONLY:
            return (
                "The call is an embedding. Those stay on this machine with the model they name, "
                "because vectors of different models do not mix."
            )
        case reasons.PINNED:
            return f"The app asked for exactly this: {cut(features.model, _LONG)}."
        case reasons.DEFAULT_LOCAL:
            return f"No routing rule applied, so the call went to the default: {wanted}."
    step = next((step for step in decision.trace if step.rule == reason and step.applied), None)
    seen = cut(step.detail.partition(": ")[0], _LONG) if step is not None else ""
    return (
        f"The rule “{reason.replace('_', ' ')}” applied{f' ({seen})' if seen else ''}; it asks for {wanted}."
    )


def _wanted(decision: Decision, policy: Policy | None) -> str:
    """The tier that the reason is about, before anything stood in its way."""
    reason = decision.reason
    if policy is not None:
        if reason == reasons.ROLLOUT_LEGACY:
            return tier_title(policy.legacy_tier)
        if reason == reasons.DEFAULT_LOCAL:
            return tier_title(policy.default)
        for rule in policy.rules:
            if rule.name == reason:
                return tier_title(rule.tier)
    first = next((planned for planned in decision.plan if planned.reason != FALLBACK), None)
    return tier_title(first.tier) if first is not None else "a tier of its own"


def _sensitivity(features: Features) -> str:
    declared = features.hints.data_classification
    if features.verdict.kinds:
        found = ", ".join(
            f"{count} × {kind.replace('_', ' ')}" for kind, count in features.verdict.kinds.items()
        )
        return f"Sensitive data was found ({cut(found, _LONG)})"
    if declared is not None and declared.forbids_leaving:
        return f"The app declared its data {declared}"
    if features.verdict.state is VerdictState.SENSITIVE and features.verdict.why:
        return f"The data is sensitive ({cut(features.verdict.why, _LONG)})"
    return "The data is sensitive"


def passed_over(decision: Decision) -> Iterator[str]:
    """The tiers that could not take the call, with what was in the way."""
    away = [one for one in decision.rejected if one.reason == NOT_PERMITTED_TO_LEAVE]
    above = [one for one in away if one.detail == GOES_UP_ONLY]
    away = [one for one in away if one not in above]
    if away:
        names = " and ".join(tier_title(one.tier) for one in away)
        yield f"{names} could not be asked: that would have meant leaving this machine."
    for one in decision.rejected:
        if one.reason != NOT_PERMITTED_TO_LEAVE:
            yield _obstacle(one)
    yield from (_above(one) for one in above)


def _above(one: RejectedTier) -> str:
    return f"{tier_title(one.tier)} was not to be asked: {one.detail}."


def _turns(record: DecisionRecord) -> Iterator[str]:
    """The tiers that were passed over once the plan stood."""
    planned = {planned.tier for planned in record.decision.plan}
    for one in record.passed_over:
        if one.reason == NOT_PERMITTED_TO_LEAVE:
            yield _above(one)
        elif one.reason == TIER_OFF and one.tier not in planned:
            yield _obstacle(one)
        else:
            yield f"When it was its turn, {_obstacle(one)}"


def _obstacle(one: RejectedTier) -> str:
    words = (
        "has used up its budget"
        if one.reason == BUDGET_EXHAUSTED
        else IN_WORDS.get(one.reason, "was passed over")
    )
    detail = f": {cut(one.detail, _LONG)}" if one.detail else ""
    return f"{tier_title(one.tier)} {words}{detail}."


def _failed_attempts(record: DecisionRecord) -> Iterator[str]:
    for attempt in record.attempts:
        if attempt.fault:
            why = FAULTS.get(attempt.fault, attempt.fault)
            took = ms(max(0.0, attempt.ended_ms - attempt.started_ms))
            yield f"{tier_title(attempt.tier)} was tried and failed after {took}: {why}."


def _ending(record: DecisionRecord) -> str:
    took, cost = ms(record.duration_ms), record.cost_nano_usd
    price = f"for {usd(cost)}" if cost else "at no cost"
    answered_by = f"{tier_title(record.tier)} took it with {cut(record.model)}" if record.tier else ""
    match record.outcome:
        case Outcome.COMPLETE | Outcome.COMPLETE_WITHOUT_USAGE if answered_by:
            return f"{answered_by} and answered in {took}, {price}."
        case Outcome.CLIENT_LEFT:
            begun = f"{answered_by}, but the" if answered_by else "The"
            return f"{begun} app hung up after {took}; what was delivered until then is counted ({price})."
        case _:
            code = f" ({record.error_code})" if record.error_code else ""
            return (
                f"After {took} the app was told that it did not work{code}, status {record.status}, {price}."
            )
