"""The nouns of the sidecar; every other module speaks in these words."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from sidecar.core.hint_words import Complexity as Complexity
from sidecar.core.hint_words import DataClassification as DataClassification
from sidecar.core.hint_words import Ordered as Ordered
from sidecar.core.hint_words import Quality as Quality
from sidecar.core.hint_words import TaskType as TaskType


class Dialect(StrEnum):
    """The API shape a caller or an upstream speaks."""

    OPENAI = "openai"
    OLLAMA = "ollama"
    ANTHROPIC = "anthropic"


class Operation(StrEnum):
    """What a call asks for; the values are OpenTelemetry's ``gen_ai.operation.name``, where it has one.

    ``COUNT_TOKENS`` generates nothing and costs nothing.
    """

    CHAT = "chat"
    TEXT_COMPLETION = "text_completion"
    EMBEDDINGS = "embeddings"
    COUNT_TOKENS = "count_tokens"


class Door(msgspec.Struct, frozen=True):
    """A front door: one path, in one dialect, for one operation."""

    path: str
    dialect: Dialect
    operation: Operation


OPENAI_CHAT = Door("/v1/chat/completions", Dialect.OPENAI, Operation.CHAT)
OPENAI_COMPLETIONS = Door("/v1/completions", Dialect.OPENAI, Operation.TEXT_COMPLETION)
OPENAI_EMBEDDINGS = Door("/v1/embeddings", Dialect.OPENAI, Operation.EMBEDDINGS)
OPENAI_RESPONSES = Door("/v1/responses", Dialect.OPENAI, Operation.CHAT)
ANTHROPIC_MESSAGES = Door("/v1/messages", Dialect.ANTHROPIC, Operation.CHAT)
ANTHROPIC_COUNT_TOKENS = Door("/v1/messages/count_tokens", Dialect.ANTHROPIC, Operation.COUNT_TOKENS)
OLLAMA_CHAT = Door("/api/chat", Dialect.OLLAMA, Operation.CHAT)
OLLAMA_GENERATE = Door("/api/generate", Dialect.OLLAMA, Operation.TEXT_COMPLETION)
OLLAMA_EMBED = Door("/api/embed", Dialect.OLLAMA, Operation.EMBEDDINGS)
OLLAMA_EMBEDDINGS = Door("/api/embeddings", Dialect.OLLAMA, Operation.EMBEDDINGS)

DOORS: dict[str, Door] = {
    door.path: door
    for door in (
        OPENAI_CHAT,
        OPENAI_COMPLETIONS,
        OPENAI_EMBEDDINGS,
        OPENAI_RESPONSES,
        ANTHROPIC_MESSAGES,
        ANTHROPIC_COUNT_TOKENS,
        OLLAMA_CHAT,
        OLLAMA_GENERATE,
        OLLAMA_EMBED,
        OLLAMA_EMBEDDINGS,
    )
}


class Arm(StrEnum):
    """Which path a call takes: what the app did before, or the routed tiers."""

    LEGACY = "legacy"
    ROUTED = "routed"


class Hints(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known about a call beyond its bytes.

    ``sources`` names for each field where it came from: ``header``, ``metadata``, ``match:<number>``,
    ``estimated`` or ``default``. ``complexity_why`` are the estimator's words, empty when it was not asked.
    """

    task_type: TaskType | None = None
    data_classification: DataClassification | None = None
    quality: Quality = Quality.MEDIUM
    complexity: Complexity = Complexity.LOW
    batch_size: int = 1
    session: str | None = None
    app: str | None = None
    sources: dict[str, str] = {}
    complexity_why: str = ""


class VerdictState(StrEnum):
    """The privacy gate's three answers."""

    CLEAN = "CLEAN"
    UNKNOWN = "UNKNOWN"
    SENSITIVE = "SENSITIVE"


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """The privacy gate's answer for one call: kinds and how often, never the values."""

    state: VerdictState
    kinds: dict[str, int] = {}
    why: str = ""


