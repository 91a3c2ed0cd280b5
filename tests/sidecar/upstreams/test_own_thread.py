"""Work in a thread of its own: its result comes to the loop, and the loop's end does not wait for it."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from sidecar.upstreams.own_thread import in_own_thread


async def test_the_result_or_the_failure_comes_to_who_waits() -> None:
    assert await in_own_thread(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await in_own_thread(lambda: 1 // 0)


def test_a_loop_that_ends_does_not_wait_for_it() -> None:
    go_on, ended = threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait(10)
        ended.set()

    async def begin() -> None:
        in_own_thread(work)

    began = time.perf_counter()
    asyncio.run(begin())
    assert time.perf_counter() - began < 5
    go_on.set()
    assert ended.wait(10)


async def test_who_has_given_up_is_not_told() -> None:
    go_on = threading.Event()
    future = in_own_thread(lambda: go_on.wait(10))
    future.cancel()
    go_on.set()
    await in_own_thread(lambda: None)
    assert future.cancelled()
