"""What the process stands on fails, piece by piece and all at once: local answers go on."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.rig.process import Served
from tests.rig.world import CHAT, CRITICAL, PUBLIC, World, chat

PERSONAL = "Write to Erika at erika.musterfrau@web.de about her diabetes."


@pytest.fixture
def exporter_that_never_answers() -> Iterator[str]:
    """A collector that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
async def served(
    world: World, tmp_path: Path, exporter_that_never_answers: str
) -> AsyncIterator[tuple[Served, httpx.AsyncClient]]:
    """A sidecar whose exporter is dead from the start and one of whose tiers has a name not to be found."""
    served = Served(
        world.config(
            {
                "tiers": {"ollama_cloud": {"base_url": "http://there-is-none.invalid"}},
                "telemetry": {"otlp_endpoint": exporter_that_never_answers},
            }
        ),
        tmp_path,
    )
    served.start()
    async with httpx.AsyncClient(base_url=served.base, timeout=30, trust_env=False) as client:
        yield served, client
    served.kill()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program keeps a database's write lock."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.rollback()
        other.close()


@contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """No file that the process writes takes a byte."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


async def answers_locally(client: httpx.AsyncClient) -> int:
    """Calls of every kind that the machine can answer by itself are answered; returns how many."""
    calls = [
        (CHAT, chat(stream=stream), PUBLIC, done)
        for stream, done in ((False, '"finish_reason":"stop"'), (True, "data: [DONE]"))
    ]
    calls += [("/api/chat", chat(PERSONAL, stream=True), {}, '"done":true')]
    # A paid tier may be out of reach; then this call too is answered here.
    calls += [(CHAT, chat(), CRITICAL, '"finish_reason":"stop"')]
    answers = await asyncio.gather(
        *(client.post(door, json=body, headers=headers) for door, body, headers, _ in calls)
    )
    for answer, (*_, done) in zip(answers, calls, strict=True):
        assert answer.status_code == 200, answer.text
        assert done in answer.text.replace('": ', '":')
    assert {answer.headers["x-sidecar-tier"] for answer in answers[:3]} == {"local_ollama"}
    assert (await client.get("/health/ready")).status_code == 200
    return len(answers)


async def said_to_be_failing(served: Served, client: httpx.AsyncClient) -> None:
    """Until the operator is told that decisions cannot be written."""
    async with asyncio.timeout(20):
        while True:
            status = (await client.get("/admin/status", headers=served.bearer)).json()
            if status["decision_log"]["failing"]:
                return
            await asyncio.sleep(0.05)


async def tier_of_a_paid_call(client: httpx.AsyncClient) -> str:
    answer = await client.post(CHAT, json=chat(), headers=CRITICAL)
    assert answer.status_code == 200, answer.text
    return str(answer.headers["x-sidecar-tier"])


async def test_nobody_reading_the_log_holds_no_call_up(world: World, tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    await world.local.fault(status=500)
    config = {
        "tiers": {"local_ollama": {"breaker": {"open_s": 0.01}}},
        "rollout": {"gates": {"error_rate_max": 1.0, "p95_ms_max": 1e9}},
    }
    served = Served(world.config(config), tmp_path)
    served.start(stderr=write_end)
    os.close(write_end)
    try:
        async with httpx.AsyncClient(base_url=served.base, timeout=30, trust_env=False) as client:
            for _ in range(10):
                failed = await asyncio.gather(
                    *(client.post(CHAT, json=chat(), headers=PUBLIC) for _ in range(40))
                )
                assert {answer.status_code for answer in failed} == {503}
            await world.local.heal()
            async with asyncio.timeout(20):
                while (await client.post(CHAT, json=chat(), headers=PUBLIC)).is_error:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        assert served.stop() == 0
    finally:
        served.kill()
        os.close(read_end)


async def test_local_answers_go_on_whatever_fails(served: tuple[Served, httpx.AsyncClient]) -> None:
    process, client = served
    calls = await answers_locally(client)
    assert await tier_of_a_paid_call(client) == "openai"
    calls += 1
    decisions, ledger = process.data_dir / "sidecar.sqlite", process.data_dir / "ledger.sqlite"
    troubles = [
        [locked(decisions)],
        [locked(ledger)],
        [full_disk(process.process.pid)],
        [locked(decisions), locked(ledger), full_disk(process.process.pid)],
    ]
    for trouble in troubles:
        with ExitStack() as stack:
            for each in trouble:
                stack.enter_context(each)
            for _ in range(3):
                calls += await answers_locally(client)
            if len(trouble) > 1:
                # No money can be held, so none is spent.
                assert await tier_of_a_paid_call(client) == "local_ollama"
                calls += 1
            if trouble is troubles[2]:
                await said_to_be_failing(process, client)
        async with asyncio.timeout(20):
            while await tier_of_a_paid_call(client) != "openai":
                calls += 1
                await asyncio.sleep(0.1)
            calls += 1
    assert process.stop() == 0
    rows = sqlite3.connect(decisions).execute("SELECT count(*), sum(outcome = 'complete') FROM decisions")
    assert rows.fetchone() == (calls, calls)
    held = sqlite3.connect(ledger).execute("SELECT count(*) FROM ledger_holds WHERE state = 'open'")
    assert held.fetchone() == (0,)
