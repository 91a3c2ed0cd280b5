"""The channel carries every message whole and in order, however the bytes come, and tells once of its end."""

from __future__ import annotations

import asyncio
import random
import socket

import msgspec
import pytest

from sidecar.core.budget import HoldRequest
from sidecar.core.said import Said
from sidecar.core.settlement import Settlement, SettlementKind
from sidecar.core.vocabulary import Usage
from sidecar.workers.channel import Channel
from sidecar.workers.messages import (
    CallsEnded,
    FromHub,
    FromWorker,
    HoldEnded,
    HoldForgotten,
    HoldWanted,
    News,
    Ready,
    Room,
)
from tests.sidecar.storage.ledger_rig import request


class End:
    """One end of a channel that keeps what comes."""

    def __init__(self) -> None:
        self.got: list[FromWorker] = []
        self.ends = 0
        self.channel = Channel(msgspec.msgpack.Decoder(FromWorker), self.got.append, self._ended)

    def _ended(self) -> None:
        self.ends += 1

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.got) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


def _messages() -> list[FromWorker]:
    wanted: HoldRequest = request(10**12)
    usage = Settlement(SettlementKind.REPORTED, Usage(3, 4))
    big = CallsEnded([b"x" * 300_000, b""], {1: Said((("user", "hello"),), "there")})
    return [Ready(), HoldWanted(1, wanted), big, HoldEnded(1, usage), HoldForgotten(2), CallsEnded([])]


async def test_messages_arrive_whole_and_in_order() -> None:
    left, right = socket.socketpair()
    one, other = End(), End()
    await one.channel.connect(left)
    await other.channel.connect(right)
    for message in _messages():
        one.channel.send(message)
    await other.until(len(_messages()))
    assert other.got == _messages()
    await one.channel.close()
    await asyncio.wait_for(other.channel.closed.wait(), 10)
    assert (one.ends, other.ends) == (1, 1)
    one.channel.send(Ready())


@pytest.mark.parametrize("seed", range(5))
async def test_where_the_bytes_are_cut_makes_no_difference(seed: int) -> None:
    reader, chance = End(), random.Random(seed)
    bodies = [msgspec.msgpack.encode(message) for message in _messages()]
    data = b"".join(len(body).to_bytes(4) + body for body in bodies)
    while data:
        size = chance.choice([1, 3, 5, 70_000])
        reader.channel.data_received(data[:size])
        data = data[size:]
    assert reader.got == _messages()


async def test_one_message_that_cannot_be_read_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    end = End()
    for body in (b"\xc1", msgspec.msgpack.encode(["Nonsense"]), msgspec.msgpack.encode(Ready())):
        end.channel.data_received(len(body).to_bytes(4) + body)
    assert end.got == [Ready()]
    assert caplog.text.count("was not understood") == 2


def test_what_the_hub_says_can_be_read_by_a_worker() -> None:
    for message in (News("salt", 12.5, {}), Room({"openai": (None, ""), "cloud": (7, "day")})):
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=FromHub) == message
