"""Counters and histograms, and the families in which their values are read.

Updating one costs a dictionary look-up. The same families become Prometheus' text and OTLP's messages, so
that whoever scrapes and whoever is pushed to see the same numbers. A family has at most ``SERIES_MAX``
series; what would be more is summed up in one whose labels all say ``other``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

SERIES_MAX: Final = 2_000
OTHER: Final = "other"

Labels = tuple[str, ...]


class FamilyKind(StrEnum):
    """What the numbers of a family are; the values are Prometheus' types."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Exemplar(msgspec.Struct, frozen=True):
    """One measurement and the trace it was made in; ids in hexadecimal, time in Unix seconds."""

    value: float
    trace_id: str
    span_id: str
    at_s: float


class Distribution:
    """How measurements are spread: how many in each bucket, their sum, and a recent example of each."""

    __slots__ = ("counts", "exemplars", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * (buckets + 1)
        self.exemplars: list[Exemplar | None] = [None] * (buckets + 1)
        self.total = 0.0


class Family(msgspec.Struct, frozen=True):
    """Everything under one name: each series has the values of ``labels``, and a number or distribution.

    ``unit`` is UCUM's: ``s``, ``By``, ``USD``, ``{token}``, ``1``. ``bounds`` are a histogram's upper bounds.
    """

    name: str
    kind: FamilyKind
    unit: str
    help: str
    labels: tuple[str, ...]
    series: list[tuple[Labels, float | Distribution]]
    bounds: tuple[float, ...] = ()


class Counter:
    """Sums that only grow. What is added are whole numbers; ``per`` of them are one of the unit."""

    def __init__(self, name: str, help_: str, labels: Sequence[str] = (), *, unit: str = "1", per: int = 1):
        self._name = name
        self._help = help_
        self._labels = tuple(labels)
        self._unit = unit
        self._per = per
        self._sums: dict[Labels, int] = {}

    def add(self, labels: Labels = (), amount: int = 1) -> None:
        """Add ``amount`` to the series of ``labels``."""
        sums = self._sums
        if labels not in sums and len(sums) >= SERIES_MAX:
            labels = (OTHER,) * len(self._labels)
        sums[labels] = sums.get(labels, 0) + amount

    def family(self) -> Family:
        """The values now."""
        values: list[tuple[Labels, float | Distribution]] = [
            (labels, amount / self._per if self._per > 1 else amount) for labels, amount in self._sums.items()
        ]
        if not self._labels and not values:
            values = [((), 0)]
        return Family(self._name, FamilyKind.COUNTER, self._unit, self._help, self._labels, values)


class Histogram:
    """Measurements in buckets."""

    def __init__(
        self, name: str, help_: str, labels: Sequence[str] = (), *, unit: str = "s", bounds: Sequence[float]
    ):
        self._name = name
        self._help = help_
        self._labels = tuple(labels)
        self._unit = unit
        self._bounds = tuple(bounds)
        self._series: dict[Labels, Distribution] = {} if labels else {(): Distribution(len(self._bounds))}

    def observe(self, value: float, labels: Labels = (), exemplar: Exemplar | None = None) -> None:
        """Add one measurement to the series of ``labels``."""
        series = self._series.get(labels)
        if series is None:
            if len(self._series) >= SERIES_MAX:
                labels = (OTHER,) * len(self._labels)
            series = self._series.setdefault(labels, Distribution(len(self._bounds)))
        place = bisect_left(self._bounds, value)
        series.counts[place] += 1
        series.total += value
        if exemplar is not None:
            series.exemplars[place] = exemplar

    def family(self) -> Family:
        """The values now."""
        return Family(
            self._name,
            FamilyKind.HISTOGRAM,
            self._unit,
            self._help,
            self._labels,
            list(self._series.items()),
            self._bounds,
        )


class Vocabulary:
    """Keeps the values of a label few: the first ``size`` stay as they are, later ones are ``other``."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: set[str] = set()

    def word(self, value: str) -> str:
        """``value``, or ``other``."""
        if value in self._known:
            return value
        if len(self._known) >= self._size or len(value) > 200:
            return OTHER
        self._known.add(value)
        return value


def gauge(
    name: str, help_: str, labels: Sequence[str], values: Sequence[tuple[Labels, float]], unit: str = "1"
) -> Family:
    """A family of values that go up and down, read at this moment."""
    return Family(name, FamilyKind.GAUGE, unit, help_, tuple(labels), list(values))


def count(name: str, help_: str, labels: Sequence[str], values: Sequence[tuple[Labels, float]]) -> Family:
    """A family of sums that somebody else counted."""
    return Family(name, FamilyKind.COUNTER, "1", help_, tuple(labels), list(values))
