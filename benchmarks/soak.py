"""Many mixed calls at once while everything goes wrong upstream: each has its one ending, and nothing stays.

::

    python -m benchmarks.soak                        # 60 s, 200 calls at a time
    python -m benchmarks.soak --seconds 8

A real sidecar in a process of its own stands between this load and three scripted upstreams. Each of the
faults below spoils 5 % of the requests that reach an upstream, so that more than half of them go wrong; as
many calls each try first a tier that refuses connections, one whose name is not found, and one that speaks no
TLS; some clients leave, some read slowly, and the configuration changes now and then. Asserted is that

* no call hung, and no connection was lost without a word;
* every call has exactly one decision record, whose outcome agrees with what its client saw;
* no task, no place at a tier and no hold is left, and the process ends with exit code 0;
* the memory is back to within 10 % of what it was after half that time under the same load.

Besides, it shows how long after a client left its upstream was let go.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import itertools
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil
import yaml

from benchmarks.soak_calls import NOWHERE_TASKS, Call, Seen, any_call, make
from tests.rig.process import Served
from tests.rig.upstream import RefusedPort, ScriptedUpstream

#: The upstreams by tier: what each is, and the key it wants.
UPSTREAMS = {"local_ollama": ("ollama", ""), "ollama_cloud": ("ollama", "key"), "openai": ("openai", "key")}
SHARE = 0.05
#: These are played at every upstream.
FAULTS: tuple[dict[str, Any], ...] = (
    {"delay_s": 30.0},
    {"close": True},
    {"status": 429},
    {"status": 500},
)
#: Each of these at two of the three, so that there is room for something to go well.
FAULTS_AT_TWO: tuple[dict[str, Any], ...] = (
    {"status": 403},
    {"status": 400},
    {"status": 404},
    {"status": 413},
    {"status": 422},
    {"code": "context_length_exceeded"},
    {"redirect": "http://127.0.0.1:9/elsewhere"},
    {"content_type": "application/octet-stream"},
    {"body": "empty"},
    {"body": "html"},
    {"body": "garbage"},
    {"truncate": True, "cut_after": 0},
    {"cut_after": 3, "cut": "reset"},
    {"cut_after": 3, "cut": "end"},
    {"error_after": 3},
)
#: Tiers at addresses where no upstream is, each by the task of the calls that try it first.
NOWHERE = dict(zip(("refused", "dns", "tls"), NOWHERE_TASKS, strict=True))
#: These close a whole tier for a while, so each is played at one upstream only.
CLOSING: dict[str, dict[str, Any]] = {
    "ollama_cloud": {"status": 401},
    "openai": {"status": 429, "retry_after": 1},
}
#: Outcomes that agree with what a client saw. Who leaves may have been given everything already.
_ANY = {"client_left", "complete", "complete_without_usage", "upstream_failed"}
AGREES: dict[Seen, set[str]] = {
    Seen.COMPLETE: {"complete", "complete_without_usage"},
    Seen.REFUSED: {"upstream_failed", "complete_without_usage"},
    Seen.BROKEN: {"upstream_failed"},
    Seen.AS_BEFORE: {"complete_without_usage"},
    Seen.LEFT: _ANY,
    Seen.GONE: _ANY,
}
MEMORY_GROWTH_MAX = 0.10
#: Between two chunks of a stream, so that there is something to leave.
DRIP_S = 0.02
#: The part of the time that the same load is played beforehand: code is imported, caches and pools fill.
_WARM_UP = 1 / 2


class Findings(msgspec.Struct):
    """What was found; ``wrong`` is what should not be."""

    lines: list[str] = []
    wrong: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def check(self, fine: bool, line: str) -> None:
        """A line of the report; ``fine`` says whether it is as it should be."""
        self.lines.append(f"{'ok   ' if fine else 'WRONG'} {line}")
        if not fine:
            self.wrong.append(line)


def faults_at(name: str) -> list[dict[str, Any]]:
    """What goes wrong at an upstream, in the order in which it is asked for."""
    place = list(UPSTREAMS).index(name)
    dealt = [fault for number, fault in enumerate(FAULTS_AT_TWO) if number % len(UPSTREAMS) != place]
    return [*FAULTS, *dealt, *([CLOSING[name]] if name in CLOSING else [])]


def configuration(
    directory: Path, upstreams: dict[str, ScriptedUpstream], refused_url: str
) -> dict[str, Any]:
    """Tiers that give up quickly and are soon tried again, so that all of them stay under load."""
    common: dict[str, Any] = {
        "timeouts": {"first_byte_s": 2.0, "idle_s": 3.0, "total_s": 4.0},
        "breaker": {"failures_in_a_row": 20, "failure_share": 0.95, "open_s": 0.3, "open_max_s": 0.6},
        "queue": {"max": 300, "wait_s": 2},
        "max_concurrency": 64,
    }
    tiers: dict[str, dict[str, Any]] = {
        "local_ollama": {
            "provider": "ollama",
            "base_url": upstreams["local_ollama"].url,
            "off_box": False,
            "models": {"default": "llama3.2", "embedding": "nomic-embed-text"},
        },
        "ollama_cloud": {
            "provider": "ollama",
            "base_url": upstreams["ollama_cloud"].url,
            "api_key": "key",
            "price": {"usd_per_1k_tokens": 0.001},
            "models": {"default": "gpt-oss:120b"},
        },
        "openai": {
            "provider": "openai",
            "base_url": upstreams["openai"].openai_url,
            "api_key": "key",
            "price": {"usd_per_1k_tokens": 0.015},
            "models": {"default": "gpt-4o"},
            "retry": {"max": 1, "wait_s": 0.05},
        },
    }
    addresses = {
        "refused": refused_url,
        "dns": "http://there-is-none.invalid",
        # It speaks no TLS.
        "tls": upstreams["openai"].url.replace("http://", "https://"),
    }
    for name, url in addresses.items():
        tiers[name] = {**tiers["openai"], "base_url": f"{url}/v1"}
    return {
        "listen": {"port": 0},
        "data_dir": str(directory / "data"),
        "keep_alive_s": 0.2,
        "tiers": {name: {**common, **tier} for name, tier in tiers.items()},
        "routing": {
            "rules": [
                *(
                    {"name": name, "when": {"task_type": task}, "tier": name}
                    for name, task in NOWHERE.items()
                ),
                {"name": "critical", "when": {"quality": "critical"}, "tier": "openai"},
                {"name": "high", "when": {"quality": ">=high"}, "tier": "ollama_cloud"},
            ],
            "fallback": [*NOWHERE, "openai", "ollama_cloud", "local_ollama"],
        },
        "budgets": {"caps": [{"name": "all-day", "tier": "*", "period": "day", "usd": 10_000}]},
        # Faults by the hundred must not take the routed arm out of the soak.
        "rollout": {"percent": 90, "gates": {"error_rate_max": 1.0, "p95_ms_max": 1e9}},
    }


class Soak:
    """One sidecar under load."""

    def __init__(self, served: Served, upstreams: dict[str, ScriptedUpstream], at_once: int) -> None:
        self.served = served
        self.upstreams = upstreams
        self.calls: list[Call] = []
        self._at_once = at_once
        self._numbers = itertools.count(1)
        self._process = psutil.Process(served.process.pid)

    @property
    def rss_mb(self) -> float:
        return float(self._process.memory_info().rss) / 2**20

    async def load(self, seconds: float) -> None:
        """Keep so many calls under way for ``seconds``, and wait for the last of them."""
        ends_at = time.monotonic() + seconds

        async def work(client: aiohttp.ClientSession, dice: random.Random) -> None:
            while time.monotonic() < ends_at:
                call = any_call(next(self._numbers), dice)
                self.calls.append(await make(client, self.served.base, call, dice))
                if call.status == 503:
                    await asyncio.sleep(dice.random() * 0.2)

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
            await asyncio.gather(*(work(client, random.Random(n)) for n in range(self._at_once)))

    async def calm(self) -> None:
        """From now on nothing goes wrong upstream."""
        for upstream in self.upstreams.values():
            await upstream.heal()
            await upstream.fault(drip_s=DRIP_S)

    async def spoil(self) -> None:
        """From now on every fault hits its share of an upstream's requests; the rules are asked in turn."""
        for name, upstream in self.upstreams.items():
            await upstream.heal()
            for before, fault in enumerate(faults_at(name)):
                await upstream.fault(share=SHARE / (1 - SHARE * before), drip_s=DRIP_S, **fault)
            await upstream.fault(drip_s=DRIP_S)

    async def keep_changing(self) -> None:
        """Change the tiers now and then: they are built anew, so that no refused key is for good."""
        config = yaml.safe_load(self.served.path.read_text())
        for number in itertools.count(1):
            await asyncio.sleep(2)
            for tier in config["tiers"].values():
                tier["queue"] = {"max": 300 + number, "wait_s": 2}
            fresh = self.served.path.with_suffix(".new")
            fresh.write_text(yaml.safe_dump(config))
            fresh.replace(self.served.path)

    async def status(self) -> dict[str, Any]:
        """What the sidecar says of itself; with it the places at all tiers, and the open holds."""
        async with aiohttp.ClientSession(headers=self.served.bearer) as client:
            async with client.get(f"{self.served.base}/admin/status") as response:
                status: dict[str, Any] = await response.json()
            async with client.get(f"{self.served.base}/admin/tiers") as response:
                queues = [tier["queue"] for tier in (await response.json())["tiers"]]
            async with client.get(f"{self.served.base}/metrics") as response:
                metrics = dict(line.rsplit(" ", 1) for line in (await response.text()).splitlines())
        status["places"] = sum(queue["in_use"] + queue["waiting"] for queue in queues)
        status["holds"] = int(float(metrics["sidecar_holds_open"]))
        return status

    async def quiet(self, tasks: int, within_s: float) -> dict[str, Any]:
        """The status once nothing is left of the load, or when ``within_s`` seconds have passed."""
        until = time.monotonic() + within_s
        while True:
            status = await self.status()
            left = status["calls"]["under_way"] + status["places"] + status["holds"]
            if (not left and status["event_loop"]["tasks"] <= tasks) or time.monotonic() > until:
                return status
            await asyncio.sleep(0.25)


