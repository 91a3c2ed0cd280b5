"""The sidecar with everything on beside two proxies that only forward.

::

    python -m benchmarks.hot_path [--rounds 5] [--json FILE]

On: privacy scan, budget hold, decision record, tracing of every call with export over OTLP. Each proxy is a
process of its own over one mock upstream; rounds alternate between them and the medians are compared, so that
a busy machine blurs the ratios little. CPU is that of the whole process and its children, all threads, in
microseconds a call. Every prompt is new, but for "seen".
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import re
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import uvloop

from benchmarks.hot_path.load import drive, request
from benchmarks.hot_path.mock_upstream import CHUNKS
from sidecar.demo.child import Child

PORT = re.compile(rb"^(\d+)$", re.MULTILINE)
READY = re.compile(rb"ready: OpenAI base URL http://127\.0\.0\.1:(\d+)/v1")
CONNECTIONS = 32
REFERENCE = "litestar"

Figures = dict[str, float]


class Proxy:
    """One proxy process, and its figures of each round."""

    def __init__(self, name: str, child: Child) -> None:
        self.name = name
        self.child = child
        self.rounds: defaultdict[str, list[float]] = defaultdict(list)

    def cpu_s(self) -> float:
        """CPU seconds so far of the process and its children."""
        process = psutil.Process(self.child.pid)
        return sum(_cpu_s(each.pid) for each in [process, *process.children(recursive=True)])

    async def measure(self, kind: str, calls: int, make: Callable[[], bytes], connections: int) -> None:
        before = self.cpu_s()
        began = asyncio.get_running_loop().time()
        taken = await drive(self.child.port, calls, connections, make)
        elapsed = asyncio.get_running_loop().time() - began
        # Records and spans are written a moment later; they belong to these calls.
        await asyncio.sleep(0.4)
        self.rounds[f"{kind}, CPU us"].append((self.cpu_s() - before) / calls * 1e6)
        if connections > 1:
            self.rounds[f"{kind}, calls/s"].append(calls / elapsed)
        else:
            whole = sorted(came[-1] * 1e3 for came in taken)
            self.rounds[f"{kind}, p50 ms"].append(statistics.median(whole))
            self.rounds[f"{kind}, p99 ms"].append(whole[int(len(whole) * 0.99)])

    async def measure_stream(self, calls: int, make: Callable[[], bytes]) -> None:
        before = self.cpu_s()
        taken = await drive(self.child.port, calls, 8, make)
        await asyncio.sleep(0.4)
        self.rounds["stream, CPU us"].append((self.cpu_s() - before) / calls * 1e6)
        single = await drive(self.child.port, 6, 1, make)
        self.rounds["stream, first piece ms"].append(statistics.median(came[0] * 1e3 for came in single))
        self.rounds["stream, chunk ms"].append(
            statistics.median((came[-1] - came[0]) * 1e3 / CHUNKS for came in single)
        )
        assert taken

    def figures(self) -> Figures:
        return {kind: statistics.median(values) for kind, values in self.rounds.items()}


def _cpu_s(pid: int) -> float:
    """All threads, also those that ended: in ticks of 10 ms, so rounds must be long enough."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def config(upstream: str, data_dir: Path) -> bytes:
    """The configuration of a sidecar that answers critical calls by the priced tier, everything on."""
    tier = {"provider": "openai", "base_url": f"{upstream}/v1", "models": {"default": "gpt-4o"}}
    priced = {"off_box": True, "api_key": "key", "price": {"usd_per_1k_tokens": 0.015}}
    return msgspec.json.encode(
        {
            "listen": {"host": "127.0.0.1", "port": 0},
            "data_dir": str(data_dir),
            "tiers": {
                "local": {**tier, "off_box": False, "max_concurrency": 64},
                "openai": {**tier, **priced},
            },
            "routing": {
                "rules": [{"name": "critical", "when": {"quality": "critical"}, "tier": "openai"}],
            },
            "budgets": {"caps": [{"name": "all", "tier": "*", "period": "month", "usd": 1_000_000}]},
            "rollout": {"percent": 100},
            "telemetry": {"otlp_endpoint": upstream},
        }
    )


@contextlib.contextmanager
def running(child: Child) -> Iterator[Child]:
    child.start(timeout_s=120)  # a busy machine may take its time
    try:
        yield child
    finally:
        child.stop()


def _proxies(stack: contextlib.ExitStack, directory: Path, pace_ms: float) -> list[Proxy]:
    mock = Child.leashed("benchmarks.hot_path.mock_upstream", "--pace-ms", str(pace_ms), ready=PORT)
    stack.enter_context(running(mock))
    upstream = f"http://127.0.0.1:{mock.port}"
    path = directory / "sidecar.yaml"
    path.write_bytes(config(upstream, directory / "var"))
    children = {
        "sidecar": Child.leashed("sidecar.cli", "serve", "--config", str(path), ready=READY),
        "raw": Child.leashed("benchmarks.hot_path.references", "raw", upstream, ready=PORT),
        REFERENCE: Child.leashed("benchmarks.hot_path.references", REFERENCE, upstream, ready=PORT),
    }
    return [Proxy(name, stack.enter_context(running(child))) for name, child in children.items()]


async def _round(proxy: Proxy, chance: random.Random, scale: float) -> None:
    def new(size: int) -> Callable[[], bytes]:
        return lambda: request(size, chance)

    seen = request(50_000, chance)
    await proxy.measure("0.2 KB", int(1000 * scale), new(200), CONNECTIONS)
    await proxy.measure("4 KB", int(1000 * scale), new(4_000), CONNECTIONS)
    await proxy.measure("50 KB", int(200 * scale), new(50_000), CONNECTIONS)
    await proxy.measure("50 KB seen", int(400 * scale), lambda: seen, CONNECTIONS)
    await proxy.measure("4 KB alone", int(300 * scale), new(4_000), 1)
    await proxy.measure_stream(int(96 * scale), lambda: request(4_000, chance, stream=True))


async def run(rounds: int, scale: float, pace_ms: float) -> dict[str, Figures]:
    """The medians of all rounds, by proxy."""
    chance = random.Random(os.urandom(8))
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        proxies = _proxies(stack, Path(directory), pace_ms)
        for proxy in proxies:
            await drive(proxy.child.port, 200, CONNECTIONS, lambda: request(1000, chance))
        await asyncio.sleep(3)  # what warms up in the background has done so
        for _ in range(rounds):
            for proxy in chance.sample(proxies, len(proxies)):
                await _round(proxy, chance, scale)
        for proxy in proxies:
            proxy.rounds["RSS MB"].append(psutil.Process(proxy.child.pid).memory_info().rss / 2**20)
        return {proxy.name: proxy.figures() for proxy in proxies}


def table(figures: dict[str, Figures]) -> str:
    """The figures as Markdown, with the ratio of the sidecar to the reference."""
    lines = ["| | raw | reference | sidecar | ratio |", "|---|--:|--:|--:|--:|"]
    for kind, value in figures["sidecar"].items():
        reference = figures[REFERENCE][kind]
        cells = (f"{each:,.1f}" for each in (figures["raw"][kind], reference, value))
        lines.append(f"| {kind} | {' | '.join(cells)} | {value / reference:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hot_path", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of calls a round")
    parser.add_argument("--pace-ms", type=float, default=1.0, help="between two chunks of a stream")
    parser.add_argument("--json", type=Path, help="where the figures are written as JSON")
    options = parser.parse_args()
    figures = uvloop.run(run(options.rounds, options.scale, options.pace_ms))
    print(table(figures))
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(figures)))


if __name__ == "__main__":
    main()
