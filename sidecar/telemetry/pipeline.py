"""Joins traces, metrics and call lines behind one ``emit``."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Self

from sidecar.core.said import Hear
from sidecar.core.tiers import TierSpec
from sidecar.core.trace_context import TraceContext
from sidecar.core.vocabulary import DecisionRecord, RefusedCall
from sidecar.telemetry import names
from sidecar.telemetry.call_log import write_lines
from sidecar.telemetry.instruments import Family, FamilyKind, count, gauge
from sidecar.telemetry.intake import Intake
from sidecar.telemetry.metrics import Metrics, Observe
from sidecar.telemetry.process import resident_bytes
from sidecar.telemetry.prometheus import exposition
from sidecar.telemetry.pusher import MetricPusher, pusher_of
from sidecar.telemetry.rollout_spans import ShadowFigures, rollout_span, shadow_span
from sidecar.telemetry.sampling import Sampling
from sidecar.telemetry.tracing import Tracer, tracer_of

#: What is left of the time after it is for the databases.
_SENDING_SHARE = 0.5


class Telemetry:
    """All of one sidecar's telemetry. Made with ``open``; ``close`` it."""

    def __init__(self, tracer: Tracer, metrics: Metrics, start_ns: int) -> None:
        self.tracer = tracer
        self.metrics = metrics
        self.intake = Intake([metrics.take, tracer.trace], write_lines)
        self.pusher: MetricPusher | None = None
        self._start_ns = start_ns
        #: CPU seconds and resident bytes of the sidecar's other processes.
        self.others: Callable[[], tuple[float, int]] = lambda: (0.0, 0)

    @classmethod
    def open(
        cls,
        endpoint: str,
        environ: Mapping[str, str],
        *,
        tiers: Callable[[], Mapping[str, TierSpec]],
        observe: Observe,
        sampling: Callable[[], Sampling] = Sampling,
    ) -> Self:
        """What the configuration and the standard variables ask for. Raises ``TelemetryRefused``."""
        now_ns = time.time_ns()
        telemetry = cls(tracer_of(endpoint, environ, tiers, sampling), Metrics(tiers, observe), now_ns)
        telemetry.pusher = pusher_of(endpoint, environ, telemetry.families, now_ns)
        return telemetry

    def begin_trace(self, came: TraceContext | None) -> TraceContext:
        """The trace context of a call that brought ``came``."""
        return self.tracer.sampler.begin(came)

    def emit(self, record: DecisionRecord, hear: Hear | None = None) -> None:
        """Take over the record of a call that has ended. Never blocks, never raises.

        ``hear`` finds out what was said, where spans may show it.
        """
        self.intake.emit(record, hear)

    def refused(self, call: RefusedCall) -> None:
        """Take over a call that was turned away. Never blocks, never raises."""
        self.intake.emit(call)

    def tell_of_rollout(
        self, event: str, at_ns: int, attributes: dict[str, str | float], broken: str
    ) -> None:
        """Export a move of the rollout as a trace of its own. Never blocks, never raises."""
        if self.tracer.exporter is not None:
            self.tracer.exporter.offer(rollout_span(event, at_ns, {**attributes}, broken), 1)

    def tell_of_shadow(self, result: ShadowFigures, own: TraceContext, followed: TraceContext) -> None:
        """Export a shadow call, if the call that it followed was sampled. Never blocks, never raises."""
        if self.tracer.exporter is not None and own.sampled:
            self.tracer.exporter.offer(shadow_span(result, own, followed), 1)

    def families(self) -> list[Family]:
        """All metrics now."""
        return [*self.metrics.families(), *self._own()]

    def exposition(self, accept: str) -> tuple[str, bytes]:
        """Content type and text of the metrics, for a scraper that accepts ``accept``."""
        return exposition(self.families(), accept)

    def trouble(self) -> str:
        """Why the collector does not take what it is sent, and what was lost; empty while all is well."""
        senders = [("traces", self.tracer.exporter), ("metrics", self.pusher)]
        return "; ".join(
            f"{what}: {sender.failing}" + (f" ({sender.dropped} lost so far)" if sender.dropped else "")
            for what, sender in senders
            if sender is not None and sender.failing
        )

    async def close(self, left_s: float | None = None) -> None:
        """Work on what is left, and send it for a moment, but no longer than a share of ``left_s``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s * _SENDING_SHARE if left_s is not None else None):
                await self.intake.close()
                await self.tracer.close()
                if self.pusher is not None:
                    await self.pusher.close()

    def _own(self) -> Iterator[Family]:
        """How telemetry itself fares, and the process."""
        exporter, pusher = self.tracer.exporter, self.pusher
        yield count(
            names.DROPPED,
            "Telemetry that was lost, because there was no room or nobody took it",
            (names.BY_WHAT,),
            [
                (("records",), self.intake.dropped),
                (("lines",), self.intake.lines_dropped),
                (("spans",), exporter.dropped if exporter is not None else 0),
                (("metrics",), pusher.dropped if pusher is not None else 0),
            ],
        )
        yield gauge(
            names.COLLECTOR_TAKES,
            "1 while the collector takes what it is sent, or none is named",
            (names.BY_WHAT,),
            [
                (("spans",), int(exporter is None or not exporter.failing)),
                (("metrics",), int(pusher is None or not pusher.failing)),
            ],
        )
        usage = resource.getrusage(resource.RUSAGE_SELF)
        others_cpu_s, others_memory = self.others()
        cpu_s = round(usage.ru_utime + usage.ru_stime + others_cpu_s, 3)
        yield Family(
            names.CPU, FamilyKind.COUNTER, "s", "CPU time of the process, with its workers", (), [((), cpu_s)]
        )
        if memory := resident_bytes():
            yield gauge(
                names.MEMORY,
                "Resident memory of the process, with its workers",
                (),
                [((), memory + others_memory)],
                "By",
            )
        yield gauge(
            names.START_TIME, "When the sidecar started, in Unix time", (), [((), self._start_ns / 1e9)], "s"
        )
