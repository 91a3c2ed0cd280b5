"""Lets so many calls at a time to a tier; the others queue, within bounds.

Whoever comes first is let in first, interactive calls before batches; so that batches are not starved,
every ``_BATCH_EVERY``\\ th place that frees goes to one that waits.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable

import msgspec

from sidecar.core.tiers import QueueLimits

_BATCH_EVERY = 4
#: How much the newest attempt weighs in the average of how long attempts take.
_NEWEST_WEIGHT = 0.2
_RETRY_AFTER_MAX_S = 60


class Saturated(Exception):
    """There is no place, and no more waiting for one; ``retry_after_s`` is a guess at when there is."""

    def __init__(self, words: str, retry_after_s: int) -> None:
        super().__init__(words)
        self.words = words
        self.retry_after_s = retry_after_s


class AdmissionView(msgspec.Struct, frozen=True):
    """A tier's places and queue as an operator sees them; the last two count since the tier was set up."""

    in_use: int
    limit: int
    waiting: int
    waiting_max: int
    turned_away: int
    waited_in_vain: int


class Place:
    """A place at a tier; ``leave`` it once the attempt has ended."""

    __slots__ = ("_admission", "_since_s")

    def __init__(self, admission: Admission, since_s: float) -> None:
        self._admission: Admission | None = admission
        self._since_s = since_s

    def leave(self) -> None:
        """Give the place to the next in line; again does nothing."""
        admission, self._admission = self._admission, None
        if admission is not None:
            admission.left(self._since_s)


class Admission:
    """The places at one tier, and who waits for them. ``clock_s`` is monotonic seconds."""

    def __init__(self, limit: int, queue: QueueLimits, clock_s: Callable[[], float]) -> None:
        self._limit = limit
        self._queue = queue
        self._clock_s = clock_s
        self._in_use = 0
        self._interactive: deque[asyncio.Future[None]] = deque()
        self._batches: deque[asyncio.Future[None]] = deque()
        self._since_batch = 0
        self._turned_away = 0
        self._waited_in_vain = 0
        self._usual_s = 1.0

    async def enter(self, *, batch: bool) -> Place:
        """A place, at once or after waiting in line. Raises ``Saturated``. Cancelling loses no place."""
        if self._in_use < self._limit:
            self._in_use += 1
            return Place(self, self._clock_s())
        if self.full:
            self._turned_away += 1
            raise Saturated(f"{self._limit} calls are at work and {self.waiting} wait", self.retry_after_s())
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line = self._batches if batch else self._interactive
        line.append(turn)
        try:
            async with asyncio.timeout(self._queue.wait_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                # The place came in the same instant: it goes on to the next.
                self._pass_on()
            elif turn in line:
                line.remove(turn)
            if isinstance(error, TimeoutError):
                self._waited_in_vain += 1
                words = f"waited {self._queue.wait_s:g} s for one of {self._limit} places"
                raise Saturated(words, self.retry_after_s()) from None
            raise
        return Place(self, self._clock_s())

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._interactive) + len(self._batches)

    @property
    def full(self) -> bool:
        """Whether the next call would be turned away."""
        return self._in_use >= self._limit and self.waiting >= self._queue.max

    def retry_after_s(self) -> int:
        """Whole seconds after which those who wait now should have had their turn."""
        rounds = (self.waiting + 1) / self._limit
        return max(1, min(math.ceil(rounds * self._usual_s), _RETRY_AFTER_MAX_S))

    def view(self) -> AdmissionView:
        """Places and queue as they stand."""
        return AdmissionView(
            self._in_use,
            self._limit,
            self.waiting,
            self._queue.max,
            self._turned_away,
            self._waited_in_vain,
        )

    def left(self, since_s: float) -> None:
        """A place that was taken at ``since_s`` is free."""
        took_s = self._clock_s() - since_s
        self._usual_s += (took_s - self._usual_s) * _NEWEST_WEIGHT
        self._pass_on()

    def _pass_on(self) -> None:
        """The place of one who leaves goes to the next in line, or is free."""
        while self.waiting:
            batch = not self._interactive or (bool(self._batches) and self._since_batch >= _BATCH_EVERY - 1)
            turn = (self._batches if batch else self._interactive).popleft()
            # One who has given up stands in line until its task runs again.
            if not turn.done():
                self._since_batch = 0 if batch else self._since_batch + 1
                turn.set_result(None)
                return
        self._in_use -= 1
