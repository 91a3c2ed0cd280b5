"""Bounds what shadow calls cost in a day, all of them together, whichever process makes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sidecar.core.periods import Calendar, PeriodKind
from sidecar.storage.shadow_log import ShadowLog


class DayPurse:
    """A day's money for shadow calls. ``calendar`` tells the day, ``results`` what was spent in it before."""

    def __init__(self, results: ShadowLog, calendar: Calendar, clock_ns: Callable[[], int]) -> None:
        self._results = results
        self._calendar = calendar
        self._clock_ns = clock_ns
        self._opening = asyncio.Lock()
        self._day_ns = -1
        self._spent_nano_usd = 0
        self._reserved_nano_usd = 0

    async def take(self, nano_usd: int, cap_nano_usd: int) -> bool:
        """Set ``nano_usd`` aside, if a day's cap leaves them. Raises ``StorageError``."""
        async with self._opening:
            await self._open_day()
        if self._spent_nano_usd + self._reserved_nano_usd + nano_usd > cap_nano_usd:
            return False
        self._reserved_nano_usd += nano_usd
        return True

    def give_back(self, nano_usd: int, cost_nano_usd: int) -> None:
        """What was set aside came to ``cost_nano_usd``."""
        self._reserved_nano_usd -= nano_usd
        self._spent_nano_usd += cost_nano_usd

    async def _open_day(self) -> None:
        """Begin the day's sum at what is written down, at the first shadow call of each day."""
        start_ns = self._calendar.period(PeriodKind.DAY, self._clock_ns()).start_ns
        if start_ns != self._day_ns:
            self._spent_nano_usd = await self._results.spent_since(start_ns)
            self._day_ns = start_ns
