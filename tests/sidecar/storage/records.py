"""Decision records for the storage tests: plain by default, any part of them as the test wants it."""

from __future__ import annotations

import random
from typing import Any

from sidecar.core.policy import Policy, TierPolicy, decide
from sidecar.core.vocabulary import (
    Arm,
    Attempt,
    DecisionRecord,
    Dialect,
    Features,
    Hints,
    Lane,
    Operation,
    Outcome,
    TaskType,
    TierState,
    Usage,
    Verdict,
    VerdictState,
)

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
DAY_NS = 86_400 * SECOND_NS
#: Noon on some day, UTC.
NOON_NS = 1_790_078_400 * SECOND_NS

POLICY = Policy(
    tiers=(
        TierPolicy("local_ollama", off_box=False, priced=False, models={"default": "llama3.2"}),
        TierPolicy("openai", off_box=True, priced=True, models={"default": "gpt-4o"}),
    ),
    default="local_ollama",
    fallback=("openai", "local_ollama"),
    legacy_tier="local_ollama",
)
POLICY_ID = "policy-1"


def features(**parts: Any) -> Features:
    given: dict[str, Any] = {
        "door": "/v1/chat/completions",
        "dialect": Dialect.OPENAI,
        "operation": Operation.CHAT,
        "model": "auto",
        "arm": Arm.ROUTED,
        "hints": Hints(task_type=TaskType.GENERATION),
        "verdict": Verdict(VerdictState.CLEAN),
        "may_leave": True,
    } | parts
    return Features(**given)


def record(
    number: int = 0,
    *,
    arm: Arm = Arm.ROUTED,
    reason: str = "",
    task_type: TaskType | None = TaskType.GENERATION,
    verdict: VerdictState = VerdictState.CLEAN,
    requested_model: str = "auto",
    **parts: Any,
) -> DecisionRecord:
    """A complete call over ``local_ollama``; ``number`` makes its id and its start, a second apart."""
    looked_at = features(
        arm=arm, hints=Hints(task_type=task_type), verdict=Verdict(verdict), model=requested_model
    )
    states = (TierState("local_ollama"), TierState("openai"))
    decision = decide(looked_at, POLICY, states)
    if reason:
        decision = type(decision)(reason, decision.plan, decision.rejected, decision.trace)
    given: dict[str, Any] = {
        "request_id": f"request-{number}",
        "started_ns": NOON_NS + number * SECOND_NS,
        "duration_ms": 100.0,
        "outcome": Outcome.COMPLETE,
        "status": 200,
        "features": looked_at,
        "tier_states": states,
        "policy_id": POLICY_ID,
        "decision": decision,
        "bucket": 1234,
        "rollout_percent": 10.0,
        "tier": "local_ollama",
        "model": "llama3.2",
        "usage": Usage(10, 5),
        "first_byte_ms": 20.0,
    } | parts
    return DecisionRecord(**given)


def attempt(tier: str, fault: str = "") -> Attempt:
    return Attempt(tier, "some-model", Lane.RELAY, 1.0, 2.0, fault=fault)


def varied(count: int, seed: int = 7) -> list[DecisionRecord]:
    """Records that differ in everything that can be searched for, with common and rare values."""
    dice = random.Random(seed)
    made = []
    for number in range(count):
        tier, model = dice.choice([("local_ollama", "llama3.2"), ("openai", "gpt-4o"), ("", "")])
        tried = [attempt("openai", "refused"), attempt("local_ollama")] if dice.random() < 0.1 else []
        made.append(
            record(
                number,
                arm=dice.choices(list(Arm), [1, 9])[0],
                reason=dice.choices(["default_local", "critical_quality", "pinned"], [90, 9, 1])[0],
                task_type=dice.choice([None, TaskType.GENERATION, TaskType.EMBEDDING]),
                verdict=dice.choices(list(VerdictState), [80, 15, 5])[0],
                requested_model=dice.choice(["auto", "openai/gpt-4o"]),
                # Calls end in another order than they began in.
                started_ns=NOON_NS + (number + dice.randrange(-30, 30)) * SECOND_NS,
                duration_ms=round(dice.lognormvariate(6, 1.5), 1),
                outcome=dice.choices(list(Outcome), [90, 5, 4, 1])[0],
                status=dice.choices([200, 400, 429, 502], [90, 4, 2, 4])[0],
                error_code=dice.choices(["", "upstream_failed", "no_tier_available"], [90, 8, 2])[0],
                tier=tier,
                model=model,
                attempts=tuple(tried),
                session=dice.choice(["", "session-a", f"session-{number % 40}"]),
                app=dice.choice(["", "app-a", "app-b"]),
                cost_nano_usd=dice.choice([0, 0, 1, 1_000_000, dice.randrange(10**9)]),
            )
        )
    return made
