"""Judges the evidence by the gates: what passes, what warns, what has to go back; pure.

Absolute gates hold the routed arm against a limit: the share of failed calls, the share of answers slower
than the p95 limit (a p95 within the limit means that at most 5 % are slower), and the money spent. Relative
gates hold it against the legacy arm: they breach when even the best that the routed arm may really be is
worse than the worst that the legacy one may be, by more than is allowed. All but the money are sequential
tests; together they breach without cause with a chance of at most ``alpha``, however often one looks.

No calls, or too few, are never a pass. A gate breaches only when the bad spell has lasted for
``min_samples_to_roll_back`` calls: the tests are sure sooner when everything fails, but one hiccup can fail a
handful of calls at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from sidecar.core.durations import in_words, quantile
from sidecar.core.evidence import SLOW_SHARE, Evidence
from sidecar.core.sequential import Interval, ShareTest, share_interval

_P95: Final = 0.95


class Gate(StrEnum):
    """The gates, by the names that schedules and pages know them under."""

    ERROR_RATE = "error_rate"
    P95 = "p95"
    SPEND = "spend"
    ERROR_RATE_VS_LEGACY = "error_rate_vs_legacy"
    P95_VS_LEGACY = "p95_vs_legacy"
    FEEDBACK_VS_LEGACY = "feedback_vs_legacy"


class GateState(StrEnum):
    """``waiting``: too little is known; ``unsure``: it looks worse than the limit, but that may be chance."""

    WAITING = "waiting"
    PASSING = "passing"
    WARNING = "warning"
    UNSURE = "unsure"
    BREACHED = "breached"

    @property
    def passes(self) -> bool:
        return self in (GateState.PASSING, GateState.WARNING)


class Spend(msgspec.Struct, frozen=True):
    """What was spent, in nano-dollars. ``month_at_move`` is what the month had at the last move."""

    day: int = 0
    month: int = 0
    month_at_move: int = 0


class GateReading(msgspec.Struct, frozen=True):
    """One gate and its evidence.

    ``measured`` and its bounds are in the gate's own unit: a share, milliseconds, dollars or a rating.
    ``evidence`` grows as a breach becomes sure and breaches at ``needed``; None for gates that compare.
    """

    gate: Gate
    state: GateState
    measured: float | None
    low: float | None
    high: float | None
    limit: float
    warn: float | None
    samples: int
    evidence: float | None
    needed: float | None
    says: str


def judge(evidence: Evidence, spend: Spend) -> tuple[GateReading, ...]:
    """Every gate that has a limit; looks at the evidence first."""
    evidence.look()
    return tuple(_judge(evidence, spend))


def breached(readings: Sequence[GateReading]) -> GateReading | None:
    """The first gate that has to bring the rollout back."""
    return next((reading for reading in readings if reading.state is GateState.BREACHED), None)


def _judge(evidence: Evidence, spend: Spend) -> Iterator[GateReading]:
    limits, routed = evidence.limits, evidence.routed
    yield _share_gate(
        Gate.ERROR_RATE,
        evidence,
        (routed.calls, routed.failed),
        (limits.error_rate_max, limits.warn_error_rate),
        (evidence.errors, evidence.errors_warn),
    )
    yield _p95_gate(evidence)
    yield _spend_gate(evidence, spend)
    if limits.error_rate_vs_legacy is not None:
        yield _errors_vs_legacy(evidence, limits.error_rate_vs_legacy)
    if limits.p95_vs_legacy is not None:
        yield _p95_vs_legacy(evidence, limits.p95_vs_legacy)
    if limits.feedback_vs_legacy is not None:
        yield _feedback_vs_legacy(evidence, limits.feedback_vs_legacy)


def _state(
    evidence: Evidence, samples: int, test: ShareTest, warn: ShareTest, *, over: bool
) -> tuple[GateState, float]:
    """A test's state, and the evidence that a breach needs."""
    limits = evidence.limits
    needed = 1 / limits.alpha_each
    if test.evidence >= needed and test.spell_cases >= limits.min_samples_to_roll_back:
        return GateState.BREACHED, needed
    if samples < limits.min_samples:
        return GateState.WAITING, needed
    if over:
        return GateState.UNSURE, needed
    return (GateState.WARNING if warn.evidence >= needed else GateState.PASSING), needed


