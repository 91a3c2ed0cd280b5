"""The gates and their evidence, as rows for people to read; what decides is ``sidecar.core.gates``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from sidecar.core.gates import Gate, GateReading, GateState

_NAMES: Final = {
    Gate.ERROR_RATE: "Errors",
    Gate.P95: "95 % answered within",
    Gate.SPEND: "Spend",
    Gate.ERROR_RATE_VS_LEGACY: "Errors against before",
    Gate.P95_VS_LEGACY: "95 % against before",
    Gate.FEEDBACK_VS_LEGACY: "Ratings against before",
}
_VERDICTS: Final = {
    GateState.WAITING: ("plain", "too few calls to judge"),
    GateState.PASSING: ("good", "holds"),
    GateState.WARNING: ("warning", "over the warning level"),
    GateState.UNSURE: ("warning", "over the limit, not yet for sure"),
    GateState.BREACHED: ("error", "surely over the limit"),
}


class GateRow(msgspec.Struct, frozen=True):
    """One gate. ``state`` is ``good``, ``warning``, ``error`` or ``plain`` (no verdict yet).

    ``doubt`` is how much of the evidence that a breach needs is there, 0 to 1; None for gates without.
    """

    name: str
    state: str
    verdict: str
    says: str
    doubt: float | None


def gate_rows(readings: Iterable[GateReading]) -> tuple[GateRow, ...]:
    """A row for each gate."""
    return tuple(
        GateRow(_NAMES[reading.gate], *_VERDICTS[reading.state], reading.says, _doubt(reading))
        for reading in readings
    )


def _doubt(reading: GateReading) -> float | None:
    if reading.evidence is None or reading.needed is None:
        return None
    return min(1.0, reading.evidence / reading.needed)
