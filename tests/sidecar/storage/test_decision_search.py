"""Pages of decisions are what a plain search over all records would give, however they are found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.vocabulary import Arm, DecisionRecord, Outcome, TaskType, VerdictState
from sidecar.storage import decision_search
from sidecar.storage.database import Database
from sidecar.storage.decision_filter import STATUS_CLASSES, DecisionFilter
from sidecar.storage.decision_log import DecisionLog
from sidecar.storage.decision_search import DecisionSearch
from tests.sidecar.storage.conftest import SetClock
from tests.sidecar.storage.records import (
    MINUTE_NS,
    NOON_NS,
    POLICY,
    POLICY_ID,
    SECOND_NS,
    record,
    varied,
)

RECORDS = varied(2_500)


class Shelf:
    """A database with ``RECORDS`` in it, and an event loop for tests that are not async."""

    def __init__(self, runner: asyncio.Runner, database: Database) -> None:
        self._runner = runner
        self._database = database

    def walk(self, wanted: DecisionFilter, limit: int, **tuning: Any) -> list[str]:
        """The ids on all pages, in order."""
        return self._runner.run(all_ids(DecisionSearch(self._database, **tuning), wanted, limit))


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    with asyncio.Runner() as runner:
        database = runner.run(Database.open(tmp_path_factory.mktemp("shelf")))
        runner.run(fill(database, RECORDS))
        yield Shelf(runner, database)
        runner.run(database.close())


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


EQUALITIES = {
    "request_id": st.sampled_from(["request-7", "request-none"]),
    "tier": st.sampled_from(["local_ollama", "openai", "", "no_such_tier"]),
    "arm": st.sampled_from(Arm),
    "reason": st.sampled_from(["default_local", "critical_quality", "pinned", "no_such_reason"]),
    "outcome": st.sampled_from(Outcome),
    "verdict": st.sampled_from(VerdictState),
    "fallback": st.booleans(),
    "app": st.sampled_from(["app-a", "app-b", "app-c", ""]),
    "session": st.sampled_from(["session-a", "session-3", "", "nobody"]),
    "model": st.sampled_from(["gpt-4o", "llama3.2", "", "other"]),
    "task_type": st.sampled_from([TaskType.GENERATION, TaskType.VISION]),
    "status_class": st.sampled_from(sorted(STATUS_CLASSES)),
    "error_code": st.sampled_from(["upstream_failed", ""]),
}
TIMES_NS = st.integers(NOON_NS - MINUTE_NS, NOON_NS + (len(RECORDS) + 60) * SECOND_NS)
COSTS = st.sampled_from([0, 1, 2, 1_000_000, 500_000_000])
LATENCIES = st.sampled_from([0.0, 1.0, 50.0, 400.0, 1_999.9, 2_000.0, 5_000.0])
RANGES = {
    "since_ns": TIMES_NS,
    "until_ns": TIMES_NS,
    "min_cost_nano_usd": COSTS,
    "max_cost_nano_usd": COSTS,
    "min_latency_ms": LATENCIES,
    "max_latency_ms": LATENCIES,
}
#: Few fields at a time, so that something is found.
FILTERS = st.lists(st.sampled_from(sorted(EQUALITIES | RANGES)), max_size=3, unique=True).flatmap(
    lambda names: st.builds(DecisionFilter, **{name: (EQUALITIES | RANGES)[name] for name in names})
)


@settings(max_examples=250, deadline=None)
@given(
    wanted=FILTERS,
    limit=st.sampled_from([11, 50, 1_000]),
    rare_max=st.sampled_from([0, 20, 5_000]),
    budget_s=st.sampled_from([0.0, 10.0]),
)
def test_the_pages_hold_what_a_search_through_all_records_finds(
    shelf: Shelf, wanted: DecisionFilter, limit: int, rare_max: int, budget_s: float
) -> None:
    assert shelf.walk(wanted, limit, rare_max=rare_max, budget_s=budget_s) == expected(wanted)


@pytest.mark.parametrize(
    "wanted",
    [DecisionFilter(tier="openai"), DecisionFilter(fallback=True), DecisionFilter(min_latency_ms=2_000.0)],
)
def test_the_records_searched_tell_filters_apart(shelf: Shelf, wanted: DecisionFilter) -> None:
    assert 0 < len(shelf.walk(wanted, 1_000)) < len(RECORDS)


async def test_a_page_is_newest_first_with_a_cursor_while_there_is_more(
    database: Database, log: DecisionLog
) -> None:
    await add(log, [record(number) for number in range(5)])
    search = DecisionSearch(database)
    first = await search.page(limit=3)
    assert [found.request_id for found in first.decisions] == ["request-4", "request-3", "request-2"]
    last = await search.page(cursor=first.next_cursor, limit=3)
    assert [found.request_id for found in last.decisions] == ["request-1", "request-0"]
    assert last.next_cursor is None
    exact = await search.page(limit=5)
    assert exact.next_cursor is None


async def test_an_empty_database_has_an_empty_page(database: Database) -> None:
    page = await DecisionSearch(database).page()
    assert page == decision_search.DecisionPage((), None)


async def test_paging_while_calls_end_shows_each_earlier_call_once(
    database: Database, log: DecisionLog
) -> None:
    await add(log, [record(number) for number in range(300)])
    search = DecisionSearch(database)
    seen: list[str] = []
    cursor, number = None, 300
    while True:
        page = await search.page(DecisionFilter(tier="local_ollama"), cursor, limit=7)
        seen += [found.request_id for found in page.decisions]
        cursor = page.next_cursor
        if cursor is None:
            break
        # Calls that began long ago end now.
        await add(log, [record(number + more, started_ns=NOON_NS + more) for more in range(5)])
        number += 5
    assert seen == [f"request-{number}" for number in range(299, -1, -1)]


async def test_a_walk_out_of_time_comes_back_short_and_goes_on(database: Database, log: DecisionLog) -> None:
    await add(log, [record(0, duration_ms=1.0), *(record(number) for number in range(1, 2_400))])
    search = DecisionSearch(database, budget_s=0.0)
    wanted = DecisionFilter(max_latency_ms=2.0)
    lengths, cursor = [], None
    while True:
        page = await search.page(wanted, cursor)
        lengths.append(len(page.decisions))
        cursor = page.next_cursor
        if cursor is None:
            break
    assert lengths == [0, 0, 1]


@pytest.mark.parametrize(
    "cursor", ["nonsense", "", "ZGVjaXNpb25z", "YXVkaXQ6Nw", "é", "ZGVjaXNpb25zOi0x", "A" * 5_000]
)
async def test_a_cursor_from_elsewhere_is_refused(database: Database, cursor: str) -> None:
    if cursor == "":
        assert (await DecisionSearch(database).page(cursor=cursor)).decisions == ()
        return
    with pytest.raises(ValueError, match="not a cursor"):
        await DecisionSearch(database).page(cursor=cursor)


async def test_what_is_new_comes_oldest_first_and_bounded(
    database: Database, log: DecisionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision_search, "NEWER_MAX", 4)
    search = DecisionSearch(database)
    nothing = await search.newer(0)
    assert (nothing.decisions, nothing.sequence) == ((), 0)
    await add(log, [record(number, tier="openai" if number % 2 else "local_ollama") for number in range(6)])
    wanted = DecisionFilter(tier="openai")
    first = await search.newer(0, wanted)
    assert [found.request_id for found in first.decisions] == ["request-1", "request-3"]
    second = await search.newer(first.sequence, wanted)
    assert [found.request_id for found in second.decisions] == ["request-5"]
    assert second.sequence == log.written_sequence == 6
    assert (await search.newer(second.sequence)).sequence == 6


async def test_hostile_text_is_found_as_it_was_written_but_cut(database: Database, log: DecisionLog) -> None:
    hostile = "'; DROP TABLE decisions; -- <script>\x00\u202e" + "x" * 10_000
    await add(log, [record(1, session=hostile, model=hostile), record(2)])
    search = DecisionSearch(database)
    for wanted in (DecisionFilter(session=hostile), DecisionFilter(model=hostile)):
        page = await search.page(wanted)
        assert [found.request_id for found in page.decisions] == ["request-1"]
        assert page.decisions[0].session == hostile[:256]
    whole = await search.get("request-1")
    assert whole is not None
    assert whole.session == hostile


async def test_what_is_not_there_is_none(database: Database) -> None:
    search = DecisionSearch(database)
    assert await search.get("nobody") is None
    assert await search.policy("nothing") is None
    assert await search.replay("nobody") is None


async def test_a_record_replays_to_its_decision_once_its_policy_is_known(
    database: Database, log: DecisionLog
) -> None:
    made = record(1)
    await add(log, [made])
    search = DecisionSearch(database)
    assert await search.replay("request-1") is None
    await log.remember_policy(POLICY_ID, POLICY)
    assert await search.policy(POLICY_ID) == POLICY
    assert await search.replay("request-1") == made.decision


async def fill(database: Database, records: list[DecisionRecord]) -> None:
    log = await DecisionLog.open(database, SetClock())
    await add(log, records)
    await log.close()


async def add(log: DecisionLog, records: list[DecisionRecord]) -> None:
    for made in records:
        log.record(made)
    await log.flush()


async def all_ids(search: DecisionSearch, wanted: DecisionFilter, limit: int) -> list[str]:
    ids: list[str] = []
    cursor = None
    while True:
        page = await search.page(wanted, cursor, limit)
        assert len(page.decisions) <= limit
        ids += [found.request_id for found in page.decisions]
        cursor = page.next_cursor
        if cursor is None:
            return ids


def expected(wanted: DecisionFilter) -> list[str]:
    """The ids of the matching records, the last that ended first."""
    conditions = [
        check(value) for name, check in CHECKS.items() if (value := getattr(wanted, name)) is not None
    ]
    return [made.request_id for made in reversed(RECORDS) if all(holds(made) for holds in conditions)]


Check = Callable[[Any], Callable[[DecisionRecord], bool]]


def same(read: Callable[[DecisionRecord], Any]) -> Check:
    return lambda value: lambda made: bool(read(made) == value)


CHECKS: dict[str, Check] = {
    "request_id": same(lambda made: made.request_id),
    "tier": same(lambda made: made.tier),
    "arm": same(lambda made: made.features.arm),
    "reason": same(lambda made: made.decision.reason),
    "outcome": same(lambda made: made.outcome),
    "verdict": same(lambda made: made.features.verdict.state),
    "fallback": same(lambda made: len({attempt.tier for attempt in made.attempts}) > 1),
    "app": same(lambda made: made.app),
    "session": same(lambda made: made.session),
    "model": same(lambda made: made.model),
    "task_type": same(lambda made: made.features.hints.task_type),
    "status_class": same(lambda made: f"{made.status // 100}xx"),
    "error_code": same(lambda made: made.error_code),
    "since_ns": lambda value: lambda made: made.started_ns >= value,
    "until_ns": lambda value: lambda made: made.started_ns < value,
    "min_cost_nano_usd": lambda value: lambda made: made.cost_nano_usd >= value,
    "max_cost_nano_usd": lambda value: lambda made: made.cost_nano_usd <= value,
    "min_latency_ms": lambda value: lambda made: made.duration_ms >= value,
    "max_latency_ms": lambda value: lambda made: made.duration_ms <= value,
}


def test_every_filter_is_checked_here() -> None:
    names = {field.name for field in msgspec.structs.fields(DecisionFilter)}
    assert names == set(CHECKS) == set(EQUALITIES | RANGES)
