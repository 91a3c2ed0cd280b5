"""Measures what remembering costs: CPU per record, stalls of the event loop, pages, reports, retention.

::

    python -m benchmarks.decision_log                         # in a fresh directory, 100,000 decisions
    python -m benchmarks.decision_log --data-dir /tmp/seeded  # one that benchmarks.seed_decisions has filled
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.seed_decisions import records, seed
from sidecar.storage.database import Database
from sidecar.storage.decision_filter import DecisionFilter
from sidecar.storage.decision_log import DecisionLog
from sidecar.storage.decision_search import DecisionSearch
from sidecar.storage.reports import Reports, Split, Window
from sidecar.storage.retention import Retention, RetentionLimits

BURST = 20_000
PACED_PER_S = 1_000
PACED_S = 8

#: What an operator looks for: common values, rare ones, ones that nothing has, and several at once.
QUERIES: tuple[dict[str, str], ...] = (
    {},
    {"tier": "local_ollama"},
    {"tier": "openai"},
    {"tier": "no_such_tier"},
    {"arm": "legacy"},
    {"reason": "default_local"},
    {"reason": "pinned"},
    {"outcome": "complete"},
    {"outcome": "client_left"},
    {"verdict": "SENSITIVE"},
    {"verdict": "UNKNOWN"},
    {"fallback": "true"},
    {"fallback": "false"},
    {"app": "app-11"},
    {"session": "session-00000123"},
    {"model": "gpt-4o"},
    {"task_type": "embedding"},
    {"status_class": "4xx"},
    {"status_class": "2xx"},
    {"error_code": "upstream_failed"},
    {"min_cost_usd": "0.06"},
    {"max_cost_usd": "0"},
    {"min_latency_ms": "1000"},
    {"min_latency_ms": "15000"},
    {"max_latency_ms": "5"},
    {"max_latency_ms": "0.1"},
    {"tier": "openai", "outcome": "client_left"},
    {"tier": "openai", "reason": "default_local"},
    {"tier": "openai", "min_latency_ms": "3000", "app": "app-3"},
)


async def writing_at_full_speed() -> None:
    """As many records as the database takes, nothing else to do."""
    made = list(records(BURST, time.time_ns() - 60_000_000_000, time.time_ns()))
    with tempfile.TemporaryDirectory() as data_dir:
        database = await Database.open(Path(data_dir))
        log = await DecisionLog.open(database, time.time_ns)
        cpu, loop_cpu, wall = time.process_time(), time.thread_time(), time.perf_counter()
        for number, record in enumerate(made, 1):
            log.record(record)
            if number % 5_000 == 0:
                await log.flush()
        cpu, loop_cpu = time.process_time() - cpu, time.thread_time() - loop_cpu
        wall = time.perf_counter() - wall
        await log.close()
        await database.close()
    print(f"full speed       {BURST / wall:8,.0f} records/s")
    print(
        f"  CPU per record {cpu / BURST * 1e6:8.1f} µs, of which event loop {loop_cpu / BURST * 1e6:.1f} µs"
    )


async def writing_at_a_pace() -> None:
    """A steady load, and how late a timer on the same event loop runs meanwhile."""
    made = list(records(PACED_PER_S * PACED_S, time.time_ns(), time.time_ns() + PACED_S * 10**9))
    late_ms: list[float] = []
    idle_late_ms: list[float] = []
    with tempfile.TemporaryDirectory() as data_dir:
        database = await Database.open(Path(data_dir))
        log = await DecisionLog.open(database, time.time_ns)
        idle_cpu = await ticking(lambda: None, idle_late_ms)
        waiting = iter(made)
        cpu = await ticking(lambda: log.record(next(waiting)), late_ms) - idle_cpu
        await log.close()
        await database.close()
    print(f"{PACED_PER_S:,} records/s, CPU per record {cpu / len(made) * 1e6:.1f} µs, dropped {log.dropped}")
    print(f"  timer late by             {spread(late_ms)}")
    print(f"  and without any recording {spread(idle_late_ms)}")


async def ticking(act: Callable[[], None], late_ms: list[float]) -> float:
    """Act at the pace for its time; the process's CPU seconds meanwhile."""
    cpu, began = time.process_time(), time.perf_counter()
    for number in range(PACED_PER_S * PACED_S):
        due = began + number / PACED_PER_S
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        late_ms.append((time.perf_counter() - due) * 1e3)
        act()
    return time.process_time() - cpu


