"""The worker processes: started, restarted when they die, replaced one after another, drained at the end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from sidecar.services import WorkerView
from sidecar.workers.hub import Hub
from sidecar.workers.link import Link
from sidecar.workers.messages import Leave

log = logging.getLogger("sidecar.workers")

#: How long a worker may take until it takes calls; then it is given up.
_START_S: Final = 60.0
#: What a worker may be late by before it is killed: a busy machine may have had no time for it.
_GRACE_S: Final = 5.0
#: A worker that dies sooner than this after its start is started again after a pause, each time a longer one.
_SOON_S: Final = 10.0
_PAUSE_S: Final = 0.2
_PAUSE_MAX_S: Final = 10.0


class WorkerFailed(Exception):
    """A worker has ended, or taken too long, before it took calls."""


class Spawned(msgspec.Struct, frozen=True):
    """A worker's process, and our end of its channel."""

    process: subprocess.Popen[bytes]
    end: socket.socket

    def abandon(self) -> None:
        """End it, if it still runs."""
        self.end.close()
        self.process.kill()
        self.process.wait()


def spawn(listener: socket.socket) -> Spawned:
    """Start a process that will serve on ``listener``.

    In the main thread only: with the thread that started it a process would lose its parent.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        passed = (theirs.fileno(), listener.fileno())
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "sidecar.workers.process", str(os.getpid()), *map(str, passed)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=passed,
        )
    return Spawned(process, ours)


class _Worker:
    """One process of the crew. ``leaving``: it was told to end."""

    def __init__(self, process: subprocess.Popen[bytes], link: Link) -> None:
        self.process = process
        self.link = link
        self.leaving = False
        self.since_s = time.monotonic()

    @property
    def state(self) -> str:
        if self.leaving:
            return "draining"
        return "ready" if self.link.ready.is_set() else "starting"

    async def until_ready(self) -> bool:
        """Whether it took calls in time."""
        waits = [asyncio.create_task(event.wait()) for event in (self.link.ready, self.link.ended)]
        await asyncio.wait(waits, timeout=_START_S, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return self.link.ready.is_set() and not self.link.ended.is_set()

    def leave(self, within_s: float, *, gently: bool = False) -> None:
        """Tell it to end; told again, it ends at once."""
        self.leaving = True
        self.link.channel.send(Leave(gently, within_s))

    async def ends_within(self, limit_s: float) -> None:
        """Wait for its end; kill it when that takes too long."""
        try:
            async with asyncio.timeout(limit_s):
                await self.link.ended.wait()
        except TimeoutError:
            log.error("worker %d did not end within %g s and is killed", self.process.pid, limit_s)
            self.process.kill()
            await self.link.ended.wait()

    async def reap(self) -> int:
        """The exit code of a process whose channel has ended."""
        try:
            return await asyncio.to_thread(self.process.wait, _GRACE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return await asyncio.to_thread(self.process.wait)


class _Seat:
    """The place of one worker: its listening socket outlives those who serve on it."""

    def __init__(self, number: int, listener: socket.socket) -> None:
        self.number = number
        self.listener = listener
        self.workers: list[_Worker] = []
        self.restarts = 0
        self.soon = 0


class Crew:
    """All workers. ``drain_s`` is how long calls may take to end."""

    def __init__(self, hub: Hub, listeners: Sequence[socket.socket], drain_s: Callable[[], float]) -> None:
        self._hub = hub
        self._drain_s = drain_s
        self._seats = [_Seat(number, listener) for number, listener in enumerate(listeners)]
        self._started = self._stopping = False
        self._rolling = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, spawned: Sequence[Spawned]) -> None:
        """Take on those ``spawned``, one for each listener, until all take calls. Raises ``WorkerFailed``."""
        workers = [await self._take_on(seat, one) for seat, one in zip(self._seats, spawned, strict=True)]
        ready = await asyncio.gather(*(worker.until_ready() for worker in workers))
        if not all(ready):
            raise WorkerFailed("a worker ended before it was ready, or took too long; the log says why")
        self._started = True

    @property
    def ready(self) -> bool:
        """Whether somebody takes calls."""
        return any(worker.state == "ready" for worker in self._workers())

    def views(self) -> list[WorkerView]:
        """All workers, those that drain besides those that take their places."""
        return [_view(seat, worker) for seat in self._seats for worker in seat.workers]

    async def roll(self) -> None:
        """Replace all workers, one after another: the new one takes calls before the old one drains."""
        if self._rolling.locked() or self._stopping or not self._started:
            log.warning("the workers are being started, replaced or stopped already")
            return
        async with self._rolling:
            log.info("the workers are replaced one after another")
            for seat in self._seats:
                if not await self._replace(seat):
                    return
            log.info("all workers are replaced")

    async def drain(self, within_s: float) -> None:
        """Tell all to end within so many seconds, and wait until they have."""
        self._stopping = True
        workers = list(self._workers())
        for worker in workers:
            worker.leave(within_s)
        await asyncio.gather(*(worker.ends_within(within_s + _GRACE_S) for worker in workers))
        if self._tasks:
            await asyncio.wait(self._tasks)

    def hurry(self) -> None:
        """Have those that drain end at once."""
        for worker in self._workers():
            worker.leave(0.0)

    def kill(self) -> None:
        """End all that still run, without any order."""
        self._stopping = True
        for worker in self._workers():
            worker.process.kill()
            worker.process.wait()
        for task in self._tasks:
            task.cancel()

    def _workers(self) -> list[_Worker]:
        return [worker for seat in self._seats for worker in seat.workers]

    async def _take_on(self, seat: _Seat, spawned: Spawned) -> _Worker:
        worker = _Worker(spawned.process, self._hub.link())
        seat.workers.append(worker)
        await worker.link.channel.connect(spawned.end)
        self._hub.welcome(worker.link, seat.number)
        task = asyncio.create_task(self._tend(seat, worker), name=f"worker-{seat.number}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return worker

    async def _replace(self, seat: _Seat) -> bool:
        before = list(seat.workers)
        worker = await self._take_on(seat, spawn(seat.listener))
        if not await worker.until_ready() or self._stopping:
            if not self._stopping:
                log.error("worker %d is not replaced: the new one is not ready", seat.number)
                worker.leaving = True
                worker.process.kill()
            return False
        for old in before:
            old.leave(self._drain_s(), gently=True)
        await asyncio.gather(*(old.ends_within(self._drain_s() + _GRACE_S) for old in before))
        return True

    async def _tend(self, seat: _Seat, worker: _Worker) -> None:
        """Wait for the end of a worker, and put another in its place unless it was told to end."""
        await worker.link.ended.wait()
        # What it said before is worked on as ever, also when it was killed.
        await worker.link.recorded()
        code = await worker.reap()
        self._hub.forget(worker.link)
        seat.workers.remove(worker)
        if worker.leaving or self._stopping or not self._started:
            return
        lived_s = time.monotonic() - worker.since_s
        seat.soon = seat.soon + 1 if lived_s < _SOON_S else 0
        pause_s = min(_PAUSE_S * 2 ** (seat.soon - 1), _PAUSE_MAX_S) if seat.soon else 0.0
        log.log(
            logging.ERROR if code else logging.WARNING,
            "worker %d (process %d) %s after %.0f s; another takes its place%s",
            seat.number,
            worker.process.pid,
            _ending(code),
            lived_s,
            f" in {pause_s:g} s" if pause_s else "",
        )
        seat.restarts += 1
        await asyncio.sleep(pause_s)
        if not self._stopping and not seat.workers:
            await self._take_on(seat, spawn(seat.listener))


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _view(seat: _Seat, worker: _Worker) -> WorkerView:
    view = WorkerView(seat.number, worker.process.pid, worker.state, seat.restarts)
    report = worker.link.report
    if report is None:
        return view
    return msgspec.structs.replace(
        view,
        calls=report.traffic.calls,
        connections=report.traffic.connections,
        lag_ms=report.lag_ms,
        worst_lag_ms=report.worst_lag_ms,
        cpu_s=report.cpu_s,
        memory_bytes=report.memory_bytes,
    )
