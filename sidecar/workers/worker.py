"""A worker's composition root: joins the request line to stand-ins for what the hub keeps."""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections.abc import Coroutine, Mapping
from typing import Any

from sidecar.connections import Connections, connection_limit
from sidecar.endpoints.data_plane import DataPlane, doors_of
from sidecar.exchange import Exchange
from sidecar.in_flight import InFlight
from sidecar.in_force import InForce
from sidecar.loop_lag import LoopLag
from sidecar.put_in_force import put_in_force, sampling_of
from sidecar.settings import Settings, parse_settings
from sidecar.settings.shares import share_of
from sidecar.settings.watch import keep_fixed
from sidecar.shadow import Shadows
from sidecar.telemetry.process import resident_bytes
from sidecar.telemetry.sampling import sampler_of
from sidecar.traffic import traffic_of
from sidecar.upstream_care import UpstreamCare
from sidecar.upstreams.registry import LocalUpstream, Upstream
from sidecar.workers.channel import Channel
from sidecar.workers.messages import (
    AllTold,
    CallRated,
    CallRefused,
    FromHub,
    News,
    Report,
    Room,
    SettingsChanged,
    TellNow,
    TierReport,
    Welcome,
)
from sidecar.workers.outbox import Outbox
from sidecar.workers.stand_ins import KnownRollout, KnownSplit, RemoteLedger, RemoteShadows

log = logging.getLogger(__name__)

#: How often the hub is told how the worker fares.
REPORT_EVERY_S = 0.3


class Worker:
    """A running worker without its socket: the doors, and what stands behind them."""

    def __init__(self, welcome: Welcome, channel: Channel[FromHub], environ: Mapping[str, str]) -> None:
        """Raises ``SettingsError`` when this process reads the hub's configuration differently."""
        self._welcome = welcome
        self._channel = channel
        self._environ = environ
        first = self._parse(welcome.first)
        self._whole = keep_fixed(first, self._parse(welcome.now))
        self.current: InForce = put_in_force(self._shared(self._whole), None, welcome.news.out)
        self.rollout = KnownRollout(KnownSplit(welcome.news.salt, welcome.news.percent))
        self.ledger = RemoteLedger(channel.send)
        self.ledger.room(welcome.room)
        self.shadow_money = RemoteShadows(channel.send)
        self.outbox = Outbox(channel)
        self.in_flight = InFlight(lambda: self.current.settings.limits.max_in_flight)
        self.connections = Connections(connection_limit())
        self._lag = LoopLag(time.perf_counter)
        self._care = UpstreamCare(lambda: self.current)
        self._taking_up = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._shadows = Shadows(
            self.ledger,
            self.shadow_money,
            self.shadow_money,
            ending=lambda: self.in_flight.ending,
            clock_ns=time.time_ns,
            clock_s=time.perf_counter,
        )
        self._shadows.trace = self.shadow_money.trace
        self.doors = doors_of(self._data_plane())

    def _data_plane(self) -> DataPlane:
        exchange = Exchange(
            lambda: self.current,
            self.rollout,
            self.ledger,
            self.outbox.record,
            lambda: self.in_flight.ending,
            time.perf_counter,
        )
        self._shadows.consider = exchange.consider
        exchange.after = self._shadows.offer
        sampler = sampler_of(self._environ, lambda: sampling_of(self.current.settings))
        return DataPlane(
            exchange,
            self.in_flight,
            max_body_bytes=lambda: self.current.settings.limits.max_body_mb * 2**20,
            allowed_hosts=lambda: self.current.settings.listen.allowed_hosts,
            begin_trace=sampler.begin,
            refused=lambda call: self._channel.send(CallRefused(call)),
            rate=lambda request_id, score: self._channel.send(CallRated(request_id, score)),
            clock_ns=time.time_ns,
            clock_s=time.perf_counter,
        )

    @property
    def drain_s(self) -> float:
        """How long calls may take to end."""
        return self.current.settings.drain_s

    def begin(self) -> None:
        """Start the background work."""
        self._care.begin()
        self._start(self._lag.measure(), "loop-lag")
        self._start(self._report(), "report")

    async def close(self) -> None:
        """Stop the background work, and tell the hub what is still to be told.

        The upstreams' connections end with the process; closing them may wait for an import in a thread.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._shadows.close()
        self.outbox.flush()
        self._channel.send(self.report())

    # what the hub says

    def take_news(self, news: News) -> None:
        """The rollout was moved, or a tier taken out of service or put back."""
        self.rollout.current = KnownSplit(news.salt, news.percent)
        out = self.current.out
        assert isinstance(out, dict), "the mapping that calls look into follows the operator at once"
        for name in out.keys() - news.out.keys():
            del out[name]
        out.update(news.out)

    def take_room(self, room: Room) -> None:
        """The caps leave something else."""
        self.ledger.room(room)

    def take_settings(self, changed: SettingsChanged) -> None:
        """Another configuration is in force: calls under way keep what they began with."""
        self._start(self._take_up(changed.raw), "settings")

    async def _take_up(self, raw: bytes) -> None:
        async with self._taking_up:
            before = self.current
            try:
                # In a thread: compiling the privacy patterns anew takes a while, and calls are under way.
                whole = await asyncio.to_thread(lambda: keep_fixed(self._whole, self._parse(raw)))
                after = await asyncio.to_thread(put_in_force, self._shared(whole), before, before.out)
            except Exception:
                log.exception("a configuration that the hub has in force cannot be taken up")
                return
            self._whole, self.current = whole, after
            self._care.replaced(before, after)

    def tell_now(self, asked: TellNow) -> None:
        """The hub wants the records that are still being gathered."""
        self.outbox.flush()
        self._channel.send(AllTold(asked.seq))

    def report(self) -> Report:
        """How this worker fares."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return Report(
            tiers={name: _report_of(upstream) for name, upstream in self.current.upstreams.items()},
            traffic=traffic_of(self.in_flight, self.connections, self._shadows.skipped),
            lag_ms=self._lag.last_ms,
            worst_lag_ms=self._lag.worst_ms,
            cpu_s=round(usage.ru_utime + usage.ru_stime, 3),
            memory_bytes=resident_bytes(),
            dropped=self.outbox.dropped,
        )

    async def _report(self) -> None:
        while True:
            self._channel.send(self.report())
            await asyncio.sleep(REPORT_EVERY_S)

    def _parse(self, raw: bytes) -> Settings:
        return parse_settings(raw, self._welcome.file, self._environ)

    def _shared(self, whole: Settings) -> Settings:
        return share_of(whole, self._welcome.number, self._welcome.count)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _report_of(upstream: Upstream) -> TierReport:
    return TierReport(
        upstream.obstacle(),
        upstream.circuit(),
        upstream.places.view(),
        upstream.absent if isinstance(upstream, LocalUpstream) else "",
        upstream.key_refused,
    )
