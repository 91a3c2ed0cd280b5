"""A sidecar with a past, in this process and on a real port, for the tests of the pages."""

from __future__ import annotations

import random
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from sidecar.core.budget import Hold, HoldRequest
from sidecar.core.pricing import Price
from sidecar.core.settlement import Settlement, SettlementKind
from sidecar.core.vocabulary import (
    Arm,
    Attempt,
    Complexity,
    DataClassification,
    Decision,
    DecisionRecord,
    Dialect,
    Features,
    Hints,
    Lane,
    Operation,
    Outcome,
    PlannedTier,
    Quality,
    RejectedTier,
    TaskType,
    TierState,
    TraceStep,
    Usage,
    Verdict,
    VerdictState,
)
from sidecar.services import Services
from tests.rig.world import RunningSidecar

NANO = 1_000_000_000
HOUR_NS = 3_600 * NANO
FLAT = {"local_ollama": 0, "ollama_cloud": 1_000, "openai": 15_000}
BOUNDS = {"ollama_cloud": 4_600_000, "openai": 69_000_000}
MODELS = {"local_ollama": "llama3.2", "ollama_cloud": "gpt-oss:120b", "openai": "gpt-4o"}


def config(directory: Path, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A configuration with three tiers, of which nobody listens at any, caps and a rollout of 30 %."""
    base: dict[str, Any] = {
        "listen": {"host": "127.0.0.1", "port": 0},
        "data_dir": str(directory / "data"),
        "tiers": {
            "local_ollama": {
                "provider": "ollama",
                "base_url": "http://127.0.0.1:9",
                "off_box": False,
                "models": {"default": "llama3.2", "embedding": "nomic-embed-text"},
                "max_concurrency": 4,
            },
            "ollama_cloud": {
                "provider": "ollama",
                "base_url": "http://127.0.0.1:9",
                "api_key": "cloud-secret-key",
                "off_box": True,
                "price": {"usd_per_1k_tokens": "0.001"},
                "models": {"default": "gpt-oss:120b"},
            },
            "openai": {
                "provider": "openai",
                "base_url": "http://127.0.0.1:9/v1",
                "api_key": "openai-secret-key",
                "off_box": True,
                "price": {"usd_per_1k_tokens": "0.015"},
                "models": {"default": "gpt-4o"},
            },
        },
        "routing": {
            "rules": [
                {"name": "critical_quality", "when": {"quality": "critical"}, "tier": "openai"},
                {"name": "very_high_complexity", "when": {"complexity": "very_high"}, "tier": "openai"},
                {
                    "name": "high_quality",
                    "when": {"quality": ">=high", "complexity": ">=medium"},
                    "tier": "ollama_cloud",
                },
                {"name": "batch_processing", "when": {"batch_size": ">10"}, "tier": "ollama_cloud"},
            ],
            "matches": [
                {"when": {"model": "extract-*"}, "hints": {"task_type": "extraction", "quality": "high"}}
            ],
        },
        "budgets": {
            "caps": [
                {"name": "openai-month", "tier": "openai", "period": "month", "usd": 80},
                {"name": "cloud-month", "tier": "ollama_cloud", "period": "month", "usd": 120},
                {"name": "all-day", "tier": "*", "period": "day", "usd": 10},
            ]
        },
        "rollout": {"percent": 30},
    }
    return base | dict(changes or {})


class Stage(RunningSidecar):
    """A running sidecar and the ways into its dashboard."""

    def link(self) -> str:
        """A fresh one-time login link."""
        return self.base + self.server.login_path()

    @asynccontextmanager
    async def client(self, token: str = "") -> AsyncIterator[httpx.AsyncClient]:
        """A logged-in HTTP client; as an operator unless another token is given."""
        async with httpx.AsyncClient(
            base_url=f"{self.base}/dashboard", timeout=30, trust_env=False, verify=False
        ) as client:
            given = {"token": token or self.services.admin_token}
            response = await client.post("/login", data=given)
            assert response.status_code == 303, response.text
            yield client

    @property
    def services(self) -> Services:
        return self.sidecar.services


def stage(directory: Path, changes: Mapping[str, Any] | None = None) -> Stage:
    """A sidecar without a past; an async context manager."""
    return Stage(config(directory, changes), directory)


def csrf_of(html: str) -> str:
    """The CSRF token of a page."""
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', html)
    assert found is not None
    return found[1]


ROUTES = (
    ("local_ollama", "default_local", 30, Quality.MEDIUM),
    ("local_ollama", "sensitive_data_local_only", 16, Quality.HIGH),
    ("local_ollama", "embedding_local_only", 24, Quality.MEDIUM),
    ("ollama_cloud", "high_quality", 14, Quality.HIGH),
    ("ollama_cloud", "batch_processing", 6, Quality.MEDIUM),
    ("openai", "critical_quality", 8, Quality.CRITICAL),
    ("openai", "very_high_complexity", 2, Quality.HIGH),
)
LATENCY_MS = {"local_ollama": 620.0, "ollama_cloud": 900.0, "openai": 1_300.0}
APPS = ("rag-backend", "docs-search", "support-bot")


def record(number: int, started_ns: int, *, dice: random.Random, **changes: Any) -> DecisionRecord:
    """One plausible record; ``changes`` replace fields."""
    tier, reason, _, quality = dice.choices(ROUTES, [route[2] for route in ROUTES])[0]
    embedding, sensitive = reason.startswith("embedding"), reason.startswith("sensitive")
    arm = Arm.ROUTED if number % 10 < 3 else Arm.LEGACY
    if arm is Arm.LEGACY:
        tier, reason = "local_ollama", "rollout_legacy"
    usage = Usage(dice.randrange(200, 3_000), 0 if embedding else dice.randrange(20, 500))
    cost = (usage.input_tokens + usage.output_tokens) * FLAT[tier]
    duration_ms = (25.0 if embedding else LATENCY_MS[tier]) * dice.lognormvariate(0, 0.45)
    failed, left, fell_back = number % 173 == 5, number % 211 == 7, tier == "ollama_cloud" and number % 7 == 0
    spent = tier == "ollama_cloud" and number % 9 == 1 and not fell_back
    if spent or fell_back:
        reason, quality = "critical_quality", Quality.CRITICAL
    model = "nomic-embed-text" if embedding else MODELS[tier]
    attempts = [
        Attempt(
            tier,
            model,
            Lane.RELAY,
            1.2,
            duration_ms,
            duration_ms * 0.3,
            502 if failed else 200,
            "server_error" if failed else "",
            "the upstream answered 502" if failed else "",
            cost,
            waited_ms=0.3,
            hold_ms=0.6 if cost else None,
            held_nano_usd=BOUNDS.get(tier, 0),
            settlement="reported" if cost else "",
        )
    ]
    if fell_back:
        attempts.insert(
            0,
            Attempt(
                "openai",
                "gpt-4o",
                Lane.RELAY,
                0.5,
                0.7,
                fault="refused",
                detail="connection refused",
                hold_ms=0.2,
                held_nano_usd=BOUNDS["openai"],
                settlement="released",
            ),
        )
    kinds = {"email": 2, "iban": 1} if sensitive else {}
    app = APPS[number % 3]
    plain = DecisionRecord(
        request_id=f"{dice.getrandbits(128):032x}",
        started_ns=started_ns,
        duration_ms=duration_ms,
        outcome=Outcome.UPSTREAM_FAILED if failed else Outcome.CLIENT_LEFT if left else Outcome.COMPLETE,
        status=502 if failed else 499 if left else 200,
        features=Features(
            door="/v1/embeddings" if embedding else "/v1/chat/completions",
            dialect=Dialect.OPENAI,
            operation=Operation.EMBEDDINGS if embedding else Operation.CHAT,
            model="nomic-embed-text" if embedding else "auto",
            arm=arm,
            hints=Hints(
                task_type=TaskType.EMBEDDING if embedding else TaskType.ANSWER_GENERATION,
                data_classification=None if sensitive else DataClassification.INTERNAL,
                quality=quality,
                complexity=Complexity.MEDIUM,
                session=f"session-{number // 20:05d}",
                app=app,
                sources={
                    "quality": "header",
                    "complexity": "estimated",
                    "session": "header",
                    "app": "metadata",
                },
                complexity_why="3 context documents, a question after reasons",
            ),
            verdict=Verdict(VerdictState.SENSITIVE if sensitive else VerdictState.CLEAN, kinds),
            may_leave=not sensitive,
            bounds_nano_usd=BOUNDS,
        ),
        tier_states=(TierState("local_ollama"), TierState("ollama_cloud"), TierState("openai")),
        policy_id="unknown",
        decision=Decision(
            reason,
            (PlannedTier(tier, model, reason),),
            (
                RejectedTier(
                    "openai", "budget_exhausted", "the call could cost $0.069, $0.01 is left (openai-month)"
                ),
            )
            if spent
            else (),
            (
                TraceStep(
                    "privacy",
                    sensitive,
                    "2 e-mail addresses and an IBAN" if sensitive else "nothing sensitive was found",
                ),
                TraceStep(
                    "embedding",
                    embedding,
                    "the call is an embedding" if embedding else "the call is not an embedding",
                ),
                TraceStep(reason, True, f"quality is {quality}: {tier} with {model}"),
            ),
        ),
        bucket=number % 10_000,
        rollout_percent=30.0,
        attempts=tuple(attempts),
        tier="" if failed else tier,
        model="" if failed else model,
        usage=usage,
        cost_nano_usd=cost,
        first_byte_ms=duration_ms * 0.3,
        error_code="upstream_failed" if failed else "",
        trace_id=f"{dice.getrandbits(128):032x}",
        session=f"session-{number // 20:05d}",
        app=app,
        request_bytes=4_211,
        response_bytes=1_870,
    )
    return msgspec.structs.replace(plain, **changes)


async def give_past(
    services: Services, calls: int = 600, hours: float = 24.0, seed: int = 7
) -> list[DecisionRecord]:
    """``calls`` records that end now, busier by day than by night; the priced ones through the ledger too."""
    dice = random.Random(seed)
    now_ns = time.time_ns()
    starts = sorted(now_ns - round(dice.random() ** 1.3 * hours * HOUR_NS) - NANO for _ in range(calls))
    made = [record(number, start, dice=dice) for number, start in enumerate(starts)]
    for one in made:
        services.log.record(one)
    await services.log.flush()
    for one in made[-80:]:
        if one.cost_nano_usd:
            await spend(services, one.tier, one.cost_nano_usd * 12, one.request_id)
    await services.ledger.flush()
    return made


async def spend(
    services: Services,
    tier: str,
    nano_usd: int,
    request_id: str,
    *,
    app: str = "rag-backend",
    unknown: bool = False,
) -> None:
    """Put ``nano_usd`` through the ledger, as one attempt."""
    price = Price(FLAT[tier] * 1_000_000, FLAT[tier] * 1_000_000, FLAT[tier] * 1_000_000)
    hold = await services.ledger.hold(
        HoldRequest(request_id, 0, tier, MODELS[tier], Arm.ROUTED, app, nano_usd, price)
    )
    tokens = nano_usd // FLAT[tier]
    usage = None if unknown else Usage(tokens, 0)
    kind = SettlementKind.UNKNOWN if unknown else SettlementKind.REPORTED
    assert isinstance(hold, Hold), hold
    services.ledger.settle(hold, Settlement(kind, usage))