async def soak(
    seconds: float, at_once: int, directory: Path, *, growth_max: float = MEMORY_GROWTH_MAX
) -> Findings:
    """Run it, and say what was found. In a short run the memory has no time to level off: ``growth_max``."""
    found = Findings()
    async with AsyncExitStack() as stack:
        upstreams = {
            tier: await stack.enter_async_context(ScriptedUpstream(name=name, require_key=key))
            for tier, (name, key) in UPSTREAMS.items()
        }
        refused_url = stack.enter_context(RefusedPort()).url
        served = Served(configuration(directory, upstreams, refused_url), directory)
        served.start(covered=False)
        stack.callback(served.kill)
        run = Soak(served, upstreams, at_once)
        found.say(f"memory: {run.rss_mb:.0f} MB at start")
        await run.calm()
        await run.load(2.0)
        await run.spoil()
        await run.load(seconds * _WARM_UP)
        before = await run.quiet(0, 2.0)
        rss_mb, warm = run.rss_mb, len(run.calls)
        changing = asyncio.create_task(run.keep_changing())
        began = time.monotonic()
        await run.load(seconds)
        took_s = time.monotonic() - began
        changing.cancel()
        await asyncio.gather(changing, return_exceptions=True)
        after = await run.quiet(before["event_loop"]["tasks"], 20.0)
        found.say(
            f"calls: {warm} to warm up, then {len(run.calls) - warm} in {took_s:.1f} s, "
            f"{at_once} at once; event loop late by {after['event_loop']['worst_lag_ms']:.0f} ms at worst"
        )
        left_over(found, before, after)
        growth = run.rss_mb / rss_mb - 1
        found.check(
            growth <= growth_max,
            f"memory: {rss_mb:.0f} MB before, {run.rss_mb:.0f} MB after ({growth:+.1%})",
        )
        found.say(await how_soon_let_go(run))
        code = await asyncio.to_thread(served.stop)
        found.check(code == 0, f"exit code: {code}")
    endings(found, run.calls, served.data_dir)
    return found