def _share_gate(
    gate: Gate,
    evidence: Evidence,
    counted: tuple[int, int],
    limit_and_warn: tuple[float, float],
    tests: tuple[ShareTest, ShareTest],
) -> GateReading:
    (calls, hits), (limit, warn) = counted, limit_and_warn
    interval = share_interval(calls, hits, evidence.limits.alpha_each)
    over = interval is not None and interval.value > limit
    state, needed = _state(evidence, calls, *tests, over=over)
    says = f"{_share(interval)} of {calls} calls failed; the limit is {_percent(limit)}"
    if not calls:
        says = f"no calls yet; the limit is {_percent(limit)}"
    says = _with_spell(evidence, tests[0], state, calls, "calls failed", says)
    return _reading(gate, state, interval, limit, warn, calls, tests[0].evidence, needed, says)


def _p95_gate(evidence: Evidence) -> GateReading:
    limits, routed = evidence.limits, evidence.routed
    p95 = quantile(routed.latency, _P95, limits.alpha_each)
    over = routed.slow > SLOW_SHARE * routed.answered
    state, needed = _state(evidence, routed.answered, evidence.slow, evidence.slow_warn, over=over)
    slow = share_interval(routed.answered, routed.slow, limits.alpha_each)
    limit = f"longer than {in_words(limits.p95_ms_max)}; at most {_percent(SLOW_SHARE)} may"
    says = f"{_share(slow)} of {routed.answered} answers took {limit}"
    if not routed.answered:
        says = f"no answers yet that could take {limit}"
    says = _with_spell(evidence, evidence.slow, state, routed.answered, "answers were too slow", says)
    return _reading(
        Gate.P95,
        state,
        p95,
        limits.p95_ms_max,
        limits.warn_p95_ms,
        routed.answered,
        evidence.slow.evidence,
        needed,
        says,
    )


def _spend_gate(evidence: Evidence, spend: Spend) -> GateReading:
    """Money is known exactly. A limit that was broken already when an operator moved is his to break."""
    limits = evidence.limits
    most, day_warn = limits.month_nano_usd_max, limits.warn_day_nano_usd
    state = GateState.PASSING
    if spend.month > most:
        state = GateState.UNSURE if spend.month_at_move > most else GateState.BREACHED
    elif spend.day > day_warn:
        state = GateState.WARNING
    says = (
        f"${spend.month / 1e9:.2f} were spent this month and ${spend.day / 1e9:.2f} today; the limit is "
        f"${most / 1e9:g} a month"
    )
    if state is GateState.UNSURE:
        says += ", which was broken before the last move"
    return GateReading(
        Gate.SPEND, state, spend.month / 1e9, None, None, most / 1e9, day_warn / 1e9, 0, None, None, says
    )


def _errors_vs_legacy(evidence: Evidence, margin: float) -> GateReading:
    routed, legacy, alpha = evidence.routed, evidence.legacy, evidence.limits.alpha_each / 2
    ours = share_interval(routed.calls, routed.failed, alpha)
    theirs = share_interval(legacy.calls, legacy.failed, alpha)
    worse = bool(ours and theirs and ours.low > theirs.high + margin)
    over = bool(ours and theirs and ours.value > theirs.value + margin)
    samples = min(routed.calls, legacy.calls)
    says = _none_of_both(ours, theirs, "calls") or (
        f"{_share(ours)} of routed calls failed and {_share(theirs)} of legacy ones; "
        f"{_percent(margin)} more are allowed"
    )
    state = _compared(evidence, samples, worse=worse, over=over)
    return _reading(Gate.ERROR_RATE_VS_LEGACY, state, ours, margin, None, samples, None, None, says)


