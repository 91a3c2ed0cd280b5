"""Roll-ups add up to the calls, in every grain and facet, and stay bounded."""

from __future__ import annotations

from pathlib import Path

from sidecar.core.call_class import CallClass, classify
from sidecar.storage.database import Database
from sidecar.storage.decision_log import DecisionLog
from sidecar.storage.histogram import from_bytes, percentiles
from sidecar.storage.rollups import GRAINS_S, LABELS_MAX, OTHER
from tests.sidecar.storage.conftest import SetClock
from tests.sidecar.storage.records import DAY_NS, NOON_NS, SECOND_NS, attempt, record, varied


async def test_every_grain_and_facet_adds_up(database: Database, log: DecisionLog) -> None:
    made = varied(1_200)
    for number, each in enumerate(made):
        log.record(each)
        if number % 250 == 0:
            await log.flush()
    await log.flush()
    endings = [classify(each.outcome, each.status) for each in made]
    expected = (
        len(made),
        endings.count(CallClass.FAILED),
        endings.count(CallClass.REFUSED),
        endings.count(CallClass.LEFT),
        sum(bool(each.attempts) for each in made),
        10 * len(made),
        5 * len(made),
        sum(each.cost_nano_usd for each in made),
    )
    async with database.reader() as connection:
        for grain in GRAINS_S:
            for facet in ("all", "reason"):
                ((*sums,),) = await connection.execute_fetchall(
                    "SELECT sum(calls), sum(failed), sum(refused), sum(left_early), sum(fallbacks), "
                    "sum(input_tokens), sum(output_tokens), sum(cost_nano_usd) "
                    "FROM rollups WHERE grain = ? AND facet = ?",
                    (grain, facet),
                )
                assert tuple(sums) == expected, (grain, facet)
            stored = await connection.execute_fetchall(
                "SELECT latency FROM rollups WHERE grain = ? AND facet = 'all'", (grain,)
            )
            counted = sum(percentiles(from_bytes(latency)).count for (latency,) in stored)
            assert counted == endings.count(CallClass.ANSWERED)


async def test_a_call_counts_in_the_bucket_in_which_it_began(database: Database, log: DecisionLog) -> None:
    log.record(record(1, started_ns=NOON_NS - 1, duration_ms=90_000.0))
    log.record(record(2, started_ns=NOON_NS))
    await log.flush()
    noon_s = NOON_NS // SECOND_NS
    assert await starts(database, "all") == {
        60: [noon_s - 60, noon_s],
        900: [noon_s - 900, noon_s],
        3_600: [noon_s - 3_600, noon_s],
        86_400: [noon_s - 43_200],
    }


async def test_faults_are_counted_by_attempt_under_the_tier_tried(
    database: Database, log: DecisionLog
) -> None:
    tried = (attempt("openai", "timeout"), attempt("openai", "timeout"), attempt("local_ollama"))
    log.record(record(1, attempts=tried, tier="local_ollama"))
    await log.flush()
    async with database.reader() as connection:
        rows = await connection.execute_fetchall(
            "SELECT tier, label, calls FROM rollups WHERE grain = 86400 AND facet = 'fault'"
        )
    assert list(rows) == [("openai", "timeout", 2)]


async def test_a_bucket_tells_only_so_many_labels_apart_even_after_a_restart(
    tmp_path: Path, clock: SetClock
) -> None:
    calls = LABELS_MAX + 30
    for half in (range(calls // 2), range(calls // 2, calls)):
        database = await Database.open(tmp_path)
        log = await DecisionLog.open(database, clock)
        for number in half:
            log.record(record(number, app=f"app-{number}", started_ns=NOON_NS + number))
        await log.close()
        await database.close()
    database = await Database.open(tmp_path)
    async with database.reader() as connection:
        rows = await connection.execute_fetchall(
            "SELECT label, calls FROM rollups WHERE grain = 86400 AND facet = 'app'"
        )
    await database.close()
    counted = {row[0]: row[1] for row in rows}
    assert len(counted) == LABELS_MAX + 1
    assert counted[OTHER] == 30
    assert sum(counted.values()) == calls


async def test_one_batch_may_reach_over_many_days(database: Database, log: DecisionLog) -> None:
    for number in range(200):
        log.record(record(number, started_ns=NOON_NS - number * DAY_NS))
    await log.flush()
    assert len((await starts(database, "all"))[86_400]) == 200


async def starts(database: Database, facet: str) -> dict[int, list[int]]:
    async with database.reader() as connection:
        rows = await connection.execute_fetchall(
            "SELECT grain, start_s FROM rollups WHERE facet = ? ORDER BY grain, start_s", (facet,)
        )
    found: dict[int, list[int]] = {}
    for grain, start_s in rows:
        found.setdefault(grain, []).append(start_s)
    return found
