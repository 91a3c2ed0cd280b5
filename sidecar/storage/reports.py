"""Answers the questions behind the charts, from roll-ups alone: as fast at ten million calls as at ten.

What is an error. ``failed`` counts calls that an upstream failed, or that got a 5xx for whatever reason.
``refused`` counts the caller's own 4xx and ``left_early`` callers that went away; neither is an error.
``error_rate`` is ``failed / calls``. Latency and first-byte percentiles are over answered calls only,
within 5 % of the true value.

A window ends now and begins at a whole step: the last point of a series is the step under way. Days and
hours are those of UTC. Calls are seen here as soon as the decision log has flushed them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

import msgspec

from sidecar.core.vocabulary import Arm
from sidecar.storage.database import Clock, Database
from sidecar.storage.histogram import NO_PERCENTILES, Percentiles, decode_percentiles
from sidecar.storage.retention import KEPT_S
from sidecar.storage.rollups import DAY_S, GRAINS_S, HOUR_S, MINUTE_S, QUARTER_S, Facet


class Window(StrEnum):
    """How far back to look."""

    HOUR = "1h"
    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"


#: The length of each window and the step of its series, in seconds.
WINDOWS_S: Final = {
    Window.HOUR: (HOUR_S, MINUTE_S),
    Window.DAY: (DAY_S, QUARTER_S),
    Window.WEEK: (7 * DAY_S, HOUR_S),
    Window.MONTH: (30 * DAY_S, DAY_S),
}


class Split(StrEnum):
    """What a series or a table can be split by."""

    ARM = "arm"
    TIER = "tier"
    REASON = "reason"
    TASK_TYPE = "task_type"
    MODEL = "model"
    APP = "app"


class Totals(msgspec.Struct, frozen=True):
    """Sums over some calls; see the top of this module for what counts as what.

    The standard deviations are for intervals around the means; None below two values.
    """

    calls: int = 0
    failed: int = 0
    refused: int = 0
    left_early: int = 0
    fallbacks: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int = 0
    cost_usd_deviation: float | None = None
    latency: Percentiles = NO_PERCENTILES
    first_byte: Percentiles = NO_PERCENTILES
    ratings: int = 0
    score_mean: float | None = None
    score_deviation: float | None = None

    @property
    def answered(self) -> int:
        return self.calls - self.failed - self.refused - self.left_early

    @property
    def error_rate(self) -> float | None:
        """Failed calls as a share of all; None without calls."""
        return self.failed / self.calls if self.calls else None

    @property
    def cost_usd_per_call(self) -> float | None:
        return self.cost_nano_usd / 1e9 / self.calls if self.calls else None


class Point(msgspec.Struct, frozen=True):
    """One step of a series; ``start_s`` is Unix seconds."""

    start_s: int
    totals: Totals


class Line(msgspec.Struct, frozen=True):
    """One series, without gaps; ``label`` is empty when nothing was split."""

    label: str
    points: tuple[Point, ...]


class Share(msgspec.Struct, frozen=True):
    """One row of a table: a label, its share of the calls (0 to 1), and its sums."""

    label: str
    share: float
    totals: Totals


class Overview(msgspec.Struct, frozen=True):
    """Everything in one window; the bounds are Unix seconds."""

    window: Window
    since_s: int
    until_s: int
    totals: Totals


class ArmReport(msgspec.Struct, frozen=True):
    """One arm's calls, and how the tiers shared them."""

    arm: Arm
    totals: Totals
    tiers: tuple[Share, ...]


class ErrorKind(msgspec.Struct, frozen=True):
    """How often something went wrong at a tier.

    ``of`` is ``call`` for what a caller was told (``kind`` is the error code) and ``attempt`` for one try
    that failed, whether or not another tier saved the call (``kind`` is the fault).
    """

    of: str
    tier: str
    kind: str
    count: int


