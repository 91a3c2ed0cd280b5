"""Measures how long each page of the dashboard takes, with as many decisions as a data directory holds.

::

    python -m benchmarks.seed_decisions /tmp/many --count 1000000 --days 3 --copies 10
    python -m benchmarks.dashboard_pages /tmp/many /tmp/few

A sidecar in a process of its own serves each directory, and one client asks for one page after another, as
a browser would: the time is that of the whole answer, over a socket and compressed. ``CPU`` is what the
sidecar's process spent on it, which a busy machine distorts less. The ledger gets a month of spend, quarter
hour by quarter hour; ``empty`` names a directory that is made for the run.
"""

from __future__ import annotations

import argparse
import os
import re
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import yaml

from benchmarks.seed_decisions import APPS
from sidecar.demo.child import Child

READY = re.compile(rb"ready: OpenAI base URL http://127\.0\.0\.1:(\d+)/v1")
REQUESTS = 60
WARM_UP = 3
GOAL_MS = 100.0
SETTLE_S_MAX = 60.0
QUIET_SHARE = 0.05
QUARTER_NS = 900 * 1_000_000_000
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

#: What is looked at; ``{old}``, ``{session}`` and ``{id}`` are those of a decision long ago.
PAGES = (
    ("overview, 24 h", ""),
    ("overview, 1 h", "?window=1h"),
    ("overview, 30 d", "?window=30d"),
    ("decisions", "/decisions"),
    ("decisions of a tier", "/decisions?tier=openai"),
    ("decisions, an app's failures", "/decisions?app=app-3&outcome=upstream_failed"),
    ("decisions of a session", "/decisions?q={session}"),
    ("decisions that cost much", "/decisions?min_cost_usd=0.06&tier=openai"),
    ("decisions of a day long ago", "/decisions?since={since}&until={until}"),
    ("decisions, nothing to be found", "/decisions?tier=openai&verdict=SENSITIVE"),
    ("decisions, far down", "/decisions?cursor={old}"),
    ("one decision", "/decisions/{id}"),
    ("rollout, 24 h", "/rollout"),
    ("rollout, 30 d", "/rollout?window=30d"),
    ("budgets, 7 d", "/budgets"),
    ("budgets, 30 d", "/budgets?window=30d"),
    ("tiers, 24 h", "/tiers"),
    ("tiers, 30 d", "/tiers?window=30d"),
    ("policy", "/policy"),
    ("audit", "/audit"),
)


class Timing(msgspec.Struct, frozen=True):
    """How long a page took, in milliseconds, and how large it was, compressed, in bytes."""

    p50_ms: float
    p95_ms: float
    cpu_ms: float
    size: int


def config(data_dir: Path) -> dict[str, Any]:
    """Three tiers that nobody calls, the usual rules and caps, and room for all decisions."""
    tier = {"provider": "ollama", "base_url": "http://127.0.0.1:9", "models": {"default": "llama3.2"}}
    priced = {**tier, "off_box": True, "api_key": "key"}
    return {
        "listen": {"host": "127.0.0.1", "port": 0},
        "data_dir": str(data_dir),
        "tiers": {
            "local_ollama": {**tier, "off_box": False},
            "ollama_cloud": {**priced, "price": {"usd_per_1k_tokens": "0.001"}},
            "openai": {**priced, "provider": "openai", "price": {"usd_per_1k_tokens": "0.015"}},
        },
        "routing": {
            "rules": [
                {"name": "critical_quality", "when": {"quality": "critical"}, "tier": "openai"},
                {"name": "high_quality", "when": {"quality": "high"}, "tier": "ollama_cloud"},
            ]
        },
        "budgets": {"caps": [{"name": "all-month", "tier": "*", "period": "month", "usd": 1_000_000}]},
        "retention": {"days": 365, "max_mb": 1_000_000},
        "rollout": {"percent": 90},
    }


