"""Turns decision records into traces and hands them to the exporter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from sidecar import __version__
from sidecar.core.said import Hear
from sidecar.core.tiers import TierSpec
from sidecar.core.vocabulary import RefusedCall
from sidecar.telemetry.environment import Signal, milliseconds, resource_of, target_of
from sidecar.telemetry.exporter import SEND_EVERY_S, Exporter
from sidecar.telemetry.intake import Ended
from sidecar.telemetry.otlp_spans import encode_spans, export_request, resource, scope
from sidecar.telemetry.sampling import Sampler, Sampling, sampler_of
from sidecar.telemetry.spans import refusal_span, span_tree
from sidecar.telemetry.transport import transport_to


class Tracer:
    """Makes and exports the spans of the calls that the sampler keeps; without an exporter it makes none."""

    def __init__(
        self, sampler: Sampler, exporter: Exporter | None, tiers: Callable[[], Mapping[str, TierSpec]]
    ) -> None:
        self.sampler = sampler
        self.exporter = exporter
        self._tiers = tiers

    def trace(self, record: Ended, hear: Hear | None = None) -> None:
        """Export the call's spans, if it is to be kept; with what was said, where they may show it."""
        if isinstance(record, RefusedCall):
            self._trace_refusal(record)
            return
        if self.exporter is None or not (kept := self.sampler.keeps(record)):
            return
        spans = span_tree(record, self._tiers(), kept=kept, said=hear() if hear is not None else None)
        self.exporter.offer(encode_spans(record, spans), len(spans))

    def _trace_refusal(self, call: RefusedCall) -> None:
        if self.exporter is not None and call.sampled and not self.sampler.off:
            self.exporter.offer(encode_spans(call, [refusal_span(call)]), 1)

    async def close(self) -> None:
        """Send what is still to be sent, for a moment."""
        if self.exporter is not None:
            await self.exporter.close()


def tracer_of(
    endpoint: str,
    environ: Mapping[str, str],
    tiers: Callable[[], Mapping[str, TierSpec]],
    sampling: Callable[[], Sampling],
) -> Tracer:
    """The tracer that the configuration and the standard variables ask for. Raises ``TelemetryRefused``."""
    sampler, target = sampler_of(environ, sampling), target_of(Signal.TRACES, endpoint, environ)
    if target is None:
        return Tracer(sampler, None, tiers)
    request = partial(export_request, resource(resource_of(environ)), scope(__version__))
    every_s = milliseconds("OTEL_BSP_SCHEDULE_DELAY", environ, SEND_EVERY_S)
    return Tracer(sampler, Exporter(transport_to(target, Signal.TRACES), request, every_s=every_s), tiers)
