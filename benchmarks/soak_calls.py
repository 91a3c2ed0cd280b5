"""The calls of the soak: every kind at random, read to the end, slowly, or left behind, and what was seen."""

from __future__ import annotations

import asyncio
import json
import random
import time
from enum import StrEnum
from typing import Any

import aiohttp
import msgspec

PUBLIC = {"x-sidecar-data-classification": "public"}
CRITICAL = {**PUBLIC, "x-sidecar-quality": "critical"}
HIGH = {**PUBLIC, "x-sidecar-quality": "high", "x-sidecar-complexity": "high"}
PERSONAL = "Write to Erika at erika.musterfrau@web.de about her diabetes."
#: Longer than any call may take: one that is not over by then hangs.
HANGS_AFTER_S = 45.0

#: The tasks of calls whose first tier is at an address where no upstream is, and the share of each.
NOWHERE_TASKS = ("research", "summarization", "memory_consolidation")
NOWHERE_SHARE = 0.05

LEAVES, READS_SLOWLY, GOES_BEFORE_THE_ANSWER = 0.05, 0.05, 0.02


class Seen(StrEnum):
    """What a client saw of its call."""

    COMPLETE = "a whole answer"
    REFUSED = "an error status"
    BROKEN = "a stream that ends in an error"
    AS_BEFORE = "no stream, from the legacy upstream"
    LEFT = "nothing more: it left"
    GONE = "nothing: it went before the answer"
    LOST = "a connection that was lost"
    HUNG = "no end"


class Call(msgspec.Struct):
    """One call and what became of it. ``left_at`` is when its client left, in Unix seconds."""

    number: int
    door: str
    stream: bool
    headers: dict[str, str]
    body: dict[str, Any]
    seen: Seen = Seen.HUNG
    status: int = 0
    left_at: float = 0.0


def any_call(number: int, dice: random.Random) -> Call:
    """A call of some kind: half of them stream, one in eight is for embeddings."""
    text = f"call {number}: " + dice.choice(("hello there", "tell me a story " * 20, PERSONAL, "why? " * 200))
    headers = {**dice.choice((PUBLIC, HIGH, CRITICAL, {})), "x-sidecar-session": f"soak-{number}"}
    kind = dice.random()
    if kind < 1 / 8:
        door = dice.choice(("/v1/embeddings", "/api/embed"))
        return Call(number, door, False, headers, {"model": "nomic-embed-text", "input": text})
    stream = kind < 1 / 8 + 1 / 2
    if dice.random() < NOWHERE_SHARE * len(NOWHERE_TASKS):
        headers["x-sidecar-task-type"] = dice.choice(NOWHERE_TASKS)
    if dice.random() < 0.1:
        body: dict[str, Any] = {"model": "auto", "prompt": text, "stream": stream}
        return Call(number, "/api/generate", stream, headers, body)
    door = dice.choice(("/v1/chat/completions", "/api/chat"))
    body = {"model": "auto", "messages": [{"role": "user", "content": text}], "stream": stream}
    body |= {"max_tokens": 40} if door == "/v1/chat/completions" else {"options": {"num_predict": 40}}
    return Call(number, door, stream, headers, body)


async def make(client: aiohttp.ClientSession, base: str, call: Call, dice: random.Random) -> Call:
    """Make the call as some client would; fills in what was seen."""
    try:
        async with asyncio.timeout(HANGS_AFTER_S):
            if dice.random() < GOES_BEFORE_THE_ANSWER:
                call.seen = await _go_early(client, base, call, dice)
            else:
                call.seen = await _read(client, base, call, dice)
    except TimeoutError:
        call.seen = Seen.HUNG
    except (aiohttp.ClientError, OSError):
        call.seen = Seen.LOST
    return call


async def _go_early(client: aiohttp.ClientSession, base: str, call: Call, dice: random.Random) -> Seen:
    asking = asyncio.ensure_future(_post(client, base, call))
    await asyncio.sleep(dice.random() * 0.05)
    if not asking.cancel():
        asking.result().close()
    await asyncio.gather(asking, return_exceptions=True)
    return Seen.GONE


async def _post(client: aiohttp.ClientSession, base: str, call: Call) -> aiohttp.ClientResponse:
    """In the legacy arm an upstream's redirect is the answer."""
    url = base + call.door
    return await client.post(url, json=call.body, headers=call.headers, allow_redirects=False)


async def _read(client: aiohttp.ClientSession, base: str, call: Call, dice: random.Random) -> Seen:
    manners = dice.random()
    leaves_at = dice.randrange(12) if manners < LEAVES else -1
    slowly = LEAVES <= manners < LEAVES + READS_SLOWLY
    async with await _post(client, base, call) as response:
        call.status = response.status
        if not call.stream or response.status != 200:
            await response.read()
            return Seen.COMPLETE if response.status == 200 else Seen.REFUSED
        count, last = 0, b""
        while line := await response.content.readline():
            if not line.strip():
                continue
            if count == leaves_at:
                response.close()
                call.left_at = time.time()
                return Seen.LEFT
            count, last = count + 1, line.removeprefix(b"data: ").strip()
            if slowly:
                await asyncio.sleep(0.05)
        legacy = response.headers["x-sidecar-arm"] == "legacy"
    ending = _ending(call.door, last)
    # There an upstream's answer goes out as it is, also when it is none.
    return Seen.AS_BEFORE if legacy and ending is Seen.LOST else ending


def _ending(door: str, last: bytes) -> Seen:
    """What a stream's last event says; one that says nothing has been cut."""
    if door == "/v1/chat/completions" and last == b"[DONE]":
        return Seen.COMPLETE
    try:
        event = json.loads(last)
    except ValueError:
        return Seen.LOST
    if "error" in event:
        return Seen.BROKEN
    return Seen.COMPLETE if event.get("done") else Seen.LOST
