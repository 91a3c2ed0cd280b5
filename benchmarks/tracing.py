"""What tracing every call costs the serving process, and what a collector that hangs costs the app.

::

    python -m benchmarks.tracing

Three sidecars, each a process of its own, answer the same calls over one scripted upstream: one without
tracing, one that exports all its spans, one whose collector takes connections and never answers. They take
turns, so that a busy machine blurs it little: by slices of calls for CPU, by single calls for durations. CPU
is that of the serving process alone, counted from one of its slices to the beginning of its next, so that
work put off is not left out. Goals: at most 250 us of CPU a call, and a median duration that a hanging
collector moves by less than 5 % against one that answers.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import statistics
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil

from benchmarks.dashboard_pages import settle
from sidecar.demo.child import Child

CPU_US_MAX = 250.0
P50_CHANGE_MAX = 0.05

_READY = re.compile(rb"ready: OpenAI base URL http://127\.0\.0\.1:(\d+)/v1")
#: A prompt of 4 KB for a priced tier, so that a call has five spans: the call, scan, route, hold, attempt.
_HEADERS = {
    "content-type": "application/json",
    "x-sidecar-data-classification": "public",
    "x-sidecar-quality": "critical",
}
_BODY = msgspec.json.encode(
    {
        "model": "auto",
        "messages": [{"role": "user", "content": "how long may a loan last " * 160}],
        "max_tokens": 16,
    }
)


class Collector:
    """Takes what it is sent over HTTP; one that hangs never answers."""

    def __init__(self, *, hangs: bool) -> None:
        self._hangs = hangs
        self.endpoint = ""

    async def start(self, stack: AsyncExitStack) -> None:
        server = await stack.enter_async_context(await asyncio.start_server(self._serve, "127.0.0.1", 0))
        stack.callback(server.close)
        self.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                assert length is not None
                await reader.readexactly(int(length[1]))
                if not self._hangs:
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            writer.close()


class Side:
    """One sidecar process and what was measured of it: CPU microseconds a call, durations in milliseconds."""

    def __init__(self, name: str, endpoint: str, upstream_port: int, directory: Path) -> None:
        self.name = name
        path = directory / f"{name}.yaml"
        path.write_bytes(msgspec.json.encode(_config(upstream_port, directory / name)))
        environ = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        self.child = Child.leashed(
            "sidecar.cli", "serve", "--config", str(path), ready=_READY, environ=environ
        )
        self.child.start()
        # What the leash started is the sidecar itself.
        self._cpu_s = 0.0
        self._calls = 0
        self.cpu_us: list[float] = []
        self.durations_ms: list[float] = []

    @property
    def p50_ms(self) -> float:
        """The median duration of the calls that were made one at a time."""
        return statistics.median(self.durations_ms)

    def read_cpu(self) -> None:
        """Close the account of the slice before, if there was one."""
        cpu_s = _cpu_s(self.child.pid)
        if self._calls:
            self.cpu_us.append((cpu_s - self._cpu_s) / self._calls * 1e6)
        self._cpu_s, self._calls = cpu_s, 0

    async def slice(self, session: aiohttp.ClientSession, calls: int, at_once: int) -> None:
        """Make ``calls`` calls, ``at_once`` at a time."""

        async def some() -> None:
            for _ in range(calls // at_once):
                await self._call(session)

        await asyncio.gather(*(some() for _ in range(at_once)))
        self._calls += calls // at_once * at_once

    async def one(self, session: aiohttp.ClientSession) -> None:
        """Make one call and note how long it took."""
        started = time.perf_counter()
        await self._call(session)
        self.durations_ms.append((time.perf_counter() - started) * 1e3)

    async def _call(self, session: aiohttp.ClientSession) -> None:
        url = f"http://127.0.0.1:{self.child.port}/v1/chat/completions"
        async with session.post(url, data=_BODY, headers=_HEADERS) as response:
            await response.read()
        assert response.status == 200


def _cpu_s(pid: int) -> float:
    """The CPU time of all threads: in nanoseconds where Linux tells them, else in ticks of 10 ms."""
    tasks = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
    if tasks:
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _config(upstream_port: int, data_dir: Path) -> Mapping[str, Any]:
    upstream = f"http://127.0.0.1:{upstream_port}"
    return {
        "listen": {"host": "127.0.0.1", "port": 0},
        "data_dir": str(data_dir),
        "tiers": {
            "local_ollama": {
                "provider": "ollama",
                "base_url": upstream,
                "off_box": False,
                "models": {"default": "llama3.2"},
            },
            "openai": {
                "provider": "openai",
                "base_url": f"{upstream}/v1",
                "api_key": "key",
                "off_box": True,
                "price": {"usd_per_1k_tokens": 0.015},
                "models": {"default": "gpt-4o"},
            },
        },
        "routing": {
            "rules": [{"name": "critical_quality", "when": {"quality": "critical"}, "tier": "openai"}]
        },
        "rollout": {"percent": 100, "gates": {"error_rate_max": 1.0, "p95_ms_max": 1e9}},
    }


async def measure(calls: int, rounds: int, turns: int, at_once: int) -> bool:
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = Child("sidecar.demo.scripted_upstream", "--port=0", "--exit-with-parent")
        upstream.start()
        stack.callback(upstream.stop)
        takes, hangs = Collector(hangs=False), Collector(hangs=True)
        for collector in (takes, hangs):
            await collector.start(stack)
        sides: list[Side] = []
        for name, endpoint in (("off", ""), ("tracing", takes.endpoint), ("hanging", hangs.endpoint)):
            sides.append(Side(name, endpoint, upstream.port, directory))
            stack.callback(sides[-1].child.stop)
        for side in sides:
            # What a start imports in the background is none of the calls' CPU.
            settle(side.child.pid)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        for side in sides:
            await side.slice(session, calls, at_once)
            side.read_cpu()
            side.cpu_us.clear()
        # Another order each round, so that no side always comes after the same one.
        order = random.Random(1)
        for _ in range(rounds):
            for side in order.sample(sides, 3):
                side.read_cpu()
                await side.slice(session, calls, at_once)
        for side in sides:
            side.read_cpu()
        for _ in range(turns):
            for side in order.sample(sides, 3):
                await side.one(session)
        off, tracing, hanging = sides
        return _tell(off, tracing, hanging)


def _tell(off: Side, tracing: Side, hanging: Side) -> bool:
    added = [full - none for none, full in zip(off.cpu_us, tracing.cpu_us, strict=True)]
    change = hanging.p50_ms / tracing.p50_ms - 1
    for side in (off, tracing, hanging):
        cpu_us = statistics.median(side.cpu_us)
        print(f"{side.name:<10}{cpu_us:>8.0f} us of CPU a call{side.p50_ms:>8.2f} ms p50")
    low, added_us, high = statistics.quantiles(added)
    print(f"tracing adds {added_us:.0f} us of CPU a call, in half of the rounds {low:.0f} to {high:.0f}")
    to_none = hanging.p50_ms / off.p50_ms - 1
    print(f"a hanging collector changes the p50 by {change:+.1%}; against no tracing it is {to_none:+.1%}")
    print(f"goals: at most {CPU_US_MAX:.0f} us, less than {P50_CHANGE_MAX:.0%}")
    return added_us <= CPU_US_MAX and change < P50_CHANGE_MAX


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=80, help="calls in a slice")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--turns", type=int, default=1500, help="single calls to each side")
    parser.add_argument("--at-once", type=int, default=8, help="calls under way at one time")
    options = parser.parse_args()
    return 0 if asyncio.run(measure(options.calls, options.rounds, options.turns, options.at_once)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
