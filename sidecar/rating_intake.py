"""Takes ratings off the path of the calls that bring them: queued, bounded, written one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from sidecar.storage.database import StorageError

log = logging.getLogger(__name__)

QUEUE_MAX: Final = 1_000


class RatingIntake:
    """``rate`` rates a call and says whether there is one; ``dropped`` counts what found no room."""

    def __init__(self, rate: Callable[[str, float], Awaitable[bool]]) -> None:
        self._rate = rate
        self._queue: asyncio.Queue[tuple[str, float]] = asyncio.Queue(QUEUE_MAX)
        self.dropped = 0

    def offer(self, request_id: str, score: float) -> None:
        """Rate a call soon. Never blocks, never raises; a call that is not known is passed over."""
        try:
            self._queue.put_nowait((request_id, score))
        except asyncio.QueueFull:
            self.dropped += 1

    async def run_forever(self) -> None:
        """Write what comes."""
        while True:
            request_id, score = await self._queue.get()
            try:
                if not await self._rate(request_id, score):
                    log.info("there is no call %r to rate", request_id)
            except StorageError as error:
                self.dropped += 1
                log.warning("a rating is lost: %s", error)
