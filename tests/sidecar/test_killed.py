"""Killed under paid load, over many lives, no upstream bills more than its cap, and no bill is forgotten.

What is billed is read from the upstreams' own logs, which outlive every sidecar. ``SIDECAR_KILL_ROUNDS`` sets
the number of lives; 4 when it is not set.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import msgspec
import pytest

from sidecar.core.periods import PeriodKind
from tests.rig.serving import ServedSidecar
from tests.rig.upstream import ScriptedUpstream, StartUpstream
from tests.rig.world import CHAT, CRITICAL, HIGH, World, chat
from tests.sidecar.storage.ledger_rig import opened, rows

ROUNDS = int(os.environ.get("SIDECAR_KILL_ROUNDS", "4"))
WORKERS = 16
#: How long a life lasts, at most: after its first answer, or, every fourth time, after its start.
LIFE_MAX_S = 1.2
OLLAMA = "/api/chat"
#: Price of a token, and by how much each life's cap is above the one before: the dozen holds that a death
#: leaves open use up most of it, so that some lives run dry and others do not.
TIERS = {
    "openai": (Decimal("0.000015"), Decimal("0.20")),
    "ollama_cloud": (Decimal("0.000001"), Decimal("0.0134")),
}
WAYS = tuple(itertools.product((CHAT, OLLAMA), (CRITICAL, HIGH), (False, True)))


class Heard(msgspec.Struct, frozen=True):
    """An answer that a client got whole: its prompt, its request id, and who gave it."""

    prompt: str
    request_id: str
    tier: str


class Story:
    """The data directory and the upstreams that all lives share, and what the clients heard."""

    def __init__(self, world: World, openai: ScriptedUpstream, cloud: ScriptedUpstream) -> None:
        self.paid = {"openai": openai, "ollama_cloud": cloud}
        self.config = world.config(
            {
                "tiers": {
                    "openai": {"base_url": openai.openai_url},
                    "ollama_cloud": {"base_url": cloud.url},
                    "local_ollama": {"max_concurrency": 64},
                }
            }
        )
        self.ledger = Path(self.config["data_dir"]) / "ledger.sqlite"
        self.folder = world.directory
        self.heard: list[Heard] = []
        self.first_answer = asyncio.Event()
        self._numbers = itertools.count()

    def caps(self, life: int) -> dict[str, Decimal]:
        return {tier: step * (life + 1) for tier, (_, step) in TIERS.items()}

    def sidecar(self, life: int) -> ServedSidecar:
        caps = [
            {"name": tier, "tier": tier, "period": "total", "usd": str(usd)}
            for tier, usd in self.caps(life).items()
        ]
        all_usd = str(sum(self.caps(life).values()))
        caps.append({"name": "all", "tier": "*", "period": "month", "usd": all_usd})
        return ServedSidecar(self.config | {"budgets": {"caps": caps}}, self.folder)

    async def billed(self) -> dict[str, Decimal]:
        """What each upstream would bill for all lives together, by its own log."""
        totals = {tier: await upstream.totals() for tier, upstream in self.paid.items()}
        return {
            tier: (spent.input_tokens + spent.output_tokens) * TIERS[tier][0]
            for tier, spent in totals.items()
        }

    async def live_and_die(self, life: int, life_s: float) -> None:
        """Serve paid load for so long, then be killed."""
        sidecar = self.sidecar(life)
        self.first_answer.clear()
        await asyncio.to_thread(sidecar.start)
        try:
            await self.nothing_is_forgotten(sidecar, self.caps(life))
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
                calling = [asyncio.create_task(self.call(client, sidecar.base)) for _ in range(WORKERS)]
                if life % 4:
                    await asyncio.wait_for(self.first_answer.wait(), 30)
                ended, _ = await asyncio.wait(calling, timeout=life_s)
                assert not ended, [task.exception() for task in ended]
                await asyncio.to_thread(sidecar.kill)
                for task in calling:
                    task.cancel()
                await asyncio.wait(calling)
        finally:
            await asyncio.to_thread(sidecar.kill)
        caps = self.caps(life)
        assert all(usd <= caps[tier] for tier, usd in (await self.billed()).items())

    async def call(self, client: aiohttp.ClientSession, base: str) -> None:
        """One call after the other; what is cut off by the death of the sidecar is nobody's answer."""
        while True:
            number = next(self._numbers)
            door, headers, stream = WAYS[number % len(WAYS)]
            prompt = f"question <{number}>"
            limit: dict[str, Any] = {"max_tokens": 400}
            if door == OLLAMA:
                limit = {"options": {"num_predict": 400}}
            with suppress(aiohttp.ClientError, ConnectionError):
                async with client.post(
                    base + door, json=chat(prompt, stream=stream, **limit), headers=headers
                ) as answer:
                    text = await answer.text()
                    assert answer.status == 200, text
                    self.first_answer.set()
                    told = answer.headers
                    self.heard.append(Heard(prompt, told["x-sidecar-request-id"], told["x-sidecar-tier"]))

    async def nothing_is_forgotten(self, sidecar: ServedSidecar, caps: dict[str, Decimal]) -> None:
        """What was billed until now is posted, under the caps, and nothing is held."""
        billed = await self.billed()
        async with (
            aiohttp.ClientSession(headers=sidecar.bearer) as client,
            client.get(f"{sidecar.base}/admin/budgets") as answer,
        ):
            now = {cap["name"]: cap for cap in (await answer.json())["budgets"]}
        for tier, usd in billed.items():
            assert usd <= Decimal(now[tier]["posted"]) <= caps[tier]
            assert Decimal(now[tier]["held"]) == 0
        assert sum(billed.values()) <= Decimal(now["all"]["posted"]) <= Decimal(now["all"]["usd"])

    async def every_answer_is_paid_for(self) -> None:
        """For each answer that a client got, at least its bill is posted for that very request."""
        bills: dict[str, int] = {}
        for tier, upstream in self.paid.items():
            nano_usd = int(TIERS[tier][0] * 10**9)
            for entry in await upstream.log():
                (prompt,) = prompts_in(entry.body)
                bills[prompt] = bills.get(prompt, 0) + nano_usd * (entry.input_tokens + entry.output_tokens)
        async with opened(self.ledger) as ledger:
            for tier, usd in (await self.billed()).items():
                assert usd <= Decimal(ledger.posted(PeriodKind.TOTAL, tier)) / 10**9
        posted = dict(
            rows(self.ledger, "SELECT request_id, sum(posted) FROM ledger_holds GROUP BY request_id")
        )
        paid = [heard for heard in self.heard if heard.tier in TIERS]
        assert all(posted[heard.request_id] >= bills[heard.prompt] > 0 for heard in paid)
        assert rows(self.ledger, "SELECT count(*) FROM ledger_holds WHERE state = 'open'") == [(0,)]
        sums = rows(self.ledger, "SELECT sum(posted) FROM ledger_holds")
        assert sums == rows(self.ledger, "SELECT sum(posted) FROM ledger_spend")


