"""Fills a data directory with ``--count`` decisions, as one busy app would make them over ``--days``.

::

    python -m benchmarks.seed_decisions /tmp/seeded --count 1000000
    python -m benchmarks.seed_decisions /tmp/seeded --count 1000000 --days 3 --copies 10
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path

from sidecar.core.vocabulary import (
    Arm,
    Attempt,
    Complexity,
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
from sidecar.storage.database import Database
from sidecar.storage.decision_log import QUEUE_MAX, DecisionLog

#: (tier, model, reason, share of calls, nano-dollars per token, median latency in ms)
ROUTES = (
    ("local_ollama", "nomic-embed-text", "embedding_local_only", 0.25, 0, 25.0),
    ("local_ollama", "llama3.2", "default_local", 0.30, 0, 700.0),
    ("local_ollama", "llama3.2", "sensitive_data_local_only", 0.15, 0, 800.0),
    ("ollama_cloud", "gpt-oss:120b", "batch_processing", 0.12, 1_000, 900.0),
    ("ollama_cloud", "gpt-oss:120b", "high_quality", 0.08, 1_000, 1_200.0),
    ("openai", "gpt-4o", "critical_quality", 0.08, 15_000, 1_500.0),
    ("openai", "gpt-4o", "very_high_complexity", 0.0199, 15_000, 2_500.0),
    ("openai", "gpt-4o", "pinned", 0.0001, 15_000, 1_500.0),
)
OUTCOMES = (
    (Outcome.COMPLETE, 200, 0.95),
    (Outcome.COMPLETE_WITHOUT_USAGE, 200, 0.03),
    (Outcome.CLIENT_LEFT, 200, 0.01),
    (Outcome.UPSTREAM_FAILED, 502, 0.0095),
    (Outcome.UPSTREAM_FAILED, 400, 0.0005),
)
APPS = [f"app-{number}" for number in range(12)]
TRACE = (
    TraceStep("privacy", False, "verdict CLEAN: the call may leave this machine"),
    TraceStep("embedding", False, "the operation is chat"),
    TraceStep("pinned", False, "the model asked for is auto"),
    TraceStep("critical_quality", False, "quality is high, not critical"),
    TraceStep("very_high_complexity", False, "complexity is medium, not very_high"),
    TraceStep("high_quality", True, "quality high is at least high; complexity medium is at least medium"),
)
STATES = (
    TierState("local_ollama"),
    TierState("ollama_cloud", remaining_nano_usd=119_000_000_000),
    TierState("openai", remaining_nano_usd=79_000_000_000),
)


def records(count: int, since_ns: int, until_ns: int, seed: int = 1) -> Iterator[DecisionRecord]:
    """``count`` records of calls that began evenly over the time given, oldest first."""
    dice = random.Random(seed)
    routes = dice.choices(ROUTES, [route[3] for route in ROUTES], k=4_096)
    outcomes = dice.choices(OUTCOMES, [outcome[2] for outcome in OUTCOMES], k=4_099)
    for number in range(count):
        yield record(
            dice,
            number,
            since_ns + (until_ns - since_ns) * number // count,
            routes[number % 4_096],
            outcomes[number % 4_099],
        )


def record(
    dice: random.Random,
    number: int,
    started_ns: int,
    route: tuple[str, str, str, float, int, float],
    ending: tuple[Outcome, int, float],
) -> DecisionRecord:
    """One record of the usual size, with a latency from a log-normal distribution."""
    tier, model, reason, _, nano_per_token, median_ms = route
    outcome, status, _ = ending
    duration_ms = median_ms * dice.lognormvariate(0, 0.6)
    embedding = reason == "embedding_local_only"
    usage = Usage(dice.randrange(50, 4_000), 0 if embedding else dice.randrange(5, 600))
    cost = (usage.input_tokens + usage.output_tokens) * nano_per_token
    failed = outcome is Outcome.UPSTREAM_FAILED
    fallback = number % 211 == 0
    attempt = Attempt(
        tier, model, Lane.RELAY, 1.0, duration_ms, duration_ms / 3, status, "timeout" if failed else ""
    )
    refused = Attempt("openai", "gpt-4o", Lane.RELAY, 0.8, 0.9, None, None, "refused", "connection refused")
    session, app = f"session-{number // 20:08d}", APPS[number % 97 % len(APPS)]
    return DecisionRecord(
        # Begins with the time, as real ones do: the index grows at one end.
        request_id=f"{started_ns // 1_000_000:012x}7{dice.getrandbits(76):019x}",
        started_ns=started_ns,
        duration_ms=duration_ms,
        outcome=outcome,
        status=status,
        features=Features(
            door="/v1/embeddings" if embedding else "/v1/chat/completions",
            dialect=Dialect.OPENAI,
            operation=Operation.EMBEDDINGS if embedding else Operation.CHAT,
            model="nomic-embed-text" if embedding else "auto",
            arm=Arm.ROUTED if number % 10 else Arm.LEGACY,
            hints=Hints(
                task_type=TaskType.EMBEDDING if embedding else TaskType.ANSWER_GENERATION,
                quality=Quality.HIGH,
                complexity=Complexity.MEDIUM,
                session=session,
                app=app,
                sources={
                    "quality": "header",
                    "complexity": "estimated",
                    "session": "header",
                    "app": "header",
                },
            ),
            verdict=Verdict(VerdictState.SENSITIVE if "sensitive" in reason else VerdictState.CLEAN),
            may_leave="sensitive" not in reason,
            bounds_nano_usd={"ollama_cloud": 4_600_000, "openai": 69_000_000},
        ),
        tier_states=STATES,
        policy_id="5d41402abc4b2a76",
        decision=Decision(
            reason,
            (PlannedTier(tier, model, reason), PlannedTier("local_ollama", "llama3.2", "default_local")),
            (RejectedTier("openai", "not_planned", "the rule names another tier"),),
            TRACE,
        ),
        bucket=number % 10_000,
        rollout_percent=90.0,
        attempts=(refused, attempt) if fallback else (attempt,),
        tier=tier,
        model=model,
        usage=usage,
        cost_nano_usd=cost,
        first_byte_ms=duration_ms / 3,
        error_code="upstream_failed" if failed else "",
        trace_id=f"{dice.getrandbits(128):032x}",
        session=session,
        app=app,
        request_bytes=4_000,
        response_bytes=2_000,
    )


async def seed(data_dir: Path, count: int, days: int, copies: int = 1) -> None:
    """Write ``count`` records over ``days`` as the sidecar does, and ``copies`` times as many in all.

    They end now. A copy is the narrow rows and the roll-ups, moved on in time by whole days, in one statement
    each: ten million whole records would take an hour and 20 GB. The first ``count`` alone can be opened.
    """
    begin_ns = time.time_ns() - days * copies * DAY_NS
    database = await Database.open(data_dir)
    log = await DecisionLog.open(database, time.time_ns)
    for number, made in enumerate(records(count, begin_ns, begin_ns + days * DAY_NS), 1):
        log.record(made)
        if number % (QUEUE_MAX // 2) == 0:
            await log.flush()
    await log.close()
    async with database.transaction() as connection:
        await connection.execute("CREATE TEMP TABLE first_rollups AS SELECT * FROM rollups")
    for copy in range(1, copies):
        async with database.transaction() as connection:
            for statement in COPIES:
                await connection.execute(
                    statement, {"rows": copy * count, "days": copy * days, "last": count}
                )
    await database.close()


DAY_NS = 86_400 * 1_000_000_000
_COLUMNS = """duration_ms, first_byte_ms, outcome, status, error_code, arm, tier, model, requested_model,
    reason, verdict, fallback, app, session, door, task_type, input_tokens, output_tokens, cost_nano_usd,
    trace_id"""
_SUMS = (
    "calls", "failed", "refused", "left_early", "fallbacks", "input_tokens", "output_tokens",
    "cost_nano_usd", "cost_usd_squares", "token_squares", "ratings", "score_sum",
    "score_squares",
)  # fmt: skip
#: Copies of what was written first: so many rows and days further on. Seams between copies are added up.
COPIES = (
    f"""
    INSERT INTO decisions (sequence, request_id, started_ns, {_COLUMNS})
    SELECT sequence + :rows,
        printf('%012x7', (started_ns + :days * {DAY_NS}) / 1000000) || substr(request_id, 14),
        started_ns + :days * {DAY_NS}, {_COLUMNS}
    FROM decisions WHERE sequence <= :last
    """,
    """
    INSERT INTO decision_minutes (minute, first_sequence, last_sequence)
    SELECT minute + :days * 1440, first_sequence + :rows, last_sequence + :rows
    FROM decision_minutes WHERE first_sequence <= :last
    ON CONFLICT DO UPDATE SET last_sequence = excluded.last_sequence
    """,
    f"""
    INSERT INTO rollups (grain, facet, start_s, arm, tier, label, {", ".join(_SUMS)}, latency, first_byte)
    SELECT grain, facet, start_s + :days * 86400, arm, tier, label, {", ".join(_SUMS)}, latency, first_byte
    FROM first_rollups WHERE TRUE
    ON CONFLICT DO UPDATE SET
        {", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMS)},
        latency = histogram_merge(latency, excluded.latency),
        first_byte = histogram_merge(first_byte, excluded.first_byte)
    """,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--copies", type=int, default=1)
    options = parser.parse_args()
    asyncio.run(seed(options.data_dir, options.count, options.days, options.copies))


if __name__ == "__main__":
    main()
