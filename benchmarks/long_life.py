"""What a sidecar weighs after many calls: its memory, its log of decisions, its ledger.

::

    python -m benchmarks.long_life                    # 100,000 calls, 3 minutes
    python -m benchmarks.long_life --calls 1000000    # half an hour

Everything is on, as in ``benchmarks.hot_path``; retention keeps the decisions to ``--max-mb``. The first
row is what it weighs when it is ready and what it imports in the background is there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import uvloop

from benchmarks.dashboard_pages import settle
from benchmarks.hot_path.__main__ import PORT, READY, config, running
from benchmarks.hot_path.load import drive, request
from sidecar.demo.child import Child

CONNECTIONS = 16
SIZE = 400
#: So many calls are made ready at a time.
SLICE = 10_000
#: The memory that 100,000 calls may take, and how much more a million may, as a share.
RSS_MB_MAX, GROWTH_MAX = 150.0, 0.05


def milestones(calls: int) -> Iterator[int]:
    """1,000 and then 1, 2 and 5 times the powers of ten up to ``calls``, which is the last."""
    power = 1_000
    while power < calls:
        yield from (step * power for step in (1, 2, 5) if step * power < calls)
        power *= 10
    yield calls


async def run(calls: int, max_mb: int) -> list[tuple[int, float, float, float]]:
    """For each milestone the calls so far, and in MB the memory, the decisions and the ledger."""
    chance = random.Random(os.urandom(8))
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        mock = stack.enter_context(running(Child.leashed("benchmarks.hot_path.mock_upstream", ready=PORT)))
        path, data_dir = Path(name) / "sidecar.yaml", Path(name) / "var"
        settings = msgspec.json.decode(config(f"http://127.0.0.1:{mock.port}", data_dir))
        path.write_bytes(msgspec.json.encode(settings | {"retention": {"max_mb": max_mb}}))
        child = Child.leashed("sidecar.cli", "serve", "--config", str(path), ready=READY)
        stack.enter_context(running(child))
        settle(child.pid)

        def weigh(done: int) -> tuple[int, float, float, float]:
            decisions_mb, ledger_mb = (
                sum(each.stat().st_size for each in data_dir.glob(f"{kind}.sqlite*")) / 1e6
                for kind in ("sidecar", "ledger")
            )
            rss_mb = psutil.Process(child.pid).memory_info().rss / 2**20
            print(f"| {done:,} | {rss_mb:.1f} | {decisions_mb:.1f} | {ledger_mb:.1f} |", flush=True)
            return done, rss_mb, decisions_mb, ledger_mb

        print("| calls | RSS MB | decisions MB | ledger MB |\n|--:|--:|--:|--:|")
        rows, done = [weigh(0)], 0
        for goal in milestones(calls):
            while done < goal:
                some = min(SLICE, goal - done)
                await drive(child.port, some, CONNECTIONS, lambda: request(SIZE, chance))
                done += some
            await asyncio.sleep(1)
            rows.append(weigh(done))
        return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.long_life",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--max-mb", type=int, default=200)
    options = parser.parse_args()
    rows = uvloop.run(run(options.calls, options.max_mb))
    weights = {done: rss_mb for done, rss_mb, _, _ in rows}
    at = weights.get(100_000, rows[-1][1])
    growth = rows[-1][1] / at - 1
    print(f"at most {RSS_MB_MAX:.0f} MB: {at:.1f}; at most {GROWTH_MAX:.0%} more at the end: {growth:+.1%}")
    return 0 if at <= RSS_MB_MAX and growth <= GROWTH_MAX else 1


if __name__ == "__main__":
    raise SystemExit(main())