class Reports:
    """Reads roll-ups. Every method raises ``StorageError`` when the database cannot be read."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def overview(self, window: Window) -> Overview:
        """All calls of a window as one."""
        since_s, until_s = self._bounds(window, WINDOWS_S[window][1])
        rows = await self._select(window, Facet.ALL, "''")
        return Overview(window, since_s, until_s, _totals(rows[0][1:]) if rows else Totals())

    async def series(
        self,
        window: Window,
        step_s: int | None = None,
        split: Split | None = None,
        *,
        percentiles: bool = True,
    ) -> tuple[Line, ...]:
        """The window in steps, as one line or one for each label of ``split``, busiest first.

        Percentiles are most of the work; who shows none asks for none.
        ``step_s`` is the window's own step unless given. Raises ``ValueError`` for a step that does not
        divide the window or is finer than what is kept for so long.
        """
        length_s, own_step_s = WINDOWS_S[window]
        step_s = own_step_s if step_s is None else step_s
        grain = grain_for(length_s, step_s)
        since_s, until_s = self._bounds(window, step_s)
        facet, column = (Facet.ALL, "''") if split is None else _SPLITS[split]
        sql = _select_sql(f"{column}, start_s / {step_s} * {step_s}", percentiles=percentiles)
        async with self._database.reader() as connection:
            rows = await connection.execute_fetchall(sql, (grain, facet.value, since_s, until_s))
        lines: dict[str, dict[int, Totals]] = {} if split is not None else {"": {}}
        for label, start_s, *sums in rows:
            lines.setdefault(label, {})[start_s] = _totals(sums)
        starts = range(since_s, until_s, step_s)
        none = Totals()
        return tuple(
            Line(label, tuple(Point(start_s, points.get(start_s, none)) for start_s in starts))
            for label, points in sorted(
                lines.items(), key=lambda line: -sum(totals.calls for totals in line[1].values())
            )
        )

    async def tier_mix(self, window: Window) -> tuple[Share, ...]:
        """How the tiers shared the calls that any of them answered or ended, busiest first."""
        return _shares(row for row in await self._select(window, Facet.ALL, "tier") if row[0])

    async def routed_mix(self, window: Window) -> tuple[Share, ...]:
        """How the tiers shared the calls of the routed arm, without percentiles, busiest first."""
        rows = await self._select(window, Facet.ALL, "arm, tier", percentiles=False)
        return _shares(row[1:] for row in rows if row[0] == Arm.ROUTED.value and row[1])

    async def arms(self, window: Window) -> tuple[ArmReport, ...]:
        """Both arms side by side, ``legacy`` first; sums are zero for an arm without calls."""
        totals = {row[0]: _totals(row[1:]) for row in await self._select(window, Facet.ALL, "arm")}
        tiers = await self._select(window, Facet.ALL, "arm, tier")
        return tuple(
            ArmReport(
                arm,
                totals.get(arm.value, Totals()),
                _shares(row[1:] for row in tiers if row[0] == arm.value and row[1]),
            )
            for arm in Arm
        )

    async def by_model(self, window: Window, tier: str | None = None) -> tuple[Share, ...]:
        """The models that answered, all or those of one tier, busiest first."""
        return _shares(await self._select(window, Facet.MODEL, "label", tier))

    async def by_app(self, window: Window) -> tuple[Share, ...]:
        """The apps that named themselves, busiest first."""
        return _shares(await self._select(window, Facet.APP, "label"))

    async def by_reason(self, window: Window) -> tuple[Share, ...]:
        """The reasons of the decisions, commonest first."""
        return _shares(await self._select(window, Facet.REASON, "label"))

    async def by_task_type(self, window: Window) -> tuple[Share, ...]:
        """The task types that are known, commonest first."""
        return _shares(await self._select(window, Facet.TASK_TYPE, "label"))

    async def errors_by_kind(self, window: Window) -> tuple[ErrorKind, ...]:
        """What went wrong, by tier and kind, most frequent first."""
        step_s = WINDOWS_S[window][1]
        since_s, until_s = self._bounds(window, step_s)
        async with self._database.reader() as connection:
            rows = await connection.execute_fetchall(
                _ERRORS,
                (grain_for(*WINDOWS_S[window]), since_s, until_s),
            )
        return tuple(ErrorKind(of, tier, kind, count) for of, tier, kind, count in rows)

    def _bounds(self, window: Window, step_s: int) -> tuple[int, int]:
        """The window's begin and end, ``since <= start < until``, in whole steps."""
        until_s = (self._clock() // 1_000_000_000 // step_s + 1) * step_s
        return until_s - WINDOWS_S[window][0], until_s

    async def _select(
        self,
        window: Window,
        facet: Facet,
        columns: str,
        tier: str | None = None,
        *,
        percentiles: bool = True,
    ) -> list[tuple[Any, ...]]:
        """The window's sums, one row per value of ``columns``, at the window's own step."""
        length_s, step_s = WINDOWS_S[window]
        since_s, until_s = self._bounds(window, step_s)
        where = "" if tier is None else "AND tier = ?"
        parameters = (grain_for(length_s, step_s), facet.value, since_s, until_s)
        async with self._database.reader() as connection:
            rows = await connection.execute_fetchall(
                _select_sql(columns, where, percentiles=percentiles),
                parameters if tier is None else (*parameters, tier),
            )
        return [tuple(row) for row in rows]


_SPLITS: Final = {
    Split.ARM: (Facet.ALL, "arm"),
    Split.TIER: (Facet.ALL, "tier"),
    Split.REASON: (Facet.REASON, "label"),
    Split.TASK_TYPE: (Facet.TASK_TYPE, "label"),
    Split.MODEL: (Facet.MODEL, "label"),
    Split.APP: (Facet.APP, "label"),
}


_ERRORS: Final = """
SELECT CASE facet WHEN 'fault' THEN 'attempt' ELSE 'call' END, tier, label, sum(calls) AS count
FROM rollups WHERE grain = ? AND facet IN ('error', 'fault') AND start_s >= ? AND start_s < ?
GROUP BY facet, tier, label ORDER BY count DESC, tier, label
"""


def _select_sql(columns: str, where: str = "", *, percentiles: bool = True) -> str:
    """Sums per value of ``columns``, in the order in which ``_totals`` takes them."""
    merged = "percentiles(latency), percentiles(first_byte)" if percentiles else "NULL, NULL"
    return f"""
    SELECT {columns}, sum(calls), sum(failed), sum(refused), sum(left_early), sum(fallbacks),
        sum(input_tokens), sum(output_tokens), sum(cost_nano_usd), sum(cost_usd_squares),
        {merged}, sum(ratings), sum(score_sum), sum(score_squares)
    FROM rollups WHERE grain = ? AND facet = ? AND start_s >= ? AND start_s < ? {where}
    GROUP BY {columns}
    """  # noqa: S608


def _totals(sums: Iterable[Any]) -> Totals:
    calls, failed, refused, left_early, fallbacks, input_tokens, output_tokens, cost_nano_usd, *rest = sums
    cost_squares, latency, first_byte, ratings, score_sum, score_squares = rest
    return Totals(
        calls,
        failed,
        refused,
        left_early,
        fallbacks,
        input_tokens,
        output_tokens,
        cost_nano_usd,
        _deviation(calls, cost_nano_usd / 1e9, cost_squares),
        decode_percentiles(latency) if latency is not None else NO_PERCENTILES,
        decode_percentiles(first_byte) if first_byte is not None else NO_PERCENTILES,
        ratings,
        score_sum / ratings if ratings else None,
        _deviation(ratings, score_sum, score_squares),
    )


def _deviation(count: int, total: float, squares: float) -> float | None:
    """The standard deviation of a sample, from its sum and its sum of squares."""
    if count < 2:
        return None
    return math.sqrt(max(0.0, squares - total * total / count) / (count - 1))


def _shares(rows: Iterable[tuple[Any, ...]]) -> tuple[Share, ...]:
    """Rows of a label and its sums as shares of all their calls, largest first."""
    labelled = [(str(label), _totals(sums)) for label, *sums in rows]
    calls = sum(totals.calls for _, totals in labelled) or 1
    shares = [Share(label, totals.calls / calls, totals) for label, totals in labelled]
    return tuple(sorted(shares, key=lambda share: (-share.totals.calls, share.label)))


def grain_for(length_s: int, step_s: int) -> int:
    """The coarsest grain that makes up steps of ``step_s`` and is kept for ``length_s``."""
    for grain in reversed(GRAINS_S):
        kept_s = KEPT_S.get(grain)
        if step_s % grain == 0 and length_s % step_s == 0 and (kept_s is None or length_s <= kept_s):
            return grain
    raise ValueError(f"a step of {step_s} s does not suit a window of {length_s} s")