def _p95_vs_legacy(evidence: Evidence, factor: float) -> GateReading:
    routed, legacy, alpha = evidence.routed, evidence.legacy, evidence.limits.alpha_each / 2
    ours, theirs = quantile(routed.latency, _P95, alpha), quantile(legacy.latency, _P95, alpha)
    worse = bool(ours and theirs and ours.low > theirs.high * factor)
    over = bool(ours and theirs and ours.value > theirs.value * factor)
    samples = min(routed.answered, legacy.answered)
    says = _none_of_both(ours, theirs, "answers") or (
        f"95 % of routed answers take up to {_ms(ours)}, of legacy ones up to {_ms(theirs)}; "
        f"{factor:g} times as long is allowed"
    )
    state = _compared(evidence, samples, worse=worse, over=over)
    return _reading(Gate.P95_VS_LEGACY, state, ours, factor, None, samples, None, None, says)


def _feedback_vs_legacy(evidence: Evidence, margin: float) -> GateReading:
    routed, legacy, alpha = evidence.routed, evidence.legacy, evidence.limits.alpha_each / 2
    ours = share_interval(routed.ratings, routed.score_sum, alpha)
    theirs = share_interval(legacy.ratings, legacy.score_sum, alpha)
    worse = bool(ours and theirs and ours.high < theirs.low - margin)
    over = bool(ours and theirs and ours.value < theirs.value - margin)
    samples = min(routed.ratings, legacy.ratings)
    says = _none_of_both(ours, theirs, "ratings") or (
        f"routed answers are rated {_score(ours)}, legacy ones {_score(theirs)}; {margin:g} below is allowed"
    )
    state = _compared(evidence, samples, worse=worse, over=over)
    return _reading(Gate.FEEDBACK_VS_LEGACY, state, ours, margin, None, samples, None, None, says)


def _compared(evidence: Evidence, samples: int, *, worse: bool, over: bool) -> GateState:
    limits = evidence.limits
    if worse and samples >= limits.min_samples_to_roll_back:
        return GateState.BREACHED
    if samples < limits.min_samples:
        return GateState.WAITING
    return GateState.UNSURE if over else GateState.PASSING


def _reading(
    gate: Gate,
    state: GateState,
    interval: Interval | None,
    limit: float,
    warn: float | None,
    samples: int,
    evidence: float | None,
    needed: float | None,
    says: str,
) -> GateReading:
    finite = interval is not None and interval.high != float("inf")
    return GateReading(
        gate=gate,
        state=state,
        measured=interval.value if interval else None,
        low=interval.low if interval else None,
        high=interval.high if interval and finite else None,
        limit=limit,
        warn=warn,
        samples=samples,
        evidence=evidence,
        needed=needed,
        says=says,
    )


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %"


def _share(interval: Interval | None) -> str:
    if interval is None:
        return "not known which share"
    return f"{_percent(interval.value)} ({_percent(interval.low)} to {_percent(interval.high)})"


def _with_spell(
    evidence: Evidence, test: ShareTest, state: GateState, cases: int, what: str, says: str
) -> str:
    """``says`` with the present bad spell, where that and not the whole is the reason."""
    if state is GateState.BREACHED and test.spell_cases < cases:
        return f"{test.spell_hits} of the last {test.spell_cases} {what}; in all {says}"
    if state is not GateState.BREACHED and test.evidence >= 1 / evidence.limits.alpha_each:
        wanted = evidence.limits.min_samples_to_roll_back
        spell = f"{test.spell_hits} of the last {test.spell_cases} {what}"
        return f"{spell}; at {wanted} it goes back; in all {says}"
    return says


def _none_of_both(ours: Interval | None, theirs: Interval | None, what: str) -> str:
    return "" if ours and theirs else f"there are no {what} of both arms yet to compare"


def _ms(interval: Interval | None) -> str:
    return "no time yet" if interval is None else in_words(interval.value)


def _score(interval: Interval | None) -> str:
    return "not yet" if interval is None else f"{interval.value:.2f}"