class TierState(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the decision may know of one tier at this instant.

    ``unavailable`` is one of the reason codes ``tier_off``, ``circuit_open``, ``saturated`` or empty.
    ``remaining_nano_usd`` is what the tightest cap leaves, in nano-dollars; None when nothing caps it.
    ``missing`` are the capabilities that the tier is known to lack.
    """

    name: str
    unavailable: str = ""
    detail: str = ""
    remaining_nano_usd: int | None = None
    budget_detail: str = ""
    missing: frozenset[str] = frozenset()


class Features(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything about one call that the decision may look at; with policy and tier states it replays.

    ``bounds_nano_usd`` holds for each priced tier the worst case that a hold would take.
    """

    door: str
    dialect: Dialect
    operation: Operation
    model: str
    arm: Arm
    hints: Hints
    verdict: Verdict
    may_leave: bool
    stream: bool = False
    needs: frozenset[str] = frozenset()
    bounds_nano_usd: dict[str, int] = {}


class PlannedTier(msgspec.Struct, frozen=True):
    """One tier the plan will try, with the model it will be asked for and why."""

    tier: str
    model: str
    reason: str


class RejectedTier(msgspec.Struct, frozen=True):
    """One tier the plan will not try, with the reason code and words for a person."""

    tier: str
    reason: str
    detail: str = ""


class TraceStep(msgspec.Struct, frozen=True):
    """One rule that was looked at: did it apply, and what was seen."""

    rule: str
    applied: bool
    detail: str


class Decision(msgspec.Struct, frozen=True):
    """Where a call goes and why: the plan, the rejected tiers, and every rule looked at in order."""

    reason: str
    plan: tuple[PlannedTier, ...]
    rejected: tuple[RejectedTier, ...]
    trace: tuple[TraceStep, ...]


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens as the upstream reported them, or as counted from what was delivered (``estimated``)."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False


class Outcome(StrEnum):
    """The four endings; every call has exactly one."""

    COMPLETE = "complete"
    COMPLETE_WITHOUT_USAGE = "complete_without_usage"
    UPSTREAM_FAILED = "upstream_failed"
    CLIENT_LEFT = "client_left"


class Lane(StrEnum):
    """How an attempt reaches its upstream: original bytes, or translated by any-llm."""

    RELAY = "relay"
    ANY_LLM = "any_llm"


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One try at one upstream, as recorded. Times are milliseconds from the call's arrival.

    ``span_id`` is the parent of whatever the upstream traces. ``waited_ms`` is how long the call stood in
    line for its place, ``hold_ms`` how long the hold took that came then, None when none was needed;
    ``settlement`` says how the hold ended.
    """

    tier: str
    model: str
    lane: Lane
    started_ms: float
    ended_ms: float = 0.0
    first_byte_ms: float | None = None
    status: int | None = None
    fault: str = ""
    detail: str = ""
    cost_nano_usd: int = 0
    span_id: str = ""
    waited_ms: float = 0.0
    hold_ms: float | None = None
    held_nano_usd: int = 0
    settlement: str = ""
    finish_reason: str = ""


class Stages(msgspec.Struct, frozen=True):
    """When the stages before the first attempt were over: milliseconds from the call's arrival."""

    received_ms: float
    decoded_ms: float
    identified_ms: float
    scanned_ms: float
    decided_ms: float


class DecisionRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """The durable row of one call. Times are Unix nanoseconds, durations milliseconds, money nano-dollars.

    ``tier_states`` is what the decision saw; with ``features`` and the policy it replays. ``passed_over``
    are tiers of the plan that were not tried after all, as by then they were full, resting or out of money,
    and, where all of the plan has failed, the tiers that were not in it.
    ``span_id`` is the call's own span in the trace, ``parent_span_id`` the caller's, empty when the trace
    begins here; ``sampled`` is what upstreams were told.
    """

    request_id: str
    started_ns: int
    duration_ms: float
    outcome: Outcome
    status: int
    features: Features
    tier_states: tuple[TierState, ...]
    policy_id: str
    decision: Decision
    bucket: int
    rollout_percent: float
    passed_over: tuple[RejectedTier, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    tier: str = ""
    model: str = ""
    usage: Usage | None = None
    cost_nano_usd: int = 0
    first_byte_ms: float | None = None
    error_code: str = ""
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    sampled: bool = True
    trace_state: str = ""
    stages: Stages | None = None
    session: str = ""
    app: str = ""
    request_bytes: int = 0
    response_bytes: int = 0


class RefusedCall(msgspec.Struct, frozen=True):
    """A call that was turned away before anything was decided: not well formed, or one too many.

    ``code`` is the error's. It has no decision record; the other fields are those of one.
    """

    request_id: str
    method: str
    door: str
    code: str
    status: int
    started_ns: int
    duration_ms: float
    request_bytes: int
    trace_id: str
    span_id: str
    parent_span_id: str
    sampled: bool
    trace_state: str


def to_plain(value: Any) -> Any:
    """``value`` as plain dicts, lists and scalars, for JSON, templates and span attributes."""
    return msgspec.to_builtins(value)


def to_plain_whole(value: Any) -> Any:
    """``value`` as ``to_plain`` has it, and with the fields of structs that have their default."""
    if isinstance(value, msgspec.Struct):
        return {name: to_plain_whole(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {key: to_plain_whole(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain_whole(item) for item in value]
    return to_plain(value)
