"""Counts calls, money, tokens and time from decision records.

The ``gen_ai.*`` instruments and their buckets are those of OpenTelemetry's semantic conventions; one
attempt is one operation. The ``sidecar.*`` ones are about calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from sidecar.core.pricing import NANO_PER_USD
from sidecar.core.tiers import TierSpec
from sidecar.core.vocabulary import Attempt, DecisionRecord, RefusedCall
from sidecar.telemetry import names
from sidecar.telemetry.instruments import Counter, Exemplar, Family, Histogram, Vocabulary
from sidecar.telemetry.intake import Ended

_DURATIONS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_FIRST_CHUNKS: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08),
    *(0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
_TOKENS: Final = tuple(4**power for power in range(14))
_SHORT: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

#: In the legacy arm a model is whatever the app wrote.
_MODELS_MAX: Final = 50

_OF_AN_OPERATION: Final = (
    names.OPERATION,
    names.PROVIDER,
    names.REQUEST_MODEL,
    names.SERVER_ADDRESS,
    names.SERVER_PORT,
    names.TIER,
)

Observe = Callable[[], Iterable[Family]]


class Metrics:
    """All metrics of one sidecar. ``observe`` gives the families whose values are read, not counted."""

    def __init__(self, tiers: Callable[[], Mapping[str, TierSpec]], observe: Observe) -> None:
        self._tiers = tiers
        self._observe = observe
        self._models = Vocabulary(_MODELS_MAX)
        self._durations = Histogram(
            names.OPERATION_DURATION,
            "How long one attempt at an upstream took",
            (*_OF_AN_OPERATION, names.ERROR_TYPE),
            bounds=_DURATIONS,
        )
        self._first_chunks = Histogram(
            names.OPERATION_FIRST_CHUNK,
            "How long a streamed answer took to begin",
            _OF_AN_OPERATION,
            bounds=_FIRST_CHUNKS,
        )
        self._tokens = Histogram(
            names.TOKEN_USAGE,
            "Tokens of one attempt as the upstream reported them",
            (*_OF_AN_OPERATION, names.TOKEN_TYPE),
            unit="{token}",
            bounds=_TOKENS,
        )
        self._calls = Counter(
            names.CALLS,
            "Calls that have ended",
            (names.BY_ARM, names.BY_TIER, names.BY_REASON, names.BY_OUTCOME, names.BY_VERDICT),
        )
        self._refused = Counter(
            names.CALLS_REFUSED,
            "Calls that were turned away before anything was decided",
            (names.BY_CODE,),
        )
        self._call_durations = Histogram(
            names.CALL_DURATION,
            "How long calls took, from their first byte to their ending",
            (names.BY_ARM, names.BY_TIER),
            bounds=_DURATIONS,
        )
        self._passed_over = Counter(
            names.TIERS_PASSED_OVER,
            "How often a tier was not the one to answer",
            (names.BY_TIER, names.BY_REASON),
        )
        self._failures = Counter(
            names.ATTEMPTS_FAILED, "Attempts that failed", (names.BY_TIER, names.BY_FAULT)
        )
        self._spend = Counter(
            names.SPEND, "What calls cost", (names.BY_TIER, names.BY_ARM), unit="USD", per=NANO_PER_USD
        )
        self._scans = Histogram(names.SCAN_DURATION, "How long the privacy gate took", bounds=_SHORT)
        self._decisions = Histogram(
            names.DECISION_DURATION, "From a call's last byte to its decision", bounds=_SHORT
        )
        self._holds = Histogram(
            names.HOLD_DURATION, "How long a call waited for its hold", (names.BY_TIER,), bounds=_SHORT
        )
        self.lag = Histogram(names.LOOP_LAG, "How late the event loop was", bounds=(0.001, *_SHORT[4:], 2.5))
        self.commits = Histogram(
            names.LEDGER_COMMIT, "How long the ledger's commits took", bounds=(*_SHORT[3:], 2.5)
        )

    def take(self, call: Ended, _: object = None) -> None:
        """Take one call into account."""
        if isinstance(call, RefusedCall):
            self._refused.add((call.code,))
        else:
            self._count(call)

    def _count(self, record: DecisionRecord) -> None:
        arm, tier = record.features.arm.value, record.tier
        seconds = record.duration_ms / 1000
        self._calls.add(
            (arm, tier, record.decision.reason, record.outcome.value, record.features.verdict.state.value)
        )
        self._call_durations.observe(seconds, (arm, tier), _exemplar(record, record.span_id, seconds))
        for passed in (*record.decision.rejected, *record.passed_over):
            self._passed_over.add((passed.tier, passed.reason))
        if record.stages is not None:
            stages = record.stages
            self._scans.observe((stages.scanned_ms - stages.identified_ms) / 1000)
            self._decisions.observe((stages.decided_ms - stages.received_ms) / 1000)
        for attempt in record.attempts:
            self._count_attempt(record, attempt)

    def families(self) -> list[Family]:
        """All values now."""
        counted = (
            self._durations,
            self._first_chunks,
            self._tokens,
            self._calls,
            self._refused,
            self._call_durations,
            self._passed_over,
            self._failures,
            self._spend,
            self._scans,
            self._decisions,
            self._holds,
            self.lag,
            self.commits,
        )
        return [*(instrument.family() for instrument in counted), *self._observe()]

    def _count_attempt(self, record: DecisionRecord, attempt: Attempt) -> None:
        tier = attempt.tier
        provider, host, port = _provider(self._tiers().get(tier))
        operation = record.features.operation.value
        labels = (operation, provider, self._models.word(attempt.model), host, port, tier)
        seconds = (attempt.ended_ms - attempt.started_ms) / 1000
        exemplar = _exemplar(record, attempt.span_id, seconds)
        self._durations.observe(seconds, (*labels, attempt.fault), exemplar)
        if attempt.fault:
            self._failures.add((tier, attempt.fault))
            self._passed_over.add((tier, "attempt_failed"))
        if attempt.cost_nano_usd:
            self._spend.add((tier, record.features.arm.value), attempt.cost_nano_usd)
        if attempt.hold_ms is not None:
            self._holds.observe(attempt.hold_ms / 1000, (tier,))
        if record.features.stream and attempt.first_byte_ms is not None:
            first_s = (attempt.first_byte_ms - attempt.started_ms) / 1000
            self._first_chunks.observe(first_s, labels, _exemplar(record, attempt.span_id, first_s))
        usage = record.usage
        if usage is not None and not usage.estimated and attempt is record.attempts[-1]:
            self._tokens.observe(usage.input_tokens, (*labels, "input"))
            self._tokens.observe(usage.output_tokens, (*labels, "output"))


def _exemplar(record: DecisionRecord, span_id: str, value: float) -> Exemplar | None:
    """Only a trace that is kept is worth pointing to."""
    if not record.sampled:
        return None
    return Exemplar(value, record.trace_id, span_id, record.started_ns / 1e9 + record.duration_ms / 1000)


def _provider(tier: TierSpec | None) -> tuple[str, str, str]:
    if tier is None:
        return "", "", ""
    url = urlsplit(tier.base_url)
    return tier.provider, url.hostname or "", str(url.port or (443 if url.scheme == "https" else 80))
