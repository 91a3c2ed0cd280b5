"""The calls that are under way: no more than so many, and all of them ended politely at the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from sidecar.core.errors import Overloaded, ShuttingDown


class InFlight:
    """Counts calls and knows their tasks. ``limit`` is read anew for every call."""

    def __init__(self, limit: Callable[[], int]) -> None:
        self.ending = False
        self.turned_away = 0
        self._limit = limit
        self._tasks: set[asyncio.Task[object]] = set()

    @property
    def now(self) -> int:
        """How many calls are under way."""
        return len(self._tasks)

    def check(self) -> None:
        """Raises ``Overloaded`` or ``ShuttingDown`` when no call can be taken now."""
        if self.ending:
            raise ShuttingDown("the sidecar is being stopped", retry_after_s=1)
        limit = self._limit()
        if self.now >= limit:
            self.turned_away += 1
            raise Overloaded(
                f"{limit} calls are under way, and limits.max_in_flight allows no more", retry_after_s=1
            )

    @contextlib.contextmanager
    def under_way(self) -> Iterator[None]:
        """The current task is a call from here on. Raises as ``check`` does."""
        self.check()
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    def end_all(self) -> None:
        """Cancel every call; with ``ending`` set, each tells its client why."""
        self.ending = True
        for task in self._tasks:
            task.cancel()

    async def wait_until_none(self, within_s: float) -> None:
        """Wait until no call is under way, but not longer than ``within_s`` seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)
