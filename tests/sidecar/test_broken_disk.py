"""The disk full, or the ledger locked: paid tiers close, local goes on, and afterwards all is as before."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.rig.serving import Serve, ServedSidecar
from tests.rig.world import CHAT, CRITICAL, HIGH, PUBLIC, World, chat
from tests.sidecar.storage.ledger_rig import rows

OLLAMA = "/api/chat"
CAPS = [{"name": "all", "tier": "*", "period": "day", "usd": "5"}]


@contextmanager
def full_disk(sidecar: ServedSidecar) -> Iterator[None]:
    """No file of the process may grow, nor be written at all: what a full file system does to it."""
    before = resource.prlimit(sidecar.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(sidecar.pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def locked(sidecar: ServedSidecar) -> Iterator[None]:
    """Another program keeps the write locks of all databases."""
    found = sorted(sidecar.data_dir.glob("*.sqlite"))
    assert len(found) >= 2, found
    others = [sqlite3.connect(path, isolation_level=None) for path in found]
    for other in others:
        other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        for other in others:
            other.close()


@pytest.fixture
def sidecar(serve: Serve) -> ServedSidecar:
    return serve("broken-disk", {"budgets": {"caps": CAPS}, "privacy": {"max_scan_ms": 10_000}})


@pytest.fixture
async def client(sidecar: ServedSidecar) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=sidecar.base, timeout=20, trust_env=False) as client:
        yield client


async def decision(sidecar: ServedSidecar, client: httpx.AsyncClient, answer: httpx.Response) -> Any:
    """What is on record of a call, once it is."""
    path = f"/admin/decisions/{answer.headers['x-sidecar-request-id']}"
    async with asyncio.timeout(20):
        while (found := await client.get(path, headers=sidecar.bearer)).status_code != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return found.json()


async def cap(sidecar: ServedSidecar, client: httpx.AsyncClient) -> dict[str, Any]:
    (cap,) = (await client.get("/admin/budgets", headers=sidecar.bearer)).json()["budgets"]
    return dict(cap)


@pytest.mark.parametrize("trouble", [full_disk, locked])
async def test_paid_tiers_close_local_goes_on_and_it_mends_itself(
    world: World,
    sidecar: ServedSidecar,
    client: httpx.AsyncClient,
    trouble: Callable[[ServedSidecar], AbstractContextManager[None]],
) -> None:
    good = await client.post(CHAT, json=chat(), headers=CRITICAL)
    assert good.headers["x-sidecar-tier"] == "openai"
    await world.openai.fault(stream=True, drip_s=0.02, times=1)
    body = chat("word " * 30, stream=True, max_tokens=60)
    async with client.stream("POST", CHAT, json=body, headers=CRITICAL) as under_way:
        pieces = under_way.aiter_text()
        text = await anext(pieces)
        with trouble(sidecar):
            asked = [(CHAT, CRITICAL), (OLLAMA, CRITICAL), (CHAT, HIGH), (OLLAMA, HIGH), (CHAT, PUBLIC)]
            answers = [
                await client.post(door, json=chat(stream=stream), headers=headers)
                for door, headers in asked
                for stream in (False, True)
            ]
            answers += await asyncio.gather(
                *(client.post(CHAT, json=chat(f"question {n}"), headers=CRITICAL) for n in range(30))
            )
            async for piece in pieces:
                text += piece
            change = await client.put("/admin/budgets/all", json={"usd": "4"}, headers=sidecar.bearer)
            assert change.status_code == 503, change.text
    assert text.endswith("data: [DONE]\n\n")
    assert {(answer.status_code, answer.headers["x-sidecar-tier"]) for answer in answers} == {
        (200, "local_ollama")
    }
    async with asyncio.timeout(20):
        again = await client.post(CHAT, json=chat(), headers=CRITICAL)
        while again.headers["x-sidecar-tier"] != "openai":
            await asyncio.sleep(0.05)
            again = await client.post(CHAT, json=chat(), headers=CRITICAL)
    for answer in (*answers[:8], *answers[-30:]):
        passed_over = (await decision(sidecar, client, answer))["passed_over"]
        assert {tier["reason"] for tier in passed_over} == {"budget_unavailable"}, passed_over
        assert all(tier["detail"] for tier in passed_over)
    await nothing_is_lost(world, sidecar, client)


async def nothing_is_lost(world: World, sidecar: ServedSidecar, client: httpx.AsyncClient) -> None:
    """What is billed is posted, to the token; the file has no hold open, and says what the sheet says."""
    async with asyncio.timeout(20):
        while rows(ledger_of(sidecar), "SELECT id FROM ledger_holds WHERE state = 'open'"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    states = rows(ledger_of(sidecar), "SELECT DISTINCT state FROM ledger_holds")
    assert {state for (state,) in states} <= {"reported", "released"}
    totals = await world.openai.totals()
    billed = (totals.input_tokens + totals.output_tokens) * 15_000
    newest = rows(
        ledger_of(sidecar),
        "SELECT sum(posted) FROM (SELECT posted FROM ledger_holds WHERE state = 'reported'"
        f" ORDER BY id DESC LIMIT {totals.requests})",
    )
    assert newest == [(billed,)]
    now = await cap(sidecar, client)
    [(posted,)] = rows(ledger_of(sidecar), "SELECT sum(posted) FROM ledger_holds")
    assert (int(Decimal(now["posted"]) * 10**9), Decimal(now["held"])) == (posted, Decimal(0))


def ledger_of(sidecar: ServedSidecar) -> Path:
    return sidecar.data_dir / "ledger.sqlite"


async def test_a_cap_that_is_lowered_while_the_ledger_is_locked_counts_at_once(world: World) -> None:
    sidecar = await world.sidecar({"budgets": {"caps": CAPS}})
    data_dir = Path(sidecar.config["data_dir"])
    with closing(sqlite3.connect(data_dir / "ledger.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await sidecar.reload({"budgets": {"caps": [{**CAPS[0], "usd": "0.000001"}]}})
        (cap,) = (await sidecar.admin("GET", "/budgets"))["budgets"]
        assert (cap["usd"], cap["set_by"]) == ("0.000001", "config")
        response = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
        assert response.headers["x-sidecar-tier"] == "local_ollama"
    async with asyncio.timeout(10):
        while rows(data_dir / "ledger.sqlite", "SELECT limit_nano FROM ledger_caps") != [(1_000,)]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
