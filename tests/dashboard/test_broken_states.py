"""When something beside the pages is broken, they say what, and what that means for the calls."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.dashboard.stage import Stage, csrf_of, give_past, record, stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


@contextmanager
def connected(running: Stage) -> Iterator[sqlite3.Connection]:
    """The sidecar's database, opened by another program."""
    path = Path(running.config["data_dir"]) / "sidecar.sqlite"
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        yield connection
    finally:
        connection.close()


async def until_told(client: httpx.AsyncClient, words: str) -> str:
    """The state line of a page that asks the database for little, once it has ``words``."""
    async with asyncio.timeout(15):
        while words not in (page := (await client.get("/policy")).text):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return page


async def test_a_database_that_cannot_be_written(fresh: Stage) -> None:
    await give_past(fresh.services, calls=5)
    async with fresh.client() as client:
        form = {"csrf": csrf_of((await client.get("/rollout?to=75")).text), "percent": "75", "version": "1"}
        with connected(fresh) as other:
            await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
            fresh.services.log.record(record(1, time.time_ns(), dice=random.Random(1), app="waits"))
            page = await until_told(client, "Decisions cannot be written; they wait in memory.")
            assert "another program holds the database" in page
            assert 'class="health error"' in page
            assert (await client.get("/decisions")).status_code == 200, "what was written can be read"
            refused = await client.post("/rollout", data=form)
            assert refused.status_code == 503
            assert "The database does not answer" in refused.text
            assert "Calls go on being served" in refused.text
            assert fresh.services.rollout.current.percent == 30
            await asyncio.to_thread(other.execute, "ROLLBACK")
        async with asyncio.timeout(15):
            while "waits" not in (await client.get("/decisions")).text:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert "cannot be written" not in (await client.get("/policy")).text
        assert (await client.post("/rollout", data=form)).status_code == 303


async def test_a_database_that_cannot_be_read(fresh: Stage) -> None:
    await give_past(fresh.services, calls=5)
    async with fresh.client() as client:
        with connected(fresh) as other:
            await asyncio.to_thread(other.execute, "ALTER TABLE rollups RENAME TO hidden")
            for path in ("", "/decisions", "/rollout", "/tiers"):
                broken = await client.get(path)
                assert broken.status_code == 503, path
                assert "The database does not answer" in broken.text
            assert (await client.get("/audit")).status_code == 200
            await asyncio.to_thread(other.execute, "ALTER TABLE hidden RENAME TO rollups")
        assert (await client.get("")).status_code == 200


async def test_a_collector_that_is_down(tmp_path: Path) -> None:
    async with stage(tmp_path, {"telemetry": {"otlp_endpoint": "http://127.0.0.1:9"}}) as running:
        running.sidecar.record(record(1, time.time_ns(), dice=random.Random(1)))
        async with running.client() as client:
            page = await until_told(client, "The collector does not take traces; calls go on unharmed.")
            assert "traces: " in page
            status = await running.admin("GET", "/status")
            assert status["telemetry"]["failing"].startswith("traces: ")


async def test_a_cap_that_is_used_up(fresh: Stage) -> None:
    await fresh.services.budgets.set_cap("openai-month", "0.01", actor="test")
    await fresh.services.budgets.set_cap("cloud-month", "0", actor="test")
    async with fresh.client() as client:
        page = (await client.get("/budgets")).text
        assert "switched off: a limit of nothing" in page
        trial = fresh.services.try_call(
            "hello", "auto", {"quality": "critical", "data-classification": "public"}
        )
        assert [one.reason for one in trial.decision.rejected] == ["budget_exhausted"] * 2
