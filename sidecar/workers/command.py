"""``sidecar serve --workers N``: the hub's process, from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import uvloop

from sidecar.app import Sidecar, build_app
from sidecar.core.privacy.scanner import load_rules
from sidecar.drain import Ending
from sidecar.endpoints.body_limit import within
from sidecar.http_server import HttpServer
from sidecar.pattern_compiler import PatternCompiler
from sidecar.settings.watch import SettingsSource
from sidecar.workers.crew import Crew, Spawned, spawn
from sidecar.workers.crew import WorkerFailed as WorkerFailed
from sidecar.workers.hub import Hub
from sidecar.workers.peer import behind_workers

log = logging.getLogger("sidecar.workers")

#: The part of the drain in which this process closes what is durable, once the workers have ended.
_CLOSING_SHARE, _CLOSING_MAX_S = 0.2, 1.0
#: How long workers that were told to end at once may take to tell their calls so.
_HURRY_S = 3.0


def run(
    source: SettingsSource,
    listeners: Sequence[socket.socket],
    environ: Mapping[str, str],
    patterns: PatternCompiler,
    announce: Callable[[str], None],
) -> None:
    """Serve through one worker for each listener, until SIGTERM or SIGINT; SIGHUP replaces the workers.

    ``announce`` is given the path that logs an operator in, once all take calls. Raises ``StorageError``,
    ``PermissionError``, ``TelemetryRefused``, ``WorkerFailed``.
    """
    # They import what they need while this process opens what is durable.
    spawned = [spawn(listener) for listener in listeners]
    try:
        compiled = patterns.compiled()
        load_rules(compiled)
        uvloop.run(_Command(source, environ, announce).run(listeners, spawned, compiled))
    finally:
        for one in spawned:
            one.abandon()


class _Command:
    """The hub's process."""

    def __init__(
        self, source: SettingsSource, environ: Mapping[str, str], announce: Callable[[str], None]
    ) -> None:
        self._source = source
        self._environ = environ
        self._announce = announce
        self._stop = asyncio.Event()
        self._ending = Ending(time.monotonic)
        self._crew: Crew | None = None
        self._rolling: asyncio.Task[None] | None = None

    async def run(
        self, listeners: Sequence[socket.socket], spawned: Sequence[Spawned], patterns: bytes | None
    ) -> None:
        async with contextlib.AsyncExitStack() as stack:
            sidecar = await Sidecar.open(self._source, self._environ, calls=False)
            stack.push_async_callback(sidecar.close, self._ending.left_s)
            # Made with mode 0700: nobody else reaches the hub but through a worker.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="aegis-"))
            path = str(Path(folder) / "hub.sock")
            login_path = await stack.enter_async_context(_hub_server(sidecar, path))
            hub = Hub(sidecar, len(listeners), path, patterns)
            stack.push_async_callback(hub.close)
            self._crew = crew = Crew(hub, listeners, lambda: sidecar.current.settings.drain_s)
            stack.callback(crew.kill)
            sidecar.services.workers = crew.views
            sidecar.services.takes_calls = lambda: crew.ready
            self._obey(asyncio.get_running_loop())
            if await self._before_stop(crew.start(spawned)):
                gc.collect()
                gc.freeze()
                gc.set_threshold(10_000, 10, 10)
                for words in self._source.current.warnings:
                    log.warning("%s: %s", self._source.path, words)
                self._announce(login_path())
                await self._stop.wait()
            sidecar.services.draining = True
            drain_s = sidecar.current.settings.drain_s
            self._ending.begin(drain_s)
            await crew.drain(max(drain_s - min(_CLOSING_MAX_S, drain_s * _CLOSING_SHARE), 0.0))

    def _obey(self, loop: asyncio.AbstractEventLoop) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped)
        loop.add_signal_handler(signal.SIGHUP, self._roll)

    def _stopped(self) -> None:
        assert self._crew is not None
        if self._stop.is_set():
            self._ending.at_once()
            self._crew.hurry()
            asyncio.get_running_loop().call_later(_HURRY_S, self._crew.kill)
        self._stop.set()

    def _roll(self) -> None:
        assert self._crew is not None
        if not self._stop.is_set():
            self._rolling = asyncio.create_task(self._crew.roll(), name="workers-roll")

    async def _before_stop(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do ``work``, unless the process is told to stop before it is done."""
        working, stopping = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
            return working.done()
        finally:
            working.cancel()
            stopping.cancel()


@contextlib.asynccontextmanager
async def _hub_server(sidecar: Sidecar, path: str) -> AsyncIterator[Callable[[], str]]:
    """All surfaces but the doors, at a Unix socket; gives what makes a path to log in."""
    app, services = build_app(sidecar, doors=False), sidecar.services
    ready = asyncio.Event()
    server = HttpServer(
        behind_workers(within(services.max_body_bytes, app)),
        services.in_flight,
        services.connections,
        lambda: sidecar.current.settings,
        ready.set,
        unix_path=path,
    )
    serving = asyncio.create_task(server.serve(), name="hub-server")
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
    try:
        yield app.state.dashboard.login_path
    finally:
        waiting.cancel()
        server.stop()
        await serving
