"""A worker's ledger and the hub's end of it: each hold is settled once, whoever dies, leaves or is late."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import msgspec
import pytest

from sidecar.core.budget import Hold, HoldRefusal, RefusalReason
from sidecar.core.periods import PeriodKind
from sidecar.workers.channel import Channel
from sidecar.workers.link import Link
from sidecar.workers.messages import FromHub, HoldRefused, HoldTaken, Message, Room, ShadowAnswer
from sidecar.workers.stand_ins import RemoteLedger, RemoteShadows
from tests.rig.world import RunningSidecar, World
from tests.sidecar.storage.ledger_rig import RELEASED, UNKNOWN, reported, request

DOLLAR = 10**9


class Pair:
    """A worker's ledger over a real channel to a real sidecar's."""

    def __init__(self, running: RunningSidecar) -> None:
        self.ledger = running.sidecar.services.ledger
        self.link = Link(running.sidecar, lambda: None)
        self.far: Channel[FromHub] = Channel(msgspec.msgpack.Decoder(FromHub), self._take, lambda: None)
        self.remote = RemoteLedger(self.far.send)
        self.shadows = RemoteShadows(self.far.send)

    async def connect(self) -> None:
        left, right = socket.socketpair()
        await self.link.channel.connect(left)
        await self.far.connect(right)

    def _take(self, message: FromHub) -> None:
        if isinstance(message, HoldTaken):
            self.remote.taken(message)
        elif isinstance(message, HoldRefused):
            self.remote.refused(message)
        elif isinstance(message, ShadowAnswer):
            self.shadows.answered(message)

    def posted(self) -> int:
        return self.ledger.posted(PeriodKind.DAY)

    async def until_none_open(self) -> None:
        async with asyncio.timeout(10):
            while self.ledger.open_holds or self.link.open_holds:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


@pytest.fixture
async def pair(world: World) -> AsyncIterator[Pair]:
    caps = [{"name": "all", "tier": "*", "period": "day", "usd": 10}]
    pair = Pair(await world.sidecar({"budgets": {"caps": caps}}))
    await pair.connect()
    yield pair
    pair.far.abort()
    await asyncio.wait_for(pair.link.ended.wait(), 10)


async def _held(pair: Pair, dollars: int) -> Hold:
    hold = await pair.remote.hold(request(dollars * DOLLAR))
    assert isinstance(hold, Hold)
    return hold


async def test_a_hold_is_settled_once_and_posts_what_the_hub_posts(pair: Pair) -> None:
    hold = await _held(pair, 4)
    assert pair.ledger.open_holds == pair.remote.open_holds == 1
    cost = pair.remote.settle(hold, reported(1_000))
    assert pair.remote.settle(hold, UNKNOWN) == 0
    await pair.until_none_open()
    assert pair.posted() == cost > 0


async def test_what_no_cap_leaves_is_refused_by_the_hub(pair: Pair) -> None:
    await _held(pair, 7)
    pair.remote.room(Room({"openai": (10 * DOLLAR, "all")}))
    refusal = await pair.remote.hold(request(4 * DOLLAR))
    assert isinstance(refusal, HoldRefusal)
    assert (refusal.reason, refusal.cap) == (RefusalReason.EXHAUSTED, "all")
    assert pair.remote.open_holds == 1


async def test_a_caller_that_leaves_while_it_waits_leaves_nothing_held(pair: Pair) -> None:
    for turns in range(12):
        waiting = asyncio.create_task(pair.remote.hold(request(DOLLAR)))
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        if not (await asyncio.gather(waiting, return_exceptions=True))[0]:
            raise AssertionError("a cancelled hold has no answer")
    await pair.until_none_open()
    assert (pair.posted(), pair.remote.open_holds) == (0, 0)


async def test_with_a_dead_worker_what_it_was_told_is_posted_and_what_it_was_not_is_free(pair: Pair) -> None:
    await _held(pair, 3)
    released = await _held(pair, 2)
    pair.remote.settle(released, RELEASED)
    waiting = asyncio.create_task(pair.remote.hold(request(DOLLAR)))
    await asyncio.sleep(0)
    # What is still on its way to the hub dies with the worker.
    pair.far.flush()
    pair.far.abort()
    await asyncio.wait_for(pair.link.ended.wait(), 10)
    waiting.cancel()
    await pair.until_none_open()
    assert pair.posted() in (3 * DOLLAR, 4 * DOLLAR)
    again = await pair.ledger.hold(request(6 * DOLLAR))
    assert isinstance(again, Hold), "what was not posted can be held anew"


async def test_a_hub_that_does_not_answer_is_a_refusal() -> None:
    sent: list[Message] = []
    remote = RemoteLedger(sent.append, wait_s=0.05)
    refusal = await remote.hold(request(DOLLAR))
    assert isinstance(refusal, HoldRefusal)
    assert refusal.reason is RefusalReason.UNAVAILABLE
    assert [type(message).__name__ for message in sent] == ["HoldWanted", "HoldForgotten"]
    remote.taken(HoldTaken(1, 7, 0))
    assert remote.open_holds == 0


async def test_until_the_hub_says_otherwise_a_settlement_makes_room() -> None:
    remote = RemoteLedger(lambda _: None)
    remote.room(Room({"openai": (0, "all")}))
    asked = asyncio.create_task(remote.hold(request(DOLLAR)))
    await asyncio.sleep(0)
    remote.taken(HoldTaken(1, 7, 0))
    hold = await asked
    assert isinstance(hold, Hold)
    remote.settle(hold, RELEASED)
    assert remote.remaining("openai") == (DOLLAR, "all")
    assert remote.remaining("unknown") == (None, "")


async def test_the_shadow_calls_of_all_workers_share_one_purse(pair: Pair) -> None:
    assert await pair.shadows.take(3 * DOLLAR, 5 * DOLLAR)
    assert not await pair.shadows.take(3 * DOLLAR, 5 * DOLLAR)
    pair.shadows.give_back(3 * DOLLAR, DOLLAR)
    assert await pair.shadows.take(3 * DOLLAR, 5 * DOLLAR)
    # It dies with 3 dollars set aside: they count as spent.
    pair.far.abort()
    await asyncio.wait_for(pair.link.ended.wait(), 10)
    purse = pair.link._services.shadow_purse
    assert await purse.take(DOLLAR, 5 * DOLLAR)
    assert not await purse.take(DOLLAR, 5 * DOLLAR)
