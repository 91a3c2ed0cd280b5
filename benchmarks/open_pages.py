"""What ten open pages of the dashboard cost the calls: latency and CPU per call, with and without them.

::

    python -m benchmarks.open_pages

A sidecar in a process of its own answers calls at a steady pace from a scripted upstream. Rounds without and
with ten event streams, of ten different pages, alternate, and medians over the rounds are compared, so that a
busy machine blurs the ratio little.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from pathlib import Path

import httpx
import msgspec
import yaml

from benchmarks.dashboard_pages import READY, config, cpu_s, settle
from sidecar.demo.child import Child

CALLS_PER_S = 40
ROUND_S = 5.0
ROUNDS = 5
BODY = {
    "model": "auto",
    "stream": False,
    "messages": [{"role": "user", "content": "how long may a loan last " * 160}],
}
PAGES = (
    "overview?window=24h", "overview?window=1h", "decisions?", "decisions?tier=openai",
    "decisions?arm=routed", "rollout?", "budgets?", "tiers?", "tiers?window=1h", "audit?",
)  # fmt: skip


class Round(msgspec.Struct, frozen=True):
    """One round: milliseconds that calls took, CPU milliseconds per call, bytes that the streams brought."""

    p50_ms: float
    p95_ms: float
    cpu_ms: float
    streamed: int


async def call(client: httpx.AsyncClient, took_ms: list[float]) -> None:
    began = time.perf_counter()
    answer = await client.post("/api/chat", json=BODY)
    assert answer.status_code == 200, answer.text
    took_ms.append((time.perf_counter() - began) * 1e3)


async def read(client: httpx.AsyncClient, page: str, counted: list[int]) -> None:
    async with client.stream("GET", f"/dashboard/live/{page}") as response:
        assert response.status_code == 200
        async for chunk in response.aiter_raw():
            counted[0] += len(chunk)


async def one_round(client: httpx.AsyncClient, pid: int, *, pages: bool) -> Round:
    """Calls at a steady pace for a while."""
    counted, took_ms = [0], list[float]()
    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(read(client, page, counted)) for page in PAGES if pages]
        await asyncio.sleep(1.0)
        before_s, calls = cpu_s(pid), []
        loop = asyncio.get_running_loop()
        start = loop.time()
        for number in range(round(CALLS_PER_S * ROUND_S)):
            await asyncio.sleep(max(0.0, start + number / CALLS_PER_S - loop.time()))
            calls.append(group.create_task(call(client, took_ms)))
        await asyncio.gather(*calls)
        used_s = cpu_s(pid) - before_s
        for reader in readers:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader
    cuts = statistics.quantiles(took_ms, n=20, method="inclusive")
    return Round(cuts[9], cuts[18], used_s * 1e3 / len(took_ms), counted[0])


async def measure(base: str, token: str, pid: int) -> None:
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    async with httpx.AsyncClient(base_url=base, timeout=60, trust_env=False, limits=limits) as client:
        assert (await client.post("/dashboard/login", data={"token": token})).status_code == 303
        await one_round(client, pid, pages=True)
        without, with_pages = list[Round](), list[Round]()
        for _ in range(ROUNDS):
            without.append(await one_round(client, pid, pages=False))
            with_pages.append(await one_round(client, pid, pages=True))
    print("| | p50 of a call | p95 | CPU per call | streamed |\n|---|---:|---:|---:|---:|")
    for name, rounds in (("no page open", without), ("ten pages open", with_pages)):
        p50, p95, cpu = (
            statistics.median(getattr(one, field) for one in rounds)
            for field in ("p50_ms", "p95_ms", "cpu_ms")
        )
        streamed = statistics.median(one.streamed for one in rounds) / ROUND_S / 1e3
        print(f"| {name} | {p50:.1f} ms | {p95:.1f} ms | {cpu:.2f} ms | {streamed:.0f} kB/s |")


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    upstream = Child("sidecar.demo.scripted_upstream")
    upstream.start()
    try:
        with tempfile.TemporaryDirectory() as directory:
            settings = config(Path(directory) / "data")
            settings["tiers"]["local_ollama"] |= {
                "base_url": f"http://127.0.0.1:{upstream.port}",
                "max_concurrency": 64,
            }
            path = Path(directory) / "sidecar.yaml"
            path.write_text(yaml.safe_dump(settings))
            sidecar = Child.leashed("sidecar.cli", "serve", "--config", str(path), ready=READY)
            sidecar.start()
            try:
                settle(sidecar.pid)
                token = (Path(directory) / "data" / "admin-token").read_text().strip()
                asyncio.run(measure(f"http://127.0.0.1:{sidecar.port}", token, sidecar.pid))
            finally:
                sidecar.stop()
    finally:
        upstream.stop()


if __name__ == "__main__":
    main()
