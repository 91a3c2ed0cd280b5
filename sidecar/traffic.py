"""What comes in: the calls and connections of a sidecar, of all its processes together."""

from __future__ import annotations

import msgspec

from sidecar.connections import Connections
from sidecar.in_flight import InFlight


class Traffic(msgspec.Struct, frozen=True):
    """Calls and connections now, their bounds, and how many were turned away since the start."""

    calls: int = 0
    calls_turned_away: int = 0
    connections: int = 0
    connections_max: int = 0
    connections_turned_away: int = 0
    connections_hung_up: int = 0
    shadows_skipped: int = 0

    def plus(self, other: Traffic) -> Traffic:
        """Both together."""
        return Traffic(
            *map(sum, zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True))
        )

    def counted_only(self) -> Traffic:
        """What stays true when the process is gone: its counts since the start."""
        return msgspec.structs.replace(self, calls=0, connections=0, connections_max=0)


def traffic_of(in_flight: InFlight, connections: Connections, shadows_skipped: int) -> Traffic:
    """What comes in through this process."""
    return Traffic(
        in_flight.now,
        in_flight.turned_away,
        connections.open,
        connections.limit,
        connections.turned_away,
        connections.hung_up,
        shadows_skipped,
    )
