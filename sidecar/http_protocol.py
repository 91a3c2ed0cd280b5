"""uvicorn's HTTP protocol, which also closes connections on which a request does not come to its end.

Without this a client that sends a byte now and then, or nothing at all, keeps its connection for ever:
uvicorn times only the pause between two requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sidecar.connections import WHEN_GONE, Connections


class HttpProtocol(HttpToolsProtocol):
    """One connection. A request has ``whole_within_s`` from its first byte to its last, and the first
    request the same from the connection's beginning. One too many is closed at once."""

    def __init__(self, *, counted: Connections, whole_within_s: Callable[[], float], **options: Any) -> None:
        super().__init__(**options)
        self._counted = counted
        self._whole_within_s = whole_within_s
        self._whole = False
        self._timer: asyncio.TimerHandle | None = None
        self._tell_gone: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._counted.open += 1
        if self._counted.full:
            self._counted.turned_away += 1
            transport.close()
        else:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._counted.open -= 1
        self._stop_timer()
        super().connection_lost(exc)
        if self._tell_gone is not None:
            self._tell_gone()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Most requests come whole in one piece; for those no timer is started at all.
        if self._whole:
            self._stop_timer()
        elif self._timer is None:
            self._start_timer()

    def on_message_begin(self) -> None:
        self._whole = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.cycle is not None:
            self.cycle.scope["state"][WHEN_GONE] = self._when_gone
        if self._counted.parting and self.cycle is not None:
            # The answer will say so, and the connection end with it.
            self.cycle.keep_alive = False

    def _when_gone(self, tell: Callable[[], None] | None) -> None:
        """Call ``tell`` when the client closes the connection; None takes that back.

        For a request that has come whole. ASGI's way would be a task that waits for a message: for a call
        that is relayed it would be a good part of the work.
        """
        self._tell_gone = tell
        if tell is None:
            return
        # A large body may have stopped the reading, without which nobody hears of the end.
        self.flow.resume_reading()
        if self.transport.is_closing():
            self.loop.call_soon(tell)

    def on_message_complete(self) -> None:
        self._whole = True
        super().on_message_complete()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self._whole_within_s(), self._too_late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        if self._answering():
            # The rest of a second request is not read before the first is answered.
            self._start_timer()
        elif not self.transport.is_closing():
            self._counted.hung_up += 1
            self.transport.close()

    def _answering(self) -> bool:
        cycle = self.cycle
        under_way = cycle is not None and not cycle.more_body and not cycle.response_complete
        return bool(self.pipeline) or under_way
