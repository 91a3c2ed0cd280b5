"""Keeps sums and histograms per minute, quarter hour, hour and day, in the same transaction as the decisions.

A call is counted in the bucket in which it began, once per facet: over all calls, and by task type, each by
arm and tier; by model and error code, each by tier; by reason; by app. ``fault`` counts attempts, not
calls, under the tier that was tried. Only so many labels are told apart per bucket and facet; calls with any
further label are counted together under ``OTHER``, so that a bucket's size is bounded whatever apps send.

How a call counts (``CallClass``): *answered*, *failed*, *refused* or *left*. Only answered calls enter the
latency histograms: failures are counted beside them, and neither a fast refusal nor a long timeout
passes for an answer's time.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import StrEnum
from typing import Final

import aiosqlite

from sidecar.core.call_class import CallClass, classify
from sidecar.core.durations import bucket_of
from sidecar.storage.decision_summary import DecisionSummary
from sidecar.storage.histogram import one_in, to_bytes

MINUTE_S: Final = 60
QUARTER_S: Final = 900
HOUR_S: Final = 3_600
DAY_S: Final = 86_400
GRAINS_S: Final = (MINUTE_S, QUARTER_S, HOUR_S, DAY_S)

LABELS_MAX: Final = 40
OTHER: Final = "(other)"


class Facet(StrEnum):
    """What the label of a cell is."""

    ALL = "all"
    REASON = "reason"
    TASK_TYPE = "task_type"
    MODEL = "model"
    APP = "app"
    ERROR = "error"
    FAULT = "fault"


#: grain, facet, start_s, arm, tier, label
CellKey = tuple[int, str, int, str, str, str]


class Cell:
    """The sums of one cell, as far as one batch goes; the histograms as their lanes."""

    __slots__ = (
        "calls",
        "cost_nano_usd",
        "cost_usd_squares",
        "failed",
        "fallbacks",
        "first_byte",
        "input_tokens",
        "latency",
        "left_early",
        "output_tokens",
        "refused",
        "token_squares",
    )

    def __init__(self) -> None:
        self.calls = 0
        self.failed = 0
        self.refused = 0
        self.left_early = 0
        self.fallbacks = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.cost_nano_usd = 0
        self.cost_usd_squares = 0.0
        self.token_squares = 0.0
        self.latency = 0
        self.first_byte = 0

    def add(self, summary: DecisionSummary) -> None:
        """Count one call."""
        self.calls += 1
        self.input_tokens += summary.input_tokens
        self.output_tokens += summary.output_tokens
        self.token_squares += float((summary.input_tokens + summary.output_tokens) ** 2)
        if summary.fallback:
            self.fallbacks += 1
        if summary.cost_nano_usd:
            self.cost_nano_usd += summary.cost_nano_usd
            self.cost_usd_squares += (summary.cost_nano_usd / 1e9) ** 2
        match classify(summary.outcome, summary.status):
            case CallClass.ANSWERED:
                self.latency += one_in(bucket_of(summary.duration_ms))
                if summary.first_byte_ms is not None:
                    self.first_byte += one_in(bucket_of(summary.first_byte_ms))
            case CallClass.FAILED:
                self.failed += 1
            case CallClass.REFUSED:
                self.refused += 1
            case CallClass.LEFT:
                self.left_early += 1

    def merge(self, other: Cell) -> None:
        """Add another cell's sums to this one's."""
        self.calls += other.calls
        self.failed += other.failed
        self.refused += other.refused
        self.left_early += other.left_early
        self.fallbacks += other.fallbacks
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cost_nano_usd += other.cost_nano_usd
        self.cost_usd_squares += other.cost_usd_squares
        self.token_squares += other.token_squares
        self.latency += other.latency
        self.first_byte += other.first_byte

    def copy(self) -> Cell:
        """A cell with the same sums."""
        cell = Cell()
        cell.merge(self)
        return cell

    def row(self, key: CellKey) -> tuple[object, ...]:
        return (
            *key,
            self.calls,
            self.failed,
            self.refused,
            self.left_early,
            self.fallbacks,
            self.input_tokens,
            self.output_tokens,
            self.cost_nano_usd,
            self.cost_usd_squares,
            self.token_squares,
            to_bytes(self.latency),
            to_bytes(self.first_byte),
        )


_UPSERT: Final = """
INSERT INTO rollups (grain, facet, start_s, arm, tier, label, calls, failed, refused, left_early, fallbacks,
    input_tokens, output_tokens, cost_nano_usd, cost_usd_squares, token_squares, latency,
    first_byte, ratings, score_sum, score_squares)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0.0, 0.0)
ON CONFLICT DO UPDATE SET
    calls = calls + excluded.calls,
    failed = failed + excluded.failed,
    refused = refused + excluded.refused,
    left_early = left_early + excluded.left_early,
    fallbacks = fallbacks + excluded.fallbacks,
    input_tokens = input_tokens + excluded.input_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    cost_nano_usd = cost_nano_usd + excluded.cost_nano_usd,
    cost_usd_squares = cost_usd_squares + excluded.cost_usd_squares,
    token_squares = token_squares + excluded.token_squares,
    latency = histogram_merge(latency, excluded.latency),
    first_byte = histogram_merge(first_byte, excluded.first_byte)
