"""Wherever a call is interrupted it ends once: one record, each hold settled once, nothing left open."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.core.said import Hear
from sidecar.core.trace_context import TraceContext
from sidecar.core.vocabulary import DOORS, DecisionRecord, Outcome
from sidecar.course import Inbound
from sidecar.exchange import Exchange
from sidecar.telling import Headers
from tests.rig.world import CHAT, CRITICAL, HIGH, RunningSidecar, World, chat
from tests.sidecar.storage.ledger_rig import rows

OLLAMA = "/api/chat"
#: No call that comes to its end waits more often than this; one without an end is looked at so far.
WAITS_MAX, ENDLESS_WAITS = 200, 25
NANO_USD = {"openai": 15_000, "ollama_cloud": 1_000}


class Interrupted:
    """Awaits a coroutine and cancels its task when it waits for the ``at``-th time.

    ``late``: when what it waits for is there, but the task has not gone on yet. ``twice``: at the next wait
    as well. ``waits`` counts, whether or not it came to that.
    """

    def __init__(self, work: Coroutine[Any, Any, None], at: int, *, late: bool, twice: bool) -> None:
        self._work = work
        self._at = (at, at + 1) if twice else (at,)
        self._late = late
        self.waits = 0

    def __await__(self) -> Generator[Any, None, None]:
        step: Callable[[], Any] = partial(self._work.send, None)
        task = asyncio.current_task()
        assert task is not None
        while True:
            try:
                awaited = step()
            except StopIteration:
                return
            self.waits += 1
            if self.waits in self._at:
                if self._late and isinstance(awaited, asyncio.Future):
                    awaited.add_done_callback(lambda _: task.cancel())
                else:
                    task.cancel()
            try:
                yield awaited
            except BaseException as error:
                step = partial(self._work.throw, error)
            else:
                step = partial(self._work.send, None)


class Client:
    """Where the answer goes, and what has come of it. Each write takes a turn of the loop."""

    def __init__(self) -> None:
        self.starts = self.ends = 0
        self.body = b""

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        await self.start(status, headers)
        await self.send(body)
        await self.end()

    async def start(self, status: int, headers: Headers) -> None:
        assert not self.starts
        self.starts += 1
        await asyncio.sleep(0)

    async def send(self, chunk: bytes) -> None:
        assert self.starts == 1
        assert not self.ends
        self.body += chunk
        await asyncio.sleep(0)

    async def end(self) -> None:
        assert not self.ends
        self.ends += 1
        await asyncio.sleep(0)


class Way(msgspec.Struct, frozen=True):
    """A kind of call: where it comes in, what it asks for, and what goes wrong at OpenAI."""

    name: str
    door: str
    headers: dict[str, str]
    stream: bool
    fault: dict[str, Any] = {}
    changes: dict[str, Any] = {}


ONLY_OPENAI = {"routing": {"fallback": ["openai"]}, "keep_alive_s": 0.002}
WAYS = (
    Way("relay, plain", CHAT, CRITICAL, stream=False),
    Way("relay, stream", OLLAMA, HIGH, stream=True),
    Way("any-llm, plain", OLLAMA, CRITICAL, stream=False),
    Way("any-llm, stream", CHAT, HIGH, stream=True),
    Way("next tier", CHAT, CRITICAL, stream=True, fault={"status": 500}),
    Way("kept alive", CHAT, CRITICAL, stream=True, fault={"delay_s": 0.01}, changes=ONLY_OPENAI),
)
ENDLESS = (
    Way("relay", CHAT, CRITICAL, stream=True, fault={"endless": True}),
    Way("any-llm", OLLAMA, CRITICAL, stream=True, fault={"endless": True}),
    Way("kept alive", CHAT, CRITICAL, True, {"endless": True, "delay_s": 0.01}, ONLY_OPENAI),
)
HOWS = {"early": (False, False), "late": (True, False), "twice": (False, True)}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_a_call_that_is_interrupted_anywhere_ends_once(world: World, way: Way) -> None:
    endings = await endings_of(world, way)
    for how in HOWS:
        for at in range(1, WAITS_MAX):
            if await endings.interrupted(way, at, how):
                break
        else:
            raise AssertionError("it never came to its end")
        assert at > 5
    assert {record.outcome for record in endings.records} >= {Outcome.CLIENT_LEFT, Outcome.COMPLETE}
    await endings.paid_for(world)


@pytest.mark.parametrize("way", ENDLESS, ids=lambda way: way.name)
async def test_an_upstream_is_stopped_wherever_its_client_leaves(world: World, way: Way) -> None:
    endings = await endings_of(world, way)
    for how in HOWS:
        for at in range(1, ENDLESS_WAITS):
            assert not await endings.interrupted(way, at, how)
    await endings.paid_for(world)


async def endings_of(world: World, way: Way) -> Endings:
    sidecar = await world.sidecar({"privacy": {"max_scan_ms": 10_000}, **way.changes})
    if way.fault:
        await world.openai.fault(**way.fault)
    for upstream in sidecar.sidecar.current.upstreams.values():
        await upstream.warm()
    return Endings(sidecar)


class Endings:
    """The request line of a running sidecar with an ear on it."""

    def __init__(self, sidecar: RunningSidecar) -> None:
        self._running = sidecar
        self._services = sidecar.sidecar.services
        self.records: list[DecisionRecord] = []
        self.stopping = False
        self._exchange = Exchange(
            lambda: sidecar.sidecar.current,
            self._services.rollout,
            self._services.ledger,
            self._note,
            lambda: self.stopping,
            time.perf_counter,
        )

    def _note(self, record: DecisionRecord, hear: Hear | None) -> None:
        self.records.append(record)

    async def interrupted(self, way: Way, at: int, how: str) -> bool:
        """One call, cancelled at its ``at``-th wait; whether it had ended before that."""
        # Every third time it is the sidecar that is being stopped, and the client is still there.
        self.stopping = at % 3 == 0
        before, client = len(self.records), Client()
        body = chat(f"<{how}-{at}> one two three", stream=way.stream, max_tokens=12)
        inbound = Inbound(
            request_id=f"{how}-{at}",
            door=DOORS[way.door],
            headers=way.headers,
            body=msgspec.json.encode(body),
            started_ns=time.time_ns(),
            started_s=time.perf_counter(),
            trace=TraceContext("0" * 31 + "1"),
        )
        late, twice = HOWS[how]
        work = Interrupted(self._exchange.serve(inbound, client), at, late=late, twice=twice)

        async def serve() -> None:
            await work

        task = asyncio.create_task(serve())
        await asyncio.wait([task], timeout=20)
        assert task.done()
        if not task.cancelled():
            assert task.exception() is None, task.exception()
            assert client.ends == 1
        assert len(self.records) == before + 1, "one call, one record"
        assert self._services.ledger.open_holds == 0
        for name, upstream in self._running.sidecar.current.upstreams.items():
            assert upstream.places.view().in_use == 0, name
        return work.waits < at

    async def paid_for(self, world: World) -> None:
        """Every hold is settled on the disk, with at least what was billed for its call."""
        await self._services.ledger.flush()
        ledger = Path(self._running.config["data_dir"]) / "ledger.sqlite"
        assert rows(ledger, "SELECT count(*) FROM ledger_holds WHERE state = 'open'") == [(0,)]
        posted = {
            (request_id, tier): nano_usd
            for request_id, tier, nano_usd in rows(
                ledger, "SELECT request_id, tier, sum(posted) FROM ledger_holds GROUP BY request_id, tier"
            )
        }
        for tier, upstream in (("openai", world.openai), ("ollama_cloud", world.cloud)):
            # The log is read once nothing is under way: no upstream was left generating.
            for entry in await upstream.log():
                words = json.loads(entry.body)["messages"][0]["content"]
                billed = (entry.input_tokens + entry.output_tokens) * NANO_USD[tier]
                assert posted[words[1 : words.index(">")], tier] >= billed
