"""Places at a tier: so many at a time, first come first served, none lost."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from sidecar.core.tiers import QueueLimits
from sidecar.upstreams.admission import Admission, Place, Saturated


def admission(limit: int = 2, queue: int = 64, wait_s: float = 30.0) -> Admission:
    return Admission(limit, QueueLimits(max=queue, wait_s=wait_s), time.perf_counter)


async def enter(places: Admission, order: list[str], name: str, *, batch: bool = False) -> Place:
    place = await places.enter(batch=batch)
    order.append(name)
    return place


async def queued(places: Admission, waiting: int) -> None:
    while places.waiting < waiting:  # noqa: ASYNC110 - the queue tells nobody
        await asyncio.sleep(0)


async def test_who_comes_first_is_first_and_interactive_calls_come_before_batches() -> None:
    places, order = admission(limit=1), list[str]()
    place = await places.enter(batch=False)
    tasks = []
    for number, (name, batch) in enumerate(
        [("b1", True), ("i1", False), ("b2", True), *((f"i{n}", False) for n in range(2, 6))], start=1
    ):
        tasks.append(asyncio.create_task(enter(places, order, name, batch=batch)))
        await queued(places, number)
    for _ in tasks:
        place.leave()
        # Whoever was let in leaves in turn.
        done, _ = await asyncio.wait(
            [each for each in tasks if each.get_name() != "left"], return_when="FIRST_COMPLETED"
        )
        (entered,) = done
        entered.set_name("left")
        place = entered.result()
    place.leave()
    assert order == ["i1", "i2", "i3", "b1", "i4", "i5", "b2"]
    assert places.view().in_use == 0


async def test_a_full_queue_turns_away_at_once() -> None:
    places = admission(limit=1, queue=1)
    place = await places.enter(batch=False)
    waiting = asyncio.create_task(places.enter(batch=False))
    await queued(places, 1)
    with pytest.raises(Saturated, match="1 calls are at work and 1 wait") as turned:
        await places.enter(batch=False)
    assert turned.value.retry_after_s >= 1
    place.leave()
    (await waiting).leave()
    view = places.view()
    assert (view.in_use, view.waiting, view.turned_away, view.waited_in_vain) == (0, 0, 1, 0)


async def test_waiting_too_long_ends_in_a_refusal_and_leaves_the_line() -> None:
    places = admission(limit=1, wait_s=0.02)
    place = await places.enter(batch=False)
    with pytest.raises(Saturated, match=r"waited 0\.02 s"):
        await places.enter(batch=True)
    assert places.waiting == 0
    place.leave()
    place.leave()
    assert places.view().in_use == 0
    assert places.view().waited_in_vain == 1


async def test_a_call_that_leaves_in_the_instant_it_is_let_in_gives_the_place_on() -> None:
    places = admission(limit=1)
    place = await places.enter(batch=False)
    leaving = asyncio.create_task(places.enter(batch=False))
    staying = asyncio.create_task(places.enter(batch=False))
    await queued(places, 2)
    place.leave()
    leaving.cancel()
    (await staying).leave()
    assert leaving.cancelled()
    assert places.view().in_use == 0


async def test_in_a_storm_of_comings_and_leavings_no_place_is_lost_and_none_is_given_twice() -> None:
    random_ = random.Random(7)
    places, at_work, most = admission(limit=3, queue=20, wait_s=0.02), 0, 0

    async def call() -> None:
        nonlocal at_work, most
        try:
            place = await places.enter(batch=random_.random() < 0.5)
        except Saturated:
            return
        at_work += 1
        most = max(most, at_work)
        try:
            await asyncio.sleep(random_.random() * 0.004)
        finally:
            at_work -= 1
            place.leave()

    tasks = []
    for _ in range(500):
        tasks.append(asyncio.create_task(call()))
        if random_.random() < 0.3:
            random_.choice(tasks).cancel()
        if random_.random() < 0.3:
            await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    view = places.view()
    assert (view.in_use, view.waiting, most) == (0, 0, 3)
