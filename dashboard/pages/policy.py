"""The policy in force in words, the configuration, and what would become of a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
import yaml

from dashboard.explain import passed_over, why
from dashboard.hint_rows import HintRow, hint_rows
from dashboard.page import Ask, Page
from dashboard.tier_colours import colours
from sidecar.core import policy as reasons
from sidecar.core.conditions import describe_condition
from sidecar.core.errors import CallerError
from sidecar.core.policy import Rule
from sidecar.core.vocabulary import Complexity, DataClassification, Quality, TaskType
from sidecar.services import Services, Trial
from sidecar.settings.watch import ReloadRefusal
from sidecar.storage.reports import Window

#: What the form of a trial may say, with the choices of each; no choices: any text.
HINTS: Final[dict[str, tuple[str, ...]]] = {
    "task-type": tuple(TaskType),
    "data-classification": tuple(DataClassification),
    "quality": tuple(Quality),
    "complexity": tuple(Complexity),
    "batch-size": (),
    "app": (),
}
_PROMPT_CHARS_MAX: Final = 200_000


class StepRow(msgspec.Struct, frozen=True):
    """One step of the decision, in the order they are looked at; ``calls`` decided by it in 30 days."""

    name: str
    words: str
    tier: str
    colour: str
    calls: int
    share: float


class PlanRow(msgspec.Struct, frozen=True):
    """One tier of a trial's plan, with the most that the call could cost there, None where it is free."""

    tier: str
    colour: str
    model: str
    reason: str
    most_nano_usd: int | None


class TrialView(msgspec.Struct, frozen=True):
    """What would become of the call that was typed."""

    trial: Trial
    sentences: tuple[str, ...]
    plan: tuple[PlanRow, ...]
    hints: tuple[HintRow, ...]


class PolicyContext(msgspec.Struct, frozen=True):
    """``tried`` is the outcome of a trial, ``wrong`` why there is none though one was asked for.

    ``form`` is what was typed, ``choices`` what each hint may say. ``configuration`` is YAML without secrets.
    """

    policy_id: str
    file: str
    steps: tuple[StepRow, ...]
    fallback: tuple[str, ...]
    escalates: bool
    matches: tuple[str, ...]
    privacy: str
    engine: str
    rejected: ReloadRefusal | None
    configuration: str
    choices: Mapping[str, tuple[str, ...]]
    form: Mapping[str, str]
    tried: TrialView | None
    wrong: str


async def load(services: Services, ask: Ask) -> PolicyContext:
    """Reads what is in force, and tries the call if one was typed."""
    in_force = services.in_force
    settings = in_force.settings
    tried, wrong = None, ""
    if "prompt" in ask.query:
        try:
            tried = _try(services, ask)
        except CallerError as error:
            wrong = error.message
    return PolicyContext(
        policy_id=in_force.policy_id,
        file=str(services.settings.path),
        steps=await _steps(services),
        fallback=in_force.policy.fallback,
        escalates=in_force.policy.escalate_when_local_down,
        matches=tuple(
            f"{_pairs(match.when)} gives {_pairs(match.hints)}" for match in settings.routing.matches
        ),
        privacy=_PRIVACY[settings.privacy.mode],
        engine=in_force.gate.engine,
        rejected=services.settings.rejected,
        configuration=yaml.safe_dump(settings.redacted(), sort_keys=False, allow_unicode=True, width=100),
        choices=HINTS,
        form={key: ask.query.get(key, "") for key in ("prompt", "model", "embedding", *HINTS)},
        tried=tried,
        wrong=wrong,
    )


_PRIVACY: Final = {
    "strict": "strict: only calls in which nothing sensitive was found may leave this machine",
    "balanced": "balanced: calls that cannot be read may leave too, calls found to be sensitive may not",
}


async def _steps(services: Services) -> tuple[StepRow, ...]:
    policy = services.in_force.policy
    by_reason = {share.label: share for share in await services.reports.by_reason(Window.MONTH)}
    colour_of = colours(services)
    home = next((tier.name for tier in policy.tiers if not tier.off_box), "")

    def step(name: str, words: str, tier: str, *counted: str) -> StepRow:
        shares = [by_reason[reason] for reason in counted or (name,) if reason in by_reason]
        calls, share = sum(one.totals.calls for one in shares), sum(one.share for one in shares)
        return StepRow(name, words, tier, colour_of(tier), calls, share)

    return (
        step(
            "rollout",
            "a call that is not part of the rollout yet goes where calls went before",
            policy.legacy_tier,
            reasons.ROLLOUT_LEGACY,
        ),
        step(
            "privacy",
            "a call that is declared or found to be sensitive, or cannot be judged, stays on this machine",
            home,
            reasons.SENSITIVE_DATA_LOCAL_ONLY,
            reasons.UNKNOWN_DATA_LOCAL_ONLY,
        ),
        step(
            "embedding",
            "embeddings stay on this machine, with the model they name",
            home,
            reasons.EMBEDDING_LOCAL_ONLY,
        ),
        step("pinned", "a model named as tier/model goes to that tier", ""),
        *(step(rule.name, _conditions(rule), rule.tier) for rule in policy.rules),
        step("default", "everything else", policy.default, reasons.DEFAULT_LOCAL),
    )


def _conditions(rule: Rule) -> str:
    words = [describe_condition(key, value) for key, value in rule.when.items()]
    return f"when {' and '.join(words)}" if words else "always"


def _pairs(struct: msgspec.Struct) -> str:
    """The fields that are set, as ``name value``."""
    plain: dict[str, object] = msgspec.to_builtins(struct)
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in plain.items() if value is not None)


def _try(services: Services, ask: Ask) -> TrialView:
    hints = {name: ask.get(name) for name in HINTS if ask.get(name)}
    trial = services.try_call(
        ask.query["prompt"][:_PROMPT_CHARS_MAX], ask.get("model"), hints, embedding=bool(ask.get("embedding"))
    )
    colour_of = colours(services)
    decision, bounds = trial.decision, trial.features.bounds_nano_usd
    return TrialView(
        trial=trial,
        sentences=(
            why(trial.features, decision, services.in_force.policy, 100.0),
            *passed_over(decision),
        ),
        plan=tuple(
            PlanRow(
                planned.tier, colour_of(planned.tier), planned.model, planned.reason, bounds.get(planned.tier)
            )
            for planned in decision.plan
        ),
        hints=hint_rows(trial.features.hints),
    )


PAGE: Final = Page(
    name="policy",
    path="/policy",
    title="Policy",
    context=PolicyContext,
    load=load,
    takes_form=True,
)
