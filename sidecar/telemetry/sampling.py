"""Decides which calls are traced, as OpenTelemetry's standard samplers do.

Whether a call is kept is decided twice. At its start, by ``OTEL_TRACES_SAMPLER``, or by the share that the
configuration names: that is what upstreams are told. At its end, calls that failed, fell back, were slow or
speak against the rollout are kept whatever was decided before, as those are the ones that people look for;
only ``always_off`` is final.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from sidecar.core.trace_context import TraceContext
from sidecar.core.vocabulary import Arm, DecisionRecord, Outcome
from sidecar.entropy import random_bytes
from sidecar.telemetry.refusal import TelemetryRefused

_SAMPLERS: Final = ("always_on", "always_off", "traceidratio")


class Sampling(msgspec.Struct, frozen=True):
    """What the configuration asks for, durations in milliseconds.

    ``share`` of the traces that begin here are kept, from 0 to 1. A routed call that takes longer than
    ``gate_ms`` is one that the rollout's latency gate counts against it.
    """

    share: float = 1.0
    slow_ms: float = 5_000.0
    gate_ms: float = math.inf


class Sampler(msgspec.Struct, frozen=True):
    """``by_parent``: the caller's decision counts. ``ratio`` None: the configuration's share counts."""

    asked: Callable[[], Sampling]
    ratio: float | None = None
    by_parent: bool = True
    off: bool = False

    def begin(self, came: TraceContext | None) -> TraceContext:
        """The trace context of a call that brought ``came``, with a span id of its own."""
        span_id = random_bytes(8).hex()
        if came is None:
            trace_id = random_bytes(16).hex()
            return TraceContext(trace_id, sampled=self._by_ratio(trace_id), span_id=span_id)
        sampled = came.sampled if self.by_parent else self._by_ratio(came.trace_id)
        return TraceContext(came.trace_id, came.parent_id, sampled, came.state, span_id)

    def keeps(self, record: DecisionRecord) -> str:
        """Why the call is exported: ``sampled``, or what makes it worth a look; empty when it is not."""
        if self.off:
            return ""
        return "sampled" if record.sampled else worth_a_look(record, self.asked())

    def _by_ratio(self, trace_id: str) -> bool:
        ratio = self.asked().share if self.ratio is None else self.ratio
        # The lower half of the id, as the SDKs take it, so that all of a trace's services agree.
        return not self.off and int(trace_id[16:], 16) < round(ratio * 2**64)


def worth_a_look(record: DecisionRecord, asked: Sampling) -> str:
    """What makes the call one that people look for: ``failed``, ``fallback``, ``gate`` or ``slow``."""
    if record.outcome is Outcome.UPSTREAM_FAILED:
        return "failed"
    if record.passed_over or any(attempt.fault for attempt in record.attempts):
        return "fallback"
    if record.features.arm is Arm.ROUTED and record.duration_ms > asked.gate_ms:
        return "gate"
    return "slow" if record.duration_ms > asked.slow_ms else ""


def sampler_of(environ: Mapping[str, str], asked: Callable[[], Sampling]) -> Sampler:
    """What ``OTEL_TRACES_SAMPLER`` and its argument ask for, or else the configuration.

    Raises ``TelemetryRefused``.
    """
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    if not name:
        return Sampler(asked)
    base = name.removeprefix("parentbased_")
    if base not in _SAMPLERS:
        known = ", ".join((*_SAMPLERS, *(f"parentbased_{sampler}" for sampler in _SAMPLERS)))
        raise TelemetryRefused(f"OTEL_TRACES_SAMPLER is {name!r}; write one of {known}")
    by_parent = base != name
    if base != "traceidratio":
        # A caller that samples overrules a parent-based always_off, so that one is not final.
        off = base == "always_off"
        return Sampler(asked, 0.0 if off else 1.0, by_parent, off and not by_parent)
    told = environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip() or "1.0"
    try:
        ratio = float(told)
    except ValueError:
        ratio = math.nan
    if not 0 <= ratio <= 1:
        raise TelemetryRefused(f"OTEL_TRACES_SAMPLER_ARG is {told!r}; write a number from 0 to 1")
    return Sampler(asked, ratio, by_parent)
