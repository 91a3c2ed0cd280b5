"""Ends what still runs when the sidecar is told to stop: calls finish, or are told, within ``drain_s``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from sidecar.in_flight import InFlight

#: The part of the drain that is kept for its end, and how many seconds at most; and the part of that end in
#: which all is closed, after the calls were told.
_ENDING_SHARE, _ENDING_MAX_S = 0.5, 3.0
_CLOSING_SHARE = 0.25
#: How long a request that has not come to its end may take to do so once the sidecar is told to stop.
_HALF_SENT_S = 1.0
#: What a second signal leaves for the end; less is needed when all clients read what they are told.
_AT_ONCE_S = 1.0
_LOOK_EVERY_S = 0.02


class Ending:
    """When which part of the drain is over, in seconds of ``clock_s``; all of it is within ``drain_s``."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self.clock_s = clock_s
        self.begin(0.0)

    def begin(self, drain_s: float) -> None:
        """The first signal has come: calls may take until ``told_s``."""
        now_s, ending_s = self.clock_s(), min(max(drain_s * _ENDING_SHARE, _AT_ONCE_S), _ENDING_MAX_S)
        self.over_s = now_s + max(drain_s, ending_s)
        #: When calls that still run are told, when their connections are closed, whatever they have read.
        self.told_s = self.over_s - ending_s
        self.hung_up_s = self.over_s - ending_s * _CLOSING_SHARE
        self.half_sent_s = min(now_s + _HALF_SENT_S, self.told_s)

    def at_once(self) -> None:
        """The second signal has come."""
        now_s = self.clock_s()
        self.half_sent_s = self.told_s = min(self.told_s, now_s)
        self.over_s = min(self.over_s, now_s + _AT_ONCE_S)
        self.hung_up_s = min(self.hung_up_s, self.over_s - _AT_ONCE_S * _CLOSING_SHARE)

    def left_s(self) -> float:
        """What is left of it."""
        return max(self.over_s - self.clock_s(), 0.0)


def _is_half_sent(connection: Any) -> bool:
    """Whether a request has begun to come on this connection of uvicorn's, and not come to its end."""
    cycle = connection.cycle
    return bool(cycle is not None and cycle.more_body and not cycle.response_complete)


def _hang_up(connection: Any) -> None:
    """Close a connection without waiting for a client that does not read."""
    connection.transport.abort()


async def drain(connections: Collection[Any], in_flight: InFlight, ending: Ending) -> None:
    """Let calls finish, and while there is time tell those that have not; ``connections`` are uvicorn's."""
    for connection in list(connections):
        connection.shutdown()

    async def wait_until(done: Callable[[], bool], until_s: Callable[[], float]) -> None:
        # Another signal may bring it forward.
        while not done() and ending.clock_s() < until_s():  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_EVERY_S)

    # Whose request is not whole is no call yet, and keeps nobody waiting for long.
    await wait_until(lambda: not any(map(_is_half_sent, connections)), lambda: ending.half_sent_s)
    for connection in list(connections):
        if _is_half_sent(connection):
            _hang_up(connection)
    await wait_until(lambda: not connections, lambda: ending.told_s)
    in_flight.end_all()
    await wait_until(lambda: not connections, lambda: ending.hung_up_s)
    for connection in list(connections):
        _hang_up(connection)
    await in_flight.wait_until_none(ending.left_s() / 2)
