"""Measures how long a call waits for its hold, with 1 and with 100 calls at once.

``python -m benchmarks.ledger [DIRECTORY]``, on the disk of DIRECTORY (default: the system's temporary one).
Each call holds, waits for its upstream, and settles, as the request line does; with no upstream to wait for
it is the most that one process can do. What the disk itself takes to make 4 KB durable is
measured beside it, before and after: no hold can be faster than that.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import random

from sidecar.core.budget import Cap, Hold, HoldRequest
from sidecar.core.periods import PeriodKind
from sidecar.core.pricing import Price
from sidecar.core.settlement import Settlement, SettlementKind
from sidecar.core.vocabulary import Arm, Usage
from sidecar.storage.budget_ledger import BudgetLedger

PRICE = Price(15_000_000_000, 15_000_000_000, 15_000_000_000)
CAPS = (
    Cap("openai-month", "openai", PeriodKind.MONTH, 10**18),
    Cap("all-day", "*", PeriodKind.DAY, 10**18),
)
REPORTED = Settlement(SettlementKind.REPORTED, Usage(900, 200))
SECONDS = 6.0


def request(number: int) -> HoldRequest:
    return HoldRequest(
        f"{number:032x}", 1, "openai", "gpt-4o", Arm.ROUTED, "app", PRICE.worst(5_000, 1_040), PRICE
    )


async def call_for(ledger: BudgetLedger, until: float, upstream_s: float, waits_ms: list[float]) -> None:
    while time.perf_counter() < until:
        started = time.perf_counter()
        hold = await ledger.hold(request(len(waits_ms)))
        waits_ms.append((time.perf_counter() - started) * 1e3)
        assert isinstance(hold, Hold), hold
        await asyncio.sleep(upstream_s * 2 * random())
        ledger.settle(hold, REPORTED)


async def waits(folder: Path, at_once: int, upstream_s: float) -> list[float]:
    ledger = await BudgetLedger.open(folder / f"{at_once}-{upstream_s}.sqlite", CAPS, "UTC", 1, time.time_ns)
    waits_ms: list[float] = []
    until = time.perf_counter() + SECONDS
    await asyncio.gather(*(call_for(ledger, until, upstream_s, waits_ms) for _ in range(at_once)))
    await ledger.close()
    return waits_ms


def disk_ms(folder: Path) -> list[float]:
    file = os.open(folder / "probe", os.O_WRONLY | os.O_CREAT)
    took_ms = []
    for _ in range(300):
        started = time.perf_counter()
        os.write(file, b"x" * 4096)
        os.fdatasync(file)
        took_ms.append((time.perf_counter() - started) * 1e3)
    os.close(file)
    return took_ms


def line(name: str, sample: Sequence[float]) -> str:
    ordered = sorted(sample)
    p50, p99 = (ordered[int(len(ordered) * share)] for share in (0.50, 0.99))
    return f"{name:<36} {len(ordered):>7} samples   p50 {p50:7.2f} ms   p99 {p99:7.2f} ms"


def main(folder: Path) -> None:
    print(line("disk: write 4 KB, fdatasync", disk_ms(folder)))
    for at_once, upstream_s in ((1, 0.0), (1, 0.02), (100, 0.2), (100, 0.0)):
        sample = asyncio.run(waits(folder, at_once, upstream_s))
        name = f"hold, {at_once} at once, upstream {upstream_s:g} s"
        print(line(name, sample), f"  {len(sample) / SECONDS:,.0f} calls/s")
    print(line("disk again", disk_ms(folder)))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as temporary:
        main(Path(temporary))
