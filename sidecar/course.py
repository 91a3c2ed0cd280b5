"""What has happened to one call so far; it becomes the call's decision record."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from sidecar.core.bounds import Bound
from sidecar.core.budget import Hold
from sidecar.core.errors import UpstreamFault
from sidecar.core.ports import Answer, OutboundCall
from sidecar.core.privacy.gate import MayLeave
from sidecar.core.trace_context import TraceContext
from sidecar.core.vocabulary import (
    Attempt,
    Decision,
    DecisionRecord,
    Door,
    Features,
    Lane,
    Outcome,
    PlannedTier,
    RejectedTier,
    Stages,
    TierState,
    Usage,
)
from sidecar.in_force import InForce
from sidecar.transcript import Transcript
from sidecar.upstreams.admission import Place
from sidecar.wire.requests import DecodedCall

#: What an upstream's word for how its answer ended looks like; anything longer could quote the call.
_WORD = re.compile(r"[A-Za-z0-9_-]{0,40}")

#: Statuses that say an upstream could not do its work, not that the call was wrong.
_FAILED_STATUSES = frozenset({401, 403, 408, 429})


class Inbound(msgspec.Struct, frozen=True):
    """A call as it came in: ``headers`` with lower-case names, arrival as Unix ns and monotonic s."""

    request_id: str
    door: Door
    headers: Mapping[str, str]
    body: bytes
    started_ns: int
    started_s: float
    trace: TraceContext


class OpenAttempt:
    """An attempt that is under way, with its place at the tier and the money held for it.

    ``read_to_its_end`` says that the whole answer has come and that nothing was wrong with it.
    """

    __slots__ = (
        "answer",
        "bound",
        "call",
        "hold",
        "hold_ms",
        "lane",
        "place",
        "planned",
        "read_to_its_end",
        "settlement",
        "span_id",
        "started_ms",
        "waited_ms",
    )

    def __init__(
        self,
        planned: PlannedTier,
        call: OutboundCall,
        lane: Lane,
        started_ms: float,
        place: Place,
        hold: Hold | None,
        bound: Bound | None,
        *,
        span_id: str,
        waited_ms: float,
        hold_ms: float | None,
    ) -> None:
        self.planned = planned
        self.call = call
        self.lane = lane
        self.started_ms = started_ms
        self.place = place
        self.hold = hold
        self.bound = bound
        self.span_id = span_id
        self.waited_ms = waited_ms
        self.hold_ms = hold_ms
        self.settlement = ""
        self.answer: Answer | None = None
        self.read_to_its_end = False


class Course:
    """One call on its way: what was decided, what was tried, how it ended.

    ``streaming`` says that the head of a streamed answer has gone out, so that only its end is open;
    ``told`` that the answer has come whole, and is on its way to the client or there.
    """

    def __init__(
        self,
        inbound: Inbound,
        decoded: DecodedCall,
        in_force: InForce,
        *,
        features: Features,
        states: tuple[TierState, ...],
        decision: Decision,
        permit: MayLeave | None,
        bounds: Mapping[str, Bound],
        strip_metadata: tuple[str, ...],
        bucket: int,
        percent: float,
        marks_s: Sequence[float],
        transcript: Transcript | None,
    ) -> None:
        """``marks_s`` is when the stages of ``Stages`` were over, by the clock of ``inbound.started_s``."""
        self.inbound = inbound
        self.decoded = decoded
        self.in_force = in_force
        self.features = features
        self.states = states
        self.decision = decision
        self.permit = permit
        self.bounds = bounds
        self.strip_metadata = strip_metadata
        self.bucket = bucket
        self.percent = percent
        self.marks_s = marks_s
        self.transcript = transcript
        self.open: OpenAttempt | None = None
        # To be closed however the call ends, be it between its coming and its being relayed.
        self.answer: Answer | None = None
        self.attempts: list[Attempt] = []
        self.passed_over: list[RejectedTier] = []
        # Until something else is known, a call that ends has ended because its client left.
        self.outcome = Outcome.CLIENT_LEFT
        self.status = 499
        self.error_code = ""
        self.last_fault: UpstreamFault | None = None
        self.retry_after_s: float | None = None
        self.streaming = False
        self.told = False
        self.first_byte_ms: float | None = None
        self.usage: Usage | None = None
        self.cost_nano_usd = 0
        self.response_bytes = 0

    def elapsed_ms(self, now_s: float) -> float:
        """Milliseconds since the call came in."""
        return int((now_s - self.inbound.started_s) * 1e6) / 1e3

    @property
    def total_s(self) -> float | None:
        """How long the call may take, all attempts together; None when none is planned."""
        tiers = self.in_force.tiers
        return max((tiers[planned.tier].timeouts.total_s for planned in self.decision.plan), default=None)

    def left_s(self, now_s: float) -> float:
        """How much longer the open attempt may take."""
        assert self.open is not None
        total_s = self.in_force.tiers[self.open.planned.tier].timeouts.total_s
        return total_s - (self.elapsed_ms(now_s) - self.open.started_ms) / 1000

    def pass_over(self, planned: PlannedTier, reason: str, detail: str) -> bool:
        """A tier of the plan is not tried after all; always False, for it is not."""
        self.passed_over.append(RejectedTier(planned.tier, reason, detail))
        return False

    def tried(self) -> list[str]:
        """The tiers whose attempts failed, in order, without the one that answers."""
        tiers = dict.fromkeys(attempt.tier for attempt in self.attempts if attempt.fault)
        if self.answerer is not None:
            tiers.pop(self.answerer.tier, None)
        return list(tiers)

    @property
    def answerer(self) -> PlannedTier | Attempt | None:
        """Whose answer the caller gets: the open attempt's, else the last one's, be it that the call is wrong
        or a stream that broke off; None where it is told that nobody could answer."""
        if self.open is not None:
            return self.open.planned
        last = self.attempts[-1] if self.attempts else None
        delivered = last is not None and self.streaming and last.first_byte_ms is not None
        return last if delivered or not self.error_code else None

    def hear(self, chunk: bytes) -> None:
        """A piece of the answer that goes to the caller."""
        self.response_bytes += len(chunk)
        if self.transcript is not None:
            self.transcript.listen(chunk)

    def attempt_ended(self, now_s: float, *, failed: UpstreamFault | None, cost_nano_usd: int) -> None:
        """Write down the open attempt's end, once, and close it."""
        attempt = self.open
        assert attempt is not None
        answer = attempt.answer
        status = answer.status if answer is not None else failed.http_status if failed else None
        self.attempts.append(
            Attempt(
                tier=attempt.planned.tier,
                model=attempt.planned.model,
                lane=attempt.lane,
                started_ms=attempt.started_ms,
                ended_ms=self.elapsed_ms(now_s),
                first_byte_ms=self.first_byte_ms if answer is not None else None,
                status=status,
                fault=failed.fault if failed else "",
                # Ours: the upstream's own words may quote the call, and this row is kept.
                detail=failed.message[:300] if failed else "",
                cost_nano_usd=cost_nano_usd,
                span_id=attempt.span_id,
                waited_ms=attempt.waited_ms,
                hold_ms=attempt.hold_ms,
                held_nano_usd=attempt.hold.request.amount_nano_usd if attempt.hold is not None else 0,
                settlement=attempt.settlement,
                finish_reason=_plain_word(answer.tally.finish_reason) if answer is not None else "",
            )
        )
        self.cost_nano_usd += cost_nano_usd
        self.last_fault = failed or self.last_fault
        if failed is not None and failed.retry_after_s is not None:
            self.retry_after_s = min(failed.retry_after_s, self.retry_after_s or failed.retry_after_s)
        self.open = None

    def answered(self, status: int, usage: Usage | None) -> None:
        """The answer has gone out whole."""
        self.status = status
        self.usage = usage
        if status >= 500 or status in _FAILED_STATUSES:
            self.outcome = Outcome.UPSTREAM_FAILED
        elif usage is not None and not usage.estimated:
            self.outcome = Outcome.COMPLETE
        else:
            self.outcome = Outcome.COMPLETE_WITHOUT_USAGE

    def failed(self, status: int, code: str) -> None:
        """The call ends in an error that the caller was told of."""
        self.outcome = Outcome.UPSTREAM_FAILED
        self.status = status
        self.error_code = code

    def record(self, now_s: float) -> DecisionRecord:
        """The durable row of this call."""
        last = self.answerer
        trace = self.inbound.trace
        return DecisionRecord(
            request_id=self.inbound.request_id,
            started_ns=self.inbound.started_ns,
            duration_ms=self.elapsed_ms(now_s),
            outcome=self.outcome,
            status=self.status,
            features=self.features,
            tier_states=self.states,
            policy_id=self.in_force.policy_id,
            decision=self.decision,
            passed_over=tuple(self.passed_over),
            bucket=self.bucket,
            rollout_percent=self.percent,
            attempts=tuple(self.attempts),
            tier=last.tier if last else "",
            model=last.model if last else "",
            usage=self.usage,
            cost_nano_usd=self.cost_nano_usd,
            first_byte_ms=self.first_byte_ms,
            error_code=self.error_code,
            trace_id=trace.trace_id,
            span_id=trace.span_id,
            parent_span_id=trace.parent_id,
            sampled=trace.sampled,
            trace_state=trace.state,
            stages=Stages(*map(self.elapsed_ms, self.marks_s)),
            session=self.features.hints.session or "",
            app=self.features.hints.app or "",
            request_bytes=len(self.inbound.body),
            response_bytes=self.response_bytes,
        )


def _plain_word(word: str) -> str:
    return word if _WORD.fullmatch(word) else "other"
