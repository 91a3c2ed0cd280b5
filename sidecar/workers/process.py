"""A worker's process: ``python -m sidecar.workers.process``, started by the hub and by nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import msgspec
import uvloop

from sidecar.allocator import share_arenas
from sidecar.core.privacy.scanner import load_rules
from sidecar.http_server import HttpServer
from sidecar.telemetry.log_format import set_up_logging
from sidecar.workers.channel import Channel
from sidecar.workers.forward import Forwarder
from sidecar.workers.messages import (
    FromHub,
    HoldRefused,
    HoldTaken,
    Leave,
    News,
    Ready,
    Room,
    SettingsChanged,
    ShadowAnswer,
    TellNow,
    Welcome,
)
from sidecar.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.asgi import ASGIApp, Receive, Scope, Send

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
#: The exit code of a worker whose hub is gone.
ORPHANED = 3


def main(argv: list[str]) -> int:
    """Serve on a socket for the hub at the other end of a channel; both are open files that it passed on."""
    hub_pid, channel, listener = map(int, argv)
    _end_with(hub_pid)
    share_arenas()
    set_up_logging(os.environ)
    # A terminal's Ctrl-C reaches all its processes; the hub says in which order they end.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    uvloop.run(Process().run(socket.socket(fileno=channel), socket.socket(fileno=listener)))
    return 1


def _end_with(hub_pid: int) -> None:
    """Have the system kill this process when the hub ends; where it cannot, the channel's end must do."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != hub_pid:
        os._exit(ORPHANED)


class Process:
    """The worker from the hub's welcome to its leave."""

    def __init__(self) -> None:
        self._welcome: asyncio.Future[Welcome]
        self._channel: Channel[FromHub]
        self._server: HttpServer | None = None
        self._forwarder: Forwarder | None = None
        self._leaving = False

    async def run(self, end: socket.socket, listener: socket.socket) -> None:
        """Serve until the hub says that it is enough."""
        loop = asyncio.get_running_loop()
        self._welcome = loop.create_future()
        self._channel = Channel(msgspec.msgpack.Decoder(FromHub), self._take, self._orphaned)
        self._handlers: dict[type, Callable[..., None]] = {
            Welcome: self._welcome.set_result,
            Leave: self._leave,
        }
        await self._channel.connect(end)
        welcome = await self._welcome
        load_rules(welcome.patterns)
        worker = Worker(welcome, self._channel, os.environ)
        self._handlers |= {
            News: worker.take_news,
            Room: worker.take_room,
            SettingsChanged: worker.take_settings,
            TellNow: worker.tell_now,
            HoldTaken: worker.ledger.taken,
            HoldRefused: worker.ledger.refused,
            ShadowAnswer: worker.shadow_money.answered,
        }
        self._forwarder = Forwarder(welcome.hub)
        self._server = HttpServer(
            dispatch(worker.doors, self._forwarder),
            worker.in_flight,
            worker.connections,
            lambda: worker.current.settings,
            lambda: self._channel.send(Ready()),
        )
        loop.add_signal_handler(signal.SIGTERM, lambda: self._leave(Leave(True, worker.drain_s)))
        worker.begin()
        # What is alive now stays alive; the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)
        try:
            await self._server.serve(sockets=[listener])
        finally:
            await worker.close()
            await self._forwarder.close()
            self._leaving = True
            await self._channel.close()
        # Nothing is left to be written, and what is still being imported in a thread need not be waited for.
        os._exit(0)

    def _take(self, message: FromHub) -> None:
        self._handlers[type(message)](message)

    def _leave(self, message: Leave) -> None:
        if self._server is None or self._forwarder is None:
            os._exit(0)
        self._forwarder.leave()
        self._server.stop(gently=message.gently, within_s=message.within_s)

    def _orphaned(self) -> None:
        if not self._leaving:
            # Nothing can be held or recorded any more, and the hub's next start posts what is open.
            log.error("the main process is gone, and so is this worker")
            os._exit(ORPHANED)


def dispatch(doors: dict[str, ASGIApp], hub: ASGIApp) -> ASGIApp:
    """Calls to the doors, with or without a slash at the end, as the framework would; the rest to the hub."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        door = doors.get(path) or doors.get(path.rstrip("/"))
        await (door or hub)(scope, receive, send)

    return app


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
