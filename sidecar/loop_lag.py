"""Measures how late the event loop runs: whatever blocks it delays every call alike."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

_EVERY_S = 0.25
_REMEMBERED = 240  # a minute of them


class LoopLag:
    """The lag of the loop in which ``measure`` runs, in milliseconds: the newest, and a minute's worst."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        #: Told of each lag, in seconds.
        self.tell: Callable[[float], None] = _tell_nobody
        self._clock_s = clock_s
        self._lags_ms: deque[float] = deque([0.0], maxlen=_REMEMBERED)

    @property
    def last_ms(self) -> float:
        return self._lags_ms[-1]

    @property
    def worst_ms(self) -> float:
        return max(self._lags_ms)

    async def measure(self) -> None:
        """Sleep, and see how much too long it was; until cancelled."""
        while True:
            asleep_s = self._clock_s()
            await asyncio.sleep(_EVERY_S)
            late_s = self._clock_s() - asleep_s - _EVERY_S
            self._lags_ms.append(round(max(late_s, 0.0) * 1000, 1))
            self.tell(max(late_s, 0.0))


def _tell_nobody(late_s: float) -> None:
    """Until somebody wants to know."""
