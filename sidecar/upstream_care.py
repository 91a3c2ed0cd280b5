"""Looks after the upstreams in force: warms them, asks resting ones whether they are there, retires them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from sidecar.allocator import give_memory_back
from sidecar.in_force import InForce
from sidecar.upstreams.registry import Upstream, learn_of_models

#: How often it is seen to whether a resting tier is due for a look.
_CHECKS_EVERY_S = 0.2


class UpstreamCare:
    """The work in the background that ``current``'s upstreams need; ``close`` it, and them."""

    def __init__(self, current: Callable[[], InForce]) -> None:
        self._current = current
        self._tasks: set[asyncio.Task[None]] = set()
        self._retired: set[Upstream] = set()

    def begin(self, *, calls: bool = True) -> None:
        """Start. Without ``calls`` nothing is done that only upstreams need which are sent some."""
        self._start(learn_of_models(lambda: self._current().upstreams), "model-facts")
        if calls:
            self._start(self._check_resting_tiers(), "tier-checks")
            # Importing any-llm takes seconds; nobody should wait for it, neither the start nor a call.
            self._start(_warm(self._current()), "any-llm-import")

    def replaced(self, before: InForce, after: InForce) -> None:
        """Other settings are in force: see to the upstreams that are no longer."""
        for upstream in set(before.upstreams.values()) - set(after.upstreams.values()):
            self._retired.add(upstream)
            self._start(self._retire(upstream), f"retire-{upstream.tier.name}")

    async def close(self) -> None:
        """Stop all that, and close the upstreams."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for upstream in (*self._current().upstreams.values(), *self._retired):
            await upstream.aclose()

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _check_resting_tiers(self) -> None:
        """Ask tiers whose rest is over whether they are there, so that no call has to find out."""
        while True:
            await asyncio.sleep(_CHECKS_EVERY_S)
            due = [upstream for upstream in self._current().upstreams.values() if upstream.check_due]
            await asyncio.gather(*(upstream.check() for upstream in due))

    async def _retire(self, upstream: Upstream) -> None:
        """Close a replaced upstream once its last call must have ended."""
        await asyncio.sleep(upstream.tier.timeouts.total_s)
        self._retired.discard(upstream)
        await upstream.aclose()
        if not self._retired:
            give_memory_back()


async def _warm(in_force: InForce) -> None:
    for name, upstream in in_force.upstreams.items():
        if not in_force.tiers[name].off_because:
            await upstream.warm()
    give_memory_back()
