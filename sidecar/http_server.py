"""uvicorn's server with our ways of ending: it drains, and tells calls that outlast that why they end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import uvicorn

from sidecar.connections import Connections
from sidecar.drain import Ending, drain
from sidecar.http_protocol import HttpProtocol
from sidecar.in_flight import InFlight
from sidecar.settings import Settings

if TYPE_CHECKING:
    from sidecar.asgi import ASGIApp

#: Clients keep connections in pools and may use one that has been idle this long.
_KEEP_ALIVE_S = 75
#: How long clients have to use their idle connections once more, and to learn that they should close them.
_PARTING_S = 3.0


class HttpServer(uvicorn.Server):
    """Serves ``app``. The first ``stop`` drains, the second ends at once."""

    def __init__(
        self,
        app: ASGIApp,
        in_flight: InFlight,
        connections: Connections,
        settings: Callable[[], Settings],
        ready: Callable[[], None],
        *,
        unix_path: str | None = None,
    ) -> None:
        """With a ``unix_path`` it listens there, and on no socket that ``serve`` is given."""
        super().__init__(
            uvicorn.Config(
                app,
                # uvicorn calls it to make a protocol, which is all that it does with a class.
                http=partial(  # type: ignore[arg-type]
                    HttpProtocol,
                    counted=connections,
                    whole_within_s=lambda: settings().limits.request_s,
                ),
                uds=unix_path,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                # Who calls is who connected; a header could say anything.
                proxy_headers=False,
                date_header=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
            )
        )
        self._in_flight = in_flight
        self._counted = connections
        self._gently = False
        self.ending = Ending(time.monotonic)
        self._settings = settings
        self._ready = ready

    def stop(self, *, gently: bool = False, within_s: float | None = None) -> None:
        """Stop accepting and finish what runs; called again, tell what still runs, and end.

        ``gently``: others accept on the same socket. So no connection is closed on a client that may be
        sending a call over it in this very moment: each is asked to close with its next answer. All is
        over ``within_s``; left out, that is the settings' ``drain_s``.
        """
        if self.should_exit:
            self.ending.at_once()
            self._gently = False
        else:
            self.ending.begin(self._settings().drain_s if within_s is None else within_s)
            self._gently = gently
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, let calls finish, and while there is time tell those that have not."""
        for closed in (*self.servers, *(sockets or ())):
            closed.close()
        if self._gently:
            await self._part(min(_PARTING_S, self.ending.left_s() / 2))
        await drain(self.server_state.connections, self._in_flight, self.ending)

    async def _part(self, within_s: float) -> None:
        self._counted.parting = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._counted.open and self._gently:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
