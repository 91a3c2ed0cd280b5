"""Stopping while calls run: they finish, or are told; nothing is lost silently."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest

from sidecar.drain import Ending
from tests.rig.otlp import OtlpReceiver
from tests.rig.process import Served
from tests.rig.world import CHAT, CRITICAL, PUBLIC, World, chat

STREAMS = 50
#: What a busy machine may need beyond ``drain_s``.
AIR_S = 1.0
#: What a second signal may take, with some air too.
AT_ONCE_S = 2.0


@pytest.fixture
def drain_s() -> float:
    """Long enough for short streams to end on a busy machine."""
    return 8.0


@pytest.fixture
def served(world: World, tmp_path: Path, drain_s: float) -> Iterator[Served]:
    served = Served(world.config({"drain_s": drain_s}), tmp_path)
    yield served
    served.kill()


async def stream_all(served: Served, *, twice: bool) -> tuple[list[str], float]:
    """Start streams at both dialects' doors; stop the sidecar when all have begun. Returns what each
    client got, and how long the process took to end."""
    begun = asyncio.Semaphore(0)

    async def stream(client: aiohttp.ClientSession, number: int) -> str:
        door = CHAT if number % 2 else "/api/chat"
        async with client.post(
            served.base + door, json=chat(stream=True, max_tokens=20), headers=CRITICAL
        ) as response:
            assert response.status == 200
            got = await response.content.readany()
            begun.release()
            return (got + await response.read()).decode()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        tasks = [asyncio.create_task(stream(client, number)) for number in range(STREAMS)]
        for _ in tasks:
            await begun.acquire()
        signalled = time.perf_counter()
        served.process.send_signal(signal.SIGTERM)
        if twice:
            # Another signal, for two of one kind that are not taken yet are one to the kernel.
            served.process.send_signal(signal.SIGINT)
        got = await asyncio.gather(*tasks)
        await asyncio.to_thread(served.process.wait, 30)
        return got, time.perf_counter() - signalled


def last_of(text: str) -> str:
    return text.strip().split("\n")[-1].removeprefix("data: ")


def endings(served: Served) -> list[tuple[str, int]]:
    rows = sqlite3.connect(served.data_dir / "sidecar.sqlite").execute(
        "SELECT outcome, count(*) FROM decisions GROUP BY outcome"
    )
    return [(str(outcome), int(count)) for outcome, count in rows]


async def test_streams_that_end_in_time_end_well(world: World, served: Served) -> None:
    served.start()
    await world.openai.fault(drip_s=0.05)
    got, took_s = await stream_all(served, twice=False)
    assert all('"done":true' in text or text.endswith("data: [DONE]\n\n") for text in got)
    assert served.stop() == 0
    assert endings(served) == [("complete", STREAMS)]
    assert took_s < 8.0 + AIR_S


@pytest.mark.parametrize(("twice", "drain_s"), [(False, 6.0), (True, 60.0)], ids=["drained", "told twice"])
async def test_streams_that_would_not_end_are_told_why(
    world: World, served: Served, twice: bool, drain_s: float
) -> None:
    served.start(covered=False)
    await world.openai.fault(endless=True, drip_s=0.05)
    got, took_s = await stream_all(served, twice=twice)
    for text in got:
        assert "being stopped" in str(json.loads(last_of(text))["error"])
        assert "[DONE]" not in text
    assert served.stop() == 0
    assert endings(served) == [("upstream_failed", STREAMS)]
    # That they failed is no tier's doing, and so nothing against the routed arm.
    assert "calls failed" not in served.stderr
    assert took_s < (AT_ONCE_S if twice else drain_s + AIR_S)
    ledger = sqlite3.connect(f"file:{served.data_dir / 'ledger.sqlite'}?mode=ro", uri=True)
    assert ledger.execute("SELECT count(*) FROM ledger_holds WHERE state = 'open'").fetchone() == (0,)
    assert all(entry.client_left for entry in await world.openai.log())


async def test_readiness_goes_first_and_waiting_calls_are_told(world: World) -> None:
    sidecar = await world.sidecar({"drain_s": 0.8})
    await world.local.fault(delay_s=30.0)
    call = asyncio.create_task(sidecar.http.post(CHAT, json=chat(), headers=PUBLIC))
    while not await world.local.arrived():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    sidecar.server.stop()
    ready = await sidecar.http.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "draining")
    response = await call
    assert (response.status_code, response.json()["error"]["code"]) == (503, "shutting_down")
    assert response.headers["retry-after"] == "1"


async def ended_within(served: Served) -> float:
    """Stop it, and how many seconds that took."""
    signalled = time.perf_counter()
    assert await asyncio.to_thread(served.stop) == 0
    return time.perf_counter() - signalled


def connected(served: Served) -> socket.socket:
    host, port = served.base.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)))


@pytest.mark.parametrize("drain_s", [3.0])
async def test_clients_that_do_not_read_are_not_waited_for(
    world: World, served: Served, drain_s: float
) -> None:
    served.start(covered=False)
    # So much, and so fast, that nothing between the upstream and the client can hold it.
    await world.openai.fault(endless=True)
    body = json.dumps(chat(stream=True, max_tokens=20)).encode()
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        "host: localhost",
        f"content-length: {len(body)}",
        *(f"{name}: {value}" for name, value in CRITICAL.items()),
    ]
    request = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    with ExitStack() as sockets:
        for _ in range(10):
            client = sockets.enter_context(connected(served))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(request)
        while await world.openai.arrived() < 10:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)
        assert await ended_within(served) < drain_s + AIR_S
    ((outcome, count),) = endings(served)
    assert (outcome, count) == ("upstream_failed", 10)


@pytest.mark.parametrize("drain_s", [20.0])
async def test_who_says_nothing_or_half_a_request_is_not_waited_for(served: Served, drain_s: float) -> None:
    served.start(covered=False)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n"
    with ExitStack() as sockets:
        for said in (b"", head, head + b"\r\n{"):
            sockets.enter_context(connected(served)).sendall(said)
        await asyncio.sleep(0.2)
        # Whose body is on its way has a second for it.
        assert await ended_within(served) < 1.0 + AT_ONCE_S


@pytest.mark.parametrize("drain_s", [20.0])
async def test_with_nothing_under_way_it_ends_at_once_though_it_still_imports(served: Served) -> None:
    served.start(covered=False)
    assert await ended_within(served) < AT_ONCE_S


@pytest.mark.parametrize("drain_s", [3.0])
async def test_a_collector_that_hangs_is_not_waited_for(
    served: Served, drain_s: float, receiver: OtlpReceiver
) -> None:
    receiver.hang = True
    served.start(covered=False)
    async with aiohttp.ClientSession() as client:
        for _ in range(3):
            async with client.post(served.base + CHAT, json=chat(), headers=PUBLIC) as response:
                assert response.status == 200
    assert await ended_within(served) < drain_s + AIR_S


@pytest.mark.parametrize(("drain_s", "told_s"), [(20.0, 17.0), (3.0, 1.5), (0.0, 0.0)])
def test_what_the_drain_ends_with_is_a_part_of_it(drain_s: float, told_s: float) -> None:
    now = [100.0]
    ending = Ending(lambda: now[0])
    ending.begin(drain_s)
    assert ending.told_s - 100 == told_s
    assert ending.half_sent_s <= ending.told_s < ending.hung_up_s < ending.over_s
    assert ending.over_s - 100 == max(drain_s, 1.0)
    now[0] += 0.5
    ending.at_once()
    assert ending.half_sent_s == ending.told_s <= now[0]
    assert ending.hung_up_s < ending.over_s <= now[0] + 1.0
    now[0] += 60
    assert ending.left_s() == 0
