"""Workers die, are replaced and drained under load: no cap is exceeded, no call lost, no hold left open.

What is billed is read from the upstream's own log. ``SIDECAR_KILL_ROUNDS`` sets how many workers are killed;
4 when it is not set.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.rig.crew import Crew, all_ready
from tests.rig.upstream import ScriptedUpstream, StartUpstream
from tests.rig.world import CHAT, CRITICAL, World, chat
from tests.sidecar.storage.ledger_rig import rows

ROUNDS = int(os.environ.get("SIDECAR_KILL_ROUNDS", "4"))
CALLERS = 24
TOKEN_USD = Decimal("0.000015")


def paid_config(world: World, greedy: ScriptedUpstream, usd: str) -> dict[str, Any]:
    """All calls go to the upstream that uses every token it may, under one cap; then to the local tier."""
    return world.config(
        {
            "tiers": {
                "openai": {"base_url": greedy.openai_url},
                "local_ollama": {"max_concurrency": 64},
                "ollama_cloud": None,
            },
            "routing": {
                "rules": [{"name": "critical_quality", "when": {"quality": "critical"}, "tier": "openai"}],
                "fallback": ["openai", "local_ollama"],
            },
            "budgets": {"caps": [{"name": "all", "tier": "*", "period": "month", "usd": usd}]},
        }
    )


async def billed(greedy: ScriptedUpstream) -> Decimal:
    totals = await greedy.totals()
    return (totals.input_tokens + totals.output_tokens) * TOKEN_USD


async def so(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


class Load:
    """Callers that make one call after the other; what they got, by status; 0 for a broken connection."""

    def __init__(self, crew: Crew, *, keep: bool = True, **fields: Any) -> None:
        self._crew = crew
        self._keep = keep
        self._fields = fields
        self.statuses: Counter[int] = Counter()
        self.tiers: Counter[str] = Counter()
        self.troubles: list[str] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Load]:
        """While the context lasts; calls under way at its end are brought to theirs."""
        enough = asyncio.Event()
        connector = aiohttp.TCPConnector(limit=0, force_close=not self._keep)
        async with aiohttp.ClientSession(connector=connector) as client:
            callers = [asyncio.create_task(self._call(client, enough)) for _ in range(CALLERS)]
            try:
                yield self
            finally:
                enough.set()
                await asyncio.gather(*callers)

    async def _call(self, client: aiohttp.ClientSession, enough: asyncio.Event) -> None:
        while not enough.is_set():
            body = chat("question", **{"max_tokens": 40, **self._fields})
            try:
                async with client.post(self._crew.base + CHAT, json=body, headers=CRITICAL) as answer:
                    await answer.read()
                    self.statuses[answer.status] += 1
                    self.tiers[answer.headers.get("x-sidecar-tier", "")] += 1
            except (aiohttp.ClientError, OSError) as error:
                self.statuses[0] += 1
                self.troubles.append(repr(error))
                await asyncio.sleep(0.05)


async def caps_now(crew: Crew) -> dict[str, Any]:
    budgets = (await crew.admin("GET", "/budgets"))["budgets"]
    return {cap["name"]: cap for cap in budgets}


async def test_one_cap_holds_over_both_workers(
    world: World, scripted_upstream: StartUpstream, tmp_path: Path
) -> None:
    greedy = await scripted_upstream(name="openai", style="greedy", require_key="openai-key")
    crew = Crew(paid_config(world, greedy, "0.40"), tmp_path)
    async with crew.running():
        load = Load(crew, keep=False)
        async with load.running():
            await so(lambda: load.tiers["local_ollama"] > 0)
        assert set(load.statuses) == {200}, load.statuses
        spent = await billed(greedy)
        cap = (await caps_now(crew))["all"]
        assert Decimal("0.3") < spent <= Decimal("0.40")
        assert Decimal(cap["posted"]) == spent
        assert Decimal(cap["held"]) == 0
        assert crew.stop() == 0
    assert rows(
        crew.data_dir / "ledger.sqlite", "SELECT state, count(*) FROM ledger_holds GROUP BY state"
    ) == [("reported", load.tiers["openai"])]


@pytest.mark.timeout(120 + 30 * ROUNDS)
async def test_killed_again_and_again_a_worker_overspends_nothing_and_leaves_no_hold_open(
    world: World, scripted_upstream: StartUpstream, tmp_path: Path
) -> None:
    greedy = await scripted_upstream(name="openai", style="greedy", require_key="openai-key")
    await greedy.fault(delay_s=0.2)
    usd = "2.00"
    crew = Crew(paid_config(world, greedy, usd), tmp_path)
    async with crew.running(covered=False):
        load = Load(crew, keep=False)
        async with load.running():
            for life in range(ROUNDS):
                wanted = load.statuses[200] + CALLERS
                await so(lambda wanted=wanted: load.statuses[200] >= wanted)  # type: ignore[misc]
                number = life % 2
                other = next(w["pid"] for w in await crew.workers() if w["number"] != number)
                killed = await crew.kill_one(number)
                workers = await crew.until(
                    lambda workers, killed=killed: (  # type: ignore[misc]
                        all_ready(2)(workers) and killed not in [worker["pid"] for worker in workers]
                    )
                )
                assert other in [worker["pid"] for worker in workers], "the other worker has gone on"
        assert sum(worker["restarts"] for worker in workers) == ROUNDS
        assert load.statuses[200] > 0
        assert set(load.statuses) <= {0, 200}, load.statuses
        cap = (await caps_now(crew))["all"]
        assert Decimal(cap["held"]) == 0
        assert await billed(greedy) <= Decimal(cap["posted"]) <= Decimal(usd)
        assert crew.stop() == 0
    states = dict(
        rows(crew.data_dir / "ledger.sqlite", "SELECT state, count(*) FROM ledger_holds GROUP BY state")
    )
    assert "open" not in states
    assert states["unknown"] > 0, "nobody died with money held"


async def test_stopped_in_the_middle_of_streams_it_ends_in_good_order(world: World, tmp_path: Path) -> None:
    await world.openai.fault(stream=True, drip_s=0.1)
    crew = Crew(world.config({"drain_s": 8.0}), tmp_path)
    begun = asyncio.Semaphore(0)

    async def stream(client: aiohttp.ClientSession) -> str:
        body = chat(stream=True, max_tokens=20)
        async with client.post(crew.base + CHAT, json=body, headers=CRITICAL) as response:
            got = await response.content.readany()
            begun.release()
            return (got + await response.read()).decode()

    async with crew.running(), crew.client() as client:
        streams = [asyncio.create_task(stream(client)) for _ in range(CALLERS)]
        for _ in streams:
            await begun.acquire()
        crew.process.send_signal(signal.SIGTERM)
        got = await asyncio.gather(*streams)
        assert await asyncio.to_thread(crew.process.wait, 40) == 0
    assert all(text.rstrip().endswith("data: [DONE]") for text in got)
    decisions = sqlite3.connect(crew.data_dir / "sidecar.sqlite")
    assert decisions.execute("SELECT count(*), count(DISTINCT request_id) FROM decisions").fetchone() == (
        CALLERS,
        CALLERS,
    )
    assert rows(
        crew.data_dir / "ledger.sqlite", "SELECT count(*) FROM ledger_holds WHERE state = 'open'"
    ) == [(0,)]


@pytest.mark.parametrize("keep", [True, False])
async def test_workers_are_replaced_under_load_without_a_failed_call(
    world: World, tmp_path: Path, keep: bool
) -> None:
    crew = Crew(world.config(), tmp_path)
    async with crew.running(covered=False):
        before = {worker["pid"] for worker in await crew.until(all_ready(2))}
        load = Load(crew, keep=keep)
        async with load.running():
            crew.process.send_signal(signal.SIGHUP)
            workers = await crew.until(
                lambda workers: all_ready(2)(workers) and not before & {worker["pid"] for worker in workers}
            )
        assert set(load.statuses) == {200}, (load.statuses, load.troubles[:3])
        assert [worker["restarts"] for worker in workers] == [0, 0]
        assert crew.stop() == 0
    decisions = sqlite3.connect(crew.data_dir / "sidecar.sqlite")
    assert decisions.execute("SELECT count(*) FROM decisions").fetchone() == (load.statuses[200],)


async def test_a_worker_told_to_end_by_hand_is_replaced(world: World, tmp_path: Path) -> None:
    crew = Crew(world.config(), tmp_path)
    async with crew.running():
        first, second = await crew.until(all_ready(2))
        os.kill(first["pid"], signal.SIGTERM)
        after = await crew.until(lambda workers: all_ready(2)(workers) and workers[0]["pid"] != first["pid"])
        assert after[1]["pid"] == second["pid"]
        assert (await crew.ask("GET", "/health/ready"))[0] == 200
        assert crew.stop() == 0


async def test_workers_end_with_the_main_process_and_the_next_start_goes_on(
    world: World, tmp_path: Path
) -> None:
    crew = Crew(world.config(), tmp_path)
    async with crew.running(covered=False):
        pids = [worker["pid"] for worker in await crew.until(all_ready(2))]
        load = Load(crew)
        async with load.running():
            await so(lambda: load.statuses[200] >= CALLERS)
            crew.process.kill()
            await so(lambda: not any(_alive(pid) for pid in pids), within_s=20)
        await asyncio.to_thread(crew.kill)
    async with crew.running():
        answers = await crew.everywhere(CRITICAL)
        assert {status for status, _, _ in answers} == {200}
        assert all(Decimal(cap["held"]) == 0 for cap in (await caps_now(crew)).values())


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
