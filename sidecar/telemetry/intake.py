"""Takes decision records over from the serving path, and makes telemetry of them afterwards; bounded.

``emit`` queues the record, nothing more. Everything else is done a few records at a time, between which
calls go on: on the event loop and not in a thread, because Python's lock would let a thread hold up the
calls for 5 ms at a time. Only the call lines are written in a thread, as whoever reads them may stall.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from sidecar.core.said import Hear
from sidecar.core.vocabulary import DecisionRecord, RefusedCall

log = logging.getLogger(__name__)

#: Records that may wait; a record is about 5 KB in memory.
QUEUE_MAX: Final = 4_096
#: How long the first of a batch waits for the others.
GATHER_S: Final = 0.1
#: How many records are worked on before others get their turn: about 0.5 ms.
AT_ONCE: Final = 4
#: With so many that wait there are no pauses, and for each so many one more is worked on at a time.
FURTHER_PER: Final = 128
#: Their turn, uvloop's shortest. Not nought: only while the event loop waits does a thread get Python's lock
#: at once, such as the one that has just made a call's hold durable; else that waits for up to 5 ms.
PAUSE_S: Final = 0.001

#: How many calls' lines are written together while calls go on, and how many may wait for the writing thread.
LINES_AT_ONCE: Final = 64
LINES_MAX: Final = 1_024

#: Calls whose messages may wait with them; of further ones only the records do.
HEARD_MAX: Final = 256

#: A call that has ended, or one that was turned away at the door.
Ended = DecisionRecord | RefusedCall
Consumer = Callable[[Ended, Hear | None], None]


class Intake:
    """Feeds each record to its consumers. ``dropped`` counts the records that found no room."""

    def __init__(
        self,
        consumers: Sequence[Consumer],
        write_lines: Callable[[Sequence[Ended]], None],
        *,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        """``write_lines`` is called in a thread; while it is stuck some lines wait, others are dropped."""
        self._consumers = consumers
        self._write_lines = write_lines
        self._queue: deque[tuple[Ended, Hear | None]] = deque()
        #: Worked on, but for their lines.
        self._unwritten: list[Ended] = []
        self._queue_max = queue_max
        self._something = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self.dropped = 0
        self.lines_dropped = 0
        self._task = asyncio.create_task(self._run(), name="telemetry-intake")

    def emit(self, record: Ended, hear: Hear | None = None) -> None:
        """Queue ``record``; dropped and counted when the queue is full. Never blocks, never raises."""
        if len(self._queue) >= self._queue_max:
            self.dropped += 1
            return
        self._queue.append((record, hear if len(self._queue) < HEARD_MAX else None))
        self._something.set()

    async def drain(self, pause_s: float = 0.0) -> None:
        """Work on what was emitted until now, with pauses between."""
        done = 0
        while self._queue:
            record, hear = self._queue.popleft()
            self._consume(record, hear)
            self._unwritten.append(record)
            done += 1
            waiting = len(self._queue)
            if done % (AT_ONCE + waiting // FURTHER_PER) == 0:
                if len(self._unwritten) >= LINES_AT_ONCE:
                    self._see_to_lines()
                await asyncio.sleep(pause_s if waiting < FURTHER_PER else 0)
        self._something.clear()
        self._see_to_lines()

    def _see_to_lines(self) -> None:
        """Have the lines written that are still to be, unless somebody is at it; drop what is too much."""
        if self._writing is None or self._writing.done():
            if self._unwritten:
                self._writing = asyncio.create_task(self._write())
        elif len(self._unwritten) > LINES_MAX:
            self.lines_dropped += len(self._unwritten)
            self._unwritten.clear()

    async def close(self) -> None:
        """Work on what is left."""
        self._task.cancel()
        await asyncio.wait([self._task])
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=1)
        await self.drain()
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=1)
        self.lines_dropped += len(self._unwritten)

    async def _run(self) -> None:
        while True:
            await self._something.wait()
            await asyncio.sleep(GATHER_S)
            await self.drain(PAUSE_S)

    def _consume(self, record: Ended, hear: Hear | None) -> None:
        for consumer in self._consumers:
            try:
                consumer(record, hear)
            except Exception as error:
                # A defect here must not end the worker. Its text may hold a piece of the record.
                log.error("telemetry of call %s failed: %s", record.request_id, type(error).__name__)

    async def _write(self) -> None:
        while self._unwritten:
            records, self._unwritten = self._unwritten, []
            with contextlib.suppress(Exception):
                await asyncio.to_thread(self._write_lines, records)
