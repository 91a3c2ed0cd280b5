"""Compares the two arms over a window, all calls together and by task type, from the roll-ups alone.

A call counts in the window in which it began; feedback counts with its call. What the figures and verdicts
mean stands in ``sidecar.core.arms``.
"""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

from sidecar.core.arms import ArmSums, Figure, Measured, compare
from sidecar.core.vocabulary import Arm
from sidecar.storage.database import Clock, Database
from sidecar.storage.histogram import decode_quantiles
from sidecar.storage.reports import WINDOWS_S, Window, grain_for
from sidecar.storage.rollups import Facet


class Comparison(msgspec.Struct, frozen=True):
    """Both arms side by side. ``task_type`` is empty for all calls together."""

    task_type: str
    legacy_calls: int
    routed_calls: int
    figures: tuple[Figure, ...]


class ArmComparison:
    """Reads roll-ups. Raises ``StorageError`` when the database cannot be read."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def over(self, window: Window) -> tuple[Comparison, ...]:
        """All calls of the window first, then each task type that is known, busiest first."""
        whole = await self._sums(window, Facet.ALL, "''")
        by_task = await self._sums(window, Facet.TASK_TYPE, "label")
        found = [_comparison("", whole.get("", {}))]
        tasks = [_comparison(task, arms) for task, arms in by_task.items()]
        tasks.sort(key=lambda one: (-(one.legacy_calls + one.routed_calls), one.task_type))
        return (*found, *tasks)

    async def _sums(self, window: Window, facet: Facet, label: str) -> dict[str, dict[str, ArmSums]]:
        """The sums by label and arm."""
        length_s, step_s = WINDOWS_S[window]
        until_s = (self._clock() // 1_000_000_000 // step_s + 1) * step_s
        sql = f"SELECT {label}, arm, {_SUMS} GROUP BY 1, arm"
        async with self._database.reader() as connection:
            rows = await connection.execute_fetchall(
                sql, (grain_for(length_s, step_s), facet.value, until_s - length_s, until_s)
            )
        found: dict[str, dict[str, ArmSums]] = {}
        for task, arm, *sums in rows:
            found.setdefault(task, {})[arm] = _arm_sums(*sums)
        return found


# Calls of before the roll-ups were split by arm have none.
_SUMS: Final = """
    sum(calls), sum(failed), sum(refused) + sum(left_early), sum(fallbacks),
    sum(input_tokens) + sum(output_tokens), sum(cost_nano_usd), sum(cost_usd_squares),
    iif(count(token_squares) = count(*), sum(token_squares), NULL),
    sum(ratings), sum(score_sum), quantiles(latency), quantiles(first_byte)
FROM rollups WHERE grain = ? AND facet = ? AND start_s >= ? AND start_s < ? AND arm <> ''
"""


def _arm_sums(
    calls: int,
    failed: int,
    excluded: int,
    fallbacks: int,
    tokens: int,
    cost_nano_usd: int,
    cost_squares: float,
    token_squares: float | None,
    ratings: int,
    score_sum: float,
    *quantiles: Any,
) -> ArmSums:
    answered, (p50, p95, p99) = decode_quantiles(quantiles[0])
    first, (first_p50, first_p95, _) = decode_quantiles(quantiles[1])
    cost_usd = cost_nano_usd / 1e9
    return ArmSums(
        calls=calls,
        proving=calls - excluded,
        failed=failed,
        fallbacks=fallbacks,
        tokens=tokens,
        cost_usd=cost_usd,
        cost_deviation=_deviation(calls, cost_usd, cost_squares),
        token_deviation=_deviation(calls, tokens, token_squares),
        ratings=ratings,
        score_sum=score_sum,
        p50=Measured(answered, p50),
        p95=Measured(answered, p95),
        p99=Measured(answered, p99),
        first_p50=Measured(first, first_p50),
        first_p95=Measured(first, first_p95),
    )


def _deviation(cases: int, total: float, squares: float | None) -> float | None:
    """The standard deviation of so many values; None below two, or when their squares are not known."""
    if cases < 2 or squares is None:
        return None
    return math.sqrt(max(0.0, squares - total * total / cases) / (cases - 1))


def _comparison(task_type: str, arms: dict[str, ArmSums]) -> Comparison:
    legacy, routed = arms.get(Arm.LEGACY, ArmSums()), arms.get(Arm.ROUTED, ArmSums())
    return Comparison(task_type, legacy.calls, routed.calls, compare(legacy, routed))