def prompts_in(body: str) -> Iterator[str]:
    fields = msgspec.json.decode(body)
    return (message["content"] for message in fields["messages"])


@pytest.mark.timeout(120 + 20 * ROUNDS)
async def test_killed_at_any_moment_it_overspends_nothing_and_forgets_nothing(
    world: World, scripted_upstream: StartUpstream
) -> None:
    openai = await scripted_upstream(name="openai", style="greedy", require_key="openai-key")
    cloud = await scripted_upstream(name="ollama", style="greedy", require_key="cloud-key")
    for upstream in (openai, cloud):
        await upstream.fault(stream=True, drip_s=0.005)
        await upstream.fault(stream=False, delay_s=0.2, share=0.5)
    story, random = Story(world, openai, cloud), Random(ROUNDS)
    for life in range(ROUNDS):
        await story.live_and_die(life, random.uniform(0.0, LIFE_MAX_S))
    await story.every_answer_is_paid_for()
    states = dict(rows(story.ledger, "SELECT state, count(*) FROM ledger_holds GROUP BY state"))
    assert states["reported"] > 0, "nobody lived long enough to settle"
    assert states["unknown"] > 0, "nobody died with money held"
    heard = dict(Counter(heard.tier for heard in story.heard))
    billed, caps = await story.billed(), story.caps(ROUNDS - 1)
    sys.stdout.write(f"{ROUNDS} lives: holds {states}, answers {heard}, billed {billed}, caps {caps}\n")
