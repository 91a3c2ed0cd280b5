"""The lag of the event loop is what it is: as long as something blocks it, and little when nothing does."""

from __future__ import annotations

import asyncio
import time

from sidecar.loop_lag import LoopLag


async def test_what_blocks_the_loop_is_seen_for_as_long_as_it_blocks() -> None:
    lag, told_s = LoopLag(time.perf_counter), list[float]()
    measured = asyncio.Event()

    def tell(late_s: float) -> None:
        told_s.append(late_s)
        measured.set()

    lag.tell = tell
    measuring = asyncio.create_task(lag.measure())
    await asyncio.sleep(0)
    # Behind the moment at which the measurement wakes, which is a quarter of a second away.
    time.sleep(0.55)  # noqa: ASYNC251
    blocked_ms = 300.0
    await asyncio.wait_for(measured.wait(), 10)
    assert blocked_ms <= lag.last_ms < blocked_ms + 2_000
    assert told_s[0] * 1000 == lag.last_ms or abs(told_s[0] * 1000 - lag.last_ms) < 0.1
    while lag.last_ms >= blocked_ms:
        measured.clear()
        await asyncio.wait_for(measured.wait(), 10)
    assert lag.worst_ms >= blocked_ms
    assert lag.last_ms < lag.worst_ms
    measuring.cancel()
