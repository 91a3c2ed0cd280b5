"""Sends what was encoded to a collector, in batches; bounded, and counts what it drops.

``offer`` queues and returns. One task sends what is queued every second, or sooner when a batch is full.
While the collector is away it tries on with longer and longer pauses; what the queue has no room for
meanwhile is dropped. So a collector that is down, hangs or refuses costs a bounded amount of memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from sidecar.telemetry.transport import Sent, Transport

log = logging.getLogger(__name__)

BATCH_MAX: Final = 256
SEND_EVERY_S: Final = 1.0
#: What may wait, in bytes: some 4,000 calls.
QUEUE_BYTES_MAX: Final = 16 * 2**20
FIRST_PAUSE_S: Final = 0.5
PAUSE_MAX_S: Final = 15.0
#: How often the same batch is sent before it is given up.
TRIES_MAX: Final = 6
#: How long closing tries to send what is still queued.
CLOSE_S: Final = 2.0


class Exporter:
    """Sends items to one collector. An item is bytes with how many spans, or the like, it stands for."""

    def __init__(
        self,
        transport: Transport,
        request: Callable[[Sequence[bytes]], bytes],
        *,
        every_s: float = SEND_EVERY_S,
        queue_bytes_max: int = QUEUE_BYTES_MAX,
    ) -> None:
        """``request`` makes one export of queued items."""
        self._transport = transport
        self._request = request
        self._every_s = every_s
        self._queue: deque[tuple[bytes, int]] = deque()
        self._queued_bytes = 0
        self._queue_bytes_max = queue_bytes_max
        self._something = asyncio.Event()
        self._enough = asyncio.Event()
        self.dropped = 0
        self.sent = 0
        #: Why the last export failed; empty while all is well.
        self.failing = ""
        self._task = asyncio.create_task(self._run(), name="otlp-export")

    def offer(self, item: bytes, count: int) -> None:
        """Queue ``item``; dropped and counted when there is no room. Never blocks, never raises."""
        if self._queued_bytes + len(item) > self._queue_bytes_max:
            self.dropped += count
            return
        self._queue.append((item, count))
        self._queued_bytes += len(item)
        self._something.set()
        if len(self._queue) >= BATCH_MAX:
            self._enough.set()

    async def close(self) -> None:
        """Send what is queued, for at most ``CLOSE_S``; the rest is dropped and counted."""
        self._task.cancel()
        await asyncio.wait([self._task])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                while self._queue and await self._send(self._take()):
                    pass
        self.dropped += sum(count for _, count in self._queue)
        self._queue.clear()
        await self._transport.aclose()

    async def _run(self) -> None:
        while True:
            await self._something.wait()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._enough.wait(), self._every_s)
            await self._send_in_the_end(self._take())

    def _take(self) -> list[tuple[bytes, int]]:
        batch = [self._queue.popleft() for _ in range(min(BATCH_MAX, len(self._queue)))]
        self._queued_bytes -= sum(len(item) for item, _ in batch)
        if not self._queue:
            self._something.clear()
        if len(self._queue) < BATCH_MAX:
            self._enough.clear()
        return batch

    async def _send_in_the_end(self, batch: list[tuple[bytes, int]]) -> None:
        """Send ``batch``, again if need be. Cancelled meanwhile, it goes back into the queue."""
        pause_s = FIRST_PAUSE_S
        try:
            for _ in range(TRIES_MAX - 1):
                if await self._send(batch, give_up=False):
                    return
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, PAUSE_MAX_S)
            await self._send(batch)
        except asyncio.CancelledError:
            self._queue.extendleft(reversed(batch))
            raise

    async def _send(self, batch: list[tuple[bytes, int]], *, give_up: bool = True) -> bool:
        """Whether ``batch`` is done with: taken, or refused for good."""
        count = sum(number for _, number in batch)
        sent = await self._transport.send(self._request([item for item, _ in batch]))
        if sent is Sent.TAKEN:
            self.sent += count
            if self.failing:
                log.warning("the collector takes telemetry again; %d were dropped so far", self.dropped)
            self.failing = ""
            return True
        if not self.failing:
            log.warning("the collector does not take telemetry: %s", self._transport.trouble)
        self.failing = self._transport.trouble
        if sent is Sent.REFUSED or give_up:
            self.dropped += count
            return sent is Sent.REFUSED
        return False
