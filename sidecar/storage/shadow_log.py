"""Keeps what became of shadow calls, apart from the decisions, and sums it up."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from sidecar.core.arms import ALPHA
from sidecar.core.sequential import Interval, mean_interval, share_interval
from sidecar.core.shadows import ShadowResult as ShadowResult
from sidecar.storage.database import Clock, Database
from sidecar.storage.reports import WINDOWS_S, Window

_KEPT_NS: Final = 30 * 86_400 * 10**9


class ShadowSummary(msgspec.Struct, frozen=True):
    """Shadow calls against the very legacy calls that they followed, all of which were answered.

    ``slower_ms`` is by how much the answered ones took longer, below zero when they were faster.
    """

    calls: int
    failed: int
    error_rate: Interval | None
    legacy_ms: float | None
    shadow_ms: float | None
    slower_ms: Interval | None
    legacy_tokens: float | None
    shadow_tokens: float | None
    cost_nano_usd: int


class ShadowLog:
    """The results. Every method raises ``StorageError`` when it cannot do its work."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(self, result: ShadowResult) -> None:
        """Keep one result, and forget those of a month ago."""
        async with self._database.transaction() as connection:
            await connection.execute(_ADD, msgspec.structs.astuple(result))
            await connection.execute("DELETE FROM shadow_results WHERE at_ns < ?", (result.at_ns - _KEPT_NS,))

    async def spent_since(self, at_ns: int) -> int:
        """What shadow calls cost from ``at_ns`` on, in nano-dollars."""
        async with self._database.reader() as connection:
            ((spent,),) = await connection.execute_fetchall(
                "SELECT ifnull(sum(cost_nano_usd), 0) FROM shadow_results WHERE at_ns >= ?", (at_ns,)
            )
        return int(spent)

    async def summary(self, window: Window) -> ShadowSummary:
        """All shadow calls of the window together."""
        since_ns = self._clock() - WINDOWS_S[window][0] * 10**9
        async with self._database.reader() as connection:
            ((calls, failed, cost, *means, total, squares),) = await connection.execute_fetchall(
                _SUMMARY, (since_ns,)
            )
        answered, slower = calls - failed, None
        if answered >= 2:
            deviation = math.sqrt(max(0.0, squares - total * total / answered) / (answered - 1))
            slower = mean_interval(answered, total / answered, deviation, ALPHA)
        legacy_ms, shadow_ms, legacy_tokens, shadow_tokens = means
        return ShadowSummary(
            calls=calls,
            failed=failed,
            error_rate=share_interval(calls, failed, ALPHA),
            legacy_ms=legacy_ms,
            shadow_ms=shadow_ms,
            slower_ms=slower,
            legacy_tokens=legacy_tokens,
            shadow_tokens=shadow_tokens,
            cost_nano_usd=cost,
        )


_ADD: Final = f"""
INSERT INTO shadow_results ({", ".join(ShadowResult.__struct_fields__)})
VALUES ({", ".join("?" * len(ShadowResult.__struct_fields__))})
"""  # noqa: S608
_SUMMARY: Final = """
SELECT count(*), ifnull(sum(failed), 0), ifnull(sum(cost_nano_usd), 0),
    avg(legacy_ms) FILTER (WHERE NOT failed), avg(duration_ms) FILTER (WHERE NOT failed),
    avg(legacy_tokens) FILTER (WHERE NOT failed), avg(output_tokens) FILTER (WHERE NOT failed),
    ifnull(sum(duration_ms - legacy_ms) FILTER (WHERE NOT failed), 0.0),
    ifnull(sum((duration_ms - legacy_ms) * (duration_ms - legacy_ms)) FILTER (WHERE NOT failed), 0.0)
FROM shadow_results WHERE at_ns >= ?
"""
