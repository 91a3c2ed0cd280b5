"""When a rollout may advance by itself: what a stage has to have, and the windows for moves; pure.

Bake time is counted by a clock that cannot be set, and only while the sidecar runs; the windows follow the
wall clock in their own time zone. So neither a restart nor a corrected clock makes a stage shorter than it
should be.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Final

import msgspec

from sidecar.core.gates import Gate, GateReading

_NANO: Final = 1_000_000_000
_MINUTE_S: Final = 60
_WEEK_MINUTES: Final = 7 * 24 * 60


class Weekday(StrEnum):
    """The days, Monday first."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


class OpenHours(msgspec.Struct, frozen=True):
    """On these days (none: on every day) from ``opens`` until just before ``closes``.

    Both are minutes of the local day. When ``closes`` is not later than ``opens``, it closes on the next day.
    """

    days: tuple[Weekday, ...]
    opens: int
    closes: int

    def holds(self, local: datetime) -> bool:
        """Whether ``local`` lies inside."""
        minute, today = local.hour * 60 + local.minute, list(Weekday)[local.weekday()]
        yesterday = list(Weekday)[(local.weekday() - 1) % 7]
        if self.opens < self.closes:
            return self._on(today) and self.opens <= minute < self.closes
        return (self._on(today) and minute >= self.opens) or (self._on(yesterday) and minute < self.closes)

    def _on(self, day: Weekday) -> bool:
        return not self.days or day in self.days


class StageWants(msgspec.Struct, frozen=True):
    """What a stage has to have: seconds of baking, routed calls, and gates that pass (none named: all)."""

    bake_s: float
    min_samples: int
    gates: tuple[Gate, ...] = ()


class Schedule(msgspec.Struct, frozen=True):
    """The whole schedule; ``by_stage`` is what single stages want instead of ``wants``."""

    enabled: bool
    wants: StageWants
    by_stage: dict[float, StageWants]
    windows: tuple[OpenHours, ...]
    zone: tzinfo

    def wants_at(self, percent: float) -> StageWants:
        """What the stage at ``percent`` has to have."""
        return self.by_stage.get(percent, self.wants)

    def open_at(self, now_ns: int) -> bool:
        """Whether a move may be made now; always when there are no windows."""
        return not self.windows or self._open(_moment(now_ns))

    def opens_at_ns(self, now_ns: int) -> int | None:
        """When a move may next be made, to the minute; now if it may; None if no window comes in a week."""
        if self.open_at(now_ns):
            return now_ns
        begin = _moment(now_ns).replace(second=0, microsecond=0)
        for minutes in range(1, _WEEK_MINUTES + 1):
            moment = begin + timedelta(minutes=minutes)
            if self._open(moment):
                return round(moment.timestamp()) * _NANO
        return None

    def _open(self, moment: datetime) -> bool:
        local = moment.astimezone(self.zone)
        return any(window.holds(local) for window in self.windows)


def _moment(now_ns: int) -> datetime:
    return datetime.fromtimestamp(now_ns / _NANO, UTC)


def lacking(
    wants: StageWants, baked_s: float, samples: int, readings: Sequence[GateReading]
) -> tuple[str, ...]:
    """What a stage still lacks, in words; nothing when it is ready."""
    missing = []
    if baked_s < wants.bake_s:
        missing.append(f"{_duration(wants.bake_s - baked_s)} of baking")
    if samples < wants.min_samples:
        missing.append(f"{wants.min_samples - samples} more calls")
    missing += [
        f"the gate {reading.gate.value} to pass (it is {reading.state.value})"
        for reading in readings
        if (not wants.gates or reading.gate in wants.gates) and not reading.state.passes
    ]
    return tuple(missing)


def _duration(seconds: float) -> str:
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    minutes = seconds / _MINUTE_S
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
