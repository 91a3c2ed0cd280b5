"""A time limit for waits that are many and mostly short, such as those for the chunks of a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class Patience:
    """Waits, but not forever; used by one task at a time.

    ``asyncio.timeout`` makes a timer for every wait and cancels it, which costs a tenth of what a chunk
    costs altogether. Here one timer stays; when it rings, it looks how long the present wait may last.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Task[object] | None = None
        self._until_s = 0.0
        self._over = False

    async def wait(self, awaited: Awaitable[T], for_s: float) -> T:
        """What ``awaited`` gives; raises ``TimeoutError`` after ``for_s`` seconds, having cancelled it."""
        task = asyncio.current_task()
        assert task is not None
        cancelled_before = task.cancelling()
        self._until_s = self._loop.time() + for_s
        self._waiting = task
        if self._timer is None or self._timer.when() > self._until_s:
            self._set_timer()
        try:
            return await awaited
        except BaseException as error:
            # As in asyncio.timeout: the cancelling that came from here ends here, and only that one.
            if (
                self._over
                and task.uncancel() <= cancelled_before
                and isinstance(error, asyncio.CancelledError)
            ):
                raise TimeoutError from error
            raise
        finally:
            self._waiting = None

    def stop(self) -> None:
        """No wait follows."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        self.stop()
        self._timer = self._loop.call_at(self._until_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._waiting is None:
            return
        if self._loop.time() < self._until_s:
            self._set_timer()
        else:
            self._over = True
            self._waiting.cancel()