"""


class Tabulation:
    """The cells of one batch, summed in stages, so that what a call costs here stays small.

    Calls that are alike in every label share sums; those are added up to the facets of each minute, and
    these in turn to the coarser grains.
    """

    def __init__(self) -> None:
        self._alike: dict[tuple[int, str, str, str, str, str, str, str], Cell] = {}
        self._faults: dict[tuple[int, str, str], int] = {}

    def add(self, summary: DecisionSummary, faults: tuple[tuple[str, str], ...]) -> None:
        """Count one call; ``faults`` are (tier, fault) of its failed attempts."""
        minute = summary.started_ns // 60_000_000_000
        key = (
            minute,
            summary.arm,
            summary.tier,
            summary.reason,
            summary.task_type,
            summary.model,
            summary.app,
            summary.error_code,
        )
        cell = self._alike.get(key)
        if cell is None:
            cell = self._alike[key] = Cell()
        cell.add(summary)
        for tier, fault in faults:
            place = (minute, tier, fault)
            self._faults[place] = self._faults.get(place, 0) + 1

    def minutes(self) -> set[int]:
        """The Unix minutes that calls of this batch began in."""
        return {key[0] for key in self._alike}

    def cells(self, labels: LabelBook) -> dict[CellKey, Cell]:
        """Every cell to be added to, for all grains and facets, with labels bounded by ``labels``."""
        cells: dict[CellKey, Cell] = {}
        for (facet, minute, arm, tier, label), sums in self._by_facet().items():
            for grain in GRAINS_S:
                start_s = minute * MINUTE_S // grain * grain
                key = (grain, facet, start_s, arm, tier, labels.admit(grain, start_s, facet, label))
                if key in cells:
                    cells[key].merge(sums)
                else:
                    cells[key] = sums.copy()
        return cells

    def _by_facet(self) -> dict[tuple[str, int, str, str, str], Cell]:
        """The sums by facet, minute, arm, tier and label."""
        found: dict[tuple[str, int, str, str, str], Cell] = {}
        for (minute, arm, tier, reason, task_type, model, app, error), sums in self._alike.items():
            places = [(Facet.ALL.value, minute, arm, tier, "")]
            if reason:
                places.append((Facet.REASON.value, minute, "", "", reason))
            if task_type:
                places.append((Facet.TASK_TYPE.value, minute, arm, tier, task_type))
            if model:
                places.append((Facet.MODEL.value, minute, "", tier, model))
            if app:
                places.append((Facet.APP.value, minute, "", "", app))
            if error:
                places.append((Facet.ERROR.value, minute, "", tier, error))
            for place in places:
                if place in found:
                    found[place].merge(sums)
                else:
                    found[place] = sums.copy()
        for (minute, tier, fault), count in self._faults.items():
            attempts = found[Facet.FAULT.value, minute, "", tier, fault] = Cell()
            attempts.calls = count
        return found


# Every facet is named, so that the primary key finds the rows.
_LABELS: Final = """
SELECT DISTINCT facet, label FROM rollups
WHERE grain = ? AND start_s = ?
    AND facet IN ('all', 'reason', 'task_type', 'model', 'app', 'error', 'fault')
"""


class LabelBook:
    """Which labels each recent bucket tells apart; the rest are counted under ``OTHER``.

    The labels of a bucket are read from the table the first time it is written to, so that a restart does
    not admit more.
    """

    _BUCKETS_MAX: Final = 64

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, int], dict[str, set[str]]] = OrderedDict()

    async def learn(self, connection: aiosqlite.Connection, minutes: set[int]) -> None:
        """Make sure that the buckets which ``minutes`` fall into are known."""
        while len(self._known) > self._BUCKETS_MAX:
            self._known.popitem(last=False)
        for bucket in {
            (grain, minute * MINUTE_S // grain * grain) for minute in minutes for grain in GRAINS_S
        }:
            if bucket in self._known:
                self._known.move_to_end(bucket)
                continue
            labels = self._known[bucket] = {facet.value: set() for facet in Facet}
            for facet, label in await connection.execute_fetchall(_LABELS, bucket):
                labels[facet].add(label)

    def admit(self, grain: int, start_s: int, facet: str, label: str) -> str:
        """``label`` if its bucket tells it apart or still has room for it, else ``OTHER``."""
        known = self._known[grain, start_s][facet]
        if label not in known:
            if len(known) >= LABELS_MAX:
                return OTHER
            known.add(label)
        return label


async def add_to_rollups(connection: aiosqlite.Connection, tabulation: Tabulation, labels: LabelBook) -> None:
    """Add a batch to the table, inside the caller's transaction."""
    await labels.learn(connection, tabulation.minutes())
    cells = tabulation.cells(labels)
    await connection.executemany(_UPSERT, [cell.row(key) for key, cell in cells.items()])
