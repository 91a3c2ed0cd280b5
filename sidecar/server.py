"""Runs the sidecar on a socket: binds, announces, stops on a signal."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import uvloop

from sidecar.allocator import share_arenas
from sidecar.app import Sidecar, build_app
from sidecar.core.privacy.scanner import load_rules
from sidecar.endpoints.body_limit import within
from sidecar.endpoints.data_plane import with_doors
from sidecar.http_server import HttpServer
from sidecar.pattern_compiler import PatternCompiler
from sidecar.settings import SettingsError
from sidecar.settings.watch import SettingsSource
from sidecar.storage.database import StorageError
from sidecar.telemetry.log_format import set_up_logging
from sidecar.telemetry.refusal import TelemetryRefused

log = logging.getLogger(__name__)

NO_START = 1
BAD_CONFIGURATION = 2
_BACKLOG = 2048


def serve(
    config: Path | None, environ: Mapping[str, str], patterns: PatternCompiler, workers: int = 1
) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code: 0 fine, 1 no start, 2 bad configuration."""
    try:
        set_up_logging(environ)
    except TelemetryRefused as error:
        return _refuse(str(error))
    try:
        source = SettingsSource(config, environ, clock=time.time_ns, workers=workers)
    except SettingsError as error:
        return _refuse(str(error))
    settings = source.current
    _keep_private(Path(settings.data_dir))
    try:
        listeners = bind_all(settings.listen.host, settings.listen.port, workers)
    except OSError as error:
        where = f"{settings.listen.host}:{settings.listen.port}"
        return _refuse(
            f"cannot listen on {where}: {error.strerror or error}; change listen.host or listen.port"
        )
    _allow_many_connections()
    share_arenas()
    try:
        with contextlib.ExitStack() as open_sockets:
            for listener in listeners:
                open_sockets.enter_context(listener)
            if workers > 1:
                return _serve_with_workers(source, listeners, environ, patterns)
            load_rules(patterns.compiled())
            uvloop.run(_run(source, listeners[0], environ))
    except (StorageError, PermissionError, TelemetryRefused) as error:
        return _refuse(str(error))
    return 0


def _serve_with_workers(
    source: SettingsSource,
    listeners: Sequence[socket.socket],
    environ: Mapping[str, str],
    patterns: PatternCompiler,
) -> int:
    # One process has no use for what several need.
    from sidecar.workers.command import WorkerFailed, run

    try:
        run(source, listeners, environ, patterns, lambda login_path: _announce(listeners[0], login_path))
    except WorkerFailed as error:
        sys.stderr.write(f"{error}\n")
        return NO_START
    return 0


def leave(code: int) -> NoReturn:
    """End the process when all is closed: no thread that imports is waited for, and no module taken down."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _keep_private(data_dir: Path) -> None:
    """Let nobody else read what is written from now on, and what an earlier version has written."""
    os.umask(0o077)
    for path in (*data_dir.glob("*.sqlite*"), *data_dir.glob("*.lock")):
        with contextlib.suppress(OSError):
            path.chmod(0o600)


def _refuse(words: str) -> int:
    sys.stderr.write(words.rstrip() + "\n")
    return BAD_CONFIGURATION


def _allow_many_connections() -> None:
    """Raise the limit on open files, of which each connection is one, to what the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def bind_all(host: str, port: int, count: int) -> list[socket.socket]:
    """``count`` sockets that listen at the same address: the system spreads connections over them.

    Raises ``OSError``, also when somebody listens there who would share it.
    """
    first = bind(host, port)
    if count == 1:
        return [first]
    with first:
        port = first.getsockname()[1]
    listeners: list[socket.socket] = []
    try:
        for _ in range(count):
            listeners.append(bind(host, port, shared=True))  # noqa: PERF401 (until one fails)
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A listening socket; a ``shared`` address may have more of them. Raises ``OSError``."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


async def _run(source: SettingsSource, listener: socket.socket, environ: Mapping[str, str]) -> None:
    sidecar = await Sidecar.open(source, environ)
    left_s: Callable[[], float] | None = None
    try:
        server = Server(sidecar, ready=lambda: _announce(listener, server.login_path()))
        left_s = server.ending.left_s
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, server.stop)
        # What is alive now stays alive; the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)
        for words in source.current.warnings:
            log.warning("%s: %s", source.path, words)
        await server.serve(sockets=[listener])
    finally:
        await sidecar.close(left_s)


def _announce(listener: socket.socket, login_path: str) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104
    base = f"http://{shown}:{port}"
    sys.stdout.write(f"ready: OpenAI base URL {base}/v1, Ollama host {base}, dashboard {base}{login_path}\n")
    sys.stdout.flush()


class Server(HttpServer):
    """Serves all of a sidecar's surfaces; says that it drains before it does."""

    def __init__(self, sidecar: Sidecar, ready: Callable[[], None]) -> None:
        app, services = build_app(sidecar), sidecar.services
        super().__init__(
            with_doors(app.state.doors, within(services.max_body_bytes, app)),
            services.in_flight,
            services.connections,
            lambda: sidecar.current.settings,
            ready,
        )
        self._services = services
        #: Makes a path that logs an operator into the dashboard once.
        self.login_path: Callable[[], str] = app.state.dashboard.login_path

    def stop(self, *, gently: bool = False, within_s: float | None = None) -> None:
        """Stop accepting and finish what runs; called again, tell what still runs, and end."""
        self._services.draining = True
        super().stop(gently=gently, within_s=within_s)