def left_over(found: Findings, before: dict[str, Any], after: dict[str, Any]) -> None:
    """What is left of the load in the sidecar."""
    tasks = (before["event_loop"]["tasks"], after["event_loop"]["tasks"])
    found.check(tasks[1] <= tasks[0], f"tasks: {tasks[0]} before, {tasks[1]} after")
    found.check(not after["calls"]["under_way"], f"calls under way: {after['calls']['under_way']}")
    found.check(not after["places"], f"places at tiers taken or waited for: {after['places']}")
    found.check(not after["holds"], f"holds open: {after['holds']}")
    found.check(not after["decision_log"]["dropped"], f"records lost: {after['decision_log']['dropped']}")


async def how_soon_let_go(run: Soak) -> str:
    """How long after their clients left upstreams were let go, in words."""
    left_at = {call.number: call.left_at for call in run.calls if call.seen is Seen.LEFT}
    waits_ms = []
    for upstream in run.upstreams.values():
        for entry in await upstream.log():
            number = entry.body.partition("call ")[2].partition(":")[0]
            if entry.client_left and number.isdigit() and int(number) in left_at:
                waits_ms.append((entry.ended_at - left_at[int(number)]) * 1000)
    if not waits_ms:
        return "no upstream was at work when its client left"
    return (
        f"upstreams let go after their client left: {len(waits_ms)}, "
        f"median {statistics.median(waits_ms):.0f} ms, worst {max(waits_ms):.0f} ms"
    )


