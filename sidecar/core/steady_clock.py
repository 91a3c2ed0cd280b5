"""A clock for the budgets that one wrong reading does not carry into another day.

A day's sums begin anew when its end is reached, so a clock that jumps a day ahead would grant every cap a
second time. What the wall clock says is compared with how much time has passed by a clock that nobody sets:
where the two differ, the latter is gone by, until the wall clock has stuck to its new time for a while.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

#: How far the two may differ: clocks that are being adjusted drift by seconds at most.
OFF_MAX_NS: Final = 60 * 10**9
#: How long a new time must last to be believed: after a sleep, or once a clock that was wrong is set.
BELIEVED_AFTER_NS: Final = 600 * 10**9


class SteadyClock:
    """Unix nanoseconds; ``wall_ns`` gives them, ``steady_ns`` counts nanoseconds that pass. Call it."""

    def __init__(self, wall_ns: Callable[[], int], steady_ns: Callable[[], int]) -> None:
        self._wall_ns = wall_ns
        self._steady_ns = steady_ns
        self._ahead_ns = wall_ns() - steady_ns()
        self._odd_ns = 0
        self._odd_since_ns: int | None = None

    def __call__(self) -> int:
        wall_ns, steady_ns = self._wall_ns(), self._steady_ns()
        expected_ns = steady_ns + self._ahead_ns
        off_ns = wall_ns - expected_ns
        if abs(off_ns) > OFF_MAX_NS and not self._has_lasted(off_ns, steady_ns):
            return expected_ns
        self._ahead_ns += off_ns
        self._odd_since_ns = None
        return wall_ns

    def _has_lasted(self, off_ns: int, steady_ns: int) -> bool:
        if self._odd_since_ns is None or abs(off_ns - self._odd_ns) > OFF_MAX_NS:
            self._odd_ns, self._odd_since_ns = off_ns, steady_ns
        return steady_ns - self._odd_since_ns >= BELIEVED_AFTER_NS
