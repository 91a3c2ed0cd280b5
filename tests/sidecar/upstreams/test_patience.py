"""The time limit for short waits: it ends the wait that lasts too long, and nothing else."""

from __future__ import annotations

import asyncio
import time

import pytest

from sidecar.upstreams.patience import Patience


async def test_what_comes_in_time_is_handed_on() -> None:
    patience = Patience()
    assert [await patience.wait(asyncio.sleep(0, number), 10) for number in range(3)] == [0, 1, 2]
    patience.stop()


async def test_an_exception_in_time_is_handed_on() -> None:
    async def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await Patience().wait(fails(), 10)


async def test_a_wait_that_lasts_too_long_is_ended() -> None:
    cancelled = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    started_s = time.monotonic()
    with pytest.raises(TimeoutError):
        await Patience().wait(forever(), 0.05)
    assert time.monotonic() - started_s >= 0.05
    assert cancelled.is_set()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0, "what follows must not take itself for cancelled"


async def test_many_short_waits_may_last_longer_than_one() -> None:
    patience = Patience()
    for _ in range(6):
        await patience.wait(asyncio.sleep(0.02), 0.1)
    with pytest.raises(TimeoutError):
        await patience.wait(asyncio.Event().wait(), 0.05)


async def test_a_shorter_wait_is_not_held_up_by_the_timer_of_a_longer_one() -> None:
    patience = Patience()
    await patience.wait(asyncio.sleep(0), 30)
    async with asyncio.timeout(5):
        with pytest.raises(TimeoutError):
            await patience.wait(asyncio.Event().wait(), 0.05)


async def test_nothing_is_cancelled_between_the_waits() -> None:
    patience = Patience()
    await patience.wait(asyncio.sleep(0), 0.02)
    await asyncio.sleep(0.06)
    await patience.wait(asyncio.sleep(0), 0.02)


async def test_cancelling_from_outside_stays_that() -> None:
    patience = Patience()
    waiting = asyncio.create_task(patience.wait(asyncio.Event().wait(), 30))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    patience.stop()