def endings(found: Findings, calls: list[Call], data_dir: Path) -> None:
    """Every call's one ending, as its client saw it and as it was recorded."""
    recorded: dict[str, list[str]] = collections.defaultdict(list)
    with sqlite3.connect(data_dir / "sidecar.sqlite") as connection:
        for session, outcome in connection.execute("SELECT session, outcome FROM decisions"):
            recorded[session].append(outcome)
    table: collections.Counter[tuple[Seen, str]] = collections.Counter()
    missing = twice = disagree = 0
    for call in calls:
        outcomes = recorded[f"soak-{call.number}"]
        # A call whose client went before its body had come is none.
        missing += not outcomes and call.seen is not Seen.GONE
        twice += len(outcomes) > 1
        outcome = outcomes[0] if outcomes else "(none)"
        table[call.seen, outcome] += 1
        disagree += bool(outcomes) and outcome not in AGREES.get(call.seen, set())
    for seen, outcome in sorted(table):
        found.say(f"      {table[seen, outcome]:>7}  {seen:<36}{outcome}")
    for seen in (Seen.HUNG, Seen.LOST):
        number = sum(call.seen is seen for call in calls)
        found.check(not number, f"calls whose client saw {seen}: {number}")
    found.check(not missing, f"calls without a record: {missing}")
    found.check(not twice, f"calls with more than one record: {twice}")
    found.check(not disagree, f"records that disagree with what the client saw: {disagree}")
    with sqlite3.connect(data_dir / "ledger.sqlite") as connection:
        states = dict(connection.execute("SELECT state, count(*) FROM ledger_holds GROUP BY state"))
    found.check("open" not in states, f"holds: {', '.join(f'{n} {state}' for state, n in states.items())}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long faults are played")
    parser.add_argument("--at-once", type=int, default=200, help="calls under way at a time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = asyncio.run(soak(options.seconds, options.at_once, Path(directory)))
    print("\n".join(found.lines))
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