@contextmanager
def served(data_dir: Path) -> Iterator[tuple[Child, httpx.Client]]:
    """A sidecar over ``data_dir`` and a client that has logged in."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "sidecar.yaml"
        path.write_text(yaml.safe_dump(config(data_dir)))
        child = Child.leashed("sidecar.cli", "serve", "--config", str(path), ready=READY)
        child.start()
        try:
            base = f"http://127.0.0.1:{child.port}/dashboard"
            with httpx.Client(base_url=base, timeout=60, trust_env=False) as client:
                token = (data_dir / "admin-token").read_text().strip()
                assert client.post("/login", data={"token": token}).status_code == 303
                yield child, client
        finally:
            child.stop()


def spend(data_dir: Path) -> None:
    """Put 30 days of spend into the ledger, where there is none: each app, each priced tier, all the time."""
    now = time.time_ns() // QUARTER_NS
    with sqlite3.connect(data_dir / "ledger.sqlite") as ledger:
        if ledger.execute("SELECT count(*) FROM ledger_spend").fetchone()[0]:
            return
        ledger.executemany(
            "INSERT INTO ledger_spend VALUES (?, ?, ?, 'routed', ?, ?, 0, 12, 0, 0, 24000, 3600, 0)",
            (
                (slot, tier, model, app, nano_usd)
                for slot in range(now - 30 * 96, now + 1)
                for tier, model, nano_usd in (
                    ("ollama_cloud", "gpt-oss:120b", 27_600_000),
                    ("openai", "gpt-4o", 414_000_000),
                )
                for app in APPS
            ),
        )


def places(data_dir: Path) -> tuple[int, dict[str, str]]:
    """The number of decisions, and what stands for the braces in ``PAGES``."""
    with sqlite3.connect(f"file:{data_dir}/sidecar.sqlite?mode=ro", uri=True) as database:
        (count,) = database.execute("SELECT count(*) FROM decisions").fetchone()
        row = database.execute(
            "SELECT sequence, request_id, session, started_ns FROM decisions WHERE sequence = ?",
            (max(1, count // 20),),
        ).fetchone()
    if row is None:
        return 0, {}
    sequence, request_id, session, started_ns = row
    since = started_ns // 1_000_000_000
    cursor = msgspec.json.encode(f"decisions:{sequence}".encode()).decode().strip('"').rstrip("=")
    return count, {
        "old": cursor,
        "id": request_id,
        "session": session,
        "since": str(since),
        "until": str(since + 86_400),
    }


def cpu_s(pid: int) -> float:
    """The CPU time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def settle(pid: int) -> None:
    """Wait until what a start does in the background is over, such as imports."""
    quiet = 0
    deadline = time.monotonic() + SETTLE_S_MAX
    while quiet < 2 and time.monotonic() < deadline:
        before_s = cpu_s(pid)
        time.sleep(1.0)
        quiet = quiet + 1 if cpu_s(pid) - before_s < QUIET_SHARE else 0


def timing(child: Child, client: httpx.Client, path: str) -> Timing:
    """One page, asked for again and again."""
    took_ms, size = [], 0
    for number in range(WARM_UP + REQUESTS):
        if number == WARM_UP:
            before_s = cpu_s(child.pid)
        began = time.perf_counter()
        answer = client.get(path)
        took_ms.append((time.perf_counter() - began) * 1e3)
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
        size = answer.num_bytes_downloaded
    used_ms = (cpu_s(child.pid) - before_s) * 1e3 / REQUESTS
    cuts = statistics.quantiles(took_ms[WARM_UP:], n=20, method="inclusive")
    return Timing(cuts[9], cuts[18], used_ms, size)


def measured(data_dir: Path) -> tuple[int, dict[str, Timing]]:
    """The number of decisions in ``data_dir``, and each page's timing."""
    with served(data_dir):
        pass
    spend(data_dir)
    count, known = places(data_dir)
    timings = {}
    with served(data_dir) as (child, client):
        settle(child.pid)
        for name, path in PAGES:
            if known or "{" not in path:
                timings[name] = timing(child, client, path.format_map(known))
    return count, timings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data_dirs", nargs="+", help="seeded directories, or 'empty'")
    with tempfile.TemporaryDirectory() as empty:
        results = [
            measured(Path(empty) / "data" if given == "empty" else Path(given))
            for given in parser.parse_args().data_dirs
        ]
    heads = "".join(f" {count:,} p50 | p95 | CPU |" for count, _ in results)
    print(f"| page |{heads}\n|---|{'---:|---:|---:|' * len(results)}")
    for name, _ in PAGES:
        cells = ""
        for _, timings in results:
            one = timings.get(name)
            cells += f" {one.p50_ms:.0f} | {one.p95_ms:.0f} | {one.cpu_ms:.0f} |" if one else " | | |"
        print(f"| {name} |{cells}")
    slow = [
        f"{name} at {count:,}: {one.p95_ms:.0f} ms"
        for count, timings in results
        for name, one in timings.items()
        if one.p95_ms > GOAL_MS
    ]
    largest = max(one.size for _, timings in results for one in timings.values())
    print(f"\nlargest page: {largest:,} bytes; p95 over {GOAL_MS:.0f} ms: {', '.join(slow) or 'none'}")


if __name__ == "__main__":
    main()
