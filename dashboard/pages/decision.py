"""One decision: its story, its why-trace, its attempts in time, its money, its hints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from dashboard.explain import FAULTS, OUTCOMES, story
from dashboard.hint_rows import HintRow, hint_rows
from dashboard.page import Ask, Missing, Page
from dashboard.tier_colours import colours
from dashboard.wording import ms
from sidecar.core.settlement import SettlementKind
from sidecar.core.vocabulary import Attempt, DecisionRecord, RejectedTier, TraceStep
from sidecar.services import Services

#: So narrow that it can just be seen, in percent.
_LEAST_SHARE: Final = 0.4
_WORTH_A_WORD_MS: Final = 0.1


class Part(msgspec.Struct, frozen=True):
    """A piece of a bar in the waterfall, its place in percent of the call's time.

    ``kind`` is ``line`` (waiting for a place at the tier), ``hold`` (of money), ``wait`` (for the first
    byte) or ``answer``.
    """

    kind: str
    left: float
    width: float


class AttemptRow(msgspec.Struct, frozen=True):
    """One attempt in the waterfall; ``times`` says in words what its bar shows."""

    attempt: Attempt
    colour: str
    parts: tuple[Part, ...]
    times: str
    ended: str


class MoneyRow(msgspec.Struct, frozen=True):
    """What was held for an attempt at a priced tier, and what it came to, in nano-dollars.

    ``settled`` says in words how that is known.
    """

    tier: str
    held_nano_usd: int
    posted_nano_usd: int
    settled: str
    unreconciled: bool


class DecisionContext(msgspec.Struct, frozen=True):
    """One decision record, and what is made of it for reading.

    ``before_ms`` is the time until the decision, 0 where it is not recorded.

    ``replay`` is ``same``, ``different``, or empty when the policy of then is not kept. ``trace_url`` leads
    to the trace in Jaeger, or is empty.
    """

    record: DecisionRecord
    ending: str
    story: tuple[str, ...]
    steps: tuple[TraceStep, ...]
    rejected: tuple[RejectedTier, ...]
    before_ms: float
    attempts: tuple[AttemptRow, ...]
    money: tuple[MoneyRow, ...]
    hints: tuple[HintRow, ...]
    kinds: Mapping[str, int]
    replay: str
    trace_url: str


async def load(services: Services, ask: Ask) -> DecisionContext:
    """Reads one record. Raises ``Missing``."""
    request_id = ask.get("request_id")
    record = await services.decision(request_id)
    if record is None:
        raise Missing(
            f"There is no decision {request_id[:80]!r}. The newest take a second to be written, "
            "and old ones are forgotten after a while."
        )
    policy = await services.search.policy(record.policy_id)
    replayed = await services.search.replay(request_id)
    unreconciled = {
        hold.attempt for hold in await services.ledger.unreconciled() if hold.request_id == request_id
    }
    colour_of = colours(services)
    return DecisionContext(
        record=record,
        ending=OUTCOMES[record.outcome],
        story=story(record, policy),
        steps=record.decision.trace,
        rejected=(*record.decision.rejected, *record.passed_over),
        before_ms=record.stages.decided_ms if record.stages is not None else 0.0,
        attempts=tuple(
            _bar(attempt, record.duration_ms, colour_of(attempt.tier)) for attempt in record.attempts
        ),
        money=tuple(
            MoneyRow(
                attempt.tier,
                attempt.held_nano_usd,
                attempt.cost_nano_usd,
                _SETTLED.get(attempt.settlement, attempt.settlement),
                number in unreconciled,
            )
            for number, attempt in enumerate(record.attempts)
            if attempt.held_nano_usd
        ),
        hints=hint_rows(record.features.hints),
        kinds=record.features.verdict.kinds,
        replay="" if replayed is None else "same" if replayed == record.decision else "different",
        trace_url=_trace_url(services.in_force.settings.telemetry.jaeger_ui, record.trace_id),
    )


_SETTLED: Final[dict[str, str]] = {
    SettlementKind.REPORTED: "for the tokens that the upstream reported",
    SettlementKind.ESTIMATED: "for what was delivered, counted here",
    SettlementKind.RELEASED: "given back: it cannot have been billed",
    SettlementKind.UNKNOWN: "the whole hold: what it cost is not known",
}


def _bar(attempt: Attempt, duration_ms: float, colour: str) -> AttemptRow:
    whole_ms = max(duration_ms, attempt.ended_ms, 0.001)
    first_ms = attempt.first_byte_ms
    held_ms = attempt.started_ms - (attempt.hold_ms or 0.0)
    spans = (
        ("line", held_ms - attempt.waited_ms, held_ms, "in line"),
        ("hold", held_ms, attempt.started_ms, "for the hold"),
        ("wait", attempt.started_ms, attempt.ended_ms if first_ms is None else first_ms, "to the first byte"),
        ("answer", attempt.ended_ms if first_ms is None else first_ms, attempt.ended_ms, "to the end"),
    )
    return AttemptRow(
        attempt,
        colour,
        tuple(_part(kind, begin, end, whole_ms) for kind, begin, end, _ in spans if end > begin),
        ", ".join(
            f"{ms(end - begin)} {words}" for _, begin, end, words in spans if end - begin >= _WORTH_A_WORD_MS
        ),
        FAULTS.get(attempt.fault, attempt.fault) if attempt.fault else "answered",
    )


def _part(kind: str, begin_ms: float, end_ms: float, whole_ms: float) -> Part:
    left = 100 * max(0.0, min(begin_ms, whole_ms)) / whole_ms
    width = max(_LEAST_SHARE, 100 * (end_ms - begin_ms) / whole_ms)
    return Part(kind, round(min(left, 100 - _LEAST_SHARE), 2), round(min(width, 100 - left), 2))


def _trace_url(jaeger_ui: str, trace_id: str) -> str:
    if not trace_id.isalnum() or urlsplit(jaeger_ui).scheme not in ("http", "https"):
        return ""
    return f"{jaeger_ui.rstrip('/')}/trace/{trace_id}"


PAGE: Final = Page(
    name="decision",
    path="/decisions/{request_id:str}",
    title="Decision",
    context=DecisionContext,
    load=load,
    under="decisions",
)
