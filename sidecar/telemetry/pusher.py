"""Pushes the metrics to a collector now and then: the same that Prometheus would scrape."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from sidecar import __version__
from sidecar.telemetry.environment import Signal, milliseconds, resource_of, target_of
from sidecar.telemetry.instruments import Family
from sidecar.telemetry.otlp_metrics import export_request
from sidecar.telemetry.otlp_spans import resource, scope
from sidecar.telemetry.transport import Sent, Transport, transport_to

log = logging.getLogger(__name__)

_PUSH_EVERY_S: Final = 60.0
#: How long closing tries to push the last values.
_CLOSE_S: Final = 2.0


class MetricPusher:
    """Pushes what ``request`` encodes. A push that fails is not repeated: the next one says it all again."""

    def __init__(self, transport: Transport, request: Callable[[], bytes], every_s: float) -> None:
        self._transport = transport
        self._request = request
        self._every_s = every_s
        self.dropped = 0
        #: Why the last push failed; empty while all is well.
        self.failing = ""
        self._task = asyncio.create_task(self._run(), name="otlp-metrics")

    async def close(self) -> None:
        """Push the last values, if that is quick."""
        self._task.cancel()
        await asyncio.wait([self._task])
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._push()
        except TimeoutError:
            self.dropped += 1
        await self._transport.aclose()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self._push()
            except Exception:
                # A defect must not end the pusher unseen.
                self.dropped += 1
                log.exception("pushing metrics failed")

    async def _push(self) -> None:
        if await self._transport.send(self._request()) is Sent.TAKEN:
            self.failing = ""
            return
        self.dropped += 1
        if not self.failing:
            # A collector for traces alone, such as Jaeger, takes none: that is said once, and no harm done.
            log.info("the collector does not take metrics: %s", self._transport.trouble)
        self.failing = self._transport.trouble


def pusher_of(
    endpoint: str, environ: Mapping[str, str], families: Callable[[], Sequence[Family]], start_ns: int
) -> MetricPusher | None:
    """The pusher that the configuration and the standard variables ask for. Raises ``TelemetryRefused``."""
    target = target_of(Signal.METRICS, endpoint, environ)
    if target is None:
        return None
    every_s = milliseconds("OTEL_METRIC_EXPORT_INTERVAL", environ, _PUSH_EVERY_S)
    encode = partial(export_request, resource(resource_of(environ)), scope(__version__))

    def request() -> bytes:
        return encode(families(), start_ns, time.time_ns())

    return MetricPusher(transport_to(target, Signal.METRICS), request, every_s)