async def reading(data_dir: Path) -> None:
    """Pages for every query and every report, each several times, first ones included."""
    database = await Database.open(data_dir)
    search, reports = DecisionSearch(database), Reports(database, time.time_ns)
    async with database.reader() as connection:
        ((count,),) = await connection.execute_fetchall("SELECT count(*) FROM decisions")
    print(f"\n{count:,} decisions, {database.path.stat().st_size / 1e6:,.0f} MB")
    everything: list[float] = []
    for query in QUERIES:
        wanted = DecisionFilter.parse(query)
        cursor, took = None, []
        for _ in range(10):
            began = time.perf_counter()
            page = await search.page(wanted, cursor)
            took.append((time.perf_counter() - began) * 1e3)
            cursor = page.next_cursor
        everything += took
        print(f"  page {shown(query):58} p50 {statistics.median(took):6.1f} ms  max {max(took):6.1f} ms")
    print(f"  all pages: {spread(everything)}")
    for window in Window:
        for name, report in {
            "overview": lambda window=window: reports.overview(window),
            "series": lambda window=window: reports.series(window),
            "series by tier": lambda window=window: reports.series(window, split=Split.TIER),
            "arms": lambda window=window: reports.arms(window),
            "by_app": lambda window=window: reports.by_app(window),
        }.items():
            print(f"  {window.value:4} {name:15} {await median_ms(report):6.1f} ms")
    await database.close()


async def median_ms(report: Callable[[], Awaitable[object]]) -> float:
    took = []
    for _ in range(5):
        began = time.perf_counter()
        await report()
        took.append((time.perf_counter() - began) * 1e3)
    return statistics.median(took)


def shown(query: dict[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in query.items()) or "everything"


async def forgetting(data_dir: Path) -> None:
    """How long the writer is kept from others while decisions and pages go."""
    database = await Database.open(data_dir)
    size_mb = database.path.stat().st_size / 1e6
    retention = Retention(database, time.time_ns, RetentionLimits(days=None, size_mb=size_mb * 0.98))
    running = asyncio.create_task(retention.enforce())
    waited_ms: list[float] = []
    while not running.done():
        began = time.perf_counter()
        async with database.transaction():
            waited_ms.append((time.perf_counter() - began) * 1e3)
        await asyncio.sleep(0.003)
    gone = await running
    await database.close()
    print(f"\nretention: {gone.decisions:,} decisions and {gone.pages:,} pages went")
    print(f"  others waited for the writer {spread(waited_ms)}")


def spread(took_ms: list[float]) -> str:
    """The percentiles that matter, in words."""
    ranked = sorted(took_ms)
    p50, p95, p99 = (ranked[int(share * (len(ranked) - 1))] for share in (0.50, 0.95, 0.99))
    return f"p50 {p50:.2f} ms, p95 {p95:.2f} ms, p99 {p99:.2f} ms, max {ranked[-1]:.2f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="a seeded one, for pages and retention")
    options = parser.parse_args()
    asyncio.run(writing_at_full_speed())
    asyncio.run(writing_at_a_pace())
    with tempfile.TemporaryDirectory() as fresh:
        data_dir = options.data_dir or Path(fresh)
        if options.data_dir is None:
            asyncio.run(seed(data_dir, 100_000, 1))
        asyncio.run(reading(data_dir))
        asyncio.run(forgetting(data_dir))


if __name__ == "__main__":
    main()
