"""Foretells when a cap runs out, from what was spent of late."""

from __future__ import annotations

from collections import deque

from sidecar.core.periods import NANOSECONDS

MINUTE_NS = 60 * NANOSECONDS
WINDOW_NS = 60 * MINUTE_NS

#: A spell shorter than this is no rate yet: the first call after a quiet night is not a trend.
SPELL_MIN_NS = 10 * MINUTE_NS


class RecentSpend:
    """What one tier spent in each minute of the last hour; never more than 61 numbers."""

    __slots__ = ("_minutes",)

    def __init__(self) -> None:
        self._minutes: deque[tuple[int, int]] = deque()

    def add(self, nano_usd: int, now_ns: int) -> None:
        """Count ``nano_usd`` as spent now. ``now_ns`` never goes back from call to call."""
        minute = now_ns // MINUTE_NS
        if self._minutes and self._minutes[-1][0] == minute:
            nano_usd += self._minutes.pop()[1]
        self._minutes.append((minute, nano_usd))
        self._forget(now_ns)

    def spent(self, now_ns: int) -> tuple[int, int]:
        """Nano-dollars spent within the last hour, and over how many nanoseconds."""
        self._forget(now_ns)
        if not self._minutes:
            return 0, WINDOW_NS
        spell = now_ns - self._minutes[0][0] * MINUTE_NS
        return sum(nano for _, nano in self._minutes), min(max(spell, SPELL_MIN_NS), WINDOW_NS)

    def _forget(self, now_ns: int) -> None:
        oldest = (now_ns - WINDOW_NS) // MINUTE_NS
        while self._minutes and self._minutes[0][0] <= oldest:
            self._minutes.popleft()


def runs_out_at(
    left_nano_usd: int, recent: list[RecentSpend], now_ns: int, ends_ns: int | None
) -> int | None:
    """When ``left_nano_usd`` is used up at the recent rate, in Unix nanoseconds.

    None when nothing was spent of late, or when the period ends first.
    """
    if left_nano_usd <= 0:
        return now_ns
    spells = [spend.spent(now_ns) for spend in recent]
    spent = sum(nano for nano, _ in spells)
    if spent <= 0:
        return None
    spell = max(span for nano, span in spells if nano > 0)
    at = now_ns + left_nano_usd * spell // spent
    return None if ends_ns is not None and at >= ends_ns else at
