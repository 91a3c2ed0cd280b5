"""Turns series into charts: each is a table first, from which the browser draws the picture.

So there is one source for both, a chart without JavaScript is a table, and one for a screen reader too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from dashboard.wording import count, cut, ms, tier_title, usd
from sidecar.storage.reports import Line, Totals

NANO: Final = 1_000_000_000


class Cell(msgspec.Struct, frozen=True):
    """One value: the number that is drawn, None for a gap, and the words in the table."""

    value: float | None
    words: str


class ChartRow(msgspec.Struct, frozen=True):
    """One step in time, beginning at ``at_ns``, with a cell for each column."""

    at_ns: int
    cells: tuple[Cell, ...]


class Column(msgspec.Struct, frozen=True):
    """One line or layer: its label, and the name of its colour in the stylesheet."""

    label: str
    colour: str


class Chart(msgspec.Struct, frozen=True):
    """A chart. ``kind`` is ``stack`` (layers of bars) or ``lines``; ``unit`` is how the axis speaks."""

    name: str
    title: str
    kind: str
    unit: str
    columns: tuple[Column, ...]
    rows: tuple[ChartRow, ...]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(cell.value for row in self.rows for cell in row.cells)


class Measure(msgspec.Struct, frozen=True):
    """What of the totals is drawn, and how it is put into words."""

    label: str
    value: Callable[[Totals], float | None]
    words: Callable[[float | None], str]
    colour: str = ""


def by_label(
    name: str, title: str, unit: str, lines: Sequence[Line], measure: Measure, colour_of: Callable[[str], str]
) -> Chart:
    """One layer for each line."""
    columns = tuple(Column(cut(tier_title(line.label)), colour_of(line.label)) for line in lines)
    starts = [point.start_s for point in lines[0].points] if lines else []
    rows = tuple(
        ChartRow(start_s * NANO, tuple(_cell(measure, line.points[place].totals) for line in lines))
        for place, start_s in enumerate(starts)
    )
    return Chart(name, title, "stack", unit, columns, rows)


def by_measure(
    name: str, title: str, unit: str, line: Line, measures: Sequence[Measure], kind: str = "lines"
) -> Chart:
    """One line, or layer, for each measure."""
    return Chart(
        name,
        title,
        kind,
        unit,
        tuple(Column(measure.label, measure.colour) for measure in measures),
        tuple(
            ChartRow(point.start_s * NANO, tuple(_cell(measure, point.totals) for measure in measures))
            for point in line.points
        ),
    )


def _cell(measure: Measure, totals: Totals) -> Cell:
    value = measure.value(totals)
    return Cell(value, measure.words(value))


CALLS: Final = Measure("Calls", lambda totals: totals.calls, count)
SPEND: Final = Measure(
    "Spend",
    lambda totals: totals.cost_nano_usd / NANO,
    lambda dollars: usd(round((dollars or 0) * NANO)),
)
FAILED: Final = Measure("failed", lambda totals: totals.failed, count, "line-bad")
REFUSED: Final = Measure("refused, the app's own fault", lambda totals: totals.refused, count, "line-3")
P50: Final = Measure("half are faster than", lambda totals: totals.latency.p50_ms, ms, "line-1")
P95: Final = Measure("95 % are faster than", lambda totals: totals.latency.p95_ms, ms, "line-2")
FIRST: Final = Measure("first token, half", lambda totals: totals.first_byte.p50_ms, ms, "line-3")
