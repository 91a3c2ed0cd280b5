"""Connections that say little or nothing: they hinder nobody, are counted, and are hung up on in time."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.rig.process import Served
from tests.rig.world import CHAT, PUBLIC, World, chat

#: How many are open at a time, and how many others hang up on their side only, which is no way to wait.
OPEN, HALF_CLOSED = 10_000, 1_000
#: What an open file is needed for besides the connections, at either end of them.
SPARE_FILES = 2_500
#: What a call may take meanwhile, on a busy machine.
CALL_S_MAX = 3.0
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
#: How connections begin that come to nothing: silent, slow in the head, slow in the body, cut in the head.
BEGINNINGS = (b"", HEAD + b"x-a: ", HEAD + b"content-length: 1000\r\n\r\n{", HEAD)


@pytest.fixture
def served(world: World, tmp_path: Path) -> Iterator[Served]:
    served = Served(world.config({"limits": {"request_s": 120}}), tmp_path)
    yield served
    served.kill()


@contextmanager
def many_files() -> Iterator[int]:
    """As many open files as the system allows; gives how many those are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def status_of(client: aiohttp.ClientSession, served: Served) -> dict[str, Any]:
    async with client.get(f"{served.base}/admin/status", headers=served.bearer) as response:
        status: dict[str, Any] = await response.json()
        return status


@contextmanager
def dripping(sockets: list[socket.socket]) -> Iterator[list[int]]:
    """A byte on every socket again and again; gives how often each has had one."""
    ending, rounds = threading.Event(), [0]

    def drip() -> None:
        while not ending.wait(1.0):
            for one in sockets:
                one.send(b"x")
            rounds[0] += 1

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield rounds
    finally:
        ending.set()
        thread.join()


async def test_ten_thousand_that_say_nothing_or_dawdle_hinder_nobody(served: Served) -> None:
    with many_files() as files, ExitStack() as open_sockets:
        if files < OPEN + SPARE_FILES:
            words = f"{OPEN} connections need {OPEN + SPARE_FILES} open files, and the system allows {files}"
            (pytest.fail if os.environ.get("CI") else pytest.skip)(words)
        served.start(covered=False)
        port = int(served.base.rsplit(":", 1)[1])

        def connected(beginning: bytes) -> socket.socket:
            one = open_sockets.enter_context(socket.create_connection(("127.0.0.1", port)))
            one.send(beginning)
            return one

        kinds = BEGINNINGS[:3]
        sockets = [connected(kinds[number % len(kinds)]) for number in range(OPEN)]
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as client:
            while (await status_of(client, served))["connections"]["open"] <= OPEN:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            slow = [one for number, one in enumerate(sockets) if kinds[number % len(kinds)]]
            with dripping(slow) as rounds:
                half_closed = [connected(HEAD) for _ in range(HALF_CLOSED)]
                for one in half_closed:
                    one.shutdown(socket.SHUT_WR)
                while rounds[0] < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                took_s = [await call_s(client, served, stream=number % 2 == 1) for number in range(6)]
                assert all(one.recv(1) == b"" for one in half_closed)
                while (await status_of(client, served))["connections"]["open"] > OPEN + 1:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            status = await status_of(client, served)
    connections = status["connections"]
    assert (connections["open"], connections["turned_away"], connections["hung_up"]) == (OPEN + 1, 0, 0)
    assert max(took_s) < CALL_S_MAX, took_s


async def call_s(client: aiohttp.ClientSession, served: Served, *, stream: bool) -> float:
    """How long an ordinary call takes, to its end."""
    began = time.perf_counter()
    async with client.post(served.base + CHAT, json=chat(stream=stream), headers=PUBLIC) as response:
        assert response.status == 200
        assert await response.read()
    return time.perf_counter() - began


async def test_a_request_that_does_not_come_to_its_end_is_hung_up_on_and_counted(world: World) -> None:
    sidecar = await world.sidecar({"limits": {"request_s": 0.2}})

    async def dawdle(data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.port)
        writer.write(data)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await writer.wait_closed()
        return answer

    one_and_a_half = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\nGET /health/li"
    *silent, half = await asyncio.gather(*(dawdle(data) for data in (*BEGINNINGS, one_and_a_half)))
    assert set(silent) == {b""}
    assert half.startswith(b"HTTP/1.1 200 OK")
    connections = (await sidecar.admin("GET", "/status"))["connections"]
    assert (connections["open"], connections["hung_up"]) == (1, 5)
    metrics = (await sidecar.http.get("/metrics")).text
    assert 'sidecar_connections_closed_total{reason="dawdled"} 5' in metrics


async def test_more_than_there_may_be_are_closed_and_counted(world: World) -> None:
    sidecar = await world.sidecar()
    connections = sidecar.sidecar.services.connections
    connections.limit = 2
    kept = await asyncio.open_connection("127.0.0.1", sidecar.port)
    assert (await sidecar.http.get("/health/live")).status_code == 200
    reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.port)
    assert await asyncio.wait_for(reader.read(), 10) == b""
    assert connections.turned_away == 1
    for each in (writer, kept[1]):
        each.close()
        await each.wait_closed()
    assert (await sidecar.http.post(CHAT, json=chat(), headers=PUBLIC)).status_code == 200


async def test_a_slow_answer_to_a_whole_request_is_waited_for(world: World) -> None:
    """Also when the client has begun to send its next request meanwhile."""
    sidecar = await world.sidecar({"limits": {"request_s": 0.1}})
    await world.local.fault(delay_s=0.5)
    reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.port)
    body = json.dumps(chat()).encode()
    writer.write(
        HEAD + b"x-sidecar-data-classification: public\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    )
    await writer.drain()
    writer.write(b"GET /hea")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
    await writer.wait_closed()
