"""The rollout survives restarts exactly, and two who move it cannot overwrite each other unseen."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.core.rollout_states import Event, NoSuchMove, Phase
from sidecar.storage.database import Database
from sidecar.storage.rollout_store import (
    RolloutChange,
    RolloutState,
    RolloutStore,
    StaleRollout,
    hundredths_of,
)
from tests.sidecar.storage.conftest import SetClock
from tests.sidecar.storage.records import NOON_NS


async def open_store(database: Database, percent: float = 10, letter: str = "a") -> RolloutStore:
    return await RolloutStore.open(
        database, SetClock(), initial_percent=percent, entropy=lambda size: letter.encode() * size
    )


async def move(store: RolloutStore, hundredths: int, **options: int) -> RolloutState:
    return await store.apply(Event.SET, actor="ann", why="looks good", hundredths=hundredths, **options)


FIRST = RolloutChange(1, NOON_NS, "configuration", None, 10.0, "the first start", "", "holding")


async def test_the_first_start_takes_the_configured_percentage(database: Database) -> None:
    store = await open_store(database, 12.5)
    assert store.current == RolloutState(
        1_250, "61" * 16, 1, Phase.HOLDING, NOON_NS, "configuration", "the first start"
    )
    assert store.current.percent == 12.5
    (first,) = await store.history()
    assert (first.version, first.from_percent, first.to_percent, first.event) == (1, None, 12.5, "")


async def test_a_first_start_at_the_last_stage_has_nothing_ahead(database: Database) -> None:
    assert (await open_store(database, 100)).current.phase is Phase.COMPLETE


async def test_afterwards_the_operators_value_and_the_first_salt_rule(tmp_path: Path) -> None:
    database = await Database.open(tmp_path)
    store = await open_store(database, 10, "a")
    moved = await move(store, 3_333)
    paused = await store.apply(Event.PAUSE, actor="bob", why="lunch")
    assert (moved.version, paused.version, paused.percent) == (2, 3, 33.33)
    await database.close()
    database = await Database.open(tmp_path)
    store = await open_store(database, 10, "b")
    assert store.current == paused
    assert (store.current.salt, store.current.phase) == ("61" * 16, Phase.PAUSED)
    assert await store.history() == (
        RolloutChange(3, NOON_NS, "bob", 33.33, 33.33, "lunch", "pause", "paused"),
        RolloutChange(2, NOON_NS, "ann", 10.0, 33.33, "looks good", "set", "holding"),
        FIRST,
    )
    await database.close()


async def test_where_an_advance_leads_is_remembered_until_it_is_there(database: Database) -> None:
    store = await open_store(database)
    for event in (Event.START, Event.BAKED):
        await store.apply(event, actor="schedule", why="")
    await store.apply(Event.ADVANCE, actor="schedule", why="", target_hundredths=3_000)
    again = await open_store(database)
    assert (again.current.phase, again.current.target_hundredths) == (Phase.ADVANCING, 3_000)
    await again.apply(Event.ARRIVE, actor="schedule", why="", hundredths=3_000)
    assert again.current.target_hundredths is None


async def test_a_move_that_the_table_does_not_have_changes_nothing(database: Database) -> None:
    store = await open_store(database)
    with pytest.raises(NoSuchMove):
        await store.apply(Event.RESUME, actor="ann", why="")
    assert await store.history() == (FIRST,)


async def test_a_stale_change_is_refused_and_shows_what_is_now(database: Database) -> None:
    store = await open_store(database)
    seen = store.current.version
    await move(store, 3_000, expected_version=seen)
    with pytest.raises(StaleRollout, match="version 2") as refused:
        await move(store, 5_000, expected_version=seen)
    assert refused.value.current == store.current
    assert store.current.percent == 30


async def test_of_two_changes_at_once_one_wins(database: Database) -> None:
    store = await open_store(database)
    results = await asyncio.gather(
        *(move(store, hundredths, expected_version=1) for hundredths in (3_000, 5_000, 7_500)),
        return_exceptions=True,
    )
    assert [isinstance(result, StaleRollout) for result in results] == [False, True, True]
    assert store.current.percent == 30
    assert len(await store.history()) == 2


async def test_a_change_that_cannot_be_written_does_not_take_effect(database: Database) -> None:
    store = await open_store(database)
    async with database.transaction() as connection:
        await connection.execute(
            "CREATE TRIGGER no BEFORE UPDATE ON rollout BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    with pytest.raises(Exception, match="no"):
        await move(store, 3_000)
    assert store.current.percent == 10


async def test_progress_is_kept_as_it_is(database: Database) -> None:
    store = await open_store(database)
    assert await store.progress() is None
    for progress in (b"one", b"\x00\xfftwo"):
        await store.keep_progress(progress)
        assert await (await open_store(database)).progress() == progress


@pytest.mark.parametrize(
    ("percent", "hundredths"),
    [(0, 0), (100, 10_000), (0.01, 1), (33.33, 3_333), ("7.5", 750), (Decimal("99.99"), 9_999), (0.29, 29)],
)
def test_two_decimals_are_exact(percent: float | str | Decimal, hundredths: int) -> None:
    assert hundredths_of(percent) == hundredths


@pytest.mark.parametrize(
    "percent", [-1, 100.01, 33.333, "ten", "", float("nan"), float("inf"), True, "1e1000000000"]
)
def test_what_is_no_percentage_is_refused(percent: float | str) -> None:
    with pytest.raises(ValueError, match="percentage must be"):
        hundredths_of(percent)
